// What becomes of features from layer to layer.

import { featurePath, href } from "../address.js";
import { flowChart } from "../parts/flow_chart.js";
import { partsOf, resultsPage } from "../parts/results_page.js";
import { stackBlock } from "../parts/stack.js";
import { h, missing } from "../shared/dom.js";
import { figure, percent } from "../shared/text.js";

const FATES = ["persists", "splits", "merges", "dies"];

export const open = resultsPage({
  kind: "flow",
  title: "Across layers",
  deck: "Which features of a layer go on in the next one, which split, merge, are born or die.",
  absent: "Features were not followed across the layers of this run yet. This command does, for a run of several layers:",
  command: (run) => `cofire flow ${run}`,
  draw,
  always: ({ place }) => (place.run === null ? [] : [stackBlock(place.run)]),
});

async function draw(result) {
  const found = await partsOf(result, "features", "flow");
  if (found === null) return [];
  const { flow, features, chosen = null } = found.parts;
  const { card, query } = result;
  const labels = new Map(flow.layers.map((layer) => [layer, features[layer].map(({ label }) => label)]));
  const wanted = query.get("feature");
  return [
    flowChart({
      flow: chosen === null ? flow : linkedWith(flow, chosen.features),
      labels,
      open: wanted === null ? null : { layer: Number(query.get("layer")), feature: Number(wanted) },
      link: (layer, feature) => href(featurePath(card.run, layer, feature)),
    }),
    chosen === null
      ? null
      : h("p", { class: "note" }, `Drawn is what is linked with features named after ${chosen.concept}, as the command was asked to.`),
    fates(flow),
  ];
}

/** The links that begin or end at some features, which are told by layer. */
function linkedWith(flow, chosen) {
  const wanted = new Set(
    Object.entries(chosen).flatMap(([layer, some]) => some.map(({ feature }) => `${layer}/${feature}`)),
  );
  const steps = flow.steps.map((step) => ({
    ...step,
    links: step.links.filter(
      ({ lower, higher }) => wanted.has(`${step.lower}/${lower}`) || wanted.has(`${step.higher}/${higher}`),
    ),
  }));
  return { ...flow, steps };
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
                h("td", { class: "amount" }, share === null || share === undefined ? missing("no such pair, or the model was not read") : percent(share)),
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
