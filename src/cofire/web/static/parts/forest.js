// Methods side by side: a figure of each with its interval, on one scale.

import { h, missing } from "../shared/dom.js";
import { alignedLike, figure } from "../shared/text.js";
import { intervalLine } from "./charts.js";

/**
 * A table of intervals.
 *
 * @param {{ name: string, value: number | null, low: number | null, high: number | null, note: string }[]} rows
 */
export function forest(rows, { caption, direction = null }) {
  const ends = rows.flatMap(({ value, low, high }) => [value, low, high]).filter((one) => one !== null && one !== undefined);
  const bottom = Math.min(...ends);
  const top = Math.max(...ends);
  const pad = (top - bottom) * 0.05 || Math.abs(top) * 0.05 || 1;
  const scale = { low: bottom - pad, high: top + pad };
  const best = direction === null ? null : pick(rows, direction);
  const written = alignedLike(ends);
  const row = ({ name, value, low, high, note }) => {
    const interval = low === null || low === undefined ? "" : ` (${written(low)} to ${written(high)})`;
    return h(
      "tr",
      { class: value !== null && value === best ? "best" : null },
      h("th", { scope: "row", title: note }, name),
      h(
        "td",
        { class: "forest-line" },
        value === null
          ? null
          : intervalLine(
              { value, from: low ?? null, to: high ?? null },
              { ...scale, title: `${name}: ${figure(value)}${interval}` },
            ),
      ),
      h("td", { class: "amount" }, value === null ? missing(note || "not measured") : written(value)),
      h("td", { class: "amount note" }, interval.trim().replace(/[()]/g, "")),
    );
  };
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", { class: "bars forest" }, h("caption", { class: "hidden-label" }, caption), h("tbody", {}, rows.map(row), ends.length === 0 ? null : scaleRow(scale))),
  );
}

function scaleRow({ low, high }) {
  return h(
    "tr",
    { "aria-hidden": "true" },
    h("td"),
    h("td", {}, h("div", { class: "forest-scale" }, h("span", {}, figure(low, 2)), h("span", {}, figure(high, 2)))),
    h("td"),
    h("td"),
  );
}

function pick(rows, direction) {
  const known = rows.map(({ value }) => value).filter((value) => value !== null);
  if (known.length < 2) return null;
  if (direction === "higher") return Math.max(...known);
  return direction === "lower" ? Math.min(...known) : null;
}
