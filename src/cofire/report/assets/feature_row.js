// One row of a list of features.

import { h, isolated, missing } from "./dom.js";
import { score } from "./text.js";

export const ROW_REMS = 4.25; // --row of the stylesheet

/** A row: number, label, what stands below it, and how well its best concept is selected. */
export function featureRow({ index, label, flags, under, auroc, sure, selected, place, count }) {
  const bar = h("i");
  if (auroc !== null) bar.style.width = `${100 * Math.max(0, 2 * auroc - 1)}%`;
  return h(
    "div",
    {
      class: "row",
      role: "option",
      id: `row-${index}`,
      "data-place": place,
      "aria-selected": selected ? "true" : "false",
      "aria-posinset": place + 1,
      "aria-setsize": count,
    },
    h("span", { class: "number" }, String(index)),
    h("span", { class: "label", dir: "auto", title: label }, label),
    h(
      "span",
      { class: "under" },
      flags.length > 0 ? h("span", { class: "flag" }, `${flags.join(", ")} · `) : null,
      isolated(under),
    ),
    h(
      "span",
      {
        class: auroc !== null && sure ? "score sure" : "score",
        title: "held-out AUROC of its best concept",
      },
      auroc === null ? missing("no held-out AUROC") : score(auroc),
      h("span", { class: "track" }, bar),
    ),
  );
}
