// A matrix as a table of coloured cells, for as many cells as a page can hold; each says its figure.

import { h } from "../shared/dom.js";
import { figure, MISSING } from "../shared/text.js";

const FULL = 85; // percent of the colour at the largest value

/**
 * A matrix of figures.
 *
 * @param {{ rows: Head[], columns: Head[] }} heads names, and where each leads: `{ name, title, href }`
 * @param {(row: number, column: number) => number | null} value
 * @param {object} options `scale` the value of the full colour, `caption` what it is, `written` how a
 *   figure is written, `title(row, column)` what a cell says, `link(row, column)` where it leads
 */
export function heatmap({ rows, columns }, value, options) {
  const { caption, scale, written = figure, title = null, link = null, corner = "" } = options;
  const cell = (row, column) => {
    const figureHere = value(row, column);
    const words = title === null ? null : title(row, column);
    const shown = figureHere === null ? MISSING : written(figureHere);
    const to = link === null ? null : link(row, column);
    const box = h("td", { title: words }, to === null ? shown : h("a", { href: to }, shown));
    if (figureHere !== null && scale > 0) {
      const share = Math.min(1, Math.abs(figureHere) / scale);
      box.style.setProperty("--heat", (FULL * share).toFixed(1));
      box.classList.toggle("against", figureHere < 0);
    }
    return box;
  };
  const head = ({ name, title: words, href }, scope) =>
    h("th", { scope, title: words ?? null, dir: "auto" }, href ? h("a", { href }, name) : name);
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      { class: "heatmap" },
      h("caption", { class: "hidden-label" }, caption),
      h("thead", {}, h("tr", {}, h("td", {}, corner), columns.map((one) => head(one, "col")))),
      h(
        "tbody",
        {},
        rows.map((one, row) => h("tr", {}, head(one, "row"), columns.map((_, column) => cell(row, column)))),
      ),
    ),
  );
}
