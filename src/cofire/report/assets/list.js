// The list of features: search, filters, order, and rows drawn only where they can be seen.

const ROW_REMS = 4.25; // --row of the stylesheet
const OVERSCAN = 6; // rows drawn beyond each edge
const LEAST_ROWS = 12; // rows drawn even where the list is out of sight

class FeatureList {
  /** @param {(feature: object, open: boolean) => void} choose called when a feature is chosen */
  constructor(choose) {
    this.choose = choose;
    this.layer = null;
    this.shown = [];
    this.current = null;
    this.rows = byId("rows");
    this.frame = byId("frame");
    this.inputs = {
      query: byId("search"),
      concept: byId("concept"),
      flag: byId("flag"),
      order: byId("sort"),
    };
    this.reversed = false;
    const draw = () => this.draw();
    this.frame.addEventListener("scroll", draw, { passive: true });
    window.addEventListener("scroll", draw, { passive: true });
    window.addEventListener("resize", draw);
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
    this.frame.scrollTop = 0;
    this.rows.style.height = `${this.shown.length * this.rowHeight}px`;
    this.draw();
  }

  get rowHeight() {
    return ROW_REMS * parseFloat(getComputedStyle(document.documentElement).fontSize);
  }

  /** Mark a feature as the current one, and bring its row into the frame. */
  mark(feature) {
    this.current = feature;
    const place = this.shown.indexOf(feature);
    if (place >= 0) {
      const top = place * this.rowHeight;
      const { scrollTop, clientHeight } = this.frame;
      if (top < scrollTop) this.frame.scrollTop = top;
      else if (top + this.rowHeight > scrollTop + clientHeight) {
        this.frame.scrollTop = top + this.rowHeight - clientHeight;
      }
    }
    this.draw();
  }

  /** Bring the current row into sight where the page scrolls, not the frame. */
  reveal() {
    const place = this.shown.indexOf(this.current);
    if (place >= 0 && narrow.matches) {
      const top = this.rows.getBoundingClientRect().top + place * this.rowHeight;
      const margin = 2 * this.rowHeight; // room for the bar of layers
      if (top < margin) window.scrollBy(0, top - margin);
      else if (top + margin > window.innerHeight)
        window.scrollBy(0, top + margin - window.innerHeight);
    }
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
    const height = this.rowHeight;
    const box = this.rows.getBoundingClientRect();
    const clip = this.frame.getBoundingClientRect();
    const top = Math.max(0, clip.top) - box.top;
    const bottom = Math.min(window.innerHeight, clip.bottom) - box.top;
    const end = Math.max(LEAST_ROWS, Math.ceil(bottom / height) + OVERSCAN);
    const last = Math.min(this.shown.length, end);
    const first = Math.max(0, Math.min(Math.floor(top / height) - OVERSCAN, last - LEAST_ROWS));
    const places = [];
    for (let place = first; place < last; place += 1) places.push(place);
    this.rows.replaceChildren(...places.map((place) => this.row(place, height)));
    const current = this.shown.indexOf(this.current);
    if (current >= first && current < last) {
      this.rows.setAttribute("aria-activedescendant", `row-${this.current.index}`);
    } else {
      this.rows.removeAttribute("aria-activedescendant");
    }
  }

  row(place, height) {
    const feature = this.shown[place];
    const concept = feature.concept;
    const known = concept !== null && concept.auroc !== null;
    const bar = h("i");
    if (known) bar.style.width = `${100 * Math.max(0, 2 * concept.auroc - 1)}%`;
    const reason = this.layer.reason(feature, this.query);
    const row = h(
      "div",
      {
        class: "row",
        role: "option",
        id: `row-${feature.index}`,
        "data-place": place,
        "aria-selected": feature === this.current ? "true" : "false",
        "aria-posinset": place + 1,
        "aria-setsize": this.shown.length,
      },
      h("span", { class: "number" }, String(feature.index)),
      h("span", { class: "label", dir: "auto", title: feature.label }, feature.label),
      h(
        "span",
        { class: "under" },
        feature.flags.length > 0
          ? h("span", { class: "flag" }, `${feature.flags.join(", ")} · `)
          : null,
        isolated(reason ?? this.remark(feature)),
      ),
      h(
        "span",
        {
          class: known && concept.sure ? "score sure" : "score",
          title: "held-out AUROC of its best concept",
        },
        known ? score(concept.auroc) : missing("no held-out AUROC"),
        h("span", { class: "track" }, bar),
      ),
    );
    row.style.top = `${place * height}px`;
    return row;
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
    const page = Math.max(1, Math.floor(this.frame.clientHeight / this.rowHeight) - 1);
    const steps = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -Infinity,
      End: Infinity,
    };
    if (event.key === "Enter" && this.current !== null) {
      event.preventDefault();
      this.choose(this.current, true);
    }
    if (!(event.key in steps) || this.shown.length === 0) return;
    event.preventDefault();
    event.stopPropagation();
    const place = this.shown.indexOf(this.current) + steps[event.key];
    const kept = Math.min(this.shown.length - 1, Math.max(0, place));
    this.choose(this.shown[kept], false);
    this.reveal();
  }
}
