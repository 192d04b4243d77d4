// How many features each neuron of a layer serves, and families of features that share neurons.

import { featurePath, href, listPath } from "../address.js";
import { read } from "../api.js";
import { h, isolated, missing } from "../shared/dom.js";
import { counted, figure } from "../shared/text.js";
import { failed } from "./words.js";

const FIGURES = ["Here", "By chance", "95% of draws", "p", "Features"];
const SURE = 0.05;
const FAMILIES = 12; // shown, the largest
const MEMBERS = 6; // of a family named

/** The reuse of neurons in a layer; an empty element where it was not computed. */
export function reuseBlock({ run, layer }) {
  const block = h("section", { class: "block" });
  fill(block, run, layer).catch((error) => {
    if (!("status" in error)) throw error;
    block.replaceChildren(failed(error));
  });
  return block;
}

async function fill(block, run, layer) {
  const { results } = await read("/results/reuse");
  for (const card of results.filter((one) => one.run === run)) {
    const [{ document }] = card.documents;
    const { content } = await read(`/results/reuse/${encodeURIComponent(card.result)}/${encodeURIComponent(document)}`);
    const part = Object.values(content.parts ?? {}).find((one) => one.layer === layer);
    if (part) {
      block.replaceChildren(...drawn(part, run, layer));
      return;
    }
  }
}

function drawn(part, run, layer) {
  return [
    h("h2", {}, `Reuse of neurons in layer ${layer}`),
    table(
      "Against chance",
      ["What", "Chance keeps", "Here", "By chance", "95% of draws", "p"],
      part.comparisons.map((one) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, one.name),
          h("td", {}, one.null),
          [one.observed, one.expected].map((value) => h("td", { class: "amount" }, figure(value))),
          h("td", { class: "amount" }, `${figure(one.low)} to ${figure(one.high)}`),
          h("td", { class: "amount" }, figure(one.p_value, 2)),
        ),
      ),
    ),
    h("h3", {}, "Neurons that serve most features"),
    h(
      "p",
      {},
      part.most_reused.map(([neuron, features], place) => [
        place === 0 ? "" : ", ",
        h("a", { href: href(listPath(run, layer), { neuron }) }, String(neuron)),
        h("span", { class: "note" }, ` ${features}`),
      ]),
    ),
    h("h3", {}, "Families of features that share neurons"),
    families(part, run, layer),
  ];
}

function families({ communities, enrichment, labels }, run, layer) {
  const shown = communities.sizes
    .map((size, number) => ({ size, number }))
    .filter(({ size }) => size > 1)
    .sort((a, b) => b.size - a.size)
    .slice(0, FAMILIES);
  if (shown.length === 0) return h("p", {}, missing("every feature is alone"));
  return table(
    "Families",
    ["Features", "Some of them", "Common concepts"],
    shown.map(({ size, number }) => {
      const members = communities.of.flatMap((one, feature) => (one === number ? [feature] : []));
      const named = enrichment.filter((one) => one.community === number && one.p_corrected < SURE);
      return h(
        "tr",
        {},
        h("td", { class: "amount" }, String(size)),
        h(
          "td",
          {},
          members.slice(0, MEMBERS).map((feature, place) => [
            place === 0 ? "" : " · ",
            h("a", { href: href(featurePath(run, layer, feature)) }, isolated(labels[feature])),
          ]),
          members.length > MEMBERS ? h("span", { class: "note" }, ` and ${counted(members.length - MEMBERS, "other")}`) : null,
        ),
        h(
          "td",
          {},
          named.length === 0
            ? missing("none is more common than chance")
            : named.map((one) => `${one.name} (${one.both} of ${one.named})`).join(", "),
        ),
      );
    }),
  );
}

function table(name, heads, rows) {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": name },
    h(
      "table",
      { class: "plain versus" },
      h("thead", {}, h("tr", {}, heads.map((one) => h("th", { scope: "col", class: FIGURES.includes(one) ? "amount" : null }, one)))),
      h("tbody", {}, rows),
    ),
  );
}
