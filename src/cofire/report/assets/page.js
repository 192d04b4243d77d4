// The page: which layer and feature are open, the address, keys, theme and printing.

import { watchTokens } from "./contexts.js";
import { detailOf, FLAG_WORDS } from "./detail.js";
import { byId, h, narrow } from "./dom.js";
import { Layer } from "./layer.js";
import { FeatureList } from "./list.js";
import { markTab, moveBetweenTabs } from "./tabs.js";
import { MISSING, percent, score } from "./text.js";
import { startTheme } from "./theme.js";

const layers = [...document.querySelectorAll("script.layer-data")].map(
  (element) => new Layer(element),
);
const detail = byId("detail");
const root = document.documentElement;
const list = new FeatureList((feature, open) => showFeature(feature, { open }));
const BEHIND_SHEET =
  ".skip, .masthead, .intro, .method, .overview, .tabs-bar, .summary, .browser, .foot";
let layer = null;

/** Open a layer: its tab, its figures and its features. */
function showLayer(wanted) {
  if (wanted === layer) return;
  layer = wanted;
  for (const tab of document.querySelectorAll("#tabs [role=tab]")) {
    const selected = tab.dataset.layer === layer.id;
    markTab(tab, selected);
    if (selected && layers.length > 1) {
      byId("panel").setAttribute("aria-labelledby", tab.id);
      byId("tabs").scrollLeft = tab.offsetLeft - byId("tabs").clientWidth / 2 + tab.offsetWidth / 2;
    }
  }
  for (const summary of document.querySelectorAll(".summary")) {
    summary.hidden = summary.dataset.layer !== layer.id;
  }
  list.open(layer);
}

/** Show one feature. `open` also opens the sheet of a small screen; `quiet` leaves the address. */
function showFeature(feature, { open = false, quiet = false } = {}) {
  if (!feature) return;
  list.mark(feature);
  detail.replaceChildren(detailBar(feature), ...detailOf(layer.read(feature), links()));
  detail.setAttribute("aria-label", `Feature ${feature.index}`);
  detail.scrollTop = 0;
  byId("announce").textContent = quiet ? "" : `Feature ${feature.index}: ${feature.label}`;
  const opening = open && narrow.matches && !("open" in root.dataset);
  if (!quiet) remember(layer.hash(feature), opening);
  if (open && narrow.matches) openSheet();
  else if (!quiet && !narrow.matches) bringIntoView();
}

/** How a feature reaches others. */
function links() {
  return {
    href: (index) => layer.hash(layer.feature(index)),
    label: (index) => layer.feature(index)?.label ?? "",
    sharing: (neuron) => layer.neuronCounts.get(neuron) ?? 1,
    search: searchFor,
  };
}

function detailBar(feature) {
  const step = (by, sign, words) =>
    h(
      "button",
      {
        type: "button",
        class: "step",
        title: words,
        "aria-label": words,
        disabled: list.neighbour(by) === null,
        onclick: () => move(by),
      },
      sign,
    );
  return h(
    "div",
    { class: "detail-bar" },
    h("button", { type: "button", class: "back", onclick: closeSheet }, "← List"),
    h(
      "a",
      { class: "place", href: layer.hash(feature), title: "link to this feature" },
      `${layer.title}, feature ${feature.index}`,
    ),
    feature.flags.map((flag) => h("span", { class: "badge", title: FLAG_WORDS[flag] }, flag)),
    step(-1, "↑", "previous feature"),
    step(1, "↓", "next feature"),
  );
}

/** Put the open feature into the address, so that it can be linked to. */
function remember(hash, asStep) {
  if (location.hash === hash) return;
  history[asStep ? "pushState" : "replaceState"](null, "", hash);
}

function bringIntoView() {
  const { top } = detail.getBoundingClientRect();
  if (top < 0 || top > 0.6 * window.innerHeight) byId("explorer").scrollIntoView();
}

/** A feature covers a small screen; what lies below it cannot be reached until it is closed. */
function coverPage(covered) {
  root.toggleAttribute("data-open", covered);
  for (const element of document.querySelectorAll(BEHIND_SHEET)) element.inert = covered;
}

function openSheet() {
  coverPage(true);
  detail.focus({ preventScroll: true });
}

function closeSheet() {
  if (!("open" in root.dataset)) return;
  coverPage(false);
  remember(layer.hash(), false);
  list.reveal();
  byId("rows").focus({ preventScroll: true });
}

/** Go to the next or previous feature of the list. */
function move(by) {
  showFeature(list.neighbour(by), { open: "open" in root.dataset });
}

function moveLayer(by) {
  const next = layers[layers.indexOf(layer) + by];
  if (next) choosesLayer(next);
}

function choosesLayer(next) {
  showLayer(next);
  showFirst();
  remember(layer.hash(), false);
}

/** Search from inside a feature; a small screen goes back to the list to show what was found. */
function searchFor(query) {
  list.filter({ query });
  closeSheet();
  byId("explorer").scrollIntoView();
}

/** On a wide screen something is always open: the first feature that fires. */
function showFirst() {
  if (narrow.matches) return;
  showFeature(list.shown.find((feature) => !feature.flags.includes("dead")) ?? list.shown[0], {
    quiet: true,
  });
}

/** Follow the address: `#layer=11&feature=12`, with `site=mlp` where a layer has several sites. */
function follow() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const found = layers.find(
    (one) =>
      one.number === wanted.get("layer") &&
      (!wanted.has("site") || one.kind === wanted.get("site")),
  );
  if (!found) {
    if (layer === null) {
      showLayer(layers[0]);
      showFirst();
    }
    closeSheet();
    return;
  }
  const changed = found !== layer;
  showLayer(found);
  const feature = wanted.has("feature") ? found.feature(Number(wanted.get("feature"))) : null;
  if (feature === null) {
    closeSheet();
    if (changed) showFirst();
    if (document.activeElement?.matches(".layers a"))
      document.querySelector(".tabs-bar").scrollIntoView();
    return;
  }
  if (!list.shown.includes(feature)) list.filter({});
  showFeature(feature, { open: true });
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else closeSheet();
    return;
  }
  if (typing || (event.key.startsWith("Arrow") && event.target.closest(".scroll, [role=tablist]")))
    return;
  const actions = {
    j: () => move(1),
    k: () => move(-1),
    ArrowRight: () => move(1),
    ArrowLeft: () => move(-1),
    "[": () => moveLayer(-1),
    "]": () => moveLayer(1),
    "/": () => byId("search").focus(),
    "?": () => byId("help").showModal(),
  };
  if (!(event.key in actions)) return;
  event.preventDefault();
  actions[event.key]();
}

// Printing: the list of the screen is only drawn where it is seen, paper gets a whole table.

function printTable() {
  const cells = (tag, texts) =>
    h(
      "tr",
      {},
      texts.map((text) => h(tag, { dir: "auto" }, text)),
    );
  byId("print-list").replaceChildren(
    h("h3", {}, `${layer.title}: ${byId("count").textContent}`),
    h(
      "table",
      { class: "print-table" },
      h(
        "thead",
        {},
        cells("th", ["", "Label", "Best concept", "AUROC", "Density", "Neurons", "Flags"]),
      ),
      h(
        "tbody",
        {},
        list.shown.map((feature) =>
          cells("td", [
            String(feature.index),
            feature.label,
            layer.conceptName(feature) ?? MISSING,
            score(feature.concept?.auroc ?? null),
            percent(feature.density),
            String(feature.group[0]),
            feature.flags.join(", "),
          ]),
        ),
      ),
    ),
  );
}

byId("without-script").remove();
startTheme(byId("theme-button"));
watchTokens(detail);
follow();
byId("print-button").addEventListener("click", () => window.print());
byId("help-button").addEventListener("click", () => byId("help").showModal());
byId("tabs").addEventListener("keydown", moveBetweenTabs);
byId("tabs").addEventListener("click", (event) => {
  const tab = event.target.closest("[role=tab]");
  const wanted = layers.find((one) => one.id === tab?.dataset.layer);
  if (wanted && wanted !== layer) choosesLayer(wanted);
});
byId("panel").addEventListener("click", (event) => {
  const chip = event.target.closest(".chip");
  if (!chip) return;
  list.filter({ concept: chip.dataset.concept });
  showFeature(list.shown[0], { open: false });
  byId("explorer").scrollIntoView();
});
document.addEventListener("keydown", onKey);
window.addEventListener("hashchange", follow);
window.addEventListener("beforeprint", printTable);
narrow.addEventListener("change", () => {
  coverPage(false);
  if (list.current === null) showFirst();
  list.draw();
});
