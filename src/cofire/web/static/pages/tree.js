// Trees of features: parents, children, and what each is about.

import { featurePath, href } from "../address.js";
import { documentLike, resultsPage } from "../parts/results_page.js";
import { forestOf, treeView } from "../parts/tree_view.js";
import { h } from "../shared/dom.js";

export const open = resultsPage({
  kind: "tree",
  title: "Tree",
  deck: "How features gather into broader ones.",
  absent: "No tree was computed for this run yet. This command builds one:",
  command: (run) => `cofire tree ${run}`,
  draw,
});

async function draw(result) {
  const found = await documentLike(result, (content) => forestOf(content) !== null);
  if (found === null) return [];
  const { card, place, query } = result;
  const run = card.run ?? place.run;
  const layer = found.content.layer ?? layerOf(card) ?? place.layer;
  const wanted = query.get("feature");
  return [
    treeView({
      roots: forestOf(found.content),
      open: wanted === null ? null : Number(wanted),
      link: (feature) => href(featurePath(run, layer, feature)),
    }),
    h("p", { class: "note" }, `From ${found.name}.json.`),
  ];
}

function layerOf(card) {
  const match = /blocks\.(\d+)\./.exec(`${card.result} ${card.path}`);
  return match === null ? null : Number(match[1]);
}
