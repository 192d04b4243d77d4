// What becomes of features from layer to layer.

import { featurePath, href, listPath } from "../address.js";
import { read } from "../api.js";
import { flowChart } from "../parts/flow_chart.js";
import { documentLike, resultsPage } from "../parts/results_page.js";
import { h, missing } from "../shared/dom.js";
import { figure, percent } from "../shared/text.js";

const FATES = ["persists", "splits", "merges", "dies"];
const MOST = 500; // labels asked for, a layer

export const open = resultsPage({
  kind: "flow",
  title: "Across layers",
  deck: "Which features of a layer go on in the next one, which split, merge, are born or die.",
  absent: "Features were not followed across the layers of this run yet. This command does, for a run of several layers:",
  command: (run) => `cofire flow ${run}`,
  draw,
});

const isFlow = (content) => Array.isArray(content?.layers) && Array.isArray(content?.steps);

async function draw(result) {
  const found = await documentLike(result, isFlow);
  if (found === null) return [];
  const { content } = found;
  const run = result.card.run ?? result.place.run;
  const labels = await labelsOf(run, content.layers);
  const wanted = { layer: Number(result.query.get("layer")), feature: result.query.get("feature") };
  return [
    flowChart({
      flow: content,
      labels,
      open: wanted.feature === null ? null : { layer: wanted.layer, feature: Number(wanted.feature) },
      link: (layer, feature) => href(featurePath(run, layer, feature)),
    }),
    fates(content),
  ];
}

/** Labels of the features of every layer, by layer and feature; empty where they cannot be read. */
async function labelsOf(run, layers) {
  const labels = new Map();
  await Promise.all(
    layers.map(async (layer) => {
      try {
        const { features } = await read(listPath(run, layer), { query: { limit: MOST } });
        labels.set(layer, new Map(features.map(({ feature, label }) => [feature, label])));
      } catch (error) {
        if (!("status" in error)) throw error;
      }
    }),
  );
  return labels;
}

function fates({ steps }) {
  const amount = (value, of) =>
    h("td", { class: "amount" }, String(value), h("span", { class: "note" }, ` ${percent(of === 0 ? null : value / of)}`));
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "What becomes of them"),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "What becomes of features" },
      h(
        "table",
        { class: "plain versus" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["Layers", "Links", "Persist", "Split", "Merge", "Die", "Born", "Links that the weights carry", "Other pairs"].map((name, place) =>
              h("th", { scope: "col", class: place === 0 ? null : "amount" }, name),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          steps.map((step) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, `${step.lower} → ${step.higher}`),
              h("td", { class: "amount" }, String(step.links.length)),
              FATES.map((fate) => amount(step.fates.filter((one) => one === fate).length, step.n_lower)),
              amount(step.origins.filter((one) => one === "born").length, step.n_higher),
              [step.wired_share, step.wired_others].map((share) =>
                h("td", { class: "amount" }, share === null || share === undefined ? missing("needs the model") : percent(share)),
              ),
            ),
          ),
        ),
      ),
    ),
    h(
      "p",
      { class: "note" },
      `A link: the codes of two features correlate on the same tokens, at least ${figure(steps[0]?.least ?? null)} between the first two layers. Percentages are of the lower layer’s features, of the higher one’s for those born.`,
    ),
  );
}
