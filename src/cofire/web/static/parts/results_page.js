// Pages of what other commands stored: choosing a result, drawing it, and all its documents.

import { href } from "../address.js";
import { read } from "../api.js";
import { placeFor } from "../bar.js";
import { documentBlock } from "./documents.js";
import { failed, notComputed } from "./words.js";
import { h, isolated } from "../shared/dom.js";

/**
 * A page for one kind of results.
 *
 * @param {string} kind of the results, and the path of the page
 * @param {string} title
 * @param {string} deck what the page shows, in a sentence
 * @param {string} absent what to say when the command was not used
 * @param {(run: string) => string} command the command that makes it
 * @param {(result: object) => (HTMLElement | null)[] | Promise<...>} draw draws what is known of a
 *   result: `{ card, place, documents, load }`, where `load(name)` gives a document
 */
export function resultsPage({ kind, title, deck, absent, command, draw }) {
  return async ({ query, signal, go }) => {
    const [place, { results }] = await Promise.all([placeFor(query), read(`/${kind}`, { signal })]);
    const own = results.filter(({ run }) => run === null || place.run === null || run === place.run);
    const shown = own.length > 0 ? own : results;
    const card = shown.find(({ result }) => result === query.get("result")) ?? shown[0] ?? null;
    return {
      title,
      place: place.run === null ? {} : { run: place.run, layer: place.layer },
      content: [
        h("h1", {}, title),
        h("p", { class: "deck" }, deck),
        card === null
          ? notComputed(absent, command(place.card?.path ?? "RUN"))
          : [chooser(kind, shown, card, place, go), ...(await content({ kind, card, place, draw, signal, query, go }))],
      ],
    };
  };
}

function chooser(kind, results, card, { run, layer }, go) {
  if (results.length < 2) return null;
  const select = h(
    "select",
    {},
    results.map(({ result }) => h("option", { value: result }, result)),
  );
  select.value = card.result;
  select.addEventListener("change", () => go(href(`/${kind}`, { run, layer, result: select.value })));
  return h("div", { class: "work" }, h("label", {}, h("span", {}, "Result"), " ", select));
}

async function content({ kind, card, place, draw, signal, query, go }) {
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
  blocks.push(documents(card, load));
  return blocks.filter((block) => block !== null);
}

/** Every document of a result, opened one by one. */
function documents(card, load) {
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "Everything that was stored"),
    h("p", { class: "note" }, isolated(card.path)),
    card.documents.length === 0 ? h("p", { class: "note" }, "Nothing yet.") : null,
    card.documents.map((one) => documentBlock(one, load)),
  );
}

/** The first document whose content has some shape: `{ name, content }`, null when none has. */
export async function documentLike({ card, load }, fits) {
  for (const { document, type } of card.documents) {
    if (type !== "json" || document === "manifest") continue;
    const { content: found } = await load(document);
    if (fits(found)) return { name: document, content: found };
  }
  return null;
}
