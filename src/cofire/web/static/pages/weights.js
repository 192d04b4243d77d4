// Weight matrices: a figure of every head or layer at a glance.

import { heatmap } from "../parts/heatmap.js";
import { resultsPage } from "../parts/results_page.js";
import { h } from "../shared/dom.js";
import { figure } from "../shared/text.js";

const LINES = 500; // of a table asked for at once
const MOST = 20; // times that

export const open = resultsPage({
  kind: "weights",
  title: "Weights",
  deck: "What the weight matrices are made of, layer by layer and head by head.",
  absent: "No weights were analysed for this run yet. This command does, for a model:",
  command: () => "cofire weights MODEL --matrix ov",
  draw,
});

async function draw({ card, load }) {
  const blocks = [];
  for (const { document, type, columns } of card.documents) {
    if (type !== "table" || !columns.includes("layer")) continue;
    const lines = await whole(document, load);
    const block = overview(document, lines, columns);
    if (block !== null) blocks.push(block);
  }
  return blocks;
}

async function whole(document, load) {
  const lines = [];
  for (let page = 0; page < MOST; page += 1) {
    const { rows, found } = await load(document, { offset: page * LINES, limit: LINES });
    lines.push(...rows);
    if (lines.length >= found) break;
  }
  return lines;
}

/** Layers by heads (or by whatever else tells the lines apart), one figure at a time. */
function overview(document, lines, columns) {
  const figures = columns.filter(
    (name) => !["layer", "head"].includes(name) && lines.some((line) => typeof line[name] === "number"),
  );
  const words = columns.filter((name) => lines.some((line) => typeof line[name] === "string"));
  if (figures.length === 0 || lines.length < 2) return null;
  const across = columns.includes("head") ? "head" : words[0] ?? null;
  const others = words.filter((name) => name !== across && new Set(lines.map((line) => line[name])).size > 1);
  const choices = others.map((name) => {
    const values = [...new Set(lines.map((line) => String(line[name])))];
    return { name, select: h("select", {}, values.map((value) => h("option", { value }, value))) };
  });
  const measure = h("select", {}, figures.map((name) => h("option", { value: name }, name)));
  const box = h("div");
  const show = () => {
    const shown = lines.filter((line) => choices.every(({ name, select }) => String(line[name]) === select.value));
    const layers = [...new Set(shown.map(({ layer }) => layer))].sort((a, b) => a - b);
    const heads = across === null ? [null] : [...new Set(shown.map((line) => line[across]))].sort((a, b) => (a > b ? 1 : -1));
    const values = new Map(shown.map((line) => [`${line.layer}/${across === null ? null : line[across]}`, line[measure.value]]));
    const value = (row, column) => values.get(`${layers[row]}/${heads[column]}`) ?? null;
    const known = [...values.values()].filter((one) => typeof one === "number").map(Math.abs);
    box.replaceChildren(
      heatmap(
        {
          rows: layers.map((layer) => ({ name: `Layer ${layer}` })),
          columns: heads.map((one) => ({ name: one === null ? measure.value : across === "head" ? `Head ${one}` : String(one) })),
        },
        value,
        {
          caption: `${measure.value} by layer and ${across ?? "figure"}`,
          scale: Math.max(...known, 0),
          title: (row, column) => `layer ${layers[row]}${across === null ? "" : `, ${across} ${heads[column]}`}: ${figure(value(row, column))}`,
        },
      ),
    );
  };
  for (const { select } of [...choices, { select: measure }]) select.addEventListener("change", show);
  show();
  return h(
    "section",
    { class: "block" },
    h("h2", {}, document),
    h(
      "div",
      { class: "work" },
      h("label", {}, h("span", {}, "Figure"), " ", measure),
      choices.map(({ name, select }) => h("label", {}, h("span", {}, name), " ", select)),
    ),
    box,
  );
}
