// Features that were found in several layers at once: which share of each lies in which layer.

import { read } from "../api.js";
import { heatmap } from "./heatmap.js";
import { failed } from "./words.js";
import { h } from "../shared/dom.js";
import { figure, percent } from "../shared/text.js";

const MOST = 60; // features shown, those over most layers

/** What `cofire flow --stack` found for a run; an empty element where it was not used. */
export function stackBlock(run) {
  const block = h("section", { class: "block" });
  fill(block, run).catch((error) => {
    if (!("status" in error)) throw error;
    block.replaceChildren(failed(error));
  });
  return block;
}

async function fill(block, run) {
  const { results } = await read("/results/stack");
  const card = results.find((one) => one.run === run);
  if (card === undefined) return;
  const [{ document }] = card.documents;
  const { content } = await read(`/results/stack/${encodeURIComponent(card.result)}/${encodeURIComponent(document)}`);
  const { stacked, shuffled } = content.parts ?? {};
  if (stacked === undefined) return;
  const features = stacked.features
    .map((feature, index) => ({ ...feature, index, span: stacked.spans[index] }))
    .sort((a, b) => (b.span ?? 0) - (a.span ?? 0))
    .slice(0, MOST);
  const mean = (spans) => {
    const known = spans.filter((span) => span !== null);
    return known.length === 0 ? null : known.reduce((sum, span) => sum + span, 0) / known.length;
  };
  block.replaceChildren(
    h("h2", {}, "Found in several layers at once"),
    h(
      "p",
      {},
      `A feature lies in ${figure(mean(stacked.spans))} layers on average`,
      shuffled === undefined ? "." : `; in ${figure(mean(shuffled.spans))} where texts are shuffled between layers.`,
    ),
    heatmap(
      {
        rows: features.map(({ index, label }) => ({ name: `${index} ${label ?? ""}`, title: label })),
        columns: stacked.layers.map((layer) => ({ name: `Layer ${layer}` })),
      },
      (row, column) => features[row].shares[column],
      { caption: "Share of a feature in every layer", scale: 1, written: (value) => percent(value) },
    ),
    h("p", { class: "note" }, `The ${features.length} features that reach over most layers, of ${stacked.features.length}.`),
  );
}
