// What names of results tell: the layer they are of, and words for a choice.

/** The layer in words such as RUN~blocks.9.mlp.hook_post~NAME or RUN~core-L9-NAME; null without. */
export function layerOf(words) {
  const match = /blocks\.(\d+)\.|~[a-z]+-L(\d+)(?=-|$)/.exec(words ?? "");
  return match === null ? null : Number(match[1] ?? match[2]);
}

/** The name of a result without the run it is of, which the page says already. */
export function resultWords({ result, run }) {
  if (run === null) return result;
  const parts = result.split("~").slice(1);
  if (parts.length === 2) return `Layer ${layerOf(result)}: ${parts[1]}`;
  return parts.join(" ").replace(/^[a-z]+-/, "").replace(/^L(\d+)-/, "Layer $1: ");
}
