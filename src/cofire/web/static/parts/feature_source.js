// Where the rows of a feature list come from: the server, a page at a time, or an exported file.

import { isStored, listPath } from "../address.js";
import { read } from "../api.js";
import { chosen } from "./stored_rows.js";

const PAGE = 100; // rows asked for at once

/**
 * The features of a layer that pass some filters, in some order.
 *
 * `total`, `found`, `measures` and `concepts` are known once `first` has settled; `row(place)` is
 * null until its page has come, and `arrived` is called when it does.
 */
export class FeatureSource {
  constructor({ run, layer, filters, arrived }) {
    this.path = listPath(run, layer);
    this.filters = filters;
    this.arrived = arrived;
    this.pages = new Map();
    this.stopped = new AbortController();
    this.total = 0;
    this.found = 0;
    this.measures = [];
    this.concepts = [];
    this.codes = null; // of a sentence: what it is made of and how strongly each feature fires
  }

  /** Ask for the first page, or for the one that holds a feature. */
  async first(feature = null) {
    const page = await this.ask({ offset: 0, around: feature });
    this.total = page.total;
    this.found = page.found;
    this.measures = page.measures;
    this.concepts = page.concepts;
    this.pages.set(page.offset / PAGE, page.features);
    return this;
  }

  /** The row at a place of the list, null while it is on its way. */
  row(place) {
    const number = Math.floor(place / PAGE);
    const page = this.pages.get(number);
    if (Array.isArray(page)) return page[place % PAGE] ?? null;
    if (page === undefined) {
      this.load(number).then(this.arrived, () => this.pages.delete(number));
    }
    return null;
  }

  /** The place of a feature among the rows that have come, -1 when it is not among them. */
  placeOf(feature) {
    for (const [number, rows] of this.pages) {
      const place = Array.isArray(rows) ? rows.findIndex((row) => row.feature === feature) : -1;
      if (place >= 0) return number * PAGE + place;
    }
    return -1;
  }

  /** Ask for nothing more: another list takes its place. */
  stop() {
    this.stopped.abort();
  }

  async load(number) {
    this.pages.set(number, null);
    const { features } = await this.ask({ offset: number * PAGE });
    this.pages.set(number, features);
  }

  /** A page of the list: the one at an offset, or around a feature that is in it. */
  async ask({ offset, around = null }) {
    if (!isStored) {
      const query = { ...this.filters, offset, around, limit: PAGE };
      return read(this.path, { query, signal: this.stopped.signal });
    }
    const list = await wholeList(this.path);
    const rows = chosen(list, this.filters);
    const place = rows.findIndex((row) => row.feature === around);
    const start = place < 0 ? offset : Math.floor(place / PAGE) * PAGE;
    return { ...list, found: rows.length, offset: start, features: rows.slice(start, start + PAGE) };
  }
}

const whole = new Map();

/** An exported list, read once. */
function wholeList(path) {
  if (!whole.has(path)) whole.set(path, read(path));
  return whole.get(path);
}
