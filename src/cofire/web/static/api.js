// Asking the server: pages' JSON twins, and what changes or computes.

import { isStored, queryText } from "./address.js";

const TOKEN = "cofire-token";
const HEADER = "X-Cofire-Token";

/** A request that was refused or failed; its message is for the reader. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Take the token out of the address that `cofire serve` printed, and keep it for this browser. */
export function keepToken() {
  const address = new URL(location.href);
  const fragment = new URLSearchParams(address.hash.slice(1));
  const token = fragment.get("token") ?? address.searchParams.get("token");
  if (token === null) return;
  try {
    localStorage.setItem(TOKEN, token);
  } catch {
    kept = token;
  }
  address.searchParams.delete("token");
  if (fragment.has("token")) address.hash = "";
  history.replaceState(history.state, "", address.href.replace(/#$/, ""));
}

let kept = "";

function token() {
  try {
    return localStorage.getItem(TOKEN) ?? kept;
  } catch {
    return kept;
  }
}

/** Where the JSON twin of a page lies. */
export function twinOf(path) {
  const twin = path === "/" ? "/index.json" : `${path}.json`;
  return isStored ? `data${twin}` : twin;
}

/** The JSON twin of a page. */
export async function read(path, { query = {}, signal } = {}) {
  const words = isStored ? "" : queryText(query);
  const answer = await reach(words === "" ? twinOf(path) : `${twinOf(path)}?${words}`, { signal });
  const content = await answer.json();
  return isStored ? partOf(content, query) : content;
}

/** The lines of an exported table that a server would give. */
function partOf(content, { offset = 0, limit = Infinity }) {
  if (!Array.isArray(content.rows)) return content;
  return { ...content, rows: content.rows.slice(offset, offset + limit) };
}

/** Ask for something that changes or computes. */
export async function ask(path, body, { method = "POST", signal } = {}) {
  const answer = await reach(path, {
    method,
    signal,
    headers: { "Content-Type": "application/json", [HEADER]: token() },
    body: body === null ? undefined : JSON.stringify(body),
  });
  return answer.status === 204 ? null : answer.json();
}

async function reach(address, options) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(
      isStored
        ? "This part was not exported, or the folder is not on a web host."
        : "The server does not answer: is cofire serve still running?",
      0,
    );
  }
  if (answer.ok) return answer;
  throw new Refused(await problemOf(answer), answer.status);
}

async function problemOf(answer) {
  if (isStored) return "This part was not exported.";
  try {
    const { error } = await answer.json();
    if (typeof error === "string") return error;
  } catch {
    // no JSON: the status says what there is to say
  }
  return `The server answered ${answer.status} ${answer.statusText}.`;
}
