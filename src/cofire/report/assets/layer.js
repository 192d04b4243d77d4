// The features of one layer, read from the JSON of the page (made by cofire.report.payload).

import { COLLATOR, folded } from "./text.js";

const CODE_STEPS = 1000;

/** How a list can be ordered: a value for each feature (null: missing, always last). */
export const ORDERS = {
  index: { name: "Number", of: (feature) => feature.index },
  label: { name: "Label", of: (feature) => feature.label },
  auroc: { name: "AUROC, held out", of: (feature) => feature.concept?.auroc ?? null, high: true },
  density: { name: "Density", of: (feature) => feature.density, high: true },
  max: { name: "Largest code", of: (feature) => feature.max, high: true },
  neurons: { name: "Neurons", of: (feature) => feature.group[0], high: true },
};

export const FLAGS = ["dead", "duplicate", "one-token"];

export class Layer {
  constructor(element) {
    this.element = element;
    this.id = element.dataset.layer;
    this.title = element.dataset.title;
    this.number = element.dataset.number;
    this.kind = element.dataset.kind;
    this.parsed = null;
  }

  /** Parsed when it is first needed: a page may hold many layers. */
  get data() {
    if (this.parsed === null) {
      this.parsed = JSON.parse(this.element.textContent);
      this.places = new Map(this.parsed.features.map((feature, place) => [feature.index, place]));
      this.folded = this.parsed.features.map(() => null);
    }
    return this.parsed;
  }

  get features() {
    return this.data.features;
  }

  string(number) {
    return this.data.strings[number];
  }

  feature(index) {
    return this.features[this.places.get(index)] ?? null;
  }

  /** Everything about a feature as the explorer's records have it, the strings in their places. */
  read(feature) {
    const tokens = (weights) =>
      weights?.map(([text, logit, id]) => ({ token_id: id, token: this.string(text), logit })) ??
      null;
    const contexts = feature.contexts.map((context) => this.readContext(feature, context));
    return {
      feature: feature.index,
      label: feature.label,
      flags: feature.flags,
      measures: { density: feature.density },
      max_code: feature.max,
      scale: feature.scale,
      judged: feature.judged,
      nearest: feature.nearest,
      nearest_cosine: feature.cosine,
      concept: feature.concept === null ? null : this.readConcept(feature.concept),
      concepts: feature.profile.map(([name, auroc_train, auroc]) => ({
        concept: this.string(name),
        auroc_train,
        auroc,
      })),
      contexts: contexts.filter(({ quantile }) => quantile === null),
      quantile_contexts: contexts.filter(({ quantile }) => quantile !== null),
      neurons: feature.neurons.map((neuron, place) => ({
        neuron,
        weight: feature.weights[place],
      })),
      promoted: tokens(feature.promoted),
      demoted: tokens(feature.demoted),
      types: feature.types.map(([text, count]) => ({ token: this.string(text), count })),
      totals: {
        neurons: feature.group[0],
        against: feature.group[1],
        concepts: feature.concepts,
        types: feature.firings[0],
        firings: feature.firings[1],
      },
    };
  }

  readConcept(concept) {
    return {
      concept: this.string(concept.name),
      auroc_train: concept.train,
      auroc: concept.auroc,
      low: concept.interval?.[0] ?? null,
      high: concept.interval?.[1] ?? null,
      p_value: concept.p,
      n_positive: concept.positive,
      n_negative: concept.negative,
      precision: concept.precision,
      sure: concept.sure,
      names_feature: concept.names,
    };
  }

  readContext(feature, [quantile, window, focus, label, code, codes]) {
    return {
      quantile,
      tokens: this.data.windows[window].map((text) => this.string(text)),
      focus,
      label: label === null ? null : this.string(label),
      code,
      codes: codes.map((step) => (step === null ? null : (step / CODE_STEPS) * feature.scale)),
    };
  }

  conceptName(feature) {
    return feature.concept === null ? null : this.string(feature.concept.name);
  }

  /** Where a feature can be linked to. */
  hash(feature = null) {
    const place = `#layer=${this.number}&site=${this.kind}`;
    return feature === null ? place : `${place}&feature=${feature.index}`;
  }

  /** Number of features that hold each neuron; only neurons the page carries. */
  get neuronCounts() {
    if (this.counts === undefined) {
      this.counts = new Map();
      for (const feature of this.features) {
        for (const neuron of feature.neurons) {
          this.counts.set(neuron, (this.counts.get(neuron) ?? 0) + 1);
        }
      }
    }
    return this.counts;
  }

  /** Number of features for each best concept. */
  get conceptCounts() {
    const counts = new Map();
    for (const feature of this.features) {
      const name = this.conceptName(feature);
      if (name !== null) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return counts;
  }

  /** Folded texts of a feature in which a search looks, from the nearest to the farthest. */
  searchable(feature) {
    const place = this.places.get(feature.index);
    if (this.folded[place] === null) {
      const types = feature.types.map(([text]) => this.string(text));
      const promoted = (feature.promoted ?? []).map(([text]) => this.string(text));
      const name = `${feature.label}\n${this.conceptName(feature) ?? ""}`;
      this.folded[place] = {
        name: folded(name),
        types,
        promoted,
        all: folded([name, ...types, ...promoted].join("\n")),
      };
    }
    return this.folded[place];
  }

  /** Whether a feature answers a search: `#12`, `neuron:345`, or words that all occur in it. */
  matches(feature, query) {
    const number = /^#(\d+)$/.exec(query);
    if (number) return feature.index === Number(number[1]);
    const neuron = /^neuron:\s*(\d+)$/.exec(query);
    if (neuron) return feature.neurons.includes(Number(neuron[1]));
    const { all } = this.searchable(feature);
    return query.split(/\s+/).every((term) => all.includes(term));
  }

  /** Why a feature answers a search, where its label and concept do not show it. */
  reason(feature, query) {
    if (query === "" || /^(#|neuron:)/.test(query)) return null;
    const { name, types, promoted } = this.searchable(feature);
    const term = query.split(/\s+/).find((word) => !name.includes(word));
    if (term === undefined) return null;
    const fires = types.find((text) => folded(text).includes(term));
    if (fires !== undefined) return `fires on ${fires.trim()}`;
    const says = promoted.find((text) => folded(text).includes(term));
    return says === undefined ? null : `promotes ${says.trim()}`;
  }

  /** Features that pass all filters, in order. */
  select({ query, concept, flag, order, reversed }) {
    const wanted = folded(query.trim());
    const found = this.features.filter(
      (feature) =>
        (wanted === "" || this.matches(feature, wanted)) &&
        (concept === "" || this.conceptName(feature) === concept) &&
        (flag === "" ||
          (flag === "none" ? feature.flags.length === 0 : feature.flags.includes(flag))),
    );
    const { of, high = false } = ORDERS[order];
    const sign = high === reversed ? 1 : -1;
    const keyed = found.map((feature) => ({ feature, key: of(feature) }));
    keyed.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
      const difference = typeof a.key === "string" ? COLLATOR.compare(a.key, b.key) : a.key - b.key;
      return sign * difference || a.feature.index - b.feature.index;
    });
    return keyed.map(({ feature }) => feature);
  }
}
