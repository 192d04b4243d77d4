// Whether the model of a run can be used, and why not.

import { h } from "../shared/dom.js";

const WORDS = {
  off: "This server was started without models, so nothing can be computed; reading works.",
  "not loaded": "The model is loaded when it is first needed; that takes a while.",
  loading: "The model is being loaded.",
  ready: null,
  failed: "The model cannot be loaded; reading works.",
};

/** Whether something can be computed for a run. */
export function canCompute(models, run) {
  return stateOf(models, run)?.state !== "off"; // a model that failed to load may be tried again
}

/** What there is to say about a run's model; null when it is ready. */
export function modelNote(models, run) {
  const status = stateOf(models, run);
  if (status === null || status.state === "ready") return null;
  const words = status.problem ?? WORDS[status.state];
  const serious = status.state === "off" || status.state === "failed";
  return h("p", { class: serious ? "notice" : "note", role: serious ? "alert" : null, dir: "auto" }, words);
}

function stateOf(models, run) {
  return models.find((status) => status.run === run) ?? null;
}
