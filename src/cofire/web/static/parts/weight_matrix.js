// One weight matrix: its verdict, what its head does on text, and the tokens that its components read
// and write.

import { h, isolated, loneToken, missing } from "../shared/dom.js";
import { figure, percent } from "../shared/text.js";

const METHODS = { svd: "SVD", ica: "ICA", nmf: "NMF of |W|", snmf: "semi-NMF" };
const TOKENS = 5; // of a component at each end
const NOT_WATCHED = "Not measured: run the command that made this folder again; it adds what its heads do on text and keeps the rest.";

/** The block of a matrix; `load` gives its document. */
export async function matrixBlock(load, name) {
  const { content } = await load(`heads-${name}`);
  return h("div", {}, verdict(content), content.head === null ? null : onTexts(content.on_texts), components(content));
}

function verdict({ verdict: { structure, patterns, caveat } }) {
  return h(
    "div",
    {},
    h("p", {}, "Structure that fits: ", h("b", {}, structure), "."),
    h(
      "table",
      { class: "plain versus patterns" },
      h("thead", {}, h("tr", {}, ["Pattern", "Answer", "Because"].map((word) => h("th", { scope: "col" }, word)))),
      h(
        "tbody",
        {},
        patterns.map((pattern) =>
          h("tr", {}, h("th", { scope: "row" }, pattern.name.replaceAll("-", " ")), h("td", { class: "answer" }, pattern.answer), h("td", {}, pattern.because)),
        ),
      ),
    ),
    h("p", { class: "note" }, caveat),
  );
}

/** What a head does on text: mean scores, and where it looks hardest. */
function onTexts(found) {
  const title = h("h3", {}, "On real text");
  if (found === null || found === undefined) return h("section", {}, title, h("p", { class: "note" }, NOT_WATCHED));
  const unknown = "no attention that is understood";
  const scores = [
    ["To the token before", found.previous, unknown],
    ["To the first token", found.first, unknown],
    ["To itself", found.itself, unknown],
    ["Raises what it looks at", found.copying, "it looks at hardly anything but the first token"],
  ];
  const amount = (value, why) => (value === null ? missing(why) : figure(value, 2));
  return h(
    "section",
    { class: "on-text" },
    title,
    h(
      "table",
      { class: "plain" },
      h("tbody", {}, scores.map(([name, value, why]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, amount(value, why))))),
    ),
    h(
      "p",
      { class: "note" },
      `Mean attention, 0 to 1, over ${found.tokens} tokens of ${found.texts} texts (`,
      isolated(found.data),
      "). Raises: its direct effect on the logit of the token it looks at, in standard deviations over the vocabulary.",
    ),
    h("p", {}, "Where it looks hardest, beside the first token:"),
    h("ul", { class: "looks" }, found.examples.map(example)),
  );
}

function example({ tokens, looks }) {
  const pair = ({ position, attended, attention }) =>
    h("span", { class: "pair" }, token(tokens[position]), " looks at ", token(tokens[attended]), ` ${figure(attention, 2)}`);
  return h("li", {}, h("p", { dir: "auto" }, tokens.join("")), h("p", { class: "note" }, looks.map(pair)));
}

function token(text) {
  return h("span", { class: "token-name" }, loneToken(text));
}

function components({ components: found }) {
  const methods = Object.keys(METHODS).filter((name) => found.some(({ method }) => method === name));
  const method = h("select", {}, methods.map((name) => h("option", { value: name }, METHODS[name])));
  const box = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Components" });
  const show = () => {
    const own = found.filter((one) => one.method === method.value);
    const stable = own.filter((one) => one.stable !== false);
    const shown = [...stable, ...own.filter((one) => one.stable === false)];
    box.replaceChildren(table(shown, method.value === "ica"));
  };
  method.addEventListener("change", show);
  if (methods.length > 0) show();
  return h(
    "div",
    {},
    h("div", { class: "work" }, h("label", {}, h("span", {}, "Components of"), " ", method)),
    box,
  );
}

function table(found, withStability) {
  const read = found.some(({ reads }) => reads?.length > 0);
  const heads = ["", "Share of W", ...(withStability ? ["Found again"] : []), ...(read ? ["Reads", "Writes", "Does"] : []), "Like feature"];
  return h(
    "table",
    { class: "plain components" },
    h("thead", {}, h("tr", {}, heads.map((word) => h("th", { scope: "col" }, word)))),
    h(
      "tbody",
      {},
      found.map((one) =>
        h(
          "tr",
          { class: one.stable === false ? "unstable" : null },
          h("th", { scope: "row" }, String(one.index)),
          h("td", { class: "amount" }, percent(one.share)),
          withStability ? h("td", {}, one.found_in === null ? missing("not tried") : `${percent(one.found_in)}${one.stable ? ", stable" : ""}`) : null,
          read ? [h("td", {}, ends(one.reads, one.reads_opposite)), h("td", {}, ends(one.writes, one.writes_opposite)), h("td", { class: "does" }, one.operation ?? missing("not measured"))] : null,
          h("td", {}, features(one)),
        ),
      ),
    ),
  );
}

/** Tokens at both ends of a direction. */
function ends(most, least) {
  return [most, least]
    .filter((tokens) => tokens?.length > 0)
    .map((tokens, place) =>
      h(
        "div",
        { class: place === 0 ? "tokens-line" : "tokens-line note" },
        place === 0 ? null : "or ",
        tokens.slice(0, TOKENS).map(token),
      ),
    );
}

function features({ feature_read: read, feature_write: write }) {
  const told = [
    ["reads", read],
    ["writes", write],
  ].filter(([, match]) => match !== null && match !== undefined);
  if (told.length === 0) return missing("not compared with features");
  return told.map(([side, match]) =>
    h("div", {}, `${side} `, isolated(match.name), h("span", { class: "note" }, ` cosine ${figure(match.cosine, 2)}${match.p === null ? "" : `, p ${figure(match.p, 2)}`}`)),
  );
}
