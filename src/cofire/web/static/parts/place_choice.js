// The choice of a layer, on pages that show one run and one layer.

import { h } from "../shared/dom.js";

/** A box to choose a layer of a run with. */
export function layerChoice({ card, layer, changed }) {
  const select = h(
    "select",
    { id: "layer" },
    card.layers.map((one) => h("option", { value: one }, `Layer ${one}`)),
  );
  select.value = String(layer);
  select.addEventListener("change", () => changed(Number(select.value)));
  return h("label", { class: "layer-choice" }, h("span", {}, "Layer"), " ", select);
}

/** A page for a server without any run that can be read. */
export function nothingToShow(title) {
  return {
    title,
    content: [
      h("h1", {}, title),
      h("p", { class: "deck" }, "No run that is served can be read; the list of runs says why."),
    ],
  };
}
