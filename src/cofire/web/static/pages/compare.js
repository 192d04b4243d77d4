// Two features, two layers or two runs side by side.

import { featurePath, href, listPath, runPath } from "../address.js";
import { read } from "../api.js";
import { placeFor, runList } from "../bar.js";
import { layersBlock } from "../parts/compare_layers.js";
import { runsBlock } from "../parts/compare_runs.js";
import { prepared } from "../parts/feature_detail.js";
import { featurePicker } from "../parts/picker.js";
import { nothingToShow } from "../parts/place_choice.js";
import { failed } from "../parts/words.js";
import { contextBlock } from "../shared/contexts.js";
import { evidence, quickFacts, typeBlock } from "../shared/detail.js";
import { h, isolated } from "../shared/dom.js";
import { counted, figure } from "../shared/text.js";
import { barTable, neuronBlock, vocabularyBlocks } from "../shared/weights.js";

const KINDS = [
  ["features", "Two features"],
  ["layers", "Two layers"],
  ["runs", "Two runs"],
];
const SIDES = [
  ["a", "First"],
  ["b", "Second"],
];
const NEURONS = 15; // shared ones shown
const PAIRS = 30; // of two layers, at once

export async function open({ query, signal, go }) {
  const place = await placeFor(query);
  if (place.card === null) return nothingToShow("Compare");
  const { runs } = await runList();
  const page = new ComparePage({ place, runs: runs.filter(({ layers }) => layers.length > 0), query, go });
  await page.start(signal);
  return page;
}

/** What a side names: `run`, `run/layer` or `run/layer/feature`; parts that it lacks are null. */
function named(words) {
  const [run, layer = null, feature = null] = (words ?? "").split("/");
  if (run === "") return null;
  return { run, layer: layer && Number(layer), feature: feature && Number(feature) };
}

function nameOf(side) {
  return [side?.run, side?.layer, side?.feature].filter((one) => one !== null && one !== undefined).join("/");
}

class ComparePage {
  constructor({ place, runs, query, go }) {
    this.title = "Compare";
    this.runs = runs;
    this.go = go;
    this.sides = { a: named(query.get("a")), b: named(query.get("b")) };
    const first = this.sides.a ?? this.sides.b;
    this.place = first === null ? { run: place.run, layer: place.layer } : { run: first.run, layer: first.layer ?? place.layer };
    const told = first === null ? null : first.feature !== null ? "features" : first.layer !== null ? "layers" : "runs";
    this.what = told ?? (KINDS.some(([kind]) => kind === query.get("what")) ? query.get("what") : "features");
  }

  async start(signal) {
    const { run, layer } = this.place;
    const content = { features: () => this.ofFeatures(signal), layers: () => this.ofLayers(signal), runs: () => this.ofRuns(signal) };
    this.content = [
      h("h1", {}, "Compare"),
      h(
        "nav",
        { class: "kinds", "aria-label": "What to compare" },
        KINDS.map(([kind, name]) =>
          h(
            "a",
            { href: href("/compare", { run, layer, what: kind }), "aria-current": kind === this.what ? "true" : null },
            name,
          ),
        ),
      ),
      await content[this.what](),
    ];
  }

  address(changes) {
    const { a, b } = { ...this.sides, ...changes };
    return href("/compare", { ...this.place, what: this.what, a: nameOf(a), b: nameOf(b) });
  }

  /** What the server makes of both sides; null while one is not chosen, words when it refuses. */
  async together(signal, more = {}) {
    const { a, b } = this.sides;
    if (a === null || b === null) return { found: null, problem: null };
    try {
      return { found: await read("/compare", { query: { a: nameOf(a), b: nameOf(b), ...more }, signal }), problem: null };
    } catch (error) {
      if (!("status" in error)) throw error;
      return { found: null, problem: failed(error) };
    }
  }

  async ofFeatures(signal) {
    const { found, problem } = await this.together(signal);
    const pages = found === null ? await this.alone(signal) : { a: found.first, b: found.second };
    return [
      h("div", { class: "beside wide" }, SIDES.map(([side, name]) => this.chooser(side, name, pages[side]))),
      problem,
      found === null ? null : commonBlock(found),
      h(
        "div",
        { class: "beside wide" },
        SIDES.map(([side, name]) =>
          h(
            "section",
            { class: "side", "aria-label": `${name} feature` },
            pages[side] ? this.column(prepared(pages[side])) : h("p", { class: "note" }, "Choose a feature."),
          ),
        ),
      ),
    ];
  }

  /** The one side that is chosen. */
  async alone(signal) {
    const pages = {};
    for (const [side] of SIDES) {
      const wanted = this.sides[side];
      if (wanted?.feature === null || wanted === null) continue;
      try {
        pages[side] = await read(featurePath(wanted.run, wanted.layer, wanted.feature), { signal });
      } catch (error) {
        if (!("status" in error)) throw error;
      }
    }
    return pages;
  }

  /** Where a side's layer or feature is chosen. */
  chooser(side, name, page) {
    const chosen = this.sides[side] ?? this.place;
    const here = { run: chosen.run, layer: chosen.layer ?? this.place.layer };
    const cards = new Map(this.runs.map((card) => [card.run, card]));
    const run = h("select", {}, this.runs.map((card) => h("option", { value: card.run }, card.run)));
    run.value = here.run;
    const layer = h("select");
    const offerLayers = () => {
      const layers = cards.get(here.run)?.layers ?? [here.layer];
      if (!layers.includes(here.layer)) [here.layer] = layers;
      layer.replaceChildren(...layers.map((one) => h("option", { value: one }, `Layer ${one}`)));
      layer.value = String(here.layer);
    };
    const moved = () => {
      if (this.what === "layers") this.go(this.address({ [side]: { ...here, feature: null } }));
    };
    offerLayers();
    run.addEventListener("change", () => {
      here.run = run.value;
      offerLayers();
      moved();
    });
    layer.addEventListener("change", () => {
      here.layer = Number(layer.value);
      moved();
    });
    return h(
      "div",
      { class: "work chooser" },
      this.runs.length > 1 ? h("label", {}, h("span", {}, `${name}: run`), " ", run) : null,
      h("label", {}, h("span", {}, `${name}: layer`), " ", layer),
      this.what === "layers"
        ? null
        : featurePicker({
            label: page ? `${name}: another feature` : `${name}: feature`,
            place: () => here,
            chosen: ({ feature }) => this.go(this.address({ [side]: { ...here, feature } })),
          }),
    );
  }

  column(page) {
    const search = (query) => this.go(href(listPath(page.run, page.layer), { search: query }));
    return [
      h("h2", { dir: "auto" }, h("a", { href: href(featurePath(page.run, page.layer, page.feature)) }, page.label)),
      h("p", { class: "note" }, `${page.run}, ${page.title}, feature ${page.feature}`),
      evidence(page),
      quickFacts(page),
      contextBlock(page),
      typeBlock(page),
      neuronBlock(page, { sharing: () => null, search }),
      vocabularyBlocks(page),
    ];
  }

  async ofLayers(signal) {
    this.sides.a ??= { ...this.place, feature: null };
    this.sides.b ??= { ...this.other(), feature: null };
    const choosers = h("div", { class: "beside wide" }, SIDES.map(([side, name]) => this.chooser(side, name)));
    const { found, problem } = await this.together(signal, { limit: PAIRS });
    const more = async (offset) => {
      const next = await read("/compare", {
        query: { a: nameOf(this.sides.a), b: nameOf(this.sides.b), offset, limit: PAIRS },
      });
      return next.pairs;
    };
    return [choosers, problem, found === null ? null : layersBlock(found, more)];
  }

  /** A layer to hold against the open one: that of another run, or the next one. */
  other() {
    const { run, layer } = this.place;
    const own = this.runs.find((card) => card.run === run);
    const same = this.runs.find(
      (card) => card.run !== run && card.model === own.model && card.layers.includes(layer),
    );
    if (same) return { run: same.run, layer };
    return { run, layer: own.layers[own.layers.indexOf(layer) + 1] ?? own.layers[0] };
  }

  async ofRuns(signal) {
    const left = this.sides.a?.run ?? this.place.run;
    const right = this.sides.b?.run ?? this.runs.find(({ run }) => run !== left)?.run ?? left;
    const chooser = (side, name, value) => {
      const select = h("select", {}, this.runs.map((card) => h("option", { value: card.run }, card.run)));
      select.value = value;
      select.addEventListener("change", () =>
        this.go(this.address({ a: { run: left }, b: { run: right }, [side]: { run: select.value } })),
      );
      return h("label", {}, h("span", {}, `${name} run`), " ", select);
    };
    const overviews = await Promise.all([left, right].map((run) => read(runPath(run), { signal })));
    return [
      h("div", { class: "work" }, chooser("a", "First", left), chooser("b", "Second", right)),
      runsBlock(...overviews),
    ];
  }
}

/** What two features have in common. */
function commonBlock({ atoms, codes, shared_types: types, notes, first, second }) {
  const facts = [
    atoms && ["Cosine of the atoms", figure(atoms.cosine)],
    atoms && ["Shared neurons", `${atoms.shared.length} (Jaccard ${figure(atoms.jaccard, 2)})`],
    codes && ["Fire together on", `${counted(codes.both, "row")} (Jaccard ${figure(codes.jaccard, 2)})`],
    codes && ["Cosine of the codes", figure(codes.cosine)],
  ].filter((fact) => fact);
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "In common"),
    h("dl", { class: "quick" }, facts.map(([term, fact]) => h("div", {}, h("dt", {}, term), h("dd", {}, fact)))),
    notes.map((note) => h("p", { class: "note" }, note)),
    h(
      "p",
      {},
      types.length === 0
        ? "No token type fires both strongly."
        : [
            `${counted(types.length, "token type")} fire both strongly: `,
            types.slice(0, 20).map((token, number) => [number > 0 ? ", " : "", isolated(token.trim() || token)]),
            types.length > 20 ? " …" : ".",
          ],
    ),
    atoms !== null && atoms.shared.length > 0 ? sharedNeurons(atoms.shared, first, second) : null,
  );
}

function sharedNeurons(shared, first, second) {
  const side = (name, page) => {
    const rows = shared.slice(0, NEURONS).map((one) => ({ head: String(one.neuron), value: one[name] }));
    const { table, add } = barTable("neuron-list", rows);
    add(rows);
    return h("section", {}, h("h3", {}, `In feature ${page.feature}`), table);
  };
  return h("div", { class: "pair-blocks" }, side("first", first), side("second", second));
}
