// Charts drawn from figures: lines, bars, intervals. Sizes and classes are those of the report.

import { h, svg } from "../shared/dom.js";
import { figure } from "../shared/text.js";

const LEFT = 46;
const RIGHT = 12;
const TOP = 22;
const BOTTOM = 36;
const LOG_ABOVE = 30; // largest / smallest value from which an axis is logarithmic

function linearTicks(low, high, whole) {
  const raw = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw * (1 - 1e-9));
  return ticksBy(whole ? Math.max(1, step) : step, low, high);
}

function ticksBy(step, low, high) {
  const first = Math.ceil(low / step - 1e-9);
  const ticks = [];
  for (let place = first; place * step <= high + 1e-9 * step; place += 1) {
    ticks.push(Number((place * step).toPrecision(12)));
  }
  return ticks;
}

function logTicks(low, high) {
  const ticks = [];
  const digits = Math.log10(high / low) > 2.2 ? [1] : [1, 2, 5];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade += 1) {
    for (const digit of digits) {
      const tick = Number((digit * 10 ** decade).toPrecision(3));
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  }
  return ticks;
}

/** An axis: its ticks and where a value lies between two ends. */
export function axis(low, high, start, end, { log = false, whole = false } = {}) {
  if (log && low > 0 && high / low > LOG_ABOVE) {
    const [first, last] = [Math.log10(low), Math.log10(high)];
    const at = (value) => start + ((Math.log10(value) - first) / (last - first)) * (end - start);
    return { at, ticks: logTicks(low, high), log: true };
  }
  if (!(high > low)) [low, high] = [low - (Math.abs(low) / 2 || 1), high + (Math.abs(high) / 2 || 1)];
  const at = (value) => start + ((value - low) / (high - low)) * (end - start);
  return { at, ticks: linearTicks(low, high, whole), log: false };
}

function frame({ width, height, x, y, xName, yName }, ...shapes) {
  const bottom = height - BOTTOM;
  const rules = y.ticks.map((tick) => [
    svg("line", { class: "rule", x1: LEFT, x2: width - RIGHT, y1: y.at(tick), y2: y.at(tick) }),
    svg("text", { x: LEFT - 6, y: y.at(tick), dy: ".32em", "text-anchor": "end" }, figure(tick)),
  ]);
  const marks = x.ticks.map((tick) =>
    svg("text", { x: x.at(tick), y: bottom + 14, "text-anchor": "middle" }, figure(tick)),
  );
  return [
    svg("g", { class: "ticks" }, rules, marks),
    ...shapes,
    svg("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: bottom, y2: bottom }),
    svg(
      "text",
      { class: "name", x: width - RIGHT, y: height - 5, "text-anchor": "end" },
      x.log ? `${xName} (log)` : xName,
    ),
    svg("text", { class: "name", x: 4, y: 10 }, y.log ? `${yName} (log)` : yName),
  ];
}

/** A curve of [x, y] points; `lowest` marks the point that was sought. */
export function curve(points, { xName, yName, lowest = true, log = false, width = 380, height = 230 }) {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const bottom = Math.min(...ys);
  const top = Math.max(...ys);
  const pad = (top - bottom) * 0.05;
  const whole = xs.every(Number.isInteger);
  const x = axis(Math.min(...xs), Math.max(...xs), LEFT, width - RIGHT, { log, whole });
  const y = axis(bottom < 0 ? bottom - pad : Math.max(0, bottom - pad), top + pad || 1, height - BOTTOM, TOP);
  const best = points.reduce((least, point) => (point[1] < least[1] ? point : least));
  const line = points.map(([a, b]) => `${x.at(a).toFixed(1)},${y.at(b).toFixed(1)}`).join(" ");
  const words = `${yName}: from ${figure(ys[0])} to ${figure(ys.at(-1))} in ${xs.length} points, lowest ${figure(best[1])}`;
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words },
    frame(
      { width, height, x, y, xName, yName },
      svg("polyline", { class: "line", points: line }),
      lowest ? lowestMark(x.at(best[0]), y.at(best[1]), figure(best[1]), width) : dots(points, x, y),
    ),
  );
}

function lowestMark(x, y, words, width) {
  const anchor = x > width / 2 ? "end" : "start";
  return [
    svg("circle", { class: "best", cx: x, cy: y, r: 3.5 }, svg("title", {}, words)),
    svg("text", { class: "best-name", x, y: y - 9, "text-anchor": anchor }, words),
  ];
}

function dots(points, x, y) {
  return points.map(([a, b]) =>
    svg("circle", { class: "point", cx: x.at(a), cy: y.at(b), r: 3 }, svg("title", {}, `${figure(a)}: ${figure(b)}`)),
  );
}

/** Bars between edges; counts on a logarithmic axis where they differ much. */
export function histogram({ edges, counts }, { xName, yName, width = 380, height = 190 }) {
  const most = Math.max(...counts, 1);
  const bottom = height - BOTTOM;
  const x = axis(edges[0], edges.at(-1), LEFT, width - RIGHT);
  const tall = most > LOG_ABOVE * Math.min(...counts.filter((count) => count > 0));
  const y = axis(tall ? 0.7 : 0, tall ? most * 1.2 : most * 1.05, bottom, TOP, { log: tall });
  const bars = counts.map((count, place) => {
    if (count === 0) return null;
    const left = x.at(edges[place]);
    return svg(
      "rect",
      {
        class: "bar strong",
        x: left + 0.5,
        y: y.at(count),
        width: Math.max(1, x.at(edges[place + 1]) - left - 1),
        height: bottom - y.at(count),
      },
      svg("title", {}, `${figure(edges[place])} to ${figure(edges[place + 1])}: ${count.toLocaleString("en")}`),
    );
  });
  const total = counts.reduce((sum, count) => sum + count, 0);
  return svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": `${yName} by ${xName}: ${total.toLocaleString("en")} from ${figure(edges[0])} to ${figure(edges.at(-1))}`,
    },
    frame({ width, height, x, y, xName, yName }, bars),
  );
}

/** A figure with its caption. */
export function chart(caption, ...content) {
  return h("figure", { class: "chart" }, h("figcaption", {}, caption), ...content);
}

/** A point with its interval on a scale from `low` to `high`. */
export function intervalLine({ value, from, to }, { low, high, title }) {
  const at = (one) => `${(100 * (one - low)) / (high - low || 1)}%`;
  return svg(
    "svg",
    { class: "plot interval", role: "img", "aria-label": title },
    svg("title", {}, title),
    svg("line", { class: "rule", x1: "0%", x2: "100%", y1: 8, y2: 8 }),
    low < 0 && high > 0
      ? svg("line", { class: "chance", x1: at(0), x2: at(0), y1: 1, y2: 15 })
      : null,
    from === null || to === null
      ? null
      : svg("line", { class: "span", x1: at(from), x2: at(to), y1: 8, y2: 8 }),
    svg("circle", { class: "held", cx: at(value), cy: 8, r: 4.5 }),
  );
}
