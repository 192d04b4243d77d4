// Texts in which a feature fires: tokens coloured by code, and what a token says when pointed at.

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
const FULL_HEAT = 92; // percent of the colour at the feature's largest code

/** The list of contexts with a tab for each quantile. */
function contextBlock(layer, feature) {
  const list = h("ol", { class: "contexts", id: "contexts", role: "tabpanel" });
  const note = h("p", { class: "note" });
  const tabs = QUANTILES.map(([quantile, name, words]) => {
    const contexts = feature.contexts.filter(([at]) => at === quantile);
    const written = alignedLike(contexts.map((context) => context[4]));
    const tab = h(
      "button",
      {
        type: "button",
        role: "tab",
        title: words,
        disabled: contexts.length === 0,
        "aria-controls": "contexts",
      },
      name,
    );
    tab.addEventListener("click", () => {
      for (const other of tabs) markTab(other, other === tab);
      note.textContent = words;
      list.replaceChildren(
        ...contexts.map((context) => contextRow(layer, feature, context, written)),
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
    list,
  );
  const first = tabs.find((tab) => !tab.disabled);
  if (first) first.click();
  else note.textContent = "It never fires on the training texts, so there is nothing to show.";
  return block;
}

function markTab(tab, selected) {
  tab.setAttribute("aria-selected", selected ? "true" : "false");
  tab.tabIndex = selected ? 0 : -1;
}

/** Left and right arrows move along a list of tabs, as tabs do everywhere. */
function moveBetweenTabs(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  const tabs = [...event.currentTarget.querySelectorAll("[role=tab]:not(:disabled)")];
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  next.focus();
  next.click();
}

function contextRow(layer, feature, [, window, focus, label, code, codes], written) {
  const tokens = layer.data.windows[window].map((text, place) => {
    const value = codes[place] === null ? null : (codes[place] / CODE_STEPS) * feature.scale;
    const shown = place === 0 ? layer.string(text).trimStart() : layer.string(text);
    return heatToken(shown, place === focus ? code : value, feature, place === focus);
  });
  const concept = label === null ? null : layer.string(label);
  const same = concept !== null && concept === layer.conceptName(feature);
  return h(
    "li",
    { class: "context" },
    h("span", { class: "code", title: "code at the underlined token" }, written(code)),
    h("p", { class: "text", dir: "auto" }, tokens),
    concept === null
      ? h("span", { class: "from" })
      : h(
          "span",
          { class: same ? "from same" : "from", title: "the concept this text was written for" },
          isolated(concept),
        ),
  );
}

/** A token with its colour; the space before it stays outside of the colour. */
function heatToken(text, code, feature, focus) {
  const word = text.trimStart() || text;
  const token = h(focus ? "mark" : "span", { class: "token" }, word);
  token.classList.toggle("focus", focus);
  token.classList.toggle("blank", /^[␣↵⇥]+$/.test(word));
  token.classList.toggle("against", code < 0);
  const share = Math.abs(code ?? 0) / feature.scale;
  if (share > 0) token.style.setProperty("--heat", (FULL_HEAT * share).toFixed(1));
  token.dataset.code =
    share === 0 ? "does not fire here" : `code ${figure(code)}, ${percent(share)} of its largest`;
  return word === text ? token : [text.slice(0, text.length - word.length), token];
}

/** One tooltip for all tokens, by pointer or by tap. */
function watchTokens(container) {
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
