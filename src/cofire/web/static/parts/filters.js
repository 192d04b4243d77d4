// The controls above a feature list. What they say stands in the address, so that it can be linked.

import { h } from "../shared/dom.js";
import { figure } from "../shared/text.js";

const FLAGS = ["dead", "duplicate", "one-token"];
const LOWEST_FIRST = new Set(["feature", "label", "p_value"]);

/** The filters an address names. */
export function filtersFrom(query) {
  return {
    search: query.get("search") ?? "",
    sentence: query.get("sentence") ?? "",
    concept: query.get("concept") ?? "",
    flag: query.get("flag") ?? "",
    sure: query.get("sure") === "true",
    sort: query.get("sort") ?? "feature",
    order: query.get("order") ?? "",
    where: query.getAll("where"),
  };
}

/** What is asked of the server: `#12` and `neuron:345` are searches of their own kind. */
export function asked({ search, concept, flag, sure, sort, order, where }) {
  const number = /^#(\d+)$/.exec(search.trim());
  const neuron = /^neuron:\s*(\d+)$/i.exec(search.trim());
  return {
    search: number || neuron ? "" : search.trim(),
    neuron: neuron ? neuron[1] : null,
    concept,
    flag: FLAGS.includes(flag) ? [flag] : [],
    without: flag === "none" ? FLAGS : [],
    sure: sure ? true : null,
    sort,
    order: order || (LOWEST_FIRST.has(sort) ? "asc" : "desc"),
    where: number ? [...where, `feature=${number[1]}`] : where,
  };
}

/** Whether anything is filtered out. */
export function narrowed({ search, sentence, concept, flag, sure, where }) {
  return [search, sentence, concept, flag].some((one) => one !== "") || sure || where.length > 0;
}

/**
 * The controls. `changed(filters)` is called whenever the reader changes one.
 *
 * @param {boolean} live whether sentences can be tried, which needs the model
 */
export class Filters {
  constructor({ filters, live, changed }) {
    this.filters = filters;
    this.changed = changed;
    this.measures = null;
    this.sentence = filters.sentence !== "";
    this.build(live);
    this.show(filters);
  }

  build(live) {
    this.query = h("input", {
      type: "search",
      id: "search",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: 200,
      "aria-keyshortcuts": "/",
    });
    this.kinds = h(
      "select",
      { id: "search-kind" },
      h("option", { value: "words" }, "Labels and tokens"),
      h("option", { value: "sentence" }, "A sentence of yours"),
    );
    this.concept = h("select", { id: "concept" });
    this.flag = h(
      "select",
      { id: "flag" },
      h("option", { value: "" }, "Any"),
      h("option", { value: "none" }, "Nothing wrong"),
      FLAGS.map((flag) => h("option", { value: flag }, flag)),
    );
    this.sort = h("select", { id: "sort" });
    this.direction = h("button", { type: "button", id: "direction" });
    this.sure = h("input", { type: "checkbox", id: "sure" });
    this.ranges = h("div", { class: "ranges" });
    this.more = h(
      "details",
      { class: "more-filters" },
      h("summary", {}, "Filter by measures"),
      h("label", { class: "check" }, this.sure, " Concept confirmed on held-out texts"),
      this.ranges,
    );
    this.element = h(
      "form",
      { class: "controls", id: "controls", role: "search" },
      h(
        "div",
        { class: "search" },
        h("label", {}, h("span", { class: "hidden-label" }, "Search features"), this.query),
        h("kbd", { "aria-hidden": "true" }, "/"),
      ),
      live ? h("label", {}, h("span", {}, "Search in"), " ", this.kinds) : null,
      h(
        "div",
        { class: live ? "sort half" : "sort" },
        h("label", {}, h("span", {}, "Sort"), " ", this.sort),
        this.direction,
      ),
      h("label", { class: "filter" }, h("span", {}, "Concept"), " ", this.concept),
      h("label", { class: "filter" }, h("span", {}, "Health"), " ", this.flag),
      this.more,
    );
    this.listen();
  }

  listen() {
    const search = () => this.set({ [this.sentence ? "sentence" : "search"]: this.query.value });
    this.query.addEventListener("input", () => {
      if (!this.sentence || this.query.value === "") search(); // a sentence is read when complete
    });
    this.element.addEventListener("submit", (event) => event.preventDefault());
    this.query.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      search();
    });
    this.kinds.addEventListener("change", () => {
      this.sentence = this.kinds.value === "sentence";
      this.describe();
      this.query.focus();
      const { search, sentence } = this.filters;
      if (search !== "" || sentence !== "") {
        this.query.value = "";
        this.set({ search: "", sentence: "" });
      }
    });
    for (const name of ["concept", "flag"]) {
      this[name].addEventListener("change", () => this.set({ [name]: this[name].value }));
    }
    this.sure.addEventListener("change", () => this.set({ sure: this.sure.checked }));
    this.sort.addEventListener("change", () => this.set({ sort: this.sort.value, order: "" }));
    this.direction.addEventListener("click", () => {
      this.set({ order: asked(this.filters).order === "asc" ? "desc" : "asc" });
    });
  }

  set(changes) {
    this.filters = { ...this.filters, ...changes };
    this.mark();
    this.changed(this.filters);
  }

  /** Show filters that came from elsewhere, such as the address. */
  show(filters) {
    this.filters = filters;
    if (filters.search !== "" || filters.sentence !== "") this.sentence = filters.sentence !== "";
    const words = this.sentence ? filters.sentence : filters.search;
    if (this.query.value.trim() !== words.trim()) this.query.value = words;
    this.kinds.value = this.sentence ? "sentence" : "words";
    this.describe();
    this.flag.value = filters.flag;
    this.sure.checked = filters.sure;
    if (this.measures !== null) this.offer(this.measures, this.concepts);
    this.mark();
  }

  describe() {
    this.element.classList.toggle("of-sentence", this.sentence); // its list has one order
    this.query.placeholder = this.sentence
      ? "Type a sentence, then Enter"
      : "Search labels, concepts, tokens";
  }

  mark() {
    const { order } = asked(this.filters);
    const down = order === "desc";
    this.direction.textContent = down ? "↓" : "↑";
    const words = down ? "highest first; click for lowest first" : "lowest first; click for highest first";
    this.direction.title = words;
    this.direction.setAttribute("aria-label", `Order: ${words}`);
  }

  /** Offer the measures and concepts that the layer has. */
  offer(measures, concepts) {
    const { filters } = this;
    if (this.measures !== measures) {
      const options = measures.map(({ name, title }) => h("option", { value: name }, title));
      options.splice(1, 0, h("option", { value: "label" }, "Label"));
      this.sort.replaceChildren(...options);
      this.concept.replaceChildren(
        h("option", { value: "" }, "Any"),
        ...concepts.map((name) => h("option", { value: name }, name)),
      );
      this.concept.disabled = concepts.length === 0;
      this.ranges.replaceChildren(
        ...measures.filter(({ name, low }) => name !== "feature" && low !== null).map((one) => this.range(one)),
      );
    }
    this.measures = measures;
    this.concepts = concepts;
    this.sort.value = filters.sort;
    this.concept.value = filters.concept;
    for (const input of this.ranges.querySelectorAll("input")) {
      const found = filters.where.find((one) => one.startsWith(input.dataset.condition));
      if (document.activeElement !== input) {
        input.value = found ? found.slice(input.dataset.condition.length) : "";
      }
    }
    if (filters.where.length > 0 || filters.sure) this.more.open = true;
  }

  range({ name, title, low, high, description }) {
    const input = (comparison, bound, words) => {
      const box = h("input", {
        type: "number",
        step: "any",
        placeholder: figure(bound),
        "aria-label": `${title} ${words}`,
        "data-condition": `${name}${comparison}`,
      });
      box.addEventListener("change", () => {
        const others = this.filters.where.filter((one) => !one.startsWith(`${name}${comparison}`));
        const own = box.value === "" ? [] : [`${name}${comparison}${Number(box.value)}`];
        this.set({ where: [...others, ...own] });
      });
      return box;
    };
    return h(
      "div",
      { class: "range", title: description },
      h("span", { class: "range-name" }, title),
      input(">=", low, "at least"),
      h("span", { "aria-hidden": "true" }, "–"),
      input("<=", high, "at most"),
    );
  }
}
