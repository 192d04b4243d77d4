// Addresses: what is open, links to it, and going there. An exported folder keeps them in the
// fragment, because a plain web host knows no other page than its index.

const stored = document.documentElement.dataset.source === "stored";

/** Whether the pages come from an exported folder: reading only. */
export const isStored = stored;

/** The place that is open: `path` and `query`. */
export function here() {
  const address = stored ? location.hash.slice(1) || "/" : location.pathname + location.search;
  const [path, query = ""] = address.split("?");
  return { path, query: new URLSearchParams(query) };
}

/** The link to a place; parameters that are null, empty or false are left out. */
export function href(path, query = {}) {
  const words = queryText(query);
  const address = words === "" ? path : `${path}?${words}`;
  return stored ? `#${address}` : address;
}

/** Parameters as they stand in an address. */
export function queryText(query) {
  const pairs = query instanceof URLSearchParams ? [...query] : Object.entries(query);
  const kept = pairs.flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value])
      .filter((one) => one !== null && one !== undefined && one !== "" && one !== false)
      .map((one) => [name, String(one)]),
  );
  return new URLSearchParams(kept).toString();
}

/** The place a link leads to, null when it leads out of these pages. */
export function placeOf(link) {
  if (link.target || link.hasAttribute("download") || link.origin !== location.origin) return null;
  if (stored) return link.hash.startsWith("#/") ? link.hash : null;
  if (link.hash !== "" && link.pathname === location.pathname) return null;
  if (link.pathname.endsWith(".json")) return null;
  return link.pathname + link.search;
}

export const runPath = (run) => `/runs/${encodeURIComponent(run)}`;
export const listPath = (run, layer) => `${runPath(run)}/${layer}/features`;
export const featurePath = (run, layer, feature) => `${listPath(run, layer)}/${feature}`;
