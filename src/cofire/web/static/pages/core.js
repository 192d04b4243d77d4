// Overlap: how many neurons some features share, and which.

import { featurePath, href, isStored } from "../address.js";
import { causalBlocks } from "../parts/causal.js";
import { heatmap } from "../parts/heatmap.js";
import { partsOf, resultsPage } from "../parts/results_page.js";
import { reuseBlock } from "../parts/reuse.js";
import { layerOf } from "../parts/site_words.js";
import { h, isolated, missing } from "../shared/dom.js";
import { counted, figure, percent } from "../shared/text.js";

const KINDS = [
  ["jaccard", "Jaccard", "Shared neurons as a share of the neurons that either has.", (value) => value.toFixed(2)],
  ["shared", "Shared neurons", "Neurons both hold with the same sign; on the diagonal a feature’s own.", figure],
  ["opposed", "Opposed neurons", "Neurons they hold with opposite signs.", figure],
];
const SURE = 0.01;

export const open = resultsPage({
  kind: "core",
  title: "Overlap",
  deck: "Neurons that features share, and those that one of them has alone.",
  absent: "No overlap was computed for this run yet. This command compares the neurons of some features:",
  command: (run) => `cofire core ${run} --layer N --features 3,17,41`,
  draw,
  always: ({ place }) => (place.run === null ? [] : [reuseBlock(place)]),
});

async function draw(result) {
  const found = await partsOf(result, "members", "sharing");
  if (found === null) return [];
  const { members, sharing, left_out: leftOut = [] } = found.parts;
  const place = { run: result.card.run, layer: layerOf(result.card.result) };
  const labels = new Map(members.map(({ feature, name, label }) => [feature, { name, label }]));
  return [
    leftOut.length === 0
      ? null
      : h("p", { class: "note" }, `${counted(leftOut.length, "further feature")} of this name left out: each of its details has a better one.`),
    matrixBlock(sharing, place, labels),
    coreBlock(sharing, place, labels),
    exclusiveBlock(sharing, place, labels),
    ...causalBlocks(found.parts),
  ];
}

function matrixBlock(content, { run, layer }, labels) {
  const { features, overlap } = content;
  const heads = features.map((feature) => ({
    name: String(feature),
    title: labels.get(feature)?.label,
    href: href(featurePath(run, layer, feature)),
  }));
  const rows = features.map((feature, place) => ({
    ...heads[place],
    name: `${feature} ${labels.get(feature)?.label ?? ""}`,
  }));
  const box = h("div");
  const note = h("p", { class: "note" });
  const kind = h("select", {}, KINDS.filter(([name]) => overlap[name]).map(([name, words]) => h("option", { value: name }, words)));
  const show = () => {
    const [name, words, about, written] = KINDS.find(([one]) => one === kind.value);
    const matrix = overlap[name];
    const off = matrix.flatMap((row, i) => row.filter((value, j) => i !== j && value !== null));
    note.textContent = `${about} Colours go up to the largest away from the diagonal.`;
    box.replaceChildren(
      heatmap({ rows, columns: heads }, (i, j) => matrix[i][j], {
        caption: words,
        scale: off.reduce((most, value) => Math.max(most, value), 0),
        written,
        title: (i, j) => pairWords(overlap, features, i, j),
        link: (i, j) =>
          i === j || isStored ? null : href("/compare", { a: `${run}/${layer}/${features[i]}`, b: `${run}/${layer}/${features[j]}` }),
      }),
    );
  };
  kind.addEventListener("change", show);
  show();
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "Pair by pair"),
    h("div", { class: "work" }, h("label", {}, h("span", {}, "Show"), " ", kind)),
    box,
    note,
  );
}

function pairWords(overlap, features, i, j) {
  if (i === j) return `feature ${features[i]} has ${figure(overlap.shared?.[i][i] ?? null)} neurons`;
  const p = overlap.p_reuse_corrected?.[i]?.[j] ?? overlap.p_uniform_corrected?.[i]?.[j] ?? null;
  const chance = p === null ? "" : `, p = ${figure(p, 2)} over all pairs${p < SURE ? ": more than chance" : ""}`;
  return `features ${features[i]} and ${features[j]} share ${figure(overlap.shared?.[i][j] ?? null)}, Jaccard ${figure(overlap.jaccard[i][j])}${chance}`;
}

function coreBlock(content, { run, layer }) {
  const { core = [], share = null, needed = null, core_by_chance: chance = null, core_p_value: p = null } = content;
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "Core neurons"),
    h(
      "p",
      {},
      `${counted(core.length, "neuron")} held with the same sign by at least ${needed ?? "several"} of ${content.features.length} features`,
      share === null ? "" : ` (${percent(share)})`,
      chance === null ? "." : `; ${figure(chance)} by chance, p = ${figure(p, 2)}.`,
    ),
    core.length === 0
      ? null
      : framed(
          "Core neurons",
          h("thead", {}, h("tr", {}, ["Neuron", "Sign", "Held by", "Mean weight"].map((name) => h("th", { scope: "col" }, name)))),
          h(
            "tbody",
            {},
            core.map((one) =>
              h(
                "tr",
                {},
                h("th", { scope: "row" }, String(one.neuron)),
                h("td", {}, one.sign < 0 ? "−" : "+"),
                h(
                  "td",
                  {},
                  one.members.map((feature, place) => [place === 0 ? "" : ", ", h("a", { href: href(featurePath(run, layer, feature)) }, String(feature))]),
                ),
                h("td", {}, figure(mean(one.weights ?? []))),
              ),
            ),
          ),
        ),
  );
}

function mean(values) {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function exclusiveBlock(content, { run, layer }, labels) {
  const entries = Object.entries(content.exclusive ?? {});
  if (entries.length === 0) return null;
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "Exclusive neurons"),
    framed(
      "Exclusive neurons",
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Feature"), h("th", { scope: "col" }, "Neurons that it alone holds"))),
      h(
        "tbody",
        {},
        entries.map(([feature, neurons]) =>
          h(
            "tr",
            {},
            h(
              "th",
              { scope: "row" },
              h("a", { href: href(featurePath(run, layer, feature)) }, `${feature} `, isolated(labels.get(Number(feature))?.label ?? "")),
            ),
            h("td", {}, neurons.length === 0 ? missing("none") : neurons.map(({ neuron }) => neuron).join(", ")),
          ),
        ),
      ),
    ),
  );
}

function framed(name, ...content) {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": name },
    h("table", { class: "plain versus" }, ...content),
  );
}
