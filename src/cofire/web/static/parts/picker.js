// Choosing a feature by number, label or token: a box that suggests as one types.

import { listPath } from "../address.js";
import { read } from "../api.js";
import { asked, filtersFrom } from "./filters.js";
import { h, isolated } from "../shared/dom.js";
import { failed } from "./words.js";

const SUGGESTED = 8;
let pickers = 0;

/**
 * A box to choose a feature with.
 *
 * @param {() => { run: string, layer: number }} place where to look
 * @param {(row: object) => void} chosen called with a row of the list
 */
export function featurePicker({ label, place, chosen }) {
  pickers += 1;
  const id = `picker-${pickers}`;
  const box = h("ul", { class: "suggestions", role: "listbox", id, "aria-label": label, hidden: true });
  const input = h("input", {
    type: "text",
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "number, label or token",
    maxlength: 200,
    "aria-controls": id,
    "aria-expanded": "false",
    "aria-autocomplete": "list",
  });
  let rows = [];
  let at = -1;
  let asking = new AbortController();

  const close = () => {
    box.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const take = (row) => {
    input.value = "";
    close();
    chosen(row);
  };
  const mark = (place) => {
    at = (place + rows.length) % rows.length;
    [...box.children].forEach((item, number) =>
      item.setAttribute("aria-selected", number === at ? "true" : "false"),
    );
    input.setAttribute("aria-activedescendant", `${id}-${at}`);
    box.children[at].scrollIntoView({ block: "nearest" });
  };
  const suggest = async () => {
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    const words = input.value.trim();
    const { run, layer } = place();
    const filters = filtersFrom(new URLSearchParams());
    filters.search = /^\d+$/.test(words) ? `#${words}` : words;
    try {
      const query = { ...asked(filters), limit: SUGGESTED };
      const list = await read(listPath(run, layer), { query, signal });
      rows = list.features;
      at = -1;
      box.replaceChildren(
        ...(rows.length > 0
          ? rows.map((row, number) => suggestion(row, `${id}-${number}`, take))
          : [h("li", { class: "note", role: "option", "aria-disabled": "true" }, "No feature is found.")]),
      );
    } catch (error) {
      if (error.name === "AbortError") return;
      rows = [];
      box.replaceChildren(h("li", { role: "option", "aria-disabled": "true" }, failed(error)));
    }
    if (document.activeElement !== input) return;
    box.hidden = false;
    input.setAttribute("aria-expanded", "true");
  };

  input.addEventListener("input", suggest);
  input.addEventListener("focus", suggest);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (event.key === "ArrowDown" && rows.length > 0) mark(at + 1);
    else if (event.key === "ArrowUp" && rows.length > 0) mark(at - 1);
    else if (event.key === "Enter") {
      if (rows.length > 0 && !box.hidden) take(rows[Math.max(0, at)]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  return h("div", { class: "picker" }, h("label", {}, h("span", {}, label), " ", input), box);
}

function suggestion(row, id, take) {
  const item = h(
    "li",
    { role: "option", id, "aria-selected": "false" },
    h("span", { class: "number" }, `${row.feature} `),
    isolated(row.label),
  );
  item.addEventListener("pointerdown", (event) => {
    event.preventDefault(); // the box keeps the focus
    take(row);
  });
  return item;
}
