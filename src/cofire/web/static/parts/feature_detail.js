// One feature as the explorer shows it: what the report shows, and what only a server can tell.

import { featurePath, href, isStored, runPath } from "../address.js";
import { read } from "../api.js";
import { heatTokens, contextBlock } from "../shared/contexts.js";
import { evidence, healthBlock, profileBlock, quickFacts, typeBlock } from "../shared/detail.js";
import { h, isolated, moreButton } from "../shared/dom.js";
import { counted, figure, percent } from "../shared/text.js";
import { barTable, neuronBlock, vocabularyBlocks } from "../shared/weights.js";
import { chart, histogram } from "./charts.js";
import { failed } from "./words.js";

const WIDER = 24; // tokens added on each side by "more"
const RELATIVES = 10; // similar or co-firing features shown at first

/** A feature's page, made ready for the shared parts: what colours stand for, and how many of each. */
export function prepared(page) {
  const contexts = [...page.contexts, ...page.quantile_contexts];
  const codes = contexts.flatMap((context) => [context.code, ...context.codes]);
  return {
    ...page,
    scale: Math.max(Math.abs(page.max_code), ...codes.map((code) => Math.abs(code ?? 0))) || 1,
    totals: {
      neurons: page.neurons.length,
      against: page.neurons.filter(({ weight }) => weight < 0).length,
      concepts: page.concepts.length,
      types: page.types.length,
      firings: page.types.reduce((sum, { count }) => sum + count, 0),
    },
  };
}

/**
 * Everything about one feature below its label.
 *
 * `search(query)` searches the list; `extra` are further blocks.
 */
export function featureBlocks(feature, { search, extra = [] }) {
  const links = {
    href: (index) => href(featurePath(feature.run, feature.layer, index)),
    label: (index) => feature.similar.find((one) => one.feature === index)?.label ?? "",
    sharing: () => null,
    search: isStored ? null : search,
  };
  return [
    evidence(feature),
    quickFacts(feature),
    contextBlock(feature, { widen: isStored ? null : widenWith(feature) }),
    h(
      "div",
      { class: "pair-blocks" },
      h("div", {}, typeBlock(feature), profileBlock(feature)),
      h("div", {}, codesBlock(feature), neuronBlock(feature, links), healthBlock(feature, links)),
    ),
    vocabularyBlocks(feature),
    h(
      "div",
      { class: "pair-blocks" },
      relativesBlock(feature, "similar", "Features with a similar atom", "Cosine of the two atoms; negative where they point apart."),
      relativesBlock(feature, "cofiring", "Features that fire on the same tokens", "Cosine of the two columns of codes on the training rows."),
    ),
    ...extra,
  ];
}

function codesBlock(feature) {
  const { histogram: codes } = feature;
  const block = h("section", { class: "block" });
  if (codes.counts.length === 0) {
    block.append(h("h3", {}, "How strong its codes are"), h("p", { class: "note" }, "It never fires on the training rows."));
    return block;
  }
  block.append(
    chart("How strong its codes are", histogram(codes, { xName: "code", yName: "rows" })),
    h(
      "p",
      { class: "note" },
      `Codes above 0 only; ${percent(codes.zero / codes.rows)} of ${counted(codes.rows, "training row")} have none.`,
    ),
  );
  return block;
}

/** The buttons that show more and less of a context's text. */
function widenWith({ run, layer, feature }) {
  return (page, context, text) => {
    let width = 0;
    const less = h("button", { type: "button", class: "link", hidden: true }, "less");
    const more = h("button", { type: "button", class: "link" }, "more");
    more.setAttribute("aria-label", "more of this text");
    less.setAttribute("aria-label", "less of this text");
    const show = async (wider) => {
      width = wider;
      less.hidden = width === 0;
      if (width === 0) {
        text.replaceChildren(...heatTokens(context, page).flat());
        more.hidden = false;
        return;
      }
      const { focus, tokens } = context;
      const query = { feature, before: focus + width, after: tokens.length - 1 - focus + width };
      try {
        const wide = await read(`${runPath(run)}/${layer}/rows/${context.row}`, { query });
        const { codes } = wide.features[0];
        text.replaceChildren(...heatTokens({ ...wide, codes, code: context.code }, page).flat());
        more.hidden = wide.more_before === 0 && wide.more_after === 0;
      } catch (error) {
        text.replaceChildren(failed(error));
      }
    };
    more.addEventListener("click", () => show(width + WIDER));
    less.addEventListener("click", () => show(0));
    return h("span", { class: "widen" }, more, less);
  };
}

function relativesBlock(feature, kind, title, note) {
  const block = h("section", { class: "block" }, h("h3", {}, title));
  const first = feature[kind];
  if (first.length === 0) {
    const none = kind === "similar" ? "No other feature has an atom like it." : "No other feature fires on its tokens.";
    block.append(h("p", { class: "note" }, none));
    return block;
  }
  const row = (one) => ({
    head: h(
      "a",
      {
        href: href(featurePath(feature.run, feature.layer, one.feature)),
        title: kind === "cofiring" ? `both on ${counted(one.both, "row")}, Jaccard ${figure(one.jaccard, 2)}` : null,
      },
      h("span", { class: "number" }, `${one.feature} `),
      isolated(one.label),
    ),
    value: one.cosine,
  });
  const { table, add } = barTable("relatives", first.map(row), { scale: 1 });
  add(first.map(row));
  block.append(table);
  if (first.length >= RELATIVES && !isStored) {
    const path = featurePath(feature.run, feature.layer, feature.feature);
    block.append(
      moreButton("Show more", async () => {
        try {
          const { features } = await read(`${path}/${kind}`, { query: { offset: first.length, limit: 40 } });
          add(features.map(row));
        } catch (error) {
          block.append(failed(error));
        }
      }),
    );
  }
  block.append(h("p", { class: "note" }, note));
  return block;
}
