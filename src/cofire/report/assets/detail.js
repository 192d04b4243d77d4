// One feature in detail, from plain JSON: that of the explorer (cofire.web.records.FeaturePage),
// with `scale`, the largest code that colours stand for, and `totals`, how many of each there are
// where only the first are given.

import { contextBlock } from "./contexts.js";
import { h, isolated, loneToken, missing, moreButton, svg } from "./dom.js";
import { counted, figure, percent, score } from "./text.js";
import { neuronBlock, vocabularyBlocks } from "./weights.js";

const TYPES_FIRST = 24;
const CONCEPTS_FIRST = 12;

export const FLAG_WORDS = {
  dead: "It is never active on the training texts.",
  duplicate: "Another feature has nearly the same atom.",
  "one-token":
    "Nearly all its strong firings are on one token: it may stand for a word, not an idea.",
};

/**
 * Everything about one feature, as elements.
 *
 * `links` says how features are reached: `href(index)`, `label(index)`, `sharing(neuron)` and
 * `search(query)`.
 */
export function detailOf(feature, links) {
  return [
    h("h2", { dir: "auto" }, feature.label),
    evidence(feature),
    quickFacts(feature),
    judgedBlock(feature),
    contextBlock(feature),
    h(
      "div",
      { class: "pair-blocks" },
      h("div", {}, typeBlock(feature), profileBlock(feature)),
      h("div", {}, neuronBlock(feature, links), healthBlock(feature, links)),
    ),
    vocabularyBlocks(feature),
  ];
}

/** What is known of the concept a feature selects. */
export function evidence({ concept }) {
  if (concept === null) {
    return h(
      "div",
      { class: "evidence" },
      h(
        "p",
        {},
        "No concept: the texts carry no labels, too few of each, or the feature scores all alike.",
      ),
    );
  }
  const name = h("b", {}, isolated(concept.concept));
  if (concept.auroc === null) {
    return h(
      "div",
      { class: "evidence" },
      h(
        "p",
        {},
        "Not enough evidence for a concept: its best one on the training texts is ",
        name,
        ` (AUROC ${score(concept.auroc_train)}), but no text of it was held out to judge that.`,
      ),
    );
  }
  const { low, high } = concept;
  const figures =
    `held-out AUROC ${score(concept.auroc)}, 95% interval ${score(low)} to ${score(high)}, ` +
    `p = ${figure(concept.p_value, 2)}, on ${counted(concept.n_positive, "held-out text")} of it and ` +
    `${concept.n_negative.toLocaleString("en")} others.`;
  const precision =
    concept.precision === null
      ? "How much it fires elsewhere is not known: no strong firing is in a labelled training text."
      : `${Math.round(100 * concept.precision)}% of its strong firings are in texts of it.`;
  let sentence = h("p", {}, "Selects ", name, `: ${figures} ${precision}`);
  if (!concept.sure) {
    sentence = h(
      "p",
      {},
      "Not enough evidence for a concept. The best one is ",
      name,
      `: ${figures}`,
    );
  } else if (concept.precision === null) {
    sentence = h("p", {}, "Selects texts of ", name, `: ${figures} ${precision}`);
  } else if (!concept.names_feature) {
    sentence = h(
      "p",
      {},
      "Selects texts of ",
      name,
      `, but fires elsewhere too: ${figures} Only ${precision}`,
    );
  }
  sentence.title = "p is for this feature alone, not corrected for the number of features";
  return h("div", { class: "evidence" }, sentence, intervalPlot(concept, low, high));
}

function intervalPlot(concept, low, high) {
  const at = (value) => 4 + 200 * value;
  const weak = concept.sure ? "" : " weak";
  return svg(
    "svg",
    {
      class: "plot",
      viewBox: "0 0 208 38",
      role: "img",
      "aria-label": `AUROC ${score(concept.auroc)} with its 95% interval`,
    },
    svg("line", { class: "rule", x1: at(0), x2: at(1), y1: 14, y2: 14 }),
    svg("line", { class: "chance", x1: at(0.5), x2: at(0.5), y1: 4, y2: 24 }),
    svg("line", { class: `span${weak}`, x1: at(low), x2: at(high), y1: 14, y2: 14 }),
    svg(
      "circle",
      { class: "train", cx: at(concept.auroc_train), cy: 14, r: 3.5 },
      svg("title", {}, `training texts ${score(concept.auroc_train)}`),
    ),
    svg(
      "circle",
      { class: `held${weak}`, cx: at(concept.auroc), cy: 14, r: 4.5 },
      svg("title", {}, `held-out texts ${score(concept.auroc)}`),
    ),
    svg("text", { x: at(0), y: 36 }, "0"),
    svg("text", { x: at(0.5), y: 36, "text-anchor": "middle" }, "0.5 chance"),
    svg("text", { x: at(1), y: 36, "text-anchor": "end" }, "1"),
  );
}

/** A line of figures. */
export function quickFacts(feature) {
  const { neurons: size, against: negative } = feature.totals;
  const facts = [
    ["Active on", `${percent(feature.measures.density)} of tokens`],
    ["Largest code", figure(feature.max_code)],
    ["Neurons", negative > 0 ? `${size - negative} up, ${negative} down` : String(size)],
  ];
  return h(
    "dl",
    { class: "quick" },
    facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

const LABEL_WORDS = { input: "from its contexts", output: "from its tokens" };

/** Labels of a language model and what steering did; nothing where neither is there. */
function judgedBlock(feature) {
  const judged = feature.judged;
  if (judged === undefined) return null;
  const block = h("section", { class: "block judged" });
  if (judged.labels.length > 0) {
    block.append(
      h("h3", {}, "Labels of a language model"),
      ...judged.labels.map(([kind, label]) =>
        h("p", {}, isolated(label), " ", h("span", { class: "note" }, LABEL_WORDS[kind])),
      ),
    );
  }
  if (judged.cells === undefined) return block;
  block.append(h("h3", {}, "Steering"));
  if (judged.shift !== null) {
    const least = judged.null === null ? "" : `; 95% of null directions stay below ${figure(judged.null)}`;
    block.append(
      h("p", {}, `Its tokens shift by ${figure(judged.shift)} logits at a KL of ${judged.target}${least}.`),
    );
  }
  if (judged.score !== null) {
    const sign = judged.sign > 0 ? "adding" : "taking away";
    block.append(
      h(
        "p",
        {},
        `Score ${score(judged.score)} of 2 on ${counted(judged.scored, "continuation")} that did not choose the strength (${sign} it at a KL of ${judged.kl}); best of all cells ${score(judged.best)}, which is biased upwards.`,
      ),
    );
  }
  const unjudged = judged.missing > 0 ? ` ${judged.missing} of ${counted(judged.texts, "continuation")} without a score.` : "";
  const unreached = judged.unreached > 0 ? ` ${judged.unreached} of ${counted(judged.cells, "target")} could not be reached.` : "";
  const judge = judged.judge === null ? "Not judged." : `Judge: ${judged.judge}.`;
  block.append(
    ...judged.examples.map(([text, rating]) =>
      h("p", { class: "example", dir: "auto" }, h("q", {}, text), " ", h("span", { class: "note" }, score(rating))),
    ),
    h("p", { class: "note" }, `${judge}${unjudged}${unreached}`),
  );
  return block;
}

/** The tokens on which a feature fires strongly. */
export function typeBlock(feature) {
  const { types, firings } = feature.totals;
  const block = h("section", { class: "block" }, h("h3", {}, "Tokens that fire it strongly"));
  if (types === 0) {
    block.append(h("p", { class: "note" }, missing("it never fires"), " None: it never fires."));
    return block;
  }
  const list = h("ul", { class: "word-list" });
  const add = (some) =>
    list.append(
      ...some.map(({ token, count }) =>
        h(
          "li",
          {},
          loneToken(token),
          h("span", { class: "tally" }, count.toLocaleString("en")),
        ),
      ),
    );
  const first = feature.types.length <= TYPES_FIRST + 4 ? feature.types.length : TYPES_FIRST;
  add(feature.types.slice(0, first));
  block.append(list);
  const rest = feature.types.slice(first);
  if (rest.length > 0) block.append(moreButton(`Show ${rest.length} more`, () => add(rest)));
  const left = types - feature.types.length;
  const also = left > 0 ? ` ${counted(left, "rarer type")} not shown.` : "";
  block.append(
    h(
      "p",
      { class: "note" },
      `${counted(firings, "firing")} of ${counted(types, "token type")} at half of its largest code or more.${also}`,
    ),
  );
  return block;
}

/** Its best concepts, training and held-out AUROC. */
export function profileBlock(feature) {
  const head = h("div", { class: "block-head" }, h("h3", {}, "Best concepts by AUROC"));
  const block = h("section", { class: "block" }, head);
  if (feature.concepts.length === 0) {
    block.append(
      h(
        "p",
        { class: "note" },
        "No concept could be tried: the texts carry no labels, or too few of each.",
      ),
    );
    return block;
  }
  head.append(
    h(
      "span",
      { class: "legend" },
      h("span", {}, h("i", { class: "held" }), "held out"),
      h("span", {}, h("i", { class: "train" }), "training"),
    ),
  );
  const at = (value) => `${100 * value}%`;
  const row = ({ concept: name, auroc_train: train, auroc: heldout }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, isolated(name)),
      h(
        "td",
        {},
        svg(
          "svg",
          { class: "plot", "aria-hidden": "true" },
          svg("line", { class: "rule", x1: "0%", x2: "100%", y1: 8, y2: 8 }),
          svg("line", { class: "chance", x1: "50%", x2: "50%", y1: 1, y2: 15 }),
          svg(
            "circle",
            { class: "train", cx: at(train), cy: 8, r: 3.5 },
            svg("title", {}, `training texts ${score(train)}`),
          ),
          heldout === null
            ? null
            : svg(
                "circle",
                { class: "held", cx: at(heldout), cy: 8, r: 4.5 },
                svg("title", {}, `held-out texts ${score(heldout)}`),
              ),
        ),
      ),
      h(
        "td",
        { class: "amount" },
        heldout === null ? missing("no held-out text of it") : score(heldout),
      ),
    );
  const table = h("table", { class: "bars profile-list" });
  const note = h("p", { class: "note" });
  const show = (concepts) => {
    table.replaceChildren(...concepts.map(row));
    note.textContent = `The ${concepts.length} best of ${counted(feature.totals.concepts, "concept")} on training texts; the dashed line is chance, the figure is held out.`;
  };
  show(feature.concepts.slice(0, CONCEPTS_FIRST));
  block.append(table);
  if (feature.concepts.length > CONCEPTS_FIRST) {
    block.append(
      moreButton(`Show all ${feature.concepts.length}`, () => show(feature.concepts)),
    );
  }
  block.append(note);
  return block;
}

/** What is wrong with a feature, and which other is most like it. */
export function healthBlock(feature, links) {
  const alone = feature.nearest === null || feature.nearest === feature.feature;
  const nearest = alone
    ? h("p", {}, "No other feature has an atom like it.")
    : h(
        "p",
        {},
        "The most similar atom is that of ",
        h(
          "a",
          { href: links.href(feature.nearest) },
          `feature ${feature.nearest}, `,
          isolated(links.label(feature.nearest)),
        ),
        ` (cosine ${figure(feature.nearest_cosine, 2)}).`,
      );
  const words = feature.flags.map((flag) =>
    h("p", {}, h("b", { class: "flag" }, `${flag}: `), FLAG_WORDS[flag]),
  );
  return h(
    "section",
    { class: "block" },
    h("h3", {}, "Health"),
    words.length > 0
      ? words
      : h(
          "p",
          {},
          "Nothing wrong: it fires, on more than one token, and no other feature is its double.",
        ),
    nearest,
  );
}
