// The label of a feature, and writing another.

import { isStored } from "../address.js";
import { h } from "../shared/dom.js";

/** The label as a heading, with the form that changes it. `saved` is called when it has. */
export function labelHead(page, saved) {
  const heading = h("h2", { dir: "auto" }, page.label);
  return [heading];
}
