// Weight matrices: a figure of every head or layer at a glance, and the components of one of them.

import { href } from "../address.js";
import { heatmap } from "../parts/heatmap.js";
import { allLines, resultsPage } from "../parts/results_page.js";
import { matrixBlock } from "../parts/weight_matrix.js";
import { h } from "../shared/dom.js";
import { figure } from "../shared/text.js";

const NAMES = {
  copying: "Copying score",
  induction: "Induction score",
  previous_token: "Attention to the token before",
  text_previous: "Attention to the token before, on text",
  text_first: "Attention to the first token, on text",
  text_itself: "Attention of a token to itself, on text",
  text_copying: "Raises what it looks at, on text",
  stable: "Stable ICA components",
  negentropy_excess: "Negentropy beyond the null",
  parts_fit: "NMF parts beyond the null",
  effective_rank: "Effective rank",
  error_svd: "Relative error of SVD",
  fan_out: "Fan-out",
};
const NOT_FIGURES = ["layer", "head", "seconds"];

export const open = resultsPage({
  kind: "weights",
  title: "Weights",
  deck: "What the weight matrices are made of, layer by layer and head by head.",
  absent: "No weights were taken apart yet where this server looks. This command does, for a model; serve its folder too:",
  command: () => "cofire weights MODEL --matrix ov",
  draw,
});

async function draw(result) {
  const { card, load, query } = result;
  if (!card.documents.some(({ document }) => document === "heads")) return [];
  const lines = await allLines(load, "heads");
  if (lines.length === 0) return [];
  const box = h("div");
  const choice = h(
    "select",
    {},
    lines.map((line) => h("option", { value: nameOf(line) }, wordsOf(line))),
  );
  const address = (name) => href("/weights", { run: result.place.run, result: card.result, matrix: name });
  let asked = null;
  const show = async (name, { moved = false } = {}) => {
    asked = name;
    choice.value = name;
    const block = await matrixBlock((document) => load(document), name);
    if (asked !== name) return;
    box.replaceChildren(block);
    if (!moved) return;
    history.replaceState(null, "", address(name));
    choice.scrollIntoView({ block: "start" });
  };
  choice.addEventListener("change", () => show(choice.value, { moved: true }));
  const wanted = lines.find((line) => nameOf(line) === query.get("matrix")) ?? lines[0];
  await show(nameOf(wanted));
  const cells = overview(lines, address);
  cells.addEventListener("click", (event) => {
    const name = new URLSearchParams(event.target.closest("td a")?.href.split("?")[1]).get("matrix");
    if (name === null || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(name, { moved: true });
  });
  return [
    cells,
    h(
      "section",
      { class: "block" },
      h("h2", {}, "One by one"),
      h("div", { class: "work" }, h("label", {}, h("span", {}, "Matrix"), " ", choice)),
      box,
    ),
  ];
}

/** The name of a matrix in its documents: 9-2, or 9 where a layer has only one. */
function nameOf({ layer, head }) {
  return head === null ? String(layer) : `${layer}-${head}`;
}

function wordsOf({ layer, head, structure }) {
  return `Layer ${layer}${head === null ? "" : `, head ${head}`}: ${structure}`;
}

/** Layers by heads, one figure at a time. */
function overview(lines, address) {
  const known = Object.keys(lines[0]).filter(
    (name) => !NOT_FIGURES.includes(name) && lines.some((line) => typeof line[name] === "number"),
  );
  const order = [...Object.keys(NAMES).filter((name) => known.includes(name)), ...known.filter((name) => !(name in NAMES))];
  const measure = h(
    "select",
    {},
    order.map((name) => h("option", { value: name }, NAMES[name] ?? name.replaceAll("_", " "))),
  );
  const layers = [...new Set(lines.map(({ layer }) => layer))].sort((a, b) => a - b);
  const heads = [...new Set(lines.map(({ head }) => head))].sort((a, b) => a - b);
  const places = new Map(lines.map((line) => [`${line.layer}/${line.head}`, line]));
  const at = (row, column) => places.get(`${layers[row]}/${heads[column]}`) ?? null;
  const box = h("div");
  const show = () => {
    const name = measure.value;
    const values = lines.map((line) => line[name]).filter((value) => typeof value === "number");
    box.replaceChildren(
      heatmap(
        {
          rows: layers.map((layer) => ({ name: `Layer ${layer}` })),
          columns: heads.map((head) => ({ name: head === null ? "Matrix" : `Head ${head}` })),
        },
        (row, column) => at(row, column)?.[name] ?? null,
        {
          caption: `${name} by layer and head`,
          scale: Math.max(...values.map(Math.abs), 0),
          title: (row, column) =>
            at(row, column) === null ? "not done yet" : `${wordsOf(at(row, column))}; ${NAMES[name] ?? name} ${figure(at(row, column)[name])}`,
          link: (row, column) => (at(row, column) === null ? null : address(nameOf(at(row, column)))),
        },
      ),
    );
  };
  measure.addEventListener("change", show);
  show();
  return h(
    "section",
    { class: "block" },
    h("h2", {}, "At a glance"),
    h("p", {}, structures(lines)),
    h("div", { class: "work" }, h("label", {}, h("span", {}, "Figure"), " ", measure)),
    box,
    h("p", { class: "note" }, "Blue is below zero. Choose a cell to see what its matrix reads and writes."),
  );
}

function structures(lines) {
  const counts = new Map();
  for (const { structure } of lines) counts.set(structure, (counts.get(structure) ?? 0) + 1);
  const words = [...counts].sort((a, b) => b[1] - a[1]).map(([structure, count]) => `${count} ${structure}`);
  return `By their verdicts: ${words.join(", ")}.`;
}
