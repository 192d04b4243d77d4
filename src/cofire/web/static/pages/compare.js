// Two features, or two runs, side by side.

import { featurePath, href, runPath } from "../address.js";
import { read } from "../api.js";
import { placeFor, runList } from "../bar.js";
import { prepared } from "../parts/feature_detail.js";
import { featurePicker } from "../parts/picker.js";
import { nothingToShow } from "../parts/place_choice.js";
import { runsBlock } from "../parts/compare_runs.js";
import { failed } from "../parts/words.js";
import { contextBlock } from "../shared/contexts.js";
import { evidence, quickFacts, typeBlock } from "../shared/detail.js";
import { h, isolated } from "../shared/dom.js";
import { counted, figure } from "../shared/text.js";
import { neuronBlock, vocabularyBlocks } from "../shared/weights.js";

const SIDES = ["left", "right"];

export async function open({ query, signal, go }) {
  const place = await placeFor(query);
  if (place.card === null) return nothingToShow("Compare");
  const { runs } = await runList();
  const page = new ComparePage({ place, runs: runs.filter(({ layers }) => layers.length > 0), query, go });
  await page.start(signal);
  return page;
}

/** What a side names: `run/layer/feature`, or `run` alone. */
function named(words) {
  const match = /^(.+)\/(\d+)\/(\d+)$/.exec(words ?? "");
  if (match === null) return words ? { run: words, layer: null, feature: null } : null;
  return { run: match[1], layer: Number(match[2]), feature: Number(match[3]) };
}

class ComparePage {
  constructor({ place, runs, query, go }) {
    this.title = "Compare";
    this.place = { run: place.run, layer: place.layer };
    this.runs = runs;
    this.go = go;
    this.what = query.get("what") === "runs" ? "runs" : "features";
    this.sides = Object.fromEntries(SIDES.map((side) => [side, named(query.get(side))]));
  }

  async start(signal) {
    const left = this.sides.left ?? this.sides.right;
    if (left !== null) this.place = { run: left.run, layer: left.layer ?? this.place.layer };
    const ofRuns = this.what === "runs";
    const tab = (what, name) =>
      h(
        "a",
        {
          href: href("/compare", { run: this.place.run, layer: this.place.layer, what: what === "runs" ? what : null }),
          "aria-current": what === this.what ? "true" : null,
        },
        name,
      );
    this.content = [
      h("h1", {}, "Compare"),
      h("nav", { class: "kinds", "aria-label": "What to compare" }, tab("features", "Two features"), tab("runs", "Two runs")),
      ofRuns ? await this.ofRuns(signal) : await this.ofFeatures(signal),
    ];
  }

  address(changes) {
    const sides = { ...this.sides, ...changes };
    const words = (side) =>
      side === null ? "" : side.feature === null ? side.run : `${side.run}/${side.layer}/${side.feature}`;
    return href("/compare", {
      ...this.place,
      what: this.what === "runs" ? "runs" : "",
      left: words(sides.left),
      right: words(sides.right),
    });
  }

  async ofFeatures(signal) {
    const pages = {};
    const problems = {};
    await Promise.all(
      SIDES.map(async (side) => {
        const wanted = this.sides[side];
        if (wanted?.feature === undefined || wanted.feature === null) return;
        try {
          const path = featurePath(wanted.run, wanted.layer, wanted.feature);
          pages[side] = prepared(await read(path, { signal }));
        } catch (error) {
          if (!("status" in error)) throw error;
          problems[side] = error;
        }
      }),
    );
    const both = pages.left && pages.right;
    return [
      h("div", { class: "beside wide" }, SIDES.map((side) => this.chooser(side, pages[side]))),
      both ? commonBlock(pages.left, pages.right) : null,
      h(
        "div",
        { class: "beside wide" },
        SIDES.map((side) =>
          h(
            "section",
            { class: "side", "aria-label": side === "left" ? "Left feature" : "Right feature" },
            problems[side] ? failed(problems[side]) : pages[side] ? this.column(pages[side]) : null,
          ),
        ),
      ),
    ];
  }

  /** Where a side's feature is chosen: run, layer, and the feature itself. */
  chooser(side, page) {
    const place = this.sides[side] ?? { ...this.place, feature: null };
    const here = { run: place.run, layer: place.layer ?? this.place.layer };
    const cards = new Map(this.runs.map((card) => [card.run, card]));
    const run = h("select", {}, this.runs.map((card) => h("option", { value: card.run }, card.run)));
    run.value = here.run;
    const layer = h("select", {});
    const offerLayers = () => {
      const { layers } = cards.get(here.run) ?? { layers: [here.layer] };
      if (!layers.includes(here.layer)) [here.layer] = layers;
      layer.replaceChildren(...layers.map((one) => h("option", { value: one }, `Layer ${one}`)));
      layer.value = String(here.layer);
    };
    offerLayers();
    run.addEventListener("change", () => {
      here.run = run.value;
      offerLayers();
    });
    layer.addEventListener("change", () => {
      here.layer = Number(layer.value);
    });
    const name = side === "left" ? "Left" : "Right";
    return h(
      "div",
      { class: "work chooser" },
      this.runs.length > 1 ? h("label", {}, h("span", {}, `${name}: run`), " ", run) : null,
      h("label", {}, h("span", {}, `${name}: layer`), " ", layer),
      featurePicker({
        label: page ? `${name}: another feature` : `${name}: feature`,
        place: () => here,
        chosen: ({ feature }) => this.go(this.address({ [side]: { ...here, feature } })),
      }),
    );
  }

  column(page) {
    const search = (query) =>
      this.go(href(`/runs/${encodeURIComponent(page.run)}/${page.layer}/features`, { search: query }));
    const links = { sharing: () => null, search };
    return [
      h(
        "h2",
        { dir: "auto" },
        h("a", { href: href(featurePath(page.run, page.layer, page.feature)) }, page.label),
      ),
      h("p", { class: "note" }, `${page.run}, ${page.title}, feature ${page.feature}`),
      evidence(page),
      quickFacts(page),
      contextBlock(page),
      typeBlock(page),
      neuronBlock(page, links),
      vocabularyBlocks(page),
    ];
  }

  async ofRuns(signal) {
    const [first, second] = this.runs;
    const left = this.sides.left?.run ?? this.place.run;
    const right = this.sides.right?.run ?? (left === first.run ? second?.run : first.run) ?? left;
    const chooser = (side, value) => {
      const select = h("select", {}, this.runs.map((card) => h("option", { value: card.run }, card.run)));
      select.value = value;
      select.addEventListener("change", () => {
        const sides = { left, right, [side]: select.value };
        this.go(
          this.address({
            left: { run: sides.left, feature: null },
            right: { run: sides.right, feature: null },
          }),
        );
      });
      return h("label", {}, h("span", {}, side === "left" ? "Left run" : "Right run"), " ", select);
    };
    const overviews = await Promise.all([left, right].map((run) => read(runPath(run), { signal })));
    return [h("div", { class: "work" }, chooser("left", left), chooser("right", right)), runsBlock(...overviews)];
  }
}

/** What two features have in common. */
function commonBlock(left, right) {
  const sameAxes = left.title === right.title && left.layer === right.layer;
  const weights = new Map(left.neurons.map(({ neuron, weight }) => [neuron, weight]));
  const shared = right.neurons.filter(({ neuron }) => weights.has(neuron));
  const union = left.neurons.length + right.neurons.length - shared.length;
  const length = (page) => Math.hypot(...page.neurons.map(({ weight }) => weight));
  const dot = shared.reduce((sum, { neuron, weight }) => sum + weight * weights.get(neuron), 0);
  const own = new Set(left.types.map(({ token }) => token));
  const tokens = right.types.filter(({ token }) => own.has(token)).map(({ token }) => token);
  const facts = [
    ["Cosine of the atoms", figure(dot / (length(left) * length(right) || 1), 3)],
    ["Shared neurons", `${shared.length} of ${union} (Jaccard ${figure(union === 0 ? 0 : shared.length / union, 2)})`],
  ];
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "In common"),
    sameAxes
      ? h("dl", { class: "quick" }, facts.map(([term, fact]) => h("div", {}, h("dt", {}, term), h("dd", {}, fact))))
      : h("p", { class: "note" }, "They are of different layers, so their neurons are not the same ones."),
    h(
      "p",
      {},
      tokens.length === 0
        ? "No token type fires both strongly."
        : [`${counted(tokens.length, "token type")} fire both strongly: `, tokens.slice(0, 20).map((token, number) => [number > 0 ? ", " : "", isolated(token.trim() || token)]), "."],
    ),
  );
}
