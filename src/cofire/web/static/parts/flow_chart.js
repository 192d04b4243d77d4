// Features of neighbouring layers joined by ribbons; one that is chosen shows all it is linked with.

import { h, isolated, svg } from "../shared/dom.js";
import { counted, figure } from "../shared/text.js";

const COLUMN = 190; // between layers
const NODE = 9; // width of a feature's bar
const TALL = 11; // of a feature
const GAP = 3;
const LEFT = 8;
const TOP = 34;
const MOST = 60; // linked features of a layer that are drawn

/**
 * The chart, with a list of what the chosen feature is linked with.
 *
 * @param {object} flow layers and steps with links
 * @param {Map<number, string[]>} labels of the features of every layer
 */
export function flowChart({ flow, labels, open, link }) {
  const { columns, left } = columnsOf(flow);
  const height = TOP + Math.max(...columns.map(({ features }) => features.length), 1) * (TALL + GAP) + 10;
  const width = LEFT + (columns.length - 1) * COLUMN + NODE + 150;
  const places = new Map();
  columns.forEach(({ layer, features }, number) =>
    features.forEach((feature, row) =>
      places.set(`${layer}/${feature}`, { x: LEFT + number * COLUMN, y: TOP + row * (TALL + GAP), layer, feature }),
    ),
  );
  const named = (layer, feature) => labels.get(layer)?.[feature] ?? "";
  const detail = h("div", { class: "flow-detail", role: "status" });
  const picture = svg(
    "svg",
    { class: "flow-chart", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Features across layers" },
    columns.map(({ layer }, number) =>
      svg("text", { class: "layer-name", x: LEFT + number * COLUMN, y: 16 }, `Layer ${layer}`),
    ),
  );
  const ribbons = [];
  for (const step of flow.steps) {
    for (const one of step.links) {
      const from = places.get(`${step.lower}/${one.lower}`);
      const to = places.get(`${step.higher}/${one.higher}`);
      if (!from || !to) continue;
      const ribbon = svg("path", { class: one.wired === false ? "ribbon loose" : "ribbon", d: curveBetween(from, to) });
      ribbon.style.strokeWidth = `${Math.max(1, TALL * one.correlation)}px`;
      ribbons.push({ ribbon, from, to, link: one });
      picture.append(ribbon);
    }
  }
  const nodes = [...places.values()].map((place) => {
    const label = named(place.layer, place.feature);
    const node = svg(
      "g",
      {
        class: "node",
        tabindex: 0,
        role: "button",
        "aria-pressed": "false",
        "aria-label": `layer ${place.layer}, feature ${place.feature}: ${label}`,
      },
      svg("rect", { x: place.x, y: place.y, width: NODE, height: TALL, rx: 1.5 }),
      svg(
        "text",
        { x: place.x + NODE + 4, y: place.y + TALL - 2 },
        svg("title", {}, label),
        shortened(label || `feature ${place.feature}`),
      ),
    );
    const choose = () => show(place);
    node.addEventListener("click", choose);
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose();
    });
    picture.append(node);
    return { node, place };
  });

  let chosen = null;
  const show = (place) => {
    chosen = chosen === place ? null : place;
    const near = chosen === null ? null : linkedWith(ribbons, chosen);
    picture.classList.toggle("choosing", chosen !== null);
    for (const one of ribbons) one.ribbon.classList.toggle("near", near !== null && near.has(one));
    for (const { node, place: own } of nodes) {
      const touched = near !== null && (own === chosen || [...near].some(({ from, to }) => from === own || to === own));
      node.classList.toggle("near", touched);
      node.setAttribute("aria-pressed", own === chosen ? "true" : "false");
    }
    detail.replaceChildren(...(chosen === null ? [hint()] : chosenWords(chosen)));
  };
  const hint = () => h("p", { class: "note" }, "Choose a feature to see what it is linked with.");
  const chosenWords = (place) => {
    const own = ribbons.filter(({ from, to }) => from === place || to === place);
    return [
      h("p", {}, h("a", { href: link(place.layer, place.feature) }, `Layer ${place.layer}, feature ${place.feature} `, isolated(named(place.layer, place.feature)))),
      h(
        "ul",
        { class: "earlier" },
        own.map(({ from, to, link: one }) => {
          const other = from === place ? to : from;
          const way = from === place ? "goes on as" : "comes from";
          return h(
            "li",
            {},
            `${way} `,
            h("a", { href: link(other.layer, other.feature) }, `layer ${other.layer}, ${other.feature} `, isolated(named(other.layer, other.feature))),
            h("span", { class: "note" }, ` correlation ${figure(one.correlation, 2)}${one.heldout === null || one.heldout === undefined ? "" : `, held out ${figure(one.heldout, 2)}`}${one.cosine === null || one.cosine === undefined ? "" : `, through the weights ${figure(one.cosine, 2)}`}`),
          );
        }),
      ),
    ];
  };
  detail.append(hint());
  const first = open === null ? null : places.get(`${open.layer}/${open.feature}`);
  if (first) show(first);
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "Links"),
    h("div", { class: "scroll flow-frame", tabindex: 0, role: "region", "aria-label": "Links between layers" }, picture),
    left > 0
      ? h("p", { class: "note" }, `Only the ${MOST} most linked features of a layer are drawn; ${counted(left, "other")} are in the document below.`)
      : h("p", { class: "note" }, "The thicker, the more the codes correlate; pale ones are not carried by the weights. Features without any link are left out."),
    detail,
  );
}

/** The features of every layer that have links, the most linked, in an order with few crossings. */
function columnsOf({ layers, steps }) {
  const weight = new Map(layers.map((layer) => [layer, new Map()]));
  const add = (layer, feature, amount) => {
    const own = weight.get(layer);
    own?.set(feature, (own.get(feature) ?? 0) + amount);
  };
  for (const step of steps) {
    for (const { lower, higher, correlation } of step.links) {
      add(step.lower, lower, correlation);
      add(step.higher, higher, correlation);
    }
  }
  let left = 0;
  const columns = layers.map((layer) => {
    const found = [...weight.get(layer)].sort((a, b) => b[1] - a[1]);
    left += Math.max(0, found.length - MOST);
    return { layer, features: found.slice(0, MOST).map(([feature]) => feature) };
  });
  // Each layer in order of the mean place of what it is linked with below (barycentre order).
  columns.forEach((column, number) => {
    if (number === 0) return;
    const before = new Map(columns[number - 1].features.map((feature, place) => [feature, place]));
    const step = steps.find(({ lower, higher }) => lower === columns[number - 1].layer && higher === column.layer);
    const mean = new Map();
    for (const { lower, higher } of step?.links ?? []) {
      if (!before.has(lower)) continue;
      const [sum, count] = mean.get(higher) ?? [0, 0];
      mean.set(higher, [sum + before.get(lower), count + 1]);
    }
    const key = (feature) => {
      const [sum, count] = mean.get(feature) ?? [Infinity, 1];
      return sum / count;
    };
    column.features.sort((a, b) => key(a) - key(b) || a - b);
  });
  return { columns, left };
}

function curveBetween(from, to) {
  const [x, y] = [from.x + NODE, from.y + TALL / 2];
  const [a, b] = [to.x, to.y + TALL / 2];
  const middle = (x + a) / 2;
  return `M${x},${y} C${middle},${y} ${middle},${b} ${a},${b}`;
}

/** Links that lead to or from a feature, through any number of layers. */
function linkedWith(ribbons, start) {
  const near = new Set();
  const walk = (place, side, other) => {
    for (const one of ribbons) {
      if (one[side] !== place || near.has(one)) continue;
      near.add(one);
      walk(one[other], side, other);
    }
  };
  walk(start, "from", "to");
  walk(start, "to", "from");
  return near;
}

function shortened(label) {
  return label.length > 24 ? `${label.slice(0, 23)}…` : label;
}
