// The layers of two runs, measure by measure.

import { href, listPath, runPath } from "../address.js";
import { h, missing } from "../shared/dom.js";
import { figure } from "../shared/text.js";

const MEASURES = [
  ["features", "Features"],
  ["variance_train", "Explained variance, train"],
  ["variance_heldout", "Explained variance, held out"],
  ["loss_train", "Relative loss, train"],
  ["loss_heldout", "Relative loss, held out"],
  ["active", "Active features a token"],
  ["concept_share", "Share that select a concept"],
  ["concepts_covered", "Concepts covered"],
  ["neurons", "Neurons a feature"],
  ["dead", "Dead"],
  ["duplicate", "Duplicate"],
  ["one_token", "One-token"],
  ["seconds", "Seconds of the fit"],
];

/** A table for every layer that either run has. */
export function runsBlock(left, right) {
  const sites = [...new Set([...left.layers, ...right.layers].map(({ site }) => site))];
  const of = (overview, site) => overview.layers.find((layer) => layer.site === site) ?? null;
  const order = (site) => (of(left, site) ?? of(right, site)).layer;
  sites.sort((a, b) => order(a) - order(b));
  return [
    differences(left, right),
    ...sites
      .filter((site) => of(left, site) && of(right, site))
      .map((site) => layerTable(site, of(left, site), of(right, site), [left, right])),
    lone(left, sites.filter((site) => !of(right, site)), right),
    lone(right, sites.filter((site) => !of(left, site)), left),
  ];
}

/** Sites that only one of the runs has. */
function lone(overview, sites, other) {
  const own = overview.layers.filter(({ site }) => sites.includes(site));
  if (own.length === 0) return null;
  return h(
    "p",
    { class: "note" },
    `Only ${overview.run}, not ${other.run}, has: `,
    own.map(({ title, layer }, number) => [
      number > 0 ? ", " : "",
      h("a", { href: href(listPath(overview.run, layer)) }, title),
    ]),
    ".",
  );
}

function layerTable(site, left, right, overviews) {
  const cell = (layer, name) =>
    h("td", { class: "amount" }, written(layer[name]));
  const change = (name) => {
    const known = typeof left[name] === "number" && typeof right[name] === "number";
    if (!known) return h("td", { class: "amount" }, missing("one of them is missing"));
    const difference = right[name] - left[name];
    return h("td", { class: "amount" }, `${difference > 0 ? "+" : ""}${figure(difference)}`);
  };
  const { title } = left;
  return h(
    "section",
    { class: "block" },
    h("h2", {}, title, " ", h("span", { class: "site-name" }, site)),
    h(
      "p",
      { class: "note" },
      h(
        "a",
        { href: href("/compare", { a: `${overviews[0].run}/${left.layer}`, b: `${overviews[1].run}/${right.layer}` }) },
        "Pair their features",
      ),
    ),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": `${title}, both runs` },
      h(
        "table",
        { class: "plain versus" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "Measure"),
            overviews.map(({ run }) => h("th", { scope: "col", class: "amount" }, h("a", { href: href(runPath(run)) }, run))),
            h("th", { scope: "col", class: "amount" }, "Second − first"),
          ),
        ),
        h(
          "tbody",
          {},
          MEASURES.map(([name, heading]) =>
            h("tr", {}, h("th", { scope: "row" }, heading), cell(left, name), cell(right, name), change(name)),
          ),
        ),
      ),
    ),
  );
}

function written(value) {
  return value === null ? missing("not measured") : figure(value);
}

/** Settings in which the runs differ. */
function differences(left, right) {
  const names = [...new Set([...Object.keys(left.settings), ...Object.keys(right.settings)])];
  const differing = names.filter((name) => left.settings[name] !== right.settings[name]);
  const value = (overview, name) => h("td", { dir: "auto" }, overview.settings[name] ?? missing("not set"));
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "Settings that differ"),
    differing.length === 0
      ? h("p", { class: "note" }, "None: the runs were made with the same settings.")
      : h(
          "table",
          { class: "plain versus" },
          h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Setting"), h("th", { scope: "col" }, left.run), h("th", { scope: "col" }, right.run))),
          h("tbody", {}, differing.map((name) => h("tr", {}, h("th", { scope: "row" }, name), value(left, name), value(right, name)))),
        ),
  );
}
