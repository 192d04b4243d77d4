// The list of features: rows drawn where they can be seen, moved through by keys.

import { aurocShare, featureRow, ROW_REMS } from "../shared/feature_row.js";
import { h, missing } from "../shared/dom.js";
import { stepped, VirtualRows } from "../shared/rows.js";
import { figure, folded, percent, score } from "../shared/text.js";

export class FeatureList {
  /** @param {(feature: number, how: object) => void} choose called when a feature is chosen */
  constructor({ choose }) {
    this.choose = choose;
    this.source = null;
    this.current = null; // number of the feature that is open
    this.rows = h("div", {
      class: "rows",
      id: "rows",
      role: "listbox",
      tabindex: 0,
      "aria-label": "Features of this layer",
    });
    this.frame = h("div", { class: "rows-frame", id: "frame" }, this.rows);
    this.view = new VirtualRows({
      rows: this.rows,
      frame: this.frame,
      rems: ROW_REMS,
      row: (place) => this.row(place),
    });
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest(".row[id]");
      if (row) this.choose(this.source.row(Number(row.dataset.place)).feature, { opening: true });
    });
    this.rows.addEventListener("keydown", (event) => this.onKey(event));
  }

  /** Show the rows of a source, from the top or, with `keep`, where the open feature is. */
  open(source, { search = "", sort = "feature" }, { keep = false } = {}) {
    this.source = source;
    this.search = folded(search.trim());
    this.shown = source.measures.find(({ name }) => name === sort) ?? null;
    if (this.shown?.name === "feature") this.shown = null;
    this.view.open(source.found);
    if (source.found === 0) {
      this.rows.style.height = "auto";
      this.rows.replaceChildren(
        h("p", { class: "empty", role: "option" }, "No feature passes the search and filters."),
      );
    }
    this.place = source.placeOf(this.current);
    if (keep && this.place >= 0) this.view.enframe(this.place);
    this.draw();
  }

  /** Whether another list is on its way. */
  set busy(busy) {
    this.rows.setAttribute("aria-busy", String(busy));
  }

  /** Draw what can be seen; rows may have come since. */
  draw() {
    if (this.source === null || this.source.found === 0) {
      this.rows.removeAttribute("aria-activedescendant");
      return;
    }
    this.view.draw();
    if (this.view.draws(this.place)) {
      this.rows.setAttribute("aria-activedescendant", `row-${this.current}`);
    } else this.rows.removeAttribute("aria-activedescendant");
  }

  /** Mark a feature as the open one. */
  mark(feature) {
    this.current = feature;
    const known = this.place >= 0 && this.source?.row(this.place)?.feature === feature;
    if (!known) this.place = this.source?.placeOf(feature) ?? -1;
    if (this.place >= 0) this.view.enframe(this.place);
    this.draw();
  }

  /** Bring the open feature's row into sight where the page scrolls. */
  reveal() {
    if (this.place >= 0) this.view.reveal(this.place);
    this.draw();
  }

  /** The feature so many places after the open one, null at the ends. */
  neighbour(step) {
    if (this.source === null || this.source.found === 0) return null;
    if (this.place < 0) return this.source.row(0);
    const place = this.place + step;
    return place >= 0 && place < this.source.found ? this.source.row(place) : null;
  }

  /** Go so many places on; the place is kept so that it holds while rows are on their way. */
  move(step, how) {
    const row = this.neighbour(step);
    if (row === null) return;
    this.place = Math.max(0, this.place + step);
    this.choose(row.feature, how);
  }

  row(place) {
    const row = this.source.row(place);
    if (row === null) {
      return h("div", { class: "row coming", "data-place": place, "aria-hidden": "true" }, "…");
    }
    return featureRow({
      index: row.feature,
      label: row.label,
      flags: row.flags,
      under: this.remark(row),
      selected: row.feature === this.current,
      place,
      count: this.source.found,
      ...this.amount(row),
    });
  }

  /** The figure at the right: what the list is sorted by, else the AUROC. */
  amount(row) {
    if (row.strongest !== undefined) {
      return {
        amount: figure(row.strongest),
        share: row.strongest / this.source.strongest,
        sure: true,
        title: "its largest code on the sentence",
      };
    }
    const measure = this.shown;
    const value = row.measures[measure?.name ?? "auroc"] ?? null;
    if (measure === null || measure.name === "auroc") {
      return {
        amount: value === null ? missing("no held-out AUROC") : score(value),
        share: aurocShare(value),
        sure: value !== null && row.sure,
        title: "held-out AUROC of its best concept",
      };
    }
    const shown = measure.unit === "share" ? percent(value) : figure(value);
    const span = measure.high - measure.low;
    return {
      amount: value === null ? missing(`no ${measure.title}`) : shown,
      share: value === null || span === 0 ? null : (value - measure.low) / span,
      sure: false,
      title: measure.description,
    };
  }

  /** What a row says below the label: why it was found, or what the label does not say already. */
  remark(row) {
    const reason = this.reason(row);
    if (reason !== null) return reason;
    const active = `${percent(row.measures.density)} of tokens`;
    if (row.concept === null) return active;
    return `${row.sure ? "selects" : "perhaps"} ${row.concept} · ${active}`;
  }

  reason(row) {
    if (row.why !== undefined) return row.why;
    if (this.search === "" || /^(#|neuron:)/.test(this.search)) return null;
    if (folded(`${row.label}\n${row.concept ?? ""}`).includes(this.search)) return null;
    const fires = row.tokens.find((token) => folded(token).includes(this.search));
    if (fires !== undefined) return `fires on ${fires}`;
    const says = row.promoted.find((token) => folded(token).includes(this.search));
    return says === undefined ? null : `promotes ${says}`;
  }

  onKey(event) {
    if (this.source === null) return;
    if (event.key === "Enter" && this.current !== null) {
      event.preventDefault();
      this.choose(this.current, { opening: true, entering: true });
      return;
    }
    const next = stepped(event.key, this.place, this.source.found, this.view.page);
    if (next === null) return;
    event.preventDefault();
    event.stopPropagation();
    this.place = next;
    const row = this.source.row(next);
    this.view.enframe(next);
    if (row !== null) this.choose(row.feature, { stepping: true });
    this.reveal();
  }

  close() {
    this.view.close();
  }
}
