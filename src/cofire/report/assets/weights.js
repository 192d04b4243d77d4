// What a feature is made of and what it makes the model say: signed bars.

import { h, loneToken, missing, moreButton } from "./dom.js";
import { alignedLike, counted } from "./text.js";

const NEURONS_ALL = 30; // a group up to this size is shown whole at once
const NEURONS_FIRST = 15;

/** Rows of signed bars that share one scale: the largest of the rows, or a given one. */
export function barTable(kind, rows, { scale: given = null } = {}) {
  const negative = rows.some(({ value }) => value < 0);
  const positive = rows.some(({ value }) => value > 0);
  const scale = given ?? (Math.max(...rows.map(({ value }) => Math.abs(value))) || 1);
  const zero = negative ? (positive ? 50 : 100) : 0;
  const reach = negative && positive ? 50 : 100;
  const written = alignedLike(rows.map(({ value }) => value));
  const table = h("table", { class: `bars ${kind}` });
  const draw = ({ head, value }) => {
    const bar = h("i", { class: value < 0 ? "against" : null });
    const length = (reach * Math.abs(value)) / scale;
    bar.style.left = `${value < 0 ? zero - length : zero}%`;
    bar.style.width = `${length}%`;
    const line = h("i", { class: "zero" });
    line.style.left = `${zero}%`;
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, head),
      h("td", {}, h("div", { class: "bar-box" }, line, bar)),
      h("td", { class: "amount" }, written(value)),
    );
  };
  return { table, add: (some) => table.append(...some.map(draw)) };
}

/**
 * The neurons of a feature. `sharing` says how many features hold a neuron (null: not known);
 * `search` is called with a search for one; null where there is none.
 */
export function neuronBlock(feature, { sharing, search }) {
  const { neurons: size, against: negative } = feature.totals;
  const block = h("section", { class: "block" }, h("h3", {}, `Neuron group of ${size}`));
  if (size === 0) {
    block.append(h("p", { class: "note" }, "Its atom is all zeros."));
    return block;
  }
  const rows = feature.neurons.map(({ neuron, weight }) => ({
    head: neuronLink(neuron, sharing(neuron), search),
    value: weight,
  }));
  const { table, add } = barTable("neuron-list", rows);
  const first = rows.length <= NEURONS_ALL ? rows.length : NEURONS_FIRST;
  add(rows.slice(0, first));
  block.append(table);
  if (first < rows.length) {
    block.append(moreButton(`Show all ${rows.length}`, () => add(rows.slice(first))));
  }
  const cut =
    size > rows.length ? ` The ${rows.length} strongest of ${size} are shown here.` : "";
  const signs =
    negative > 0
      ? "Orange neurons rise with the feature, blue ones fall."
      : "All of them rise with the feature.";
  block.append(h("p", { class: "note" }, `${signs}${cut}`));
  return block;
}

function neuronLink(neuron, holders, search) {
  if (search === null) return String(neuron);
  const others = (holders ?? 1) - 1;
  const shared =
    others > 0 ? `also in ${counted(others, "other feature")}; show them` : "in no other feature";
  const title = holders === null ? "show the features that hold it" : shared;
  const link = h("button", { type: "button", class: "link", title }, String(neuron));
  link.addEventListener("click", () => search(`neuron:${neuron}`));
  return link;
}

/** The tokens a feature makes more and less likely. */
export function vocabularyBlocks(feature) {
  const sides = [
    ["promoted", "Makes more likely"],
    ["demoted", "Makes less likely"],
  ];
  if (feature.promoted === null) {
    return h(
      "section",
      { class: "block" },
      h("h3", {}, "Tokens it makes more or less likely"),
      h(
        "p",
        { class: "note" },
        missing("not computed"),
        " Not computed: it needs the model, and an MLP site.",
      ),
    );
  }
  return h(
    "div",
    { class: "pair-blocks" },
    sides.map(([side, title]) => {
      const rows = feature[side].map(({ token, logit, token_id: id }) => ({
        head: h("span", { title: `token ${id}` }, loneToken(token)),
        value: logit,
      }));
      const { table, add } = barTable("vocabulary", rows);
      add(rows);
      return h("section", { class: "block" }, h("h3", {}, title), table);
    }),
    h(
      "p",
      { class: "note wide" },
      "Logits of its direction read straight through the model’s output; the layers in between are skipped, so early layers read worse than late ones.",
    ),
  );
}
