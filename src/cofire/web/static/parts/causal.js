// What amplifying and holding core and exclusive neurons does to the logits of features' tokens.

import { heatmap } from "./heatmap.js";
import { h } from "../shared/dom.js";
import { counted, figure, percent } from "../shared/text.js";

const FIGURES = [
  ["own", "Named member"],
  ["others", "Others"],
  ["apart", "Difference"],
];

/** Blocks for the parts `amplified` and `ablated` of an overlap; none where it has none. */
export function causalBlocks({ amplified, ablated }) {
  return [amplified && amplifiedBlock(amplified), ablated && ablatedBlock(ablated)].filter(Boolean);
}

function amplifiedBlock({ rows, targets, prompts, target_kl: kl, contrasts }) {
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "Amplified in the model"),
    estimates({
      caption: "Shift of logits when neurons are amplified",
      rows: rows.map(({ group, control, neurons }) => ({ name: rowName(group, control, neurons) })),
      columns: targets.map((name) => ({ name })),
      at: (row, column) => rows[row].cells[column],
    }),
    h(
      "p",
      { class: "note" },
      `Mean shift of the logits of each feature’s tokens over ${counted(prompts.length, "prompt")}, all rows at a KL of ${figure(kl)} nats; rows of controls amplify other neurons.`,
    ),
    h(
      "ul",
      {},
      contrasts.map(({ name, control, found, of_control: beside, p_value: p }) =>
        h("li", {}, `${name}: ${figure(found.value)}, of the ${control} control ${figure(beside.value)}`, p === null ? "" : `, p = ${figure(p, 2)}`),
      ),
    ),
  );
}

function ablatedBlock({ rows, prompts, targets, recalled }) {
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "Held at the mean"),
    estimates({
      caption: "Change of logits when neurons are held at their mean",
      rows: rows.map(({ what, control, neurons }) => ({ name: rowName(what, control, neurons) })),
      columns: FIGURES.map(([, name]) => ({ name })),
      at: (row, column) => rows[row][FIGURES[column][0]],
    }),
    h(
      "p",
      { class: "note" },
      `Change of logits over ${prompts.length * targets.length} prompts that name a member; the model as it is puts the named one first in ${percent(recalled)} of them.`,
    ),
  );
}

function rowName(group, control, neurons) {
  return `${control === null ? group : `${group}, ${control} control`} (${figure(neurons)})`;
}

function estimates({ caption, rows, columns, at }) {
  const values = rows.flatMap((_, row) => columns.map((_, column) => Math.abs(at(row, column).value ?? 0)));
  return heatmap({ rows, columns }, (row, column) => at(row, column).value, {
    caption,
    scale: Math.max(...values, 0),
    title: (row, column) => {
      const { value, low, high, n, missing } = at(row, column);
      const interval = low === null ? "" : ` (${figure(low)} to ${figure(high)})`;
      return `${rows[row].name}, ${columns[column].name}: ${figure(value)}${interval}, ${n} prompts, ${missing} missing`;
    },
  });
}
