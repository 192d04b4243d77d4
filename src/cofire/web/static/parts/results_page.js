// Pages of what other commands stored: choosing a result, drawing it, and all its documents.

import { href } from "../address.js";
import { read } from "../api.js";
import { placeFor } from "../bar.js";
import { documentBlock } from "./documents.js";
import { failed, notComputed } from "./words.js";
import { layerOf, resultWords } from "./site_words.js";
import { h, isolated } from "../shared/dom.js";
import { counted } from "../shared/text.js";

const LINES = 500; // of a table asked for at once
const MOST_PAGES = 40; // times that

/**
 * A page for one kind of results.
 *
 * @param {string} kind of the results, and the path of the page
 * @param {string} title
 * @param {string} deck what the page shows, in a sentence
 * @param {string} absent what to say when the command was not used
 * @param {(run: string) => string} command the command that makes it
 * @param {(result: object) => (HTMLElement | null)[] | Promise<...>} draw draws what is known of a
 *   result: `{ card, place, load, query, go }`, where `load(name)` gives a document
 * @param {(result: object) => HTMLElement[]} always what stands below, also without a result
 */
export function resultsPage({ kind, title, deck, absent, command, draw, always = () => [] }) {
  return async ({ query, signal, go }) => {
    const [place, { results }] = await Promise.all([placeFor(query), read(`/${kind}`, { signal })]);
    const shown = results.filter(({ run }) => run === null || place.run === null || run === place.run);
    const card =
      shown.find(({ result }) => result === query.get("result")) ??
      shown.find(({ result, run }) => run !== null && layerOf(result) === place.layer) ??
      shown[0] ??
      null;
    return {
      title,
      place: place.run === null ? {} : { run: place.run, layer: place.layer },
      content: [
        h("h1", {}, title),
        h("p", { class: "deck" }, deck),
        card === null
          ? [notComputed(absent, command(place.card?.path ?? "RUN")), ...always({ place })]
          : [
              chooser(kind, shown, card, place, go),
              progress(card),
              ...(await content({ kind, card, place, draw, always, signal, query, go })),
            ],
      ],
    };
  };
}

function chooser(kind, results, card, { run, layer }, go) {
  if (results.length < 2) return null;
  const select = h(
    "select",
    {},
    results.map((one) => h("option", { value: one.result }, resultWords(one))),
  );
  select.value = card.result;
  select.addEventListener("change", () => go(href(`/${kind}`, { run, layer, result: select.value })));
  return h("div", { class: "work" }, h("label", {}, h("span", {}, "Result"), " ", select));
}

/** How far the command is, where it is not done. */
function progress({ finished }) {
  if (finished === null || finished.done >= finished.wanted) return null;
  const { of, done, wanted } = finished;
  return h(
    "p",
    { class: "notice", role: "status" },
    `${done} of ${wanted} ${of} are done: the command is at work, or was interrupted; it goes on when it is run again. Load this page again to see more.`,
  );
}

async function content({ kind, card, place, draw, always, signal, query, go }) {
  const load = (name, options = {}) =>
    read(`/results/${kind}/${encodeURIComponent(card.result)}/${encodeURIComponent(name)}`, {
      query: options,
      signal,
    });
  const blocks = [];
  if (card.problem !== null) blocks.push(h("p", { class: "notice", dir: "auto" }, card.problem));
  try {
    blocks.push(...(await draw({ card, place, load, query, go })));
  } catch (error) {
    if (error.name === "AbortError" || !("status" in error)) throw error;
    blocks.push(failed(error));
  }
  const layer = layerOf(card.result) ?? place.layer;
  blocks.push(...always({ place: { ...place, layer } }), documents(card, load));
  return blocks.filter((block) => block !== null);
}

/** Every document of a result, opened one by one; those of folders within are only counted. */
function documents(card, load) {
  const own = card.documents.filter(({ file }) => file !== null && !file.includes("/"));
  const below = card.documents.filter(({ file }) => file?.includes("/"));
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "Everything that was stored"),
    h("p", { class: "note" }, isolated(card.path)),
    card.documents.length === 0 ? h("p", { class: "note" }, "Nothing yet.") : null,
    own.map((one) => documentBlock(one, load)),
    below.length === 0 ? null : h("p", { class: "note" }, `and ${counted(below.length, "file")} in folders of it`),
  );
}

/** The content of a result that is one file. */
export async function onlyDocument({ card, load }) {
  const [{ document }] = card.documents;
  return (await load(document)).content;
}

/** The parts of a result in structure/ that must be there, null while they are not all made. */
export async function partsOf(result, ...names) {
  const content = await onlyDocument(result);
  const parts = content?.parts ?? {};
  return names.every((name) => name in parts) ? { ...content, parts } : null;
}

/** All lines of a table. */
export async function allLines(load, document) {
  const lines = [];
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const { rows, found } = await load(document, { offset: page * LINES, limit: LINES });
    lines.push(...rows);
    if (lines.length >= found || rows.length === 0) break;
  }
  return lines;
}
