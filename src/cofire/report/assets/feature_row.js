// One row of a list of features.

import { h, isolated } from "./dom.js";

export const ROW_REMS = 4.25; // --row of the stylesheet

/**
 * A row: number, label, what stands below it, and a figure with a line as long as its share.
 *
 * `amount` is an element or text, `share` from 0 to 1 or null, `sure` makes the line stand out.
 */
export function featureRow({
  index,
  label,
  flags,
  under,
  amount,
  share,
  sure,
  title,
  selected,
  place,
  count,
}) {
  const bar = h("i");
  if (share !== null) bar.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
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
      { class: sure ? "score sure" : "score", title },
      amount,
      h("span", { class: "track" }, bar),
    ),
  );
}

/** The figure and line of a row that shows an AUROC: the line begins at chance. */
export function aurocShare(auroc) {
  return auroc === null ? null : 2 * auroc - 1;
}
