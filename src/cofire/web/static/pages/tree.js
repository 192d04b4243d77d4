// Trees of features: parents, children, and what each is about.

import { featurePath, href } from "../address.js";
import { onlyDocument, resultsPage } from "../parts/results_page.js";
import { layerOf } from "../parts/site_words.js";
import { forestOf, treeView } from "../parts/tree_view.js";
import { h, missing } from "../shared/dom.js";
import { figure, percent } from "../shared/text.js";

const WORDS = ["Tree", "Score"]; // heads of columns that hold no figures

export const open = resultsPage({
  kind: "tree",
  title: "Tree",
  deck: "How features gather into broader ones.",
  absent: "No tree was computed for this run yet. This command builds one:",
  command: (run) => `cofire tree ${run} --layer N`,
  draw,
});

async function draw(result) {
  const { card, query } = result;
  const content = await onlyDocument(result);
  const layer = layerOf(card.result);
  const wanted = query.get("feature");
  return [
    treeView({
      roots: forestOf(content),
      open: wanted === null ? null : Number(wanted),
      link: (feature) => href(featurePath(card.run, layer, feature)),
    }),
    content.first_changed
      ? h("p", { class: "note" }, "The finest level was tuned as well, so that it is no longer the run’s features.")
      : null,
    levelTable(content.figures),
    scoreTable(content.scores),
  ];
}

function levelTable(levels) {
  const share = (value) => h("td", { class: "amount" }, value === null ? missing("needs --activations") : percent(value));
  return tableBlock(
    "Levels",
    ["Features", "Variance explained", "On held-out texts", "Kept"],
    levels.map(({ features, variance, variance_heldout: heldout, kept }) =>
      h("tr", {}, h("th", { scope: "row", class: "amount" }, String(features)), share(variance), share(heldout), share(kept)),
    ),
    "Kept: of the variance of what the run’s features say about its rows, the share that a level still tells. Variance of the rows themselves is measured where they were given.",
  );
}

function scoreTable(scores) {
  if (scores.length === 0) return null;
  return tableBlock(
    "Against the nesting of the texts",
    ["Tree", "Score", "Value", "95% interval", "Shuffled names", "p"],
    scores.map((one) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, one.tree),
        h("td", {}, one.score),
        h("td", { class: "amount" }, figure(one.value)),
        h("td", { class: "amount" }, one.low === null ? missing("too few leaves") : `${figure(one.low)} to ${figure(one.high)}`),
        h("td", { class: "amount" }, figure(one.shuffled_mean)),
        h("td", { class: "amount" }, figure(one.p_value, 2)),
      ),
    ),
    `Measured on ${scores[0].leaves} of ${scores[0].of} features, those named after a concept that the nesting holds; p is the share of shuffled names that score as well.`,
  );
}

function tableBlock(title, heads, rows, note) {
  return h(
    "section",
    { class: "block" },
    h("h2", {}, title),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": title },
      h(
        "table",
        { class: "plain versus" },
        h("thead", {}, h("tr", {}, heads.map((name) => h("th", { scope: "col", class: WORDS.includes(name) ? null : "amount" }, name)))),
        h("tbody", {}, rows),
      ),
    ),
    h("p", { class: "note" }, note),
  );
}
