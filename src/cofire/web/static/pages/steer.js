// Live steering: features with strengths or KL targets, and what the model writes with them.

import { href } from "../address.js";
import { ask, read } from "../api.js";
import { placeFor } from "../bar.js";
import { featureChips } from "../parts/chips.js";
import { canCompute, modelNote } from "../parts/model_state.js";
import { featurePicker } from "../parts/picker.js";
import { layerChoice, nothingToShow } from "../parts/place_choice.js";
import { JobView } from "../parts/steer_job.js";
import { PushControls } from "../parts/push.js";
import { failed } from "../parts/words.js";
import { h, isolated } from "../shared/dom.js";
import { numbers } from "./test.js";

const PROMPT = "I think that";
const SAMPLING = [
  ["new_tokens", "New tokens", 40, { min: 1, step: 1 }, "Longest continuation."],
  ["samples", "Continuations", 2, { min: 1, step: 1 }, "How many of each."],
  ["temperature", "Temperature", 1, { min: 0, max: 10, step: "any" }, "0 always takes the most likely token."],
  ["top_k", "Top k", 30, { min: 1, step: 1 }, "Only the k most likely tokens; empty for all."],
  ["top_p", "Top p", 0.3, { min: 0.01, max: 1, step: "any" }, "Of those, the fewest that together have this probability; empty for all."],
  ["seed", "Seed", 0, { min: 0, step: 1 }, "The same seed gives the same texts."],
];
const WHOLE = new Set(["new_tokens", "samples", "top_k", "seed"]);

export async function open({ query, signal, go }) {
  const place = await placeFor(query);
  if (place.card === null) return nothingToShow("Steer");
  const limits = await read("/steer", { signal });
  const page = new SteerPage({ ...place, limits, query, go });
  await page.start(query, signal);
  return page;
}

class SteerPage {
  constructor({ card, run, layer, limits, go }) {
    this.title = "Steer";
    this.place = { run, layer };
    this.card = card;
    this.limits = limits;
    this.go = go;
    this.view = null;
    this.keys = { "/": () => this.prompt.focus(), Escape: () => this.view?.cancel() };
    this.prompt = h("textarea", { id: "prompt", rows: 3, maxlength: limits.most_prompt, dir: "auto" });
    this.chips = featureChips({
      place: this.place,
      most: limits.most_features,
      extra: (chip) => {
        chip.push = new PushControls(chip.feature);
        return chip.push.element;
      },
      changed: () => this.mark(),
    });
    this.kl = h("input", { type: "number", id: "kl-together", min: 0.0001, max: 10, step: "any", placeholder: "as they are" });
    this.sampling = new Map(
      SAMPLING.map(([name, , value, limits_, words]) => {
        const input = h("input", { type: "number", id: `set-${name}`, title: words, ...limits_ });
        input.value = String(value);
        return [name, input];
      }),
    );
    this.sampling.get("samples").max = limits.most_samples;
    this.sampling.get("new_tokens").max = limits.most_new_tokens;
    this.button = h("button", { class: "main" }, "Steer");
    this.problem = h("div");
    this.results = h("div", { id: "results" });
    this.earlier = h("div");
  }

  async start(query, signal) {
    const job = query.get("job");
    this.prompt.value = query.get("prompt") ?? PROMPT;
    this.content = [
      h("h1", {}, "Steer"),
      h(
        "p",
        { class: "deck" },
        "Add features to what the layer passes on, and compare what the model writes with what it writes as it is.",
      ),
      modelNote(this.limits.models, this.place.run),
      h("div", { class: "bench" }, this.form(), h("div", { class: "bench-results" }, this.results, this.earlier)),
    ];
    this.mark();
    if (job !== null) await this.resume(job, signal);
    else this.chips.add(numbers(query.get("features")));
    this.drawEarlier(this.limits.jobs);
  }

  form() {
    const setting = ([name, title, , , words]) =>
      h("label", { title: words }, h("span", {}, title), " ", this.sampling.get(name));
    const form = h(
      "form",
      { class: "work" },
      layerChoice({
        card: this.card,
        layer: this.place.layer,
        changed: (layer) => this.go(href("/steer", { run: this.place.run, layer, prompt: this.prompt.value })),
      }),
      h("label", { class: "wide" }, h("span", {}, "Prompt"), " ", this.prompt),
      featurePicker({
        label: "Add a feature",
        place: () => this.place,
        chosen: (row) => this.chips.put(row),
      }),
      this.chips.element,
      h(
        "details",
        { class: "settings" },
        h("summary", {}, "Sampling and size"),
        h("div", { class: "grid" }, SAMPLING.map(setting)),
        h(
          "label",
          { title: "The sum of the features is scaled until the next token has changed so much." },
          h("span", {}, "KL of all together, in nats"),
          " ",
          this.kl,
        ),
      ),
      h("p", { class: "actions" }, this.button),
      this.problem,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin();
    });
    return form;
  }

  mark() {
    const ready = canCompute(this.limits.models, this.place.run);
    this.button.disabled = !ready || this.chips.features.length === 0;
    this.button.title = ready && this.button.disabled ? "choose a feature first" : "";
  }

  get request() {
    const set = [...this.sampling].map(([name, input]) => [
      name,
      input.value === "" ? null : WHOLE.has(name) ? Math.round(Number(input.value)) : Number(input.value),
    ]);
    const kept = set.filter(([name, value]) => value !== null || name === "top_k" || name === "top_p");
    return {
      ...this.place,
      features: this.chips.chips.map(({ push }) => push.value),
      prompt: this.prompt.value,
      kl: this.kl.value === "" ? null : Number(this.kl.value),
      ...Object.fromEntries(kept),
    };
  }

  async begin() {
    this.problem.replaceChildren();
    this.button.disabled = true;
    try {
      this.watch(await ask("/steer.json", this.request));
    } catch (error) {
      this.problem.replaceChildren(failed(error));
      if (!("status" in error)) throw error;
    } finally {
      this.mark();
    }
  }

  /** Show a job and follow it until it is over. */
  watch(job) {
    this.view?.leave();
    this.view = new JobView(job, { over: () => this.refreshEarlier() });
    this.results.replaceChildren(this.view.element);
    history.replaceState(null, "", href("/steer", { ...this.place, job: job.job }));
  }

  /** Open a job again: its settings and results. */
  async resume(name, signal) {
    let job;
    try {
      job = await read(`/steer/${encodeURIComponent(name)}`, { signal });
    } catch (error) {
      if (!("status" in error)) throw error;
      this.problem.replaceChildren(failed(error));
      return;
    }
    const { request } = job;
    if (request.run !== this.place.run || request.layer !== this.place.layer) {
      this.go(href("/steer", { run: request.run, layer: request.layer, job: name }), { replace: true });
      return;
    }
    this.prompt.value = request.prompt;
    this.kl.value = request.kl ?? "";
    for (const [key, input] of this.sampling) input.value = request[key] ?? "";
    this.watch(job);
    await this.chips.add(request.features.map(({ feature }) => feature));
    for (const { feature, push } of this.chips.chips) {
      push.value = request.features.find((one) => one.feature === feature);
    }
  }

  async refreshEarlier() {
    try {
      this.limits = await read("/steer");
      this.drawEarlier(this.limits.jobs);
    } catch {
      // the list of earlier jobs is not worth a message
    }
  }

  drawEarlier(jobs) {
    const others = jobs.filter(({ job }) => job !== this.view?.name);
    const lines = others.map(({ job, state, run, layer, features, prompt }) =>
      h(
        "li",
        {},
        h("a", { href: href("/steer", { run, layer, job }) }, isolated(prompt.slice(0, 60) || "…")),
        h("span", { class: "note" }, ` ${state} · layer ${layer}, features ${features.join(", ")}`),
      ),
    );
    this.earlier.replaceChildren(
      ...(lines.length === 0
        ? []
        : [h("details", { class: "block" }, h("summary", {}, `Earlier (${lines.length})`), h("ul", { class: "earlier" }, lines))]),
    );
  }

  leave() {
    this.view?.leave();
  }
}
