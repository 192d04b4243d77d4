// Building the page from data. Data only ever becomes text nodes and attribute values.

import { MISSING } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";

export function byId(id) {
  return document.getElementById(id);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "onclick") element.addEventListener("click", value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined),
  );
  return element;
}

/** An HTML element with attributes and children (elements or text). */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** The mark for a missing value, with the reason on hover. */
export function missing(why) {
  return h("span", { class: "missing", title: why }, MISSING);
}

/** Text from data that may run right to left, kept from reordering what stands around it. */
export function isolated(text) {
  return h("bdi", {}, text);
}

/** A token on its own: the space before it is shown as a faint mark. */
export function loneToken(text) {
  if (!text.startsWith(" ") || text.trim() === "") return isolated(text);
  return h(
    "bdi",
    {},
    h("span", { class: "space", title: "with a space before it" }, "␣"),
    text.trimStart(),
  );
}

/** A button that shows more of something and then goes away. */
export function moreButton(label, show) {
  const button = h("button", { type: "button", class: "more" }, label);
  button.addEventListener("click", () => {
    show();
    button.remove();
  });
  return button;
}

export const narrow = window.matchMedia("(max-width: 52rem)");
