// The runs that are served.

import { href, isStored, runPath } from "../address.js";
import { runList } from "../bar.js";
import { h, isolated, missing } from "../shared/dom.js";
import { counted, MISSING } from "../shared/text.js";
import { numbersInWords } from "../parts/words.js";

export async function open({ go }) {
  const { runs, results, cofire_version: version } = await runList({ fresh: true });
  if (runs.length === 1 && runs[0].layers.length > 0) {
    await go(href(runPath(runs[0].run)), { replace: true });
  }
  return {
    title: "Runs",
    content: [
      h("h1", {}, "Runs"),
      h("p", { class: "deck" }, runs.length === 0 ? "There is no run here." : `${counted(runs.length, "run")}.`),
      h("ul", { class: "cards" }, runs.map(card)),
      results.length === 0
        ? null
        : h(
            "section",
            { class: "block" },
            h("h2", {}, "Other results"),
            h("ul", { class: "earlier" }, results.map(lone)),
          ),
      h(
        "p",
        { class: "note" },
        `cofire ${version}. `,
        isStored
          ? null
          : h("a", { href: "/openapi.json" }, "The interface for programs (OpenAPI)"),
      ),
    ],
  };
}

const KINDS = { weights: "Weights", comparisons: "Methods side by side", path: "Path" };

function lone({ page, result, path }) {
  return h(
    "li",
    {},
    h("a", { href: href(`/${page}`, { result }) }, `${KINDS[page]}: `, isolated(result)),
    isStored ? null : h("span", { class: "note where" }, " ", isolated(path)),
  );
}

function card(run) {
  const name = h("bdi", {}, run.run);
  const facts = [
    ["Model", run.model],
    ["Method", run.method],
    ["Site", run.site],
    ["Layers", run.layers.length > 0 ? numbersInWords(run.layers) : null],
    ["Features", run.features === null ? null : `${run.features.toLocaleString("en")} a layer`],
    ["Made", run.created?.slice(0, 10) ?? null],
  ];
  return h(
    "li",
    { class: "card" },
    h(
      "h2",
      {},
      run.layers.length > 0 ? h("a", { href: href(runPath(run.run)) }, name) : name,
      run.state === "complete" ? null : h("span", { class: "badge" }, run.state),
    ),
    run.problem === null ? null : h("p", { class: "notice", dir: "auto" }, run.problem),
    h(
      "dl",
      { class: "quick" },
      facts.map(([term, fact]) =>
        h("div", {}, h("dt", {}, term), h("dd", {}, fact === null ? missing("not known") : isolated(fact))),
      ),
    ),
    h("p", { class: "note where", dir: "auto" }, run.path ?? MISSING),
  );
}
