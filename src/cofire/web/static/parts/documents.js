// Documents as they were stored: tables a page at a time, JSON as nested lists.

import { h, missing } from "../shared/dom.js";
import { figure } from "../shared/text.js";
import { failed } from "./words.js";

const LINES = 50; // of a table, at once
const PARTS = 200; // of a list or record shown at once
const LONG = 160; // characters of a value shown

/** One document, read when it is opened. */
export function documentBlock(card, load) {
  const size = card.rows === null ? "" : `, ${card.rows.toLocaleString("en")} lines`;
  const box = h("div");
  const block = h(
    "details",
    { class: "document" },
    h("summary", {}, h("code", {}, card.file), h("span", { class: "note" }, size)),
    box,
  );
  let asked = false;
  block.addEventListener("toggle", async () => {
    if (!block.open || asked) return;
    asked = true;
    try {
      if (card.type === "table") await showTable(box, card, load, 0);
      else box.replaceChildren(jsonView((await load(card.document)).content));
    } catch (error) {
      asked = false;
      box.replaceChildren(failed(error));
    }
  });
  return block;
}

async function showTable(box, card, load, offset) {
  const table = await load(card.document, { offset, limit: LINES });
  const turn = (words, to, disabled) => {
    const button = h("button", { type: "button" }, words);
    button.disabled = disabled;
    button.addEventListener("click", () =>
      showTable(box, card, load, to).catch((error) => box.replaceChildren(failed(error))),
    );
    return button;
  };
  const last = Math.min(offset + LINES, table.found);
  box.replaceChildren(
    recordTable(table.rows, table.columns, card.file),
    h(
      "p",
      { class: "turning" },
      turn("←", offset - LINES, offset === 0),
      ` ${table.found === 0 ? 0 : offset + 1} to ${last} of ${table.found.toLocaleString("en")} `,
      turn("→", offset + LINES, last >= table.found),
    ),
  );
}

/** A table of records. */
export function recordTable(rows, columns, name) {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": name },
    h(
      "table",
      { class: "plain records" },
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col" }, column)))),
      h(
        "tbody",
        {},
        rows.map((row) => h("tr", {}, columns.map((column) => valueCell(row[column])))),
      ),
    ),
  );
}

function valueCell(value) {
  const number = typeof value === "number";
  return h("td", { class: number ? "amount" : null, dir: number ? null : "auto" }, plainValue(value));
}

/** A value in a cell: figures short, long words cut. */
export function plainValue(value) {
  if (value === null || value === undefined) return missing("missing");
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : figure(value, 4);
  const words = typeof value === "string" ? value : JSON.stringify(value);
  if (words.length <= LONG) return words;
  return h("span", { title: words.slice(0, 2000) }, `${words.slice(0, LONG)}…`);
}

/** JSON, nested: records as tables of names and values, deeper ones closed at first. */
export function jsonView(value, depth = 0) {
  if (value === null || typeof value !== "object") return h("span", { dir: "auto" }, plainValue(value));
  if (Array.isArray(value) && value.every((one) => one === null || typeof one !== "object")) {
    const shown = value.slice(0, PARTS).map((one) => (typeof one === "number" ? figure(one, 4) : String(one)));
    const rest = value.length > PARTS ? ` … and ${value.length - PARTS} more` : "";
    return h("span", { dir: "auto" }, `[${shown.join(", ")}${rest}]`);
  }
  const parts = Object.entries(value);
  const table = () =>
    h(
      "table",
      { class: "plain" },
      parts
        .slice(0, PARTS)
        .map(([name, one]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, jsonView(one, depth + 1)))),
      parts.length > PARTS
        ? h("tr", {}, h("td", { colspan: 2, class: "note" }, `and ${parts.length - PARTS} more`))
        : null,
    );
  if (depth === 0) return table();
  const words = Array.isArray(value) ? `${parts.length} entries` : `${parts.length} names`;
  const details = h("details", {}, h("summary", {}, words));
  details.addEventListener("toggle", () => details.children.length === 1 && details.append(table()), { once: true });
  return details;
}
