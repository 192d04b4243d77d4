// How one feature is steered: towards or away, by a strength or to a KL.

import { h } from "../shared/dom.js";

const STRENGTH = 2;
const KL = 0.5;

export class PushControls {
  constructor(feature) {
    this.feature = feature;
    this.sign = h(
      "select",
      { "aria-label": `Direction of feature ${feature}` },
      h("option", { value: "1" }, "add"),
      h("option", { value: "-1" }, "take away"),
    );
    this.kind = h(
      "select",
      { "aria-label": `How feature ${feature} is measured out` },
      h("option", { value: "strength" }, "strength"),
      h("option", { value: "kl" }, "KL, nats"),
    );
    this.amount = h("input", { type: "number", step: "any", "aria-label": `Amount of feature ${feature}` });
    this.kind.addEventListener("change", () => this.limit(true));
    this.limit(true);
    this.element = h("span", { class: "push" }, this.sign, this.kind, this.amount);
  }

  limit(fresh) {
    const strength = this.kind.value === "strength";
    this.amount.min = strength ? 0 : 0.0001;
    this.amount.max = strength ? 1000 : 10;
    this.amount.title = strength
      ? "in units of the median length of the activations at the site"
      : "how far the next token’s probabilities are to move, by this feature alone";
    if (fresh) this.amount.value = String(strength ? STRENGTH : KL);
  }

  get value() {
    const amount = Number(this.amount.value);
    const strength = this.kind.value === "strength";
    return {
      feature: this.feature,
      strength: strength ? amount : null,
      kl: strength ? null : amount,
      sign: Number(this.sign.value),
    };
  }

  set value({ strength, kl, sign }) {
    this.sign.value = String(sign);
    this.kind.value = strength === null ? "kl" : "strength";
    this.limit(false);
    this.amount.value = String(strength ?? kl);
  }
}
