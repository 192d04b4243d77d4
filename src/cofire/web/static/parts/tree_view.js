// A tree whose branches open and close, moved through by keys as trees are everywhere.

import { h, isolated } from "../shared/dom.js";
import { folded, percent } from "../shared/text.js";

/**
 * The nodes that hang on the root of a stored tree, the coarsest first, each with its children.
 *
 * @param {object} content `levels` of nodes, the finest first, each with `parent` and `share`
 */
export function forestOf({ levels, first_changed: changed }) {
  const nodes = levels.map((level, number) =>
    level.map(({ index, label, share, others, concept }) => ({
      label: label === "" ? `feature ${index}` : label,
      feature: number === 0 && !changed ? index : null,
      level: number,
      concept,
      share,
      others,
      children: [],
    })),
  );
  const roots = [];
  levels.forEach((level, number) =>
    level.forEach(({ index, parent, others }) => {
      const node = nodes[number][index];
      node.others = others.map(([other, share]) => ({ label: nodes[number + 1][other].label, share }));
      (parent === null ? roots : nodes[number + 1][parent].children).push(node);
    }),
  );
  for (const node of nodes.flat()) node.children.sort((a, b) => b.share - a.share);
  return roots.sort((a, b) => b.level - a.level);
}

/** The tree, with a search; `open` is a feature to show at once. */
export function treeView({ roots, open, link }) {
  const list = h("ul", { class: "tree", role: "tree", "aria-label": "Tree of features" });
  const items = [];
  const depths = deepest(roots);
  const top = Math.max(0, ...roots.map(({ level }) => level));
  const make = (node, depth, parent, place, siblings) => {
    const inner = node.children.length > 0;
    const item = h("li", {
      role: "treeitem",
      tabindex: -1,
      "aria-level": depth,
      "aria-posinset": place + 1,
      "aria-setsize": siblings,
      "aria-expanded": inner ? (depth < 2 && depths > 1 && roots.length < 30 ? "true" : "false") : null,
      "aria-selected": "false",
    });
    const words = node.feature === null ? isolated(node.label) : h("a", { href: link(node.feature), tabindex: -1 }, h("span", { class: "number" }, `${node.feature} `), isolated(node.label));
    const leaves = inner ? countLeaves(node) : 0;
    const row = h(
      "div",
      { class: "tree-row" },
      h("span", { class: "twist", "aria-hidden": "true" }, inner ? "▸" : "·"),
      words,
      inner ? h("span", { class: "note" }, ` ${leaves} ${leaves === 1 ? "feature" : "features"}`) : null,
      node.share === null ? null : h("span", { class: "note", title: "of its weight goes to this parent" }, ` ${percent(node.share)}`),
      node.others.map(({ label, share }) =>
        h("span", { class: "note" }, `, ${percent(share)} to `, isolated(label)),
      ),
      node.share === null && node.level < top ? h("span", { class: "note" }, " belongs to nothing broader") : null,
    );
    item.append(row);
    const own = { node, item, parent, text: folded(node.label) };
    items.push(own);
    if (inner) {
      const group = h("ul", { role: "group" });
      node.children.forEach((child, number) => group.append(make(child, depth + 1, own, number, node.children.length)));
      item.append(group);
      row.addEventListener("click", (event) => {
        if (!event.target.closest("a")) turn(item);
      });
    }
    return item;
  };
  roots.forEach((root, place) => list.append(make(root, 1, null, place, roots.length)));

  const turn = (item, to = item.getAttribute("aria-expanded") !== "true") =>
    item.setAttribute("aria-expanded", to ? "true" : "false");
  const focus = (own) => {
    for (const one of items) one.item.tabIndex = -1;
    own.item.tabIndex = 0;
    own.item.focus();
  };
  const reveal = (own) => {
    for (let above = own.parent; above !== null; above = above.parent) turn(above.item, true);
  };
  const visible = () => items.filter(({ item }) => !item.hidden && item.offsetParent !== null);
  list.addEventListener("keydown", (event) => {
    const own = items.find(({ item }) => item === event.target.closest("[role=treeitem]"));
    if (!own) return;
    const seen = visible();
    const at = seen.indexOf(own);
    const expanded = own.item.getAttribute("aria-expanded");
    const actions = {
      ArrowDown: () => seen[at + 1] && focus(seen[at + 1]),
      ArrowUp: () => seen[at - 1] && focus(seen[at - 1]),
      ArrowRight: () => (expanded === "false" ? turn(own.item, true) : expanded === "true" && focus(seen[at + 1])),
      ArrowLeft: () => (expanded === "true" ? turn(own.item, false) : own.parent && focus(own.parent)),
      Home: () => focus(seen[0]),
      End: () => focus(seen.at(-1)),
      Enter: () => (own.node.feature === null ? turn(own.item) : own.item.querySelector("a").click()),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    event.stopPropagation();
    actions[event.key]();
  });
  if (items.length > 0) items[0].item.tabIndex = 0;

  const search = h("input", { type: "search", placeholder: "Search the tree", "aria-label": "Search the tree" });
  search.addEventListener("input", () => {
    const wanted = folded(search.value.trim());
    for (const own of items) own.item.hidden = wanted !== "";
    if (wanted === "") return;
    for (const own of items.filter(({ text }) => text.includes(wanted))) {
      own.item.hidden = false;
      for (let above = own.parent; above !== null; above = above.parent) above.item.hidden = false;
      reveal(own);
      for (const below of items) if (isBelow(below, own)) below.item.hidden = false;
    }
  });
  const all = (to) =>
    h("button", { type: "button", onclick: () => items.forEach(({ item }) => item.hasAttribute("aria-expanded") && turn(item, to)) }, to ? "Open all" : "Close all");
  const wanted = open === null ? undefined : items.find(({ node }) => node.feature === open);
  if (wanted) {
    reveal(wanted);
    wanted.item.setAttribute("aria-selected", "true");
    queueMicrotask(() => wanted.item.scrollIntoView?.({ block: "center" }));
  }
  return h("section", { class: "block" }, h("div", { class: "tree-bar" }, search, all(true), all(false)), list);
}

function isBelow(own, above) {
  for (let one = own.parent; one !== null; one = one.parent) if (one === above) return true;
  return false;
}

function countLeaves(node) {
  return node.children.length === 0 ? Number(node.level === 0) : node.children.reduce((sum, child) => sum + countLeaves(child), 0);
}

function deepest(nodes) {
  return nodes.length === 0 ? 0 : 1 + Math.max(...nodes.map(({ children }) => deepest(children)));
}
