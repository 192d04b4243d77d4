// What other commands stored about one feature: how it steers, and whatever else they know.

import { featurePath, href } from "../address.js";
import { h, isolated, missing } from "../shared/dom.js";
import { figure, percent } from "../shared/text.js";
import { recordTable } from "./documents.js";

const TEXTS = 6; // continuations shown
const DRAWN = new Set(["steering/steering", "steering/steering_cells", "steering/continuations"]);

/** Blocks for everything that is stored about a feature. */
export function storedBlocks({ stored = {}, trees = [], run, layer, feature }) {
  const others = Object.entries(stored).filter(([name]) => !DRAWN.has(name));
  return [
    ...trees.map((tree) => treePlace(tree, { run, layer, feature })),
    steeringBlock(stored),
    ...others.map(([name, lines]) =>
      h(
        "section",
        { class: "block" },
        h("h3", {}, name),
        recordTable(lines.map(withoutFeature), Object.keys(withoutFeature(lines[0])), name),
      ),
    ),
  ].filter((block) => block !== null);
}

/** Where the feature hangs in a tree: what it belongs to, and what else belongs there. */
function treePlace({ result, name, share, above, siblings, n_siblings: count }, { run, layer, feature }) {
  const [parent, ...further] = above;
  const more = count - siblings.length;
  return h(
    "section",
    { class: "block tree-place" },
    h("h3", {}, "In the tree ", h("a", { href: href("/tree", { run, layer, result, feature }) }, isolated(name))),
    parent === undefined
      ? h("p", {}, "It belongs to nothing broader.")
      : h(
          "p",
          {},
          `${percent(share)} of it belongs to `,
          h("b", {}, isolated(parent.label)),
          further.map((one) => [" in ", isolated(one.label)]),
        ),
    siblings.length === 0
      ? null
      : h(
          "p",
          {},
          "Beside it: ",
          siblings.map((one, place) => [
            place === 0 ? "" : " · ",
            h("a", { href: href(featurePath(run, layer, one.feature)) }, h("span", { class: "number" }, `${one.feature} `), isolated(one.label)),
          ]),
          more > 0 ? h("span", { class: "note" }, ` and ${more} more`) : null,
        ),
  );
}

function withoutFeature({ feature: _, ...rest }) {
  return rest;
}

function steeringBlock(stored) {
  const [summary] = stored["steering/steering"] ?? [];
  const cells = (stored["steering/steering_cells"] ?? []).filter(({ control }) => control === null);
  const texts = (stored["steering/continuations"] ?? []).filter(({ control }) => control === null);
  if (!summary && cells.length === 0) return null;
  return h(
    "section",
    { class: "block" },
    h("h3", {}, "How it steers"),
    summary ? scoreWords(summary) : null,
    cells.length > 0 ? cellTable(cells) : null,
    texts.length > 0 ? continuations(texts) : null,
  );
}

function scoreWords({ score, best, chosen_sign: sign, chosen_kl: kl, scored, missing: absent, texts }) {
  if (score === null) {
    return h("p", {}, missing("no continuation could be judged"), ` Not judged: ${absent} of ${texts} continuations have no score.`);
  }
  const way = sign === null ? "" : `, ${sign < 0 ? "taken away" : "added"} at KL ${figure(kl)}`;
  return h(
    "p",
    {},
    h("b", {}, `Score ${figure(score)}`),
    `${way}, on ${scored} continuations that did not choose that; best ${figure(best)}.`,
  );
}

function cellTable(cells) {
  const byCell = new Map();
  for (const cell of cells) {
    const name = `${cell.sign}/${cell.target_kl}`;
    byCell.set(name, [...(byCell.get(name) ?? []), cell]);
  }
  const mean = (some, name) => {
    const known = some.map((cell) => cell[name]).filter((value) => value !== null && value !== undefined);
    return known.length === 0 ? missing("not measured") : figure(known.reduce((a, b) => a + b, 0) / known.length);
  };
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Steering, strength by strength" },
    h(
      "table",
      { class: "plain versus" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["Direction", "Target KL", "Reached", "Strength", "Logit shift", "Prompts"].map((name) =>
            h("th", { scope: "col" }, name),
          ),
        ),
      ),
      h(
        "tbody",
        {},
        [...byCell.values()].map((some) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, some[0].sign < 0 ? "taken away" : "added"),
            h("td", {}, figure(some[0].target_kl)),
            h("td", {}, mean(some, "reached_kl")),
            h("td", {}, mean(some, "alpha")),
            h("td", {}, mean(some, "logit_shift")),
            h("td", {}, String(some.length)),
          ),
        ),
      ),
    ),
  );
}

function continuations(texts) {
  const best = [...texts].sort((a, b) => rank(b) - rank(a)).slice(0, TEXTS);
  return h(
    "details",
    { class: "continuations" },
    h("summary", {}, `Continuations (the ${best.length} that show its concept most of ${texts.length})`),
    h(
      "ol",
      { class: "written" },
      best.map(({ text, sign, target_kl: kl, concept, fluency }) =>
        h(
          "li",
          { dir: "auto" },
          text,
          h(
            "span",
            { class: "note" },
            ` ${sign < 0 ? "taken away" : "added"}, KL ${figure(kl)}; concept ${figure(concept)}, fluency ${figure(fluency)}`,
          ),
        ),
      ),
    ),
  );
}

function rank({ concept, fluency }) {
  return concept === null ? -1 : concept + (fluency ?? 0) / 10;
}
