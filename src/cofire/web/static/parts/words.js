// Small phrases that several pages use.

import { h } from "../shared/dom.js";

/** Layers as people write them: 0, 2–5, 9. */
export function numbersInWords(numbers) {
  const spans = [];
  for (const number of numbers) {
    const last = spans.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else spans.push([number, number]);
  }
  return spans
    .map(([first, last]) => (first === last ? first : first + 1 === last ? `${first}, ${last}` : `${first}–${last}`))
    .join(", ");
}

/** A notice that something was not computed yet, with the command that does. */
export function notComputed(what, command) {
  return h(
    "div",
    { class: "notice absent" },
    h("p", {}, what),
    command === null ? null : h("pre", { class: "command" }, h("code", {}, command)),
  );
}

/** What went wrong, where a part of a page could not be shown. */
export function failed(error) {
  return h("p", { class: "notice", role: "alert", dir: "auto" }, error.message);
}
