// The overview of heads: which figure the map shows, and in which order the table stands.

const data = JSON.parse(document.getElementById("heads-data").textContent);
const cells = [...document.querySelectorAll("[data-cell]")];

function shade(value, figure) {
  if (value === null) return "";
  if (figure.low < 0 && value < 0) {
    const depth = Math.min(9, Math.floor((10 * value) / figure.low));
    return `cool-${depth}`;
  }
  const start = figure.low < 0 ? 0 : figure.low;
  const span = figure.high - start || 1;
  return `heat-${Math.max(0, Math.min(9, Math.floor((10 * (value - start)) / span)))}`;
}

function paint(number) {
  const figure = data.figures[number];
  for (const cell of cells) {
    const value = data.heads[Number(cell.dataset.cell)][figure.key];
    cell.className = shade(value, figure);
    cell.querySelector("a").textContent =
      value === null ? "–" : Number.isInteger(value) ? String(value) : value.toFixed(2);
  }
}

const pick = document.getElementById("figure");
if (pick) {
  pick.addEventListener("change", () => paint(pick.selectedIndex));
}

const table = document.getElementById("all-heads");
for (const [column, heading] of [...table.tHead.rows[0].cells].entries()) {
  const button = heading.querySelector("button");
  if (!button) continue;
  button.addEventListener("click", () => {
    const down = heading.getAttribute("aria-sort") !== "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.value;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = Number.isNaN(Number(x)) ? x.localeCompare(y) : Number(x) - Number(y);
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
  });
}
