// A path over the number of features: figures of every point.

import { chart, curve } from "../parts/charts.js";
import { resultsPage } from "../parts/results_page.js";
import { h } from "../shared/dom.js";

const MEASURES = [
  ["loss_train", "Relative loss, training rows"],
  ["loss_heldout", "Relative loss, held-out rows"],
  ["variance_heldout", "Explained variance, held-out rows"],
  ["active", "Features active a token"],
  ["concepts", "Concepts surely selected"],
  ["agreement", "Agreement with the point before"],
  ["seed_agreement", "Agreement between seeds"],
  ["dead", "Dead features"],
];

export const open = resultsPage({
  kind: "path",
  title: "Path",
  deck: "What more features, or sparser ones, gain.",
  absent: "No path was walked yet where this server looks. This command does; serve its folder too:",
  command: () => "cofire path MODEL -o runs/path",
  draw,
});

const isPath = (content) => Array.isArray(content?.points) && content.points.length > 1;

async function draw(result) {
  const written = result.card.documents.some(({ document }) => document === "path");
  const { content = null } = written ? await result.load("path") : {};
  if (!isPath(content)) return [];
  const { points } = content;
  const varied = new Set(points.map((point) => point.sparsity)).size > 1 ? "sparsity" : "n_components";
  const figures = MEASURES.map(([name, title]) => ({
    title,
    line: points.filter((point) => typeof point[name] === "number").map((point) => [point[varied], point[name]]),
  })).filter(({ line }) => line.length > 1);
  return [
    h(
      "section",
      { class: "block" },
      h(
        "div",
        { class: "charts" },
        figures.map(({ title, line }) => chart(title, curve(line, { xName: varied === "sparsity" ? "sparsity" : "features", yName: title.split(",")[0].toLowerCase(), lowest: false, log: true }))),
      ),
    ),
  ];
}
