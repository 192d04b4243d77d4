// The bar of pages, and the choice of the run.

import { href, isStored, listPath, runPath } from "./address.js";
import { read } from "./api.js";
import { byId, h } from "./shared/dom.js";

let runs = null; // of index.json, asked for once
let shown = { kind: null, run: null, layer: null };

/** The list of runs. `fresh` asks again: runs change while they are being written. */
export async function runList({ fresh = false } = {}) {
  if (runs === null || fresh) runs = read("/");
  try {
    return await runs;
  } catch (error) {
    runs = null;
    throw error;
  }
}

/** The card of a run, null when it is not served. */
export async function cardOf(run) {
  const list = await runList();
  return list.runs.find((card) => card.run === run) ?? null;
}

/** The run and layer a page shows that names none: those that were open last, or the first. */
export async function placeFor(query) {
  const list = await runList();
  const readable = list.runs.filter((card) => card.layers.length > 0);
  const wanted = query.get("run") ?? shown.run;
  const card = readable.find((one) => one.run === wanted) ?? readable[0] ?? null;
  if (card === null) return { card: null, run: null, layer: null };
  const layer = Number(query.get("layer") ?? (wanted === shown.run ? shown.layer : NaN));
  return { card, run: card.run, layer: card.layers.includes(layer) ? layer : card.layers[0] };
}

const LINKS = [
  ["overview", "Overview", ({ run }) => href(runPath(run))],
  ["features", "Features", ({ run, layer }) => href(listPath(run, layer))],
  ["test", "Test", ({ run, layer }) => href("/test", { run, layer }), "live"],
  ["steer", "Steer", ({ run, layer }) => href("/steer", { run, layer }), "live"],
  ["tree", "Tree", ({ run, layer }) => href("/tree", { run, layer })],
  ["core", "Overlap", ({ run, layer }) => href("/core", { run, layer })],
  ["flow", "Flow", ({ run }) => href("/flow", { run })],
  ["weights", "Weights", ({ run }) => href("/weights", { run })],
  ["comparisons", "Methods", ({ run }) => href("/comparisons", { run })],
  ["path", "Path", ({ run }) => href("/path", { run })],
  ["compare", "Compare", ({ run, layer }) => href("/compare", { run, layer }), "live"],
];

/** Show which page is open and where the others are. */
export async function showBar({ kind, run = null, layer = null }) {
  if (run !== null) shown = { kind, run, layer: layer ?? (run === shown.run ? shown.layer : null) };
  shown.kind = kind;
  let list;
  try {
    list = await runList();
  } catch {
    return; // the page says what is wrong
  }
  const readable = list.runs.filter((card) => card.layers.length > 0);
  const card = readable.find((one) => one.run === shown.run) ?? (readable.length === 1 ? readable[0] : null);
  drawLinks(card, new Set(list.results.map(({ page }) => page)));
  drawRuns(readable, card);
}

/** Links to the pages of a run; without one, to those that have results of their own. */
function drawLinks(card, alone) {
  const places = byId("places");
  const layer = card === null ? null : card.layers.includes(shown.layer) ? shown.layer : card.layers[0];
  const offered = LINKS.filter(([kind, , , live]) => (card === null ? alone.has(kind) : !(isStored && live)));
  places.hidden = offered.length === 0;
  const links = offered.map(([kind, name, to]) =>
    h(
      "a",
      {
        href: to({ run: card?.run ?? null, layer }),
        "aria-current": kind === shown.kind ? "page" : null,
      },
      name,
    ),
  );
  const left = places.scrollLeft;
  places.replaceChildren(...links);
  places.scrollLeft = left;
  places.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function drawRuns(readable, card) {
  byId("run-choice").hidden = readable.length < 2;
  const select = byId("run");
  select.replaceChildren(
    ...(card === null ? [h("option", { value: "" }, "Choose a run")] : []),
    ...readable.map((one) => h("option", { value: one.run }, one.run)),
  );
  select.value = card?.run ?? "";
}

byId("run").addEventListener("change", ({ target }) => {
  if (target.value === "") return;
  const own = LINKS.find(([kind]) => kind === shown.kind) ?? LINKS[0];
  const card = { run: target.value, layer: null };
  runList().then(({ runs: cards }) => {
    card.layer = cards.find((one) => one.run === target.value)?.layers[0] ?? 0;
    document.dispatchEvent(new CustomEvent("cofire:go", { detail: own[2](card) }));
  });
});
