// One run: layers by measures, how the fit went, health of the features.

import { href, listPath, runPath } from "../address.js";
import { read, twinOf } from "../api.js";
import { chart, curve } from "../parts/charts.js";
import { h, isolated, missing } from "../shared/dom.js";
import { counted, figure, percent } from "../shared/text.js";
import { comparisonBlock } from "../parts/comparison.js";

// name in the record, heading, how it is written, what it means, why it may be missing
const COLUMNS = [
  ["variance_train", "Explained variance, train", share, "1 − ‖X − CD‖² / ‖X − mean‖² on the training rows", "the rows do not vary"],
  ["variance_heldout", "held out", share, "The same on the rows of held-out texts", "no texts were held out"],
  ["loss_train", "Relative loss", share, "‖X − CD‖² / ‖X‖² on the training rows", "all activations are 0"],
  ["active", "Active a token", figure, "Features with a code above 0, a token", "not known"],
  ["concept_share", "Select a concept", percent, "Share of features whose best concept has a high held-out AUROC", "no concept could be judged on held-out texts"],
  ["concepts_covered", "Concepts covered", figure, "Concepts that some feature surely selects, corrected for the number of features", "no concept could be judged on held-out texts"],
  ["neurons", "Neurons a feature", figure, "Median number of neurons of a feature", "there are no features"],
  ["dead", "Dead", figure, "Features that never fire", "not known"],
  ["duplicate", "Duplicate", figure, "Another feature has nearly the same atom", "not known"],
  ["one_token", "One-token", figure, "Nearly all strong firings are on one token", "not known"],
  ["sweeps", "Sweeps", figure, "Sweeps of the solver", "the method has no sweeps, or did not record them"],
  ["stop_reason", "Stopped", (value) => isolated(value), "Why the solver stopped", "not recorded"],
  ["seconds", "Time", duration, "Time of the fit", "not recorded"],
];

function share(value) {
  return Math.abs(value) > 0 && Math.abs(value) < 0.01 ? figure(value) : value.toFixed(3).replace("-", "−");
}

function duration(seconds) {
  if (seconds < 60) return `${figure(seconds, 2)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export async function open({ params: { run }, signal }) {
  const overview = await read(runPath(run), { signal });
  const { card, layers } = overview;
  const features = layers.reduce((sum, layer) => sum + layer.features, 0);
  return {
    title: `${card.model ?? run}: overview`,
    place: { run },
    content: [
      h("h1", { dir: "auto" }, card.model ?? run),
      h(
        "p",
        { class: "deck" },
        `${counted(features, "group")} of ${card.site ?? "channels"} that fire together, in ${counted(layers.length, "layer")}.`,
      ),
      card.problem === null ? null : h("p", { class: "notice", dir: "auto" }, card.problem),
      h(
        "dl",
        { class: "facts" },
        Object.entries(overview.facts).map(([term, fact]) =>
          h("div", {}, h("dt", {}, term), h("dd", { dir: "auto" }, fact)),
        ),
        overview.licences.map((note) =>
          h("div", {}, h("dt", {}, "Licence"), h("dd", { dir: "auto" }, note)),
        ),
      ),
      layers.length === 0 ? null : [layerTable(run, layers), health(run, layers), fits(layers)],
      comparisonBlock(overview),
      details(overview),
    ],
  };
}

function layerTable(run, layers) {
  const table = h("table", { class: "layers sortable" });
  const body = h("tbody");
  const heads = [["layer", "Layer", null, "Its features"], ...COLUMNS].map(([name, heading, , words]) => {
    const button = h("button", { type: "button", class: "head", title: `${words}; click to sort` }, heading);
    const cell = h("th", { scope: "col", class: name === "stop_reason" ? "words" : null }, button);
    button.addEventListener("click", () => {
      const down = cell.getAttribute("aria-sort") === "descending" || (!cell.hasAttribute("aria-sort") && name === "layer");
      for (const other of heads) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", down ? "ascending" : "descending");
      fill(sorted(layers, name, down ? 1 : -1));
    });
    return cell;
  });
  const fill = (rows) => body.replaceChildren(...rows.map((layer) => layerRow(run, layer)));
  fill(layers);
  table.append(h("thead", {}, h("tr", {}, heads)), body);
  return h(
    "section",
    { class: "overview", "aria-labelledby": "layers-title" },
    h("h2", { id: "layers-title" }, "Layers at a glance"),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": "layers-title" }, table),
  );
}

function sorted(layers, name, sign) {
  return [...layers].sort((a, b) => {
    if (a[name] === null || b[name] === null) return (a[name] === null) - (b[name] === null);
    return sign * (a[name] > b[name] ? 1 : a[name] < b[name] ? -1 : 0);
  });
}

function layerRow(run, layer) {
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("a", { href: href(listPath(run, layer.layer)), title: layer.site }, String(layer.layer))),
    COLUMNS.map(([name, , written, , why]) =>
      h(
        "td",
        { class: name === "stop_reason" ? "words" : name === "seconds" ? "time" : null },
        layer[name] === null
          ? missing(why)
          : name === "concepts_covered"
            ? `${layer[name]} of ${layer.concepts}`
            : written(layer[name]),
      ),
    ),
  );
}

const HEALTH = [
  ["one_token", "one-token", "one-token"],
  ["duplicate", "duplicate", "duplicate"],
  ["dead", "dead", "dead"],
];

function health(run, layers) {
  const most = Math.max(...layers.map((layer) => layer.features), 1);
  const rows = layers.map((layer) => {
    const bar = h("div", { class: "stack", "aria-hidden": "true" });
    const part = (kind, count, words) => {
      if (count === 0) return;
      const piece = h("i", { class: kind, title: `${count} ${words}` });
      piece.style.width = `${(100 * count) / most}%`;
      bar.append(piece);
    };
    const ill = HEALTH.reduce((sum, [name]) => sum + layer[name], 0);
    part("well", Math.max(0, layer.features - ill), "with nothing wrong");
    for (const [name, kind] of HEALTH) part(kind, layer[name], kind);
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, String(layer.layer)),
      h("td", { class: "bar-cell" }, bar),
      HEALTH.map(([name, kind, flag]) =>
        h(
          "td",
          { class: "amount" },
          layer[name] === 0
            ? "0"
            : h(
                "a",
                { href: href(listPath(run, layer.layer), { flag }), "aria-label": `${layer[name]} ${kind} features of layer ${layer.layer}` },
                String(layer[name]),
              ),
        ),
      ),
    );
  });
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "Health of the features"),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Health of the features" },
      h(
        "table",
        { class: "health" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "Layer"),
            h("th", { scope: "col" }, h("span", { class: "legend" }, h("span", {}, h("i", { class: "well" }), "nothing wrong"))),
            HEALTH.map(([, kind]) => h("th", { scope: "col", class: "amount" }, h("span", { class: "legend" }, h("span", {}, h("i", { class: kind }), kind)))),
          ),
        ),
        h("tbody", {}, rows),
      ),
    ),
    h("p", { class: "note" }, "A feature may be both a duplicate and one-token; every number leads to its features."),
  );
}

function fits(layers) {
  const curves = layers
    .map((layer) => ({
      layer,
      points: layer.objective
        .filter((point) => point.relative_loss !== null)
        .map((point) => [point.sweep, point.relative_loss]),
    }))
    .filter(({ points }) => points.length > 1);
  if (curves.length === 0) {
    return h("section", { class: "block" }, h("h2", {}, "The fit, sweep by sweep"), h("p", { class: "note" }, "The method recorded no sweeps."));
  }
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "The fit, sweep by sweep"),
    h(
      "div",
      { class: "charts" },
      curves.map(({ layer, points }) =>
        chart(layer.title, curve(points, { xName: "sweep", yName: "relative loss" })),
      ),
    ),
  );
}

function details({ settings, environment, source, run }) {
  const table = (pairs) =>
    h(
      "table",
      { class: "plain" },
      Object.entries(pairs).map(([name, value]) =>
        h("tr", {}, h("th", { scope: "row" }, name), h("td", { dir: "auto" }, value)),
      ),
    );
  return h(
    "details",
    { class: "method block" },
    h("summary", {}, "Method and settings"),
    h(
      "div",
      { class: "method-body" },
      h("div", {}, h("h3", {}, "Settings"), table(settings)),
      h(
        "div",
        {},
        h("h3", {}, "Made on"),
        Object.keys(environment).length > 0 ? table(environment) : h("p", { class: "note" }, "Not recorded."),
        source === null ? null : [h("h3", {}, "Source"), h("p", { class: "cite", dir: "auto" }, source)],
        h("p", { class: "note" }, h("a", { href: twinOf(runPath(run)) }, "This page as JSON")),
      ),
    ),
  );
}
