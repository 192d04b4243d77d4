// The list of features of a report: search, filters, order.

import { byId, h, missing } from "./dom.js";
import { FLAGS, ORDERS } from "./layer.js";
import { aurocShare, featureRow, ROW_REMS } from "./feature_row.js";
import { stepped, VirtualRows } from "./rows.js";
import { COLLATOR, counted, folded, percent, score } from "./text.js";

export class FeatureList {
  /** @param {(feature: object, open: boolean) => void} choose called when a feature is chosen */
  constructor(choose) {
    this.choose = choose;
    this.layer = null;
    this.shown = [];
    this.current = null;
    this.rows = byId("rows");
    this.view = new VirtualRows({
      rows: this.rows,
      frame: byId("frame"),
      rems: ROW_REMS,
      row: (place) => this.row(place),
    });
    this.inputs = {
      query: byId("search"),
      concept: byId("concept"),
      flag: byId("flag"),
      order: byId("sort"),
    };
    this.reversed = false;
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.choose(this.shown[Number(row.dataset.place)], true);
    });
    this.rows.addEventListener("keydown", (event) => this.onKey(event));
    this.inputs.order.append(
      ...Object.entries(ORDERS).map(([value, { name }]) => h("option", { value }, name)),
    );
    this.inputs.query.addEventListener("input", () => this.refresh());
    for (const name of ["concept", "flag"]) {
      this.inputs[name].addEventListener("change", () => this.refresh());
    }
    this.inputs.order.addEventListener("change", () => {
      this.reversed = false;
      this.refresh();
    });
    byId("direction").addEventListener("click", () => {
      this.reversed = !this.reversed;
      this.refresh();
    });
    byId("clear").addEventListener("click", () => this.filter({}));
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
  }

  /** Show another layer's features; filters that make sense there are kept. */
  open(layer) {
    this.layer = layer;
    this.current = null;
    this.offerConcepts();
    this.offerFlags();
    this.refresh();
  }

  /** Set the filters: those not named are cleared. */
  filter({ query = "", concept = "" }) {
    this.inputs.query.value = query;
    this.inputs.concept.value = concept;
    this.inputs.flag.value = "";
    this.refresh();
  }

  offerConcepts() {
    const select = this.inputs.concept;
    const kept = select.value;
    const counts = [...this.layer.conceptCounts].sort((a, b) => COLLATOR.compare(a[0], b[0]));
    select.replaceChildren(
      h("option", { value: "" }, "Any"),
      ...counts.map(([name, count]) => h("option", { value: name }, `${name} (${count})`)),
    );
    select.value = counts.some(([name]) => name === kept) ? kept : "";
    select.disabled = counts.length === 0;
  }

  offerFlags() {
    const select = this.inputs.flag;
    const kept = select.value;
    const having = (test) => this.layer.features.filter(test).length;
    const options = [
      ["", "Any", null],
      ["none", "Nothing wrong", having((feature) => feature.flags.length === 0)],
      ...FLAGS.map((flag) => [flag, flag, having((feature) => feature.flags.includes(flag))]),
    ];
    select.replaceChildren(
      ...options.map(([value, name, count]) =>
        h("option", { value, disabled: count === 0 }, count === null ? name : `${name} (${count})`),
      ),
    );
    select.value = options.some(([value, , count]) => value === kept && count !== 0) ? kept : "";
  }

  /** Select and order anew, from the top. */
  refresh() {
    const { query, concept, flag, order } = this.inputs;
    this.query = folded(query.value.trim());
    this.shown = this.layer.select({
      query: query.value,
      concept: concept.value,
      flag: flag.value,
      order: order.value,
      reversed: this.reversed,
    });
    const total = this.layer.features.length;
    const all = this.shown.length === total;
    byId("count").textContent = all
      ? counted(total, "feature")
      : `${this.shown.length.toLocaleString("en")} of ${counted(total, "feature")}`;
    byId("clear").hidden = query.value === "" && concept.value === "" && flag.value === "";
    const descending = Boolean(ORDERS[order.value].high) !== this.reversed;
    byId("direction").textContent = descending ? "↓" : "↑";
    byId("direction").title = descending
      ? "highest first; click for lowest first"
      : "lowest first; click for highest first";
    this.view.open(this.shown.length);
    this.draw();
  }

  /** Mark a feature as the current one, and bring its row into the frame. */
  mark(feature) {
    this.current = feature;
    const place = this.shown.indexOf(feature);
    if (place >= 0) this.view.enframe(place);
    this.draw();
  }

  /** Bring the current row into sight where the page scrolls, not the frame. */
  reveal() {
    const place = this.shown.indexOf(this.current);
    if (place >= 0) this.view.reveal(place);
    this.draw();
  }

  /** The feature so many places after the current one, in the order of the list. */
  neighbour(step) {
    const place = this.shown.indexOf(this.current);
    if (place < 0) return this.shown[0] ?? null;
    return this.shown[place + step] ?? null;
  }

  /** Draw the rows that can be seen, whether the frame or the page scrolls. */
  draw() {
    if (this.layer === null) return;
    if (this.shown.length === 0) {
      this.rows.style.height = "auto";
      this.rows.removeAttribute("aria-activedescendant");
      this.rows.replaceChildren(
        h("p", { class: "empty" }, "No feature passes the search and filters."),
      );
      return;
    }
    this.view.draw();
    if (this.view.draws(this.shown.indexOf(this.current))) {
      this.rows.setAttribute("aria-activedescendant", `row-${this.current.index}`);
    } else {
      this.rows.removeAttribute("aria-activedescendant");
    }
  }

  row(place) {
    const feature = this.shown[place];
    const auroc = feature.concept?.auroc ?? null;
    return featureRow({
      index: feature.index,
      label: feature.label,
      flags: feature.flags,
      under: this.layer.reason(feature, this.query) ?? this.remark(feature),
      amount: auroc === null ? missing("no held-out AUROC") : score(auroc),
      share: aurocShare(auroc),
      sure: auroc !== null && feature.concept.sure,
      title: "held-out AUROC of its best concept",
      selected: feature === this.current,
      place,
      count: this.shown.length,
    });
  }

  /** What a row says below the label: what the label does not say already. */
  remark(feature) {
    const active = `${percent(feature.density)} of tokens`;
    const concept = this.layer.conceptName(feature);
    if (concept === null) return active;
    if (feature.concept.names) return `${concept} · ${active}`;
    return `${feature.concept.sure ? "selects" : "perhaps"} ${concept} · ${active}`;
  }

  onKey(event) {
    if (event.key === "Enter" && this.current !== null) {
      event.preventDefault();
      this.choose(this.current, true);
    }
    const place = this.shown.indexOf(this.current);
    const next = stepped(event.key, place, this.shown.length, this.view.page);
    if (next === null) return;
    event.preventDefault();
    event.stopPropagation();
    this.choose(this.shown[next], false);
    this.reveal();
  }
}
