// The features of a layer: the list, and beside it the one that is open.

import { featurePath, href, isStored, listPath } from "../address.js";
import { read } from "../api.js";
import { cardOf } from "../bar.js";
import { featureBlocks, prepared } from "../parts/feature_detail.js";
import { FeatureList } from "../parts/feature_list.js";
import { FeatureSource } from "../parts/feature_source.js";
import { asked, Filters, filtersFrom, narrowed } from "../parts/filters.js";
import { labelHead } from "../parts/label_edit.js";
import { sentenceBlock, SentenceSource } from "../parts/sentence.js";
import { storedBlocks } from "../parts/stored_blocks.js";
import { failed } from "../parts/words.js";
import { byId, h, isolated, narrow } from "../shared/dom.js";
import { FLAG_WORDS } from "../shared/detail.js";
import { markTab, moveBetweenTabs } from "../shared/tabs.js";
import { counted } from "../shared/text.js";

const KEPT = 60; // feature pages that stay in memory

export async function open({ params: { run, layer, feature }, query, go }) {
  const card = await cardOf(run);
  const page = new FeaturesPage({ run, layer: Number(layer), card, go });
  page.start(filtersFrom(query), feature === undefined ? null : Number(feature));
  return page;
}

function countWords({ found, total, firing }) {
  const all = counted(total, "feature");
  if (firing) return `${firing.found.toLocaleString("en")} of ${all} fire on it`;
  return found === total ? all : `${found.toLocaleString("en")} of ${all}`;
}

class FeaturesPage {
  constructor({ run, layer, card, go }) {
    this.run = run;
    this.layer = layer;
    this.layers = card?.layers ?? [layer];
    this.go = go;
    this.place = { run, layer };
    this.pages = new Map();
    this.open = null; // number of the feature that is open
    this.title = `Layer ${layer}`;
    this.list = new FeatureList({ choose: (feature, how) => this.choose(feature, how) });
    this.detail = h("article", { class: "detail", id: "detail", "aria-label": "Feature", tabindex: -1 });
    this.count = h("span", { id: "count", role: "status" }, "…");
    this.clear = h("button", { type: "button", id: "clear", hidden: true, onclick: () => this.reset() }, "Clear");
    this.keys = {
      "/": () => this.filters.query.focus(),
      j: () => this.step(1),
      k: () => this.step(-1),
      ArrowRight: () => this.step(1),
      ArrowLeft: () => this.step(-1),
      "[": () => this.stepLayer(-1),
      "]": () => this.stepLayer(1),
      Escape: () => this.closeSheet(),
    };
    this.onResize = () => {
      this.cover(narrow.matches && this.open !== null);
      this.list.draw();
    };
    narrow.addEventListener("change", this.onResize);
    this.onScroll = () => this.fit();
    window.addEventListener("scroll", this.onScroll, { passive: true });
    window.addEventListener("resize", this.onScroll, { passive: true });
  }

  start(filters, feature) {
    this.filters = new Filters({
      filters,
      live: !isStored,
      changed: (changed) => this.go(this.address(this.open, changed), { replace: true }),
    });
    this.content = [
      h("h1", { class: "hidden-label" }, `Features of layer ${this.layer}`),
      this.tabs(),
      h(
        "div",
        { class: "explorer", id: "explorer", tabindex: -1 },
        h(
          "section",
          { class: "browser", "aria-label": "Features" },
          this.filters.element,
          h("p", { class: "count" }, this.count, " ", this.clear),
          this.list.frame,
        ),
        this.detail,
      ),
    ];
    this.open = feature;
    this.listed = this.refresh(filters, { keep: true });
    if (feature !== null) this.show(feature, { opening: true });
  }

  /** The list reaches down to the edge of the window, however far the page is scrolled. */
  fit() {
    const below = document.querySelector(".tabs-bar").getBoundingClientRect().bottom;
    byId("explorer").style.setProperty("--above", `${Math.round(below)}px`);
  }

  shown() {
    this.fit();
    this.list.draw();
    byId("tabs").querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest", inline: "center" });
    if (this.open !== null && narrow.matches) this.cover(true);
  }

  tabs() {
    const tabs = this.layers.map((layer) => {
      const tab = h("button", { type: "button", role: "tab", "aria-controls": "explorer" }, `Layer ${layer}`);
      markTab(tab, layer === this.layer);
      tab.addEventListener("click", () => {
        if (layer !== this.layer) this.go(href(listPath(this.run, layer), this.query()));
      });
      return tab;
    });
    const list = h("div", { role: "tablist", "aria-label": "Layers", id: "tabs" }, tabs);
    list.addEventListener("keydown", moveBetweenTabs);
    return h("div", { class: "tabs-bar" }, list);
  }

  /** The filters as parameters of an address. */
  query(filters = this.filters.filters) {
    return { ...filters, sort: filters.sort === "feature" ? "" : filters.sort };
  }

  address(feature, filters = this.filters.filters) {
    const path =
      feature === null ? listPath(this.run, this.layer) : featurePath(this.run, this.layer, feature);
    return href(path, this.query(filters));
  }

  /** Show another address of the same layer; the list stays as it is where its filters do. */
  follow({ params, query }) {
    if (params.run !== this.run || Number(params.layer) !== this.layer) return false;
    const filters = filtersFrom(query);
    if (JSON.stringify(filters) !== this.asked) {
      this.filters.show(filters);
      this.listed = this.refresh(filters);
    }
    const feature = params.feature === undefined ? null : Number(params.feature);
    if (feature === null) {
      this.cover(false);
      if (narrow.matches) this.open = null;
      this.list.mark(this.open);
    } else if (feature !== this.open) this.show(feature, this.how ?? { opening: true });
    else if (narrow.matches) this.cover(true);
    this.how = null;
    return true;
  }

  /** Show what passes the filters; from the top, or with `keep` where the open feature is. */
  async refresh(filters, { keep = false } = {}) {
    this.asked = JSON.stringify(filters);
    this.list.busy = true; // what stands there is of other filters
    this.source?.stop();
    const Source = filters.sentence === "" ? FeatureSource : SentenceSource;
    const source = new Source({
      run: this.run,
      layer: this.layer,
      filters: asked(filters),
      sentence: filters.sentence,
      arrived: () => this.list.draw(),
    });
    this.source = source;
    this.clear.hidden = !narrowed(filters);
    if (filters.sentence !== "") {
      this.count.textContent = "Reading the sentence … the model may have to be loaded first.";
    }
    try {
      await source.first(keep ? this.open : null);
    } catch (error) {
      if (error.name === "AbortError" || source !== this.source) return;
      this.list.busy = false;
      this.count.replaceChildren(failed(error));
      if (!("status" in error)) throw error;
      return;
    }
    if (source !== this.source) return;
    this.filters.offer(source.measures, source.concepts);
    this.list.open(source, asked(filters), { keep });
    this.list.busy = false;
    this.count.textContent = countWords(source);
    if (this.open === null && !narrow.matches) this.showFirst();
    this.drawSentence();
  }

  /** On a wide screen something is always open: the first feature that fires. */
  showFirst() {
    let place = 0;
    const last = Math.min(this.source.found, 20) - 1;
    while (place < last && this.source.row(place)?.flags.includes("dead")) place += 1;
    const row = this.source.row(place);
    if (row) this.show(row.feature, { quiet: true });
  }

  reset() {
    const filters = filtersFrom(new URLSearchParams());
    filters.sort = this.filters.filters.sort;
    filters.order = this.filters.filters.order;
    this.go(this.address(this.open, filters));
  }

  /** A feature was chosen: its address opens it. */
  choose(feature, how = {}) {
    this.how = how;
    if (feature === this.open && (how.entering || narrow.matches)) this.enter();
    const sheet = how.opening && narrow.matches && this.open === null;
    this.go(this.address(feature), { replace: !(how.opening && (sheet || !narrow.matches)) });
  }

  async show(feature, { opening = false, quiet = false, entering = false } = {}) {
    this.open = feature;
    this.list.mark(feature);
    let page;
    try {
      page = await this.page(feature);
    } catch (error) {
      if (this.open !== feature) return;
      this.detail.replaceChildren(this.bar({ feature, flags: [] }), failed(error));
      if (!("status" in error)) throw error;
      return;
    }
    if (this.open !== feature) return;
    this.shownPage = page;
    this.title = `${page.label} · ${page.title}, feature ${feature}`;
    this.sentence = h("div", { class: "on-sentence" });
    const blocks = [
      this.bar(page),
      labelHead(page, { saved: () => this.relabelled(feature), acts: this.acts(feature) }),
      this.sentence,
      ...featureBlocks(page, {
        search: (query) => this.search(query),
        extra: storedBlocks(page),
      }),
    ];
    this.detail.replaceChildren(...blocks.filter((block) => block !== null));
    this.drawSentence();
    this.detail.setAttribute("aria-label", `Feature ${feature}`);
    this.detail.scrollTop = 0;
    if (!quiet) {
      document.title = `${this.title} · cofire`;
      byId("announce").textContent = `Feature ${feature}: ${page.label}`;
    }
    if (opening && narrow.matches) this.cover(true);
    if (entering) this.enter();
    else if (!quiet && !narrow.matches) this.bringIntoView();
  }

  /** The page of a feature, from memory where it was open before. */
  async page(feature) {
    const known = this.pages.get(feature);
    if (known) return known;
    const path = featurePath(this.run, this.layer, feature);
    const page = prepared(await read(path));
    this.pages.set(feature, page);
    if (this.pages.size > KEPT) this.pages.delete(this.pages.keys().next().value);
    return page;
  }

  relabelled(feature) {
    this.pages.delete(feature);
    this.show(feature);
    this.listed = this.refresh(this.filters.filters, { keep: true });
  }

  drawSentence() {
    if (!this.sentence) return;
    const block = sentenceBlock(this.source, this.shownPage);
    this.sentence.replaceChildren(...(block === null ? [] : [block]));
  }

  bar({ feature, flags }) {
    const step = (by, sign, words) => {
      const button = h(
        "button",
        { type: "button", class: "step", title: words, "aria-label": words, onclick: () => this.step(by) },
        sign,
      );
      button.disabled = this.list.source !== null && this.list.neighbour(by) === null;
      return button;
    };
    return h(
      "div",
      { class: "detail-bar" },
      h("button", { type: "button", class: "back", onclick: () => this.closeSheet() }, "← List"),
      h(
        "a",
        { class: "place", href: href(featurePath(this.run, this.layer, feature)), title: "link to this feature" },
        `Layer ${this.layer}, feature ${feature}`,
      ),
      flags.map((flag) => h("span", { class: "badge", title: FLAG_WORDS[flag] }, flag)),
      step(-1, "↑", "previous feature"),
      step(1, "↓", "next feature"),
    );
  }

  /** What can be done with a feature. */
  acts(feature) {
    if (isStored) return [];
    const of = { run: this.run, layer: this.layer, features: feature };
    const a = `${this.run}/${this.layer}/${feature}`;
    return [
      h("a", { href: href("/steer", of) }, "Steer with it"),
      h("a", { href: href("/test", of) }, "Test it on sentences"),
      h("a", { href: href("/compare", { a }) }, "Compare it"),
    ];
  }

  async step(by) {
    await this.listed; // a key may come before the list
    this.list.move(by, { stepping: true, opening: false });
  }

  stepLayer(by) {
    const next = this.layers[this.layers.indexOf(this.layer) + by];
    if (next !== undefined) this.go(href(listPath(this.run, next), this.query()));
  }

  /** Search from inside a feature; a small screen goes back to the list to show what was found. */
  search(query) {
    const filters = { ...filtersFrom(new URLSearchParams()), search: query };
    this.go(this.address(narrow.matches ? null : this.open, filters));
    byId("explorer").scrollIntoView();
  }

  enter() {
    this.detail.focus({ preventScroll: true });
    this.bringIntoView();
  }

  bringIntoView() {
    if (narrow.matches) return;
    const { top } = this.detail.getBoundingClientRect();
    if (top < 0 || top > 0.6 * window.innerHeight) byId("explorer").scrollIntoView();
  }

  /** A feature covers a small screen; what lies below it cannot be reached until it is closed. */
  cover(covered) {
    const before = "open" in document.documentElement.dataset;
    document.documentElement.toggleAttribute("data-open", covered);
    for (const element of document.querySelectorAll(".skip, .top, .tabs-bar, .browser")) {
      element.inert = covered;
    }
    if (covered && !before) this.detail.focus({ preventScroll: true });
  }

  closeSheet() {
    if (!("open" in document.documentElement.dataset)) return;
    const feature = this.open;
    this.go(this.address(null), { replace: true });
    this.list.mark(feature);
    this.list.reveal();
    this.list.rows.focus({ preventScroll: true });
  }

  leave() {
    this.source?.stop();
    this.list.close();
    this.cover(false);
    narrow.removeEventListener("change", this.onResize);
    window.removeEventListener("scroll", this.onScroll);
    window.removeEventListener("resize", this.onScroll);
  }
}
