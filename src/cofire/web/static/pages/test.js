// Live test: sentences of one's own, and what every feature makes of each token.

import { featurePath, href } from "../address.js";
import { ask, read } from "../api.js";
import { placeFor } from "../bar.js";
import { featureChips } from "../parts/chips.js";
import { canCompute, modelNote } from "../parts/model_state.js";
import { featurePicker } from "../parts/picker.js";
import { layerChoice, nothingToShow } from "../parts/place_choice.js";
import { firingOn } from "../parts/sentence.js";
import { failed } from "../parts/words.js";
import { heatTokens } from "../shared/contexts.js";
import { h, isolated } from "../shared/dom.js";
import { alignedLike, counted, figure, percent } from "../shared/text.js";

const FIRING = 40; // features asked for, a sentence
const FIRST = 10; // of them shown at first
const EXAMPLE = "On Monday the judge read the letter.";

export async function open({ query, signal, go }) {
  const place = await placeFor(query);
  if (place.card === null) return nothingToShow("Test");
  const limits = await read("/test", { signal });
  return new TestPage({ ...place, limits, query, go });
}

class TestPage {
  constructor({ card, run, layer, limits, query, go }) {
    this.title = "Test sentences";
    this.place = { run, layer };
    this.limits = limits;
    this.go = go;
    this.asking = new AbortController();
    this.keys = { "/": () => this.text.focus() };
    this.text = h("textarea", {
      id: "sentences",
      rows: 4,
      placeholder: EXAMPLE,
      dir: "auto",
    });
    this.text.value = query.getAll("text").join("\n");
    this.chips = featureChips({ place: this.place, most: limits.most_features });
    this.button = h("button", { class: "main" }, "Read");
    this.button.disabled = !canCompute(limits.models, run);
    this.status = h("p", { class: "note", role: "status" });
    this.results = h("div", { id: "results" });
    this.content = [
      h("h1", {}, "Test sentences"),
      h(
        "p",
        { class: "deck" },
        "Write sentences, one a line, and see which features fire on them, token by token.",
      ),
      modelNote(limits.models, run),
      this.form(card, layer),
      this.status,
      this.results,
    ];
    this.ready = this.chips.add(numbers(query.get("features")));
    if (this.text.value.trim() !== "" && !this.button.disabled) this.ready.then(() => this.run());
  }

  form(card, layer) {
    const form = h(
      "form",
      { class: "work" },
      h("label", { class: "wide" }, h("span", {}, "Sentences"), " ", this.text),
      layerChoice({ card, layer, changed: (chosen) => this.go(this.address({ layer: chosen })) }),
      featurePicker({
        label: "Only these features, else whichever fire",
        place: () => this.place,
        chosen: (row) => this.chips.put(row),
      }),
      this.chips.element,
      h("p", { class: "actions" }, this.button, " ", h("span", { class: "note" }, "or Ctrl+Enter")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
    this.text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.run();
    });
    return form;
  }

  get texts() {
    return this.text.value.split("\n").filter((line) => line.trim() !== "");
  }

  address({ layer = this.place.layer } = {}) {
    const kept = layer === this.place.layer ? this.chips.features.join(",") : "";
    return href("/test", { run: this.place.run, layer, features: kept, text: this.texts });
  }

  async run() {
    const texts = this.texts.slice(0, this.limits.most_texts);
    this.asking.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    if (texts.length === 0) {
      this.status.textContent = "Write a sentence first.";
      return;
    }
    history.replaceState(null, "", this.address());
    this.status.textContent = "Reading …";
    this.button.disabled = true;
    try {
      const shown =
        this.chips.features.length > 0
          ? await this.ofFeatures(texts, signal)
          : await this.ofAll(texts, signal);
      this.results.replaceChildren(...shown);
      const left = this.texts.length - texts.length;
      this.status.textContent =
        left > 0 ? `Only ${counted(texts.length, "sentence")} at once; ${left} left out.` : "";
    } catch (error) {
      if (error.name === "AbortError") return;
      this.status.textContent = "";
      this.results.replaceChildren(failed(error));
      if (!("status" in error)) throw error;
    } finally {
      this.button.disabled = false;
    }
  }

  /** Whichever features fire, a sentence at a time. */
  async ofAll(texts, signal) {
    const { run, layer } = this.place;
    const blocks = [];
    for (const text of texts) {
      blocks.push(this.sentence(await firingOn(run, layer, text, { limit: FIRING, signal })));
    }
    return blocks;
  }

  sentence(firing) {
    const list = h("ol", { class: "contexts lines" });
    const note = h("p", { class: "note" });
    let at = null; // the token the list is about
    let shown = FIRST;
    const more = h("button", { type: "button", class: "more" }, "Show more");
    const tokens = firing.tokens.map((token, place) => {
      const button = h("button", { type: "button", class: "pick", "aria-pressed": "false" }, isolated(token.trim() || "␣"));
      button.addEventListener("click", () => {
        at = at === place ? null : place;
        tokens.forEach((one, number) => one.setAttribute("aria-pressed", number === at ? "true" : "false"));
        draw();
      });
      return button;
    });
    const draw = () => {
      const found =
        at === null
          ? firing.features
          : firing.features.filter((one) => one.codes[at] > 0).sort((a, b) => b.codes[at] - a.codes[at]);
      const written = alignedLike(found.map(({ codes, focus }) => codes[at ?? focus]));
      list.replaceChildren(
        ...found.slice(0, shown).map((one) => this.line(firing.tokens, one, at, written)),
      );
      more.hidden = found.length <= shown;
      const where = at === null ? "on it" : `on ${firing.tokens[at].trim()}`;
      const many = at === null ? firing.found : found.length;
      note.textContent =
        many === 0
          ? `No feature fires ${where}.`
          : `${counted(many, "feature")} ${many === 1 ? "fires" : "fire"} ${where}, strongest first.`;
    };
    more.addEventListener("click", () => {
      shown = FIRING;
      draw();
    });
    draw();
    return h(
      "section",
      { class: "block sentence" },
      h("div", { class: "picks", role: "group", "aria-label": "Tokens: choose one to see what fires on it" }, tokens),
      firing.truncated ? h("p", { class: "notice" }, "Cut at the longest length of the run.") : null,
      note,
      list,
      more,
    );
  }

  line(tokens, { feature, label, codes, code, share, focus }, at, written) {
    const { run, layer } = this.place;
    const place = at ?? focus;
    const largest = share > 0 ? code / share : code;
    const context = { tokens, codes, focus: place, code: codes[place] };
    return h(
      "li",
      { class: "context line" },
      h(
        "span",
        { class: "code", title: share === null ? null : `${percent(share)} of its largest code` },
        written(codes[place]),
      ),
      h(
        "div",
        {},
        h(
          "a",
          { class: "who", href: href(featurePath(run, layer, feature)) },
          h("span", { class: "number" }, `${feature} `),
          isolated(label),
        ),
        h("p", { class: "text", dir: "auto" }, heatTokens(context, { scale: largest || 1 })),
      ),
    );
  }

  /** The features that were chosen, each with all sentences. */
  async ofFeatures(texts, signal) {
    const { run, layer } = this.place;
    const result = await ask("/test.json", { run, layer, features: this.chips.features, texts }, { signal });
    return result.features.map(({ feature, label, max_code: largest }, number) =>
      h(
        "section",
        { class: "block" },
        h(
          "h3",
          {},
          h("a", { href: href(featurePath(run, layer, feature)) }, `${feature} `, isolated(label)),
        ),
        h(
          "ol",
          { class: "contexts lines" },
          result.texts.map(({ tokens, codes }) => this.ofText(tokens, codes[number], largest)),
        ),
        h("p", { class: "note" }, `Colours are shares of its largest code in the run, ${figure(largest)}.`),
      ),
    );
  }

  ofText(tokens, codes, largest) {
    const top = codes.reduce((best, code, place) => (code > codes[best] ? place : best), 0);
    const focus = codes[top] > 0 ? top : -1;
    const context = { tokens, codes, focus, code: codes[top] };
    return h(
      "li",
      { class: "context line" },
      h("span", { class: "code" }, figure(codes[top] ?? 0, 3)),
      h("p", { class: "text", dir: "auto" }, heatTokens(context, { scale: largest || 1 })),
    );
  }

  leave() {
    this.asking.abort();
  }
}

/** Numbers in a parameter such as 3,17. */
export function numbers(words) {
  return (words ?? "").split(",").filter((word) => /^\d+$/.test(word)).map(Number);
}
