// Methods side by side, as they were compared.

import { comparisonRows, comparisonView } from "../parts/comparison.js";
import { resultsPage } from "../parts/results_page.js";
import { h } from "../shared/dom.js";

export const open = resultsPage({
  kind: "comparisons",
  title: "Methods side by side",
  deck: "The same rows, the same number of features, the same measures, with intervals.",
  absent: "No methods were compared yet where this server looks. This command compares them; serve its folder too:",
  command: () => "cofire compare MODEL -o runs/compare",
  draw,
});

async function draw({ card, load }) {
  const rows = await comparisonRows(card, load);
  return rows === null || rows.length === 0 ? [] : [h("section", { class: "block" }, comparisonView(rows))];
}
