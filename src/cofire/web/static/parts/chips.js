// Features that were chosen, as chips that can be taken away again.

import { featurePath, href } from "../address.js";
import { read } from "../api.js";
import { h, isolated } from "../shared/dom.js";
import { failed } from "./words.js";

/**
 * A list of chosen features: `put(row)` adds one; `add(numbers)` asks for the labels of those that a
 * link names and puts them first, whatever was chosen meanwhile.
 *
 * @param {(chip: object) => HTMLElement} extra further controls of a chip, where there are any
 */
export function featureChips({ place, most, extra = null, changed = () => {} }) {
  const chosen = new Map();
  const element = h("ul", { class: "chosen", "aria-label": "Chosen features" });
  const problem = h("div");

  const draw = () => {
    [...chosen.values()].forEach(({ item }, number) => {
      const there = element.children[number] ?? null;
      if (there !== item) element.insertBefore(item, there); // those in place keep the focus
    });
    changed();
  };
  const put = ({ feature, label }) => {
    if (chosen.has(feature)) return;
    if (chosen.size >= most) {
      problem.replaceChildren(failed(new Error(`At most ${most} features at once.`)));
      return;
    }
    const take = h("button", { type: "button", class: "take", "aria-label": `take feature ${feature} away` }, "×");
    const chip = { feature, label };
    chip.item = h(
      "li",
      {},
      h(
        "a",
        { href: href(featurePath(place.run, place.layer, feature)) },
        h("span", { class: "number" }, `${feature} `),
        isolated(label),
      ),
      extra === null ? null : extra(chip),
      take,
    );
    take.addEventListener("click", () => {
      chosen.delete(feature);
      chip.item.remove();
      problem.replaceChildren();
      draw();
    });
    chosen.set(feature, chip);
    draw();
  };
  const add = async (numbers) => {
    const linked = new Set(numbers);
    for (const feature of linked) {
      try {
        put(await read(featurePath(place.run, place.layer, feature)));
      } catch (error) {
        problem.replaceChildren(failed(error));
      }
    }
    for (const [feature, chip] of [...chosen]) {
      if (linked.has(feature)) continue;
      chosen.delete(feature);
      chosen.set(feature, chip);
    }
    draw();
  };
  return {
    element: h("div", { class: "chosen-box" }, element, problem),
    put,
    add,
    get features() {
      return [...chosen.keys()];
    },
    get chips() {
      return [...chosen.values()];
    },
  };
}
