// The layer that a site is of.

/** The layer in words such as blocks.9.mlp.hook_post; null where there is none. */
export function layerOfSite(words) {
  const match = /blocks\.(\d+)\./.exec(words ?? "");
  return match === null ? null : Number(match[1]);
}
