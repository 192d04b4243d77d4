// Methods side by side, as `cofire compare` stored them: each measure with its interval.

import { href } from "../address.js";
import { read } from "../api.js";
import { h } from "../shared/dom.js";
import { forest } from "./forest.js";
import { allLines } from "./results_page.js";
import { failed } from "./words.js";

const FIRST = ["unexplained-variance", "concept-auroc", "concept-detection"]; // worth seeing first

/** The table of results of one comparison, null when it has none. */
export async function comparisonRows(card, load) {
  const table = card.documents.find(({ document, type }) => document === "results" && type === "table");
  if (!table || !["measure", "method", "value"].every((name) => table.columns.includes(name))) return null;
  const rows = await allLines(load, "results");
  return rows.filter((row) => row.seed === null || row.seed === undefined);
}

/** The figures of a comparison, a measure and a layer at a time. */
export function comparisonView(rows) {
  const measures = [...new Map(rows.map((row) => [measureKey(row), row])).values()];
  const layers = [...new Set(rows.map(({ layer }) => layer))].sort((a, b) => a - b);
  const first = FIRST.map((name) => measures.find(({ measure }) => measure === name)).find((one) => one) ?? measures[0];
  const measure = h("select", {}, measures.map((row) => h("option", { value: measureKey(row) }, measureWords(row))));
  measure.value = measureKey(first);
  const layer = h("select", {}, layers.map((one) => h("option", { value: one }, `Layer ${one}`)));
  const box = h("div");
  const note = h("p", { class: "note" });
  const show = () => {
    const shown = rows.filter((row) => measureKey(row) === measure.value && String(row.layer) === layer.value);
    const { unit, direction } = shown[0] ?? {};
    box.replaceChildren(
      forest(
        shown.map((row) => ({ ...row, name: variant(row, rows), note: row.note ?? `over ${row.n} ${row.over ?? ""}` })),
        { caption: `${measure.value} of every method`, direction },
      ),
    );
    note.textContent = [
      unit ? `Unit: ${unit}.` : "",
      direction ? `${direction === "higher" ? "Higher" : "Lower"} is better.` : "",
      "Lines are 95% intervals; hover for what was drawn.",
    ]
      .filter((words) => words !== "")
      .join(" ");
  };
  measure.addEventListener("change", show);
  layer.addEventListener("change", show);
  if (rows.length > 0) show();
  return [
    h(
      "div",
      { class: "work" },
      h("label", {}, h("span", {}, "Measure"), " ", measure),
      layers.length > 1 ? h("label", {}, h("span", {}, "Layer"), " ", layer) : null,
    ),
    box,
    note,
  ];
}

function measureKey({ measure, score }) {
  return score ? `${measure} (${score})` : measure;
}

function measureWords(row) {
  return measureKey(row).replaceAll("-", " ");
}

/** A method, with its size where the comparison has several. */
function variant(row, rows) {
  const many = (name) => new Set(rows.map((one) => one[name])).size > 1;
  const parts = [row.method];
  if (many("k") && row.k !== null) parts.push(`k ${row.k}`);
  if (many("sparsity") && row.sparsity !== null) parts.push(`sparsity ${row.sparsity}`);
  return parts.join(", ");
}

/** The method comparison on the overview of a run; an empty element where there is none. */
export function comparisonBlock() {
  const block = h("section", { class: "block" });
  fill(block).catch((error) => {
    if ("status" in error) block.replaceChildren(failed(error));
    else throw error;
  });
  return block;
}

async function fill(block) {
  const { results } = await read("/comparisons");
  for (const card of results) {
    const load = (name, query) =>
      read(`/results/comparisons/${encodeURIComponent(card.result)}/${encodeURIComponent(name)}`, { query });
    const rows = await comparisonRows(card, load);
    if (rows === null || rows.length === 0) continue;
    block.append(
      h("h2", {}, "Methods side by side"),
      h("p", { class: "note" }, h("a", { href: href("/comparisons", { result: card.result }) }, card.result)),
      ...comparisonView(rows),
    );
    return;
  }
}
