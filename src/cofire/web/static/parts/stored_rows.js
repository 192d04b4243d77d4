// Searching, filtering and sorting an exported list, as the server does with a list of its own.

import { COLLATOR, folded } from "../shared/text.js";

const COMPARISONS = {
  "<=": (a, b) => a <= b,
  ">=": (a, b) => a >= b,
  "<": (a, b) => a < b,
  ">": (a, b) => a > b,
  "=": (a, b) => a === b,
};

/** The rows that pass all filters, in order. */
export function chosen({ features }, filters) {
  const { search = "", concept = "", flag = [], without = [], where = [], sure = null } = filters;
  if (filters.neuron) return []; // exported lists do not know the neurons
  const wanted = folded(search);
  const conditions = [where].flat().map(condition);
  const kept = features.filter(
    (row) =>
      (wanted === "" || searched(row).includes(wanted)) &&
      (concept === "" || row.concept === concept) &&
      [flag].flat().every((one) => row.flags.includes(one)) &&
      ![without].flat().some((one) => row.flags.includes(one)) &&
      (sure !== true || row.sure) &&
      conditions.every((passes) => passes(row)),
  );
  const { sort = "feature", order = "asc" } = filters;
  const sign = order === "desc" ? -1 : 1;
  if (sort === "label") return kept.sort((a, b) => sign * COLLATOR.compare(a.label, b.label));
  const key = (row) => row.measures[sort] ?? null;
  return kept.sort((a, b) => {
    if (key(a) === null || key(b) === null) return (key(a) === null) - (key(b) === null);
    return sign * (key(a) - key(b)) || a.feature - b.feature;
  });
}

function searched(row) {
  return folded([row.label, row.concept ?? "", ...row.tokens, ...row.promoted].join("\n"));
}

function condition(words) {
  const [, name, comparison, number] = /^(\w+)(<=|>=|<|>|=)(.+)$/.exec(words);
  return ({ measures }) => {
    const value = measures[name] ?? null;
    return value !== null && COMPARISONS[comparison](value, Number(number));
  };
}
