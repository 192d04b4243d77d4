// Figures and words as the page shows them.

export const MISSING = "–";
export const COLLATOR = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** A number to so many significant digits: 0.0123, 12.3, 1,234; the mark for a missing one. */
export function figure(value, digits = 3) {
  if (value === null || value === undefined) return MISSING;
  if (value === 0) return "0";
  if (value < 0) return `−${figure(-value, digits)}`;
  if (Number(value.toPrecision(digits)) >= 10 ** digits) return Math.round(value).toLocaleString("en");
  if (value < 1e-4) return value.toExponential(digits - 1).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(digits)));
}

/** A way to write several figures of one kind below each other: as many decimals for all. */
export function alignedLike(values) {
  const scale = Math.max(...values.map(Math.abs));
  if (!(scale > 1e-3)) return (value) => figure(value);
  const decimals = Math.min(5, Math.max(0, 2 - Math.floor(Math.log10(scale))));
  return (value) => value.toFixed(decimals).replace("-", "−");
}

/** A share of 1 as a percentage. */
export function percent(value, digits = 2) {
  return value === null ? MISSING : `${figure(100 * value, digits)}%`;
}

/** An AUROC, always to two digits. */
export function score(value) {
  return value === null ? MISSING : value.toFixed(2);
}

/** "1 feature", "2 features". */
export function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** Text as it is compared when searching. */
export function folded(text) {
  return text.normalize("NFKC").toLowerCase();
}
