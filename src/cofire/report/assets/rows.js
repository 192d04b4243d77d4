// A long list of which only the rows that can be seen are drawn, whether a frame or the page scrolls.

import { narrow } from "./dom.js";

const OVERSCAN = 6; // rows drawn beyond each edge
const LEAST_ROWS = 12; // rows drawn even where the list is out of sight

export class VirtualRows {
  /**
   * @param {HTMLElement} rows the element that holds the rows, of the height of all of them
   * @param {HTMLElement} frame the element that scrolls where the page does not
   * @param {number} rems height of a row
   * @param {(place: number) => HTMLElement} row draws one row
   */
  constructor({ rows, frame, rems, row }) {
    this.rows = rows;
    this.frame = frame;
    this.rems = rems;
    this.row = row;
    this.count = 0;
    this.first = 0;
    this.last = 0;
    const draw = () => this.draw();
    this.listening = new AbortController();
    const options = { passive: true, signal: this.listening.signal };
    frame.addEventListener("scroll", draw, options);
    window.addEventListener("scroll", draw, options);
    window.addEventListener("resize", draw, options);
  }

  /** Stop listening: the list is gone from the page. */
  close() {
    this.listening.abort();
  }

  get height() {
    return this.rems * parseFloat(getComputedStyle(document.documentElement).fontSize);
  }

  /** Rows that fit into the frame. */
  get page() {
    return Math.max(1, Math.floor(this.frame.clientHeight / this.height) - 1);
  }

  /** Show so many rows, from the top. */
  open(count) {
    this.count = count;
    this.frame.scrollTop = 0;
    this.rows.style.height = `${count * this.height}px`;
  }

  /** Scroll the frame so far that a row is inside it. */
  enframe(place) {
    const top = place * this.height;
    const { scrollTop, clientHeight } = this.frame;
    if (top < scrollTop) this.frame.scrollTop = top;
    else if (top + this.height > scrollTop + clientHeight) {
      this.frame.scrollTop = top + this.height - clientHeight;
    }
  }

  /** Bring a row into sight where the page scrolls, not the frame. */
  reveal(place) {
    if (!narrow.matches) return;
    const top = this.rows.getBoundingClientRect().top + place * this.height;
    const margin = 2 * this.height; // room for the bar above the list
    if (top < margin) window.scrollBy(0, top - margin);
    else if (top + margin > window.innerHeight) {
      window.scrollBy(0, top + margin - window.innerHeight);
    }
  }

  /** Draw the rows that can be seen. */
  draw() {
    if (this.count === 0) return;
    const height = this.height;
    const box = this.rows.getBoundingClientRect();
    const clip = this.frame.getBoundingClientRect();
    const top = Math.max(0, clip.top) - box.top;
    const bottom = Math.min(window.innerHeight, clip.bottom) - box.top;
    const end = Math.max(LEAST_ROWS, Math.ceil(bottom / height) + OVERSCAN);
    this.last = Math.min(this.count, end);
    this.first = Math.max(
      0,
      Math.min(Math.floor(top / height) - OVERSCAN, this.last - LEAST_ROWS),
    );
    const drawn = [];
    for (let place = this.first; place < this.last; place += 1) {
      const row = this.row(place);
      row.style.top = `${place * height}px`;
      drawn.push(row);
    }
    this.rows.replaceChildren(...drawn);
  }

  /** Whether a row is drawn. */
  draws(place) {
    return place >= this.first && place < this.last;
  }
}

/** Where a key moves in a list of so many rows; null when it is no key of a list. */
export function stepped(key, place, count, page) {
  const steps = {
    ArrowDown: 1,
    ArrowUp: -1,
    PageDown: page,
    PageUp: -page,
    Home: -Infinity,
    End: Infinity,
  };
  if (!(key in steps) || count === 0) return null;
  return Math.min(count - 1, Math.max(0, place + steps[key]));
}
