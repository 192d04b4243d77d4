// Texts in which a feature fires: tokens coloured by code, and what a token says when pointed at.

import { byId, h, isolated } from "./dom.js";
import { markTab, moveBetweenTabs } from "./tabs.js";
import { alignedLike, figure, percent } from "./text.js";

const QUANTILES = [
  [null, "Top", "The strongest, every token type once before any comes twice."],
  [0.99, "99%", "Among the strongest 1% of the places where it fires."],
  [0.9, "90%", "Strong, but not the strongest: nine in ten places fire less."],
  [0.75, "75%", "Three in four places fire less."],
  [
    0.5,
    "50%",
    "The middle: half of the places fire less, half more. If the meaning holds here, it is real.",
  ],
];
let lists = 0; // made so far, so that each has an id of its own
const FULL_HEAT = 92; // percent of the colour at the feature's largest code

/** The list of contexts with a tab for each quantile; `widen` gives a row its button for more. */
export function contextBlock(feature, { widen = null } = {}) {
  lists += 1;
  const id = `contexts-${lists}`;
  const list = h("ol", { class: "contexts" });
  const note = h("p", { class: "note" });
  const tabs = QUANTILES.map(([quantile, name, words]) => {
    const contexts =
      quantile === null
        ? feature.contexts
        : feature.quantile_contexts.filter((context) => context.quantile === quantile);
    const written = alignedLike(contexts.map((context) => context.code));
    const tab = h(
      "button",
      {
        type: "button",
        role: "tab",
        title: words,
        disabled: contexts.length === 0,
        "aria-controls": id,
      },
      name,
    );
    tab.addEventListener("click", () => {
      for (const other of tabs) markTab(other, other === tab);
      note.textContent = words;
      list.replaceChildren(
        ...contexts.map((context) => contextRow(feature, context, written, widen)),
      );
    });
    return tab;
  });
  const bar = h(
    "div",
    { class: "quantiles", role: "tablist", "aria-label": "How strongly it fires" },
    tabs,
  );
  bar.addEventListener("keydown", moveBetweenTabs);
  const block = h(
    "section",
    { class: "block" },
    h("div", { class: "block-head" }, h("h3", {}, "Where it fires"), bar),
    note,
    h("div", { role: "tabpanel", id, "aria-label": "Contexts" }, list),
  );
  const first = tabs.find((tab) => !tab.disabled);
  if (first) first.click();
  else note.textContent = "It never fires on the training texts, so there is nothing to show.";
  return block;
}

function contextRow(feature, context, written, widen) {
  const { label, code } = context;
  const text = h("p", { class: "text", dir: "auto" }, heatTokens(context, feature));
  const same = label !== null && label === feature.concept?.concept;
  return h(
    "li",
    { class: "context" },
    h("span", { class: "code", title: "code at the underlined token" }, written(code)),
    text,
    h(
      "span",
      label === null
        ? { class: "from" }
        : {
            class: same ? "from same" : "from",
            title: "the concept this text was written for",
          },
      label === null ? null : isolated(label),
      widen === null ? null : widen(feature, context, text),
    ),
  );
}

/** The tokens of a context, its focus marked. */
export function heatTokens({ tokens, codes, focus, code }, feature) {
  return tokens.map((token, place) =>
    heatToken(
      place === 0 ? token.trimStart() : token,
      place === focus ? code : codes[place],
      feature,
      place === focus,
    ),
  );
}

/** A token with its colour; the space before it stays outside of the colour. */
export function heatToken(text, code, { scale }, focus = false) {
  const word = text.trimStart() || text;
  const token = h(focus ? "mark" : "span", { class: "token" }, word);
  token.classList.toggle("focus", focus);
  token.classList.toggle("blank", /^[␣↵⇥]+$/.test(word));
  token.classList.toggle("against", code < 0);
  const share = Math.abs(code ?? 0) / scale;
  if (share > 0) {
    token.style.setProperty("--heat", (FULL_HEAT * Math.min(1, share)).toFixed(1));
  }
  token.dataset.code = codeWords(code, share);
  return word === text ? token : [text.slice(0, text.length - word.length), token];
}

function codeWords(code, share) {
  if (code === null) return "its code here is missing";
  return share === 0 ? "does not fire here" : `code ${figure(code)}, ${percent(share)} of its largest`;
}

/** One tooltip for all tokens, by pointer or by tap. */
export function watchTokens(container) {
  const tip = byId("tip");
  const hide = () => {
    tip.hidden = true;
  };
  const show = (event) => {
    const token = event.target.closest(".token");
    if (!token) return hide();
    tip.replaceChildren(h("b", {}, isolated(token.textContent)), h("br"), token.dataset.code);
    tip.hidden = false;
    const box = token.getClientRects()[0];
    const left = Math.min(Math.max(8, box.left), window.innerWidth - tip.offsetWidth - 8);
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 8 ? above : box.bottom + 8}px`;
    return undefined;
  };
  container.addEventListener("pointerover", show);
  container.addEventListener("click", show);
  container.addEventListener("pointerleave", hide);
  document.addEventListener("scroll", hide, { passive: true, capture: true });
  document.addEventListener("keydown", hide);
}
