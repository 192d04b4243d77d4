// A steering job as it goes on: its state, what it reached, probabilities and texts side by side.

import { featurePath, href } from "../address.js";
import { ask } from "../api.js";
import { h, isolated, loneToken, missing } from "../shared/dom.js";
import { figure, percent } from "../shared/text.js";
import { failed } from "./words.js";

const STATES = {
  waiting: "Waits for its turn.",
  loading: "The model is being loaded.",
  matching: "Strengths are searched.",
  writing: "Writing.",
  done: "Done.",
  cancelled: "Cancelled.",
  failed: "Failed.",
};
const OVER = new Set(["done", "cancelled", "failed"]);
const REACHED = {
  given: null,
  found: null,
  unreachable: "the target cannot be reached",
  inexact: "the KL jumps past the target",
};

export class JobView {
  constructor(job, { over }) {
    this.name = job.job;
    this.over = over;
    this.status = h("p", { class: "job-state", role: "status" });
    this.button = h("button", { type: "button", onclick: () => this.cancel() }, "Cancel");
    this.problem = h("div");
    this.figures = h("div");
    this.texts = h("div", { class: "beside" });
    this.chances = h("div");
    this.element = h(
      "section",
      { class: "job", "aria-label": "Steering" },
      h("div", { class: "job-head" }, this.status, this.button),
      this.problem,
      this.texts,
      this.figures,
      this.chances,
    );
    this.columns = new Map();
    this.draw(job);
    if (!OVER.has(job.state)) this.follow();
  }

  follow() {
    this.events = new EventSource(`/steer/${encodeURIComponent(this.name)}/events`);
    this.events.addEventListener("job", ({ data }) => this.draw(JSON.parse(data)));
    this.events.addEventListener("end", () => {
      this.leave();
      this.over();
    });
    this.events.addEventListener("error", () => {
      if (this.events.readyState === EventSource.CLOSED) {
        this.problem.replaceChildren(failed(new Error("The server no longer answers; reload the page to look again.")));
      }
    });
  }

  async cancel() {
    if (this.button.hidden) return;
    try {
      this.draw(await ask(`/steer/${encodeURIComponent(this.name)}.json`, null, { method: "DELETE" }));
    } catch (error) {
      this.problem.replaceChildren(failed(error));
    }
  }

  leave() {
    this.events?.close();
  }

  draw(job) {
    const waiting = job.state === "waiting" && job.place > 0;
    this.status.textContent = waiting ? `Waits: ${job.place} before it.` : STATES[job.state];
    this.element.dataset.state = job.state;
    this.button.hidden = OVER.has(job.state);
    this.element.setAttribute("aria-busy", OVER.has(job.state) ? "false" : "true");
    this.problem.replaceChildren(...(job.problem === null ? [] : [failed(new Error(job.problem))]));
    this.drawTexts(job);
    if (this.drawn !== job.features.length) {
      this.drawn = job.features.length;
      this.figures.replaceChildren(...(job.together === null ? [] : [figuresBlock(job)]));
      this.chances.replaceChildren(...(job.together === null ? [] : [chancesBlock(job)]));
    }
  }

  drawTexts({ base, steered, request, state }) {
    if (this.columns.size === 0) {
      for (const [side, title] of [
        ["base", "As it is"],
        ["steered", "Steered"],
      ]) {
        const list = h("ol", { class: "written" });
        this.columns.set(side, list);
        this.texts.append(h("section", { class: side }, h("h3", {}, title), list));
      }
    }
    for (const [side, texts] of [
      ["base", base],
      ["steered", steered],
    ]) {
      const list = this.columns.get(side);
      const count = Math.max(texts.length, OVER.has(state) ? 0 : request.samples);
      while (list.children.length < count) list.append(written(request.prompt));
      while (list.children.length > count) list.lastElementChild.remove();
      texts.forEach(({ text, ended }, place) => {
        const [own, end] = list.children[place].querySelectorAll(".own, .end");
        if (own.textContent !== text) own.textContent = text;
        end.textContent = ended ? " ∎" : "";
      });
    }
  }
}

function written(prompt) {
  return h(
    "li",
    { class: "text", dir: "auto" },
    h("span", { class: "prompt" }, prompt),
    h("span", { class: "own" }),
    h("span", { class: "end", title: "the model ended the text" }),
  );
}

function figuresBlock({ request, features, together }) {
  const { run, layer } = request;
  const kl = (value) => (value === null ? missing("the model gives no numbers here") : figure(value));
  const row = ({ feature, label, sign, strength, kl: reached, status }) =>
    h(
      "tr",
      {},
      h(
        "th",
        { scope: "row" },
        h("a", { href: href(featurePath(run, layer, feature)) }, `${feature} `, isolated(label)),
      ),
      h("td", {}, `${sign < 0 ? "−" : "+"}${figure(strength)}`),
      h("td", {}, kl(reached), REACHED[status] === null ? null : h("span", { class: "flag" }, ` ${REACHED[status]}`)),
    );
  return h(
    "section",
    { class: "block" },
    h("h3", {}, "How strongly"),
    h(
      "table",
      { class: "plain figures" },
      h(
        "thead",
        {},
        h("tr", {}, h("th", { scope: "col" }, "Feature"), h("th", { scope: "col" }, "Strength"), h("th", { scope: "col" }, "KL by itself")),
      ),
      h(
        "tbody",
        {},
        features.map(row),
        h(
          "tr",
          { class: "sum" },
          h("th", { scope: "row" }, "All together"),
          h("td", {}, figure(together.strength)),
          h("td", {}, kl(together.kl), REACHED[together.status] === null ? null : h("span", { class: "flag" }, ` ${REACHED[together.status]}`)),
        ),
      ),
    ),
    h(
      "p",
      { class: "note" },
      "Strength is in units of the median length of the activations at the site; KL is that of the next token after the prompt, in nats.",
    ),
  );
}

function chancesBlock({ probabilities }) {
  if (probabilities.length === 0) {
    return h(
      "section",
      { class: "block" },
      h("h3", {}, "Next token after the prompt"),
      h("p", { class: "note" }, "The steered model gives no numbers here: the strength is too large."),
    );
  }
  const most = Math.max(...probabilities.flatMap(({ before, after }) => [before, after])) || 1;
  const bar = (kind, value) => {
    const line = h("i", { class: kind });
    line.style.width = `${(100 * value) / most}%`;
    return h("div", { class: "chance-bar" }, line);
  };
  const row = ({ token, token_id: id, before, after }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", title: `token ${id}` }, loneToken(token)),
      h("td", { class: "pair-bars", "aria-hidden": "true" }, bar("before", before), bar("after", after)),
      h("td", { class: "amount" }, percent(before)),
      h("td", { class: "amount" }, percent(after)),
    );
  return h(
    "section",
    { class: "block" },
    h("h3", {}, "Next token after the prompt"),
    h(
      "table",
      { class: "bars chances" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "Token"),
          h("td", {}),
          h("th", { scope: "col", class: "amount" }, h("span", { class: "legend" }, h("span", {}, h("i", { class: "before" }), "as it is"))),
          h("th", { scope: "col", class: "amount" }, h("span", { class: "legend" }, h("span", {}, h("i", { class: "after" }), "steered"))),
        ),
      ),
      h("tbody", {}, probabilities.map(row)),
    ),
  );
}
