// The label of a feature, and writing another.

import { featurePath, isStored } from "../address.js";
import { ask } from "../api.js";
import { h } from "../shared/dom.js";
import { failed } from "./words.js";

const LONGEST = 200;

/**
 * The label as a heading, with the form that changes it and what else can be done.
 *
 * `saved` is called when another label was written; `acts` are links.
 */
export function labelHead(page, { saved, acts }) {
  const heading = h("h2", { dir: "auto" }, page.label);
  if (isStored) return h("div", { class: "label-head" }, heading);
  const edit = h("button", { type: "button", class: "link edit" }, "Edit label");
  const written = page.edited
    ? h("p", { class: "note" }, "Written by hand; cofire’s own: ", h("bdi", {}, page.offline_label))
    : null;
  const head = h("div", { class: "label-head" }, heading, written, h("p", { class: "acts" }, edit, acts));
  edit.addEventListener("click", () => {
    const form = labelForm(page, {
      saved,
      cancelled: () => {
        form.replaceWith(heading);
        edit.hidden = false;
        edit.focus();
      },
    });
    heading.replaceWith(form);
    edit.hidden = true;
    form.elements.label.select();
  });
  return head;
}

function labelForm(page, { saved, cancelled }) {
  const input = h("input", {
    type: "text",
    name: "label",
    "aria-label": "Label",
    maxlength: LONGEST,
    autocomplete: "off",
    dir: "auto",
  });
  input.value = page.label;
  const problem = h("div");
  const send = async (label) => {
    try {
      await ask(`${featurePath(page.run, page.layer, page.feature)}/label.json`, { label }, { method: "PUT" });
    } catch (error) {
      problem.replaceChildren(failed(error));
      return;
    }
    saved();
  };
  const form = h(
    "form",
    { class: "label-form" },
    input,
    h("button", {}, "Save"),
    page.edited
      ? h("button", { type: "button", onclick: () => send(null) }, "Take back")
      : null,
    h("button", { type: "button", onclick: cancelled }, "Cancel"),
    problem,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(input.value.trim());
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    cancelled();
  });
  return form;
}
