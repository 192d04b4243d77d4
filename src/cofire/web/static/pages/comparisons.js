// Methods side by side, as they were compared.

import { comparisonRows, comparisonView } from "../parts/comparison.js";
import { heatmap } from "../parts/heatmap.js";
import { allLines, resultsPage } from "../parts/results_page.js";
import { h, isolated } from "../shared/dom.js";
import { counted } from "../shared/text.js";

const STAGES = ["fitted", "measured", "losses", "steered"];

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
  return [
    rows === null || rows.length === 0 ? null : h("section", { class: "block" }, comparisonView(rows)),
    await cellsBlock(card, load),
  ];
}

/** The cells of the grid and their stages, while some are not done or failed. */
async function cellsBlock(card, load) {
  if (!card.documents.some(({ document }) => document === "cells")) return null;
  const cells = await allLines(load, "cells");
  const failures = cells.filter(({ failed }) => failed !== null);
  if (card.finished.done >= card.finished.wanted && failures.length === 0) return null;
  const methods = [...new Set(cells.map(variant))];
  const layers = [...new Set(cells.map(({ layer }) => layer))].sort((a, b) => a - b);
  const at = (row, column) => cells.filter((cell) => variant(cell) === methods[row] && cell.layer === layers[column]);
  const most = Math.max(...methods.flatMap((_, row) => layers.map((_, column) => at(row, column).length)));
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "What is done"),
    heatmap(
      { rows: methods.map((name) => ({ name })), columns: layers.map((layer) => ({ name: `Layer ${layer}` })) },
      (row, column) => (at(row, column).length === 0 ? null : at(row, column).filter(({ fitted }) => fitted).length),
      {
        caption: "Seeds that are fitted, by method and layer",
        scale: most,
        title: (row, column) => at(row, column).map(stagesOf).join("; ") || "not asked for",
      },
    ),
    h("p", { class: "note" }, `Seeds that are fitted, of ${counted(most, "seed")}; hover to see their stages.`),
    failures.length === 0
      ? null
      : h(
          "ul",
          {},
          failures.map((cell) => h("li", {}, `${variant(cell)}, layer ${cell.layer}, seed ${cell.seed}: `, isolated(cell.failed))),
        ),
    card.documents.some(({ document }) => document === "results")
      ? null
      : h("p", { class: "note" }, "Figures with intervals are written when the command ends."),
  );
}

function variant({ method, k, sparsity }) {
  return [method, k === null ? null : `k ${k}`, sparsity === null ? null : `sparsity ${sparsity}`].filter(Boolean).join(", ");
}

function stagesOf(cell) {
  const stages = STAGES.filter((stage) => cell[stage]);
  return `seed ${cell.seed} ${stages.length === 0 ? "not begun" : stages.join(", ")}`;
}
