// The explorer: which page is open, going from one to the next, keys, and what went wrong.

import { here, isStored, placeOf } from "./address.js";
import { keepToken } from "./api.js";
import { showBar } from "./bar.js";
import { watchTokens } from "./shared/contexts.js";
import { byId, h } from "./shared/dom.js";
import { startTheme } from "./shared/theme.js";

// A page's module has open({ params, query, signal, go }), which gives
//   title     what the tab and screen readers are told,
//   content   elements,
//   place     run and layer for the bar of pages, where there are any,
//   keys      what keys do, by name,
//   follow    (place) => true when the page can show another address itself,
//   leave     called when another page opens.
const PAGES = [
  [/^\/$/, [], "runs", () => import("./pages/runs.js")],
  [/^\/runs\/([^/]+)$/, ["run"], "overview", () => import("./pages/overview.js")],
  [/^\/runs\/([^/]+)\/(\d+)\/features$/, ["run", "layer"], "features", features],
  [/^\/runs\/([^/]+)\/(\d+)\/features\/(\d+)$/, ["run", "layer", "feature"], "features", features],
  [/^\/steer$/, [], "steer", () => import("./pages/steer.js")],
  [/^\/test$/, [], "test", () => import("./pages/test.js")],
  [/^\/tree$/, [], "tree", () => import("./pages/tree.js")],
  [/^\/core$/, [], "core", () => import("./pages/core.js")],
  [/^\/flow$/, [], "flow", () => import("./pages/flow.js")],
  [/^\/weights$/, [], "weights", () => import("./pages/weights.js")],
  [/^\/comparisons$/, [], "comparisons", () => import("./pages/comparisons.js")],
  [/^\/path$/, [], "path", () => import("./pages/path.js")],
  [/^\/compare$/, [], "compare", () => import("./pages/compare.js")],
];
const SLOW = 150; // milliseconds after which waiting is shown

function features() {
  return import("./pages/features.js");
}

const main = byId("main");
let current = null; // { kind, page, place }
let opening = null;

/** The page of an address: its kind, module and parameters; null when there is none. */
function pageOf({ path, query }) {
  for (const [pattern, names, kind, load] of PAGES) {
    const match = pattern.exec(path);
    if (match === null) continue;
    const params = Object.fromEntries(
      names.map((name, number) => [name, decodeURIComponent(match[number + 1])]),
    );
    return { kind, load, params, query };
  }
  return null;
}

/** Go to a place of these pages. `replace` leaves no step to come back to. */
function go(address, { replace = false } = {}) {
  const same = address === (isStored ? location.hash : location.pathname + location.search);
  history[replace || same ? "replaceState" : "pushState"](null, "", address);
  return follow({ moved: true });
}

async function follow({ moved = false } = {}) {
  opening?.abort();
  const leaving = new AbortController();
  opening = leaving;
  const found = pageOf(here());
  if (found !== null && current?.kind === found.kind && current.page.follow?.(found) === true) {
    document.title = titled(current.page.title);
    showBar({ kind: found.kind, ...current.page.place });
    return;
  }
  const waiting = setTimeout(() => {
    byId("progress").hidden = false;
  }, SLOW);
  try {
    const page =
      found === null ? unknownPage() : await opened(found, leaving.signal);
    if (leaving.signal.aborted) {
      page.leave?.();
      return;
    }
    show(found?.kind ?? null, page, moved);
  } catch (error) {
    if (leaving.signal.aborted || error.name === "AbortError") return;
    show(found?.kind ?? null, failedPage(error), moved);
    if (!("status" in error)) throw error;
  } finally {
    clearTimeout(waiting);
    if (opening === leaving) byId("progress").hidden = true;
  }
}

async function opened({ load, params, query }, signal) {
  const { open } = await load();
  return open({ params, query, signal, go });
}

function show(kind, page, moved) {
  current?.page.leave?.();
  delete document.documentElement.dataset.open;
  current = { kind, page };
  main.className = `page page-${kind ?? "none"}`;
  main.replaceChildren(...[page.content].flat(Infinity).filter((one) => one !== null));
  document.title = titled(page.title);
  showBar({ kind, ...page.place });
  page.shown?.();
  if (moved) {
    window.scrollTo(0, 0);
    byId("announce").textContent = page.title;
    main.focus({ preventScroll: true });
  }
}

function titled(title) {
  return title === "cofire" ? title : `${title} · cofire`;
}

function unknownPage() {
  return {
    title: "No such page",
    content: [
      h("h1", {}, "No such page"),
      h("p", { class: "deck" }, "There is nothing at this address. ", h("a", { href: isStored ? "#/" : "/" }, "All runs")),
    ],
  };
}

function failedPage(error) {
  const again = h("button", { type: "button", onclick: () => follow() }, "Try again");
  return {
    title: "This page cannot be shown",
    content: [
      h("h1", {}, "This page cannot be shown"),
      h("p", { class: "deck", role: "alert", dir: "auto" }, error.message),
      h("p", {}, again, " ", h("a", { href: isStored ? "#/" : "/" }, "All runs")),
    ],
  };
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const typing = event.target.matches("input, select, textarea");
  if (typing && event.key !== "Escape") return;
  if (event.key.startsWith("Arrow") && event.target.closest(".scroll, [role=tablist], [role=slider]"))
    return;
  if (event.key === "?") {
    event.preventDefault();
    byId("help").showModal();
    return;
  }
  const action = current?.page.keys?.[event.key];
  if (typing && event.key === "Escape") event.target.blur();
  else if (action) {
    event.preventDefault();
    action(event);
  }
}

function onClick(event) {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest("a[href]");
  const address = link && placeOf(link);
  if (!address) return;
  event.preventDefault();
  go(address);
}

keepToken();
startTheme(byId("theme-button"));
watchTokens(main);
byId("help-button").addEventListener("click", () => byId("help").showModal());
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.addEventListener("click", onClick);
document.addEventListener("keydown", onKey);
window.addEventListener(isStored ? "hashchange" : "popstate", () => follow());
document.addEventListener("cofire:go", (event) => go(event.detail));
follow();
