// Which features fire on a sentence: the list it makes, and what the open feature does on it.

import { listPath, runPath } from "../address.js";
import { ask, read } from "../api.js";
import { heatTokens } from "../shared/contexts.js";
import { h } from "../shared/dom.js";
import { figure, percent } from "../shared/text.js";

const MOST = 200; // features asked for

/** The features that fire on a sentence, strongest first; offers what `FeatureSource` does. */
export class SentenceSource {
  constructor({ run, layer, sentence }) {
    this.run = run;
    this.layer = layer;
    this.sentence = sentence;
    this.stopped = new AbortController();
    this.rows = [];
  }

  async first() {
    const { signal } = this.stopped;
    const [list, firing] = await Promise.all([
      read(listPath(this.run, this.layer), { query: { limit: 1 }, signal }),
      firingOn(this.run, this.layer, this.sentence, { limit: MOST, signal }),
    ]);
    this.firing = firing;
    this.total = list.total;
    this.measures = list.measures;
    this.concepts = list.concepts;
    this.rows = firing.features.map((one) => rowOf(one, firing.tokens));
    this.found = this.rows.length;
    this.strongest = this.rows[0]?.strongest ?? 1;
    return this;
  }

  row(place) {
    return this.rows[place] ?? null;
  }

  placeOf(feature) {
    return this.rows.findIndex((row) => row.feature === feature);
  }

  stop() {
    this.stopped.abort();
  }
}

/** Ask which features fire on a text. */
export function firingOn(run, layer, text, { limit, signal } = {}) {
  return ask(`${runPath(run)}/${layer}/firing.json`, { text, limit }, { signal });
}

function rowOf({ feature, label, code, share, focus }, tokens) {
  const part = share === null ? "" : ` · ${percent(share)} of its largest code`;
  return {
    feature,
    label,
    flags: [],
    concept: null,
    sure: false,
    tokens: [],
    promoted: [],
    measures: {},
    strongest: code,
    why: `on ${tokens[focus].trim()}${part}`,
  };
}

/** The sentence in the colours of the open feature; null without a sentence. */
export function sentenceBlock(source, page) {
  const firing = source?.firing;
  if (!firing || !page) return null;
  const found = firing.features.find((one) => one.feature === page.feature);
  const codes = found?.codes ?? firing.tokens.map(() => 0);
  const context = { tokens: firing.tokens, codes, focus: found?.focus ?? -1, code: found?.code };
  return h(
    "section",
    { class: "block" },
    h("h3", {}, "On your sentence"),
    h("p", { class: "text own", dir: "auto" }, heatTokens(context, page)),
    h(
      "p",
      { class: "note" },
      found ? `Its largest code here is ${figure(found.code)}.` : "It does not fire on it, or less than others.",
      firing.truncated ? " The sentence was cut at the longest length of the run." : null,
    ),
  );
}
