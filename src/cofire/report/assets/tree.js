// Trees of features: zoom and pan, a node's parents and children, and the contexts it fires on.

const MOST_ZOOM = 6;
const STEP = 1.3;

class TreeView {
  constructor(element) {
    this.element = element;
    this.frame = element.querySelector(".tree-frame");
    this.drawing = this.frame.querySelector("svg");
    this.panel = element.querySelector(".tree-detail");
    this.nodes = JSON.parse(element.querySelector(".tree-data").textContent);
    this.shapes = new Map(
      [...this.drawing.querySelectorAll(".node")].map((shape) => [shape.dataset.node, shape]),
    );
    this.size = [this.drawing.viewBox.baseVal.width, this.drawing.viewBox.baseVal.height];
    this.drawing.removeAttribute("width");
    this.drawing.removeAttribute("height");
    this.drawing.setAttribute("preserveAspectRatio", "xMinYMin meet");
    this.frame.classList.add("live");
    element.querySelector(".tree-tools").hidden = false;
    for (const button of element.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.act(button.dataset.zoom));
    }
    element.querySelector(".tree-search").addEventListener("input", (event) => {
      this.find(event.target.value);
    });
    for (const [name, shape] of this.shapes) {
      shape.setAttribute("tabindex", "0");
      shape.setAttribute("role", "button");
      shape.addEventListener("click", () => this.open(name));
      shape.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        this.open(name);
      });
    }
    this.listen();
    new ResizeObserver(() => this.show(this.view)).observe(this.frame);
    this.start();
  }

  /** The whole width, from the top, or as much of it as can be read. */
  start() {
    const width = Math.min(this.size[0], this.frame.clientWidth / 0.6);
    this.show({ x: 0, y: 0, width });
  }

  /** Show a part of the drawing; its height follows from the shape of the frame. */
  show({ x, y, width }) {
    const shape = this.frame.clientHeight / Math.max(1, this.frame.clientWidth);
    const whole = Math.max(this.size[0], this.size[1] / Math.max(shape, 0.01));
    width = Math.min(Math.max(width, this.size[0] / MOST_ZOOM), whole);
    const height = width * shape;
    x = Math.min(Math.max(x, 0), Math.max(0, this.size[0] - width));
    y = Math.min(Math.max(y, 0), Math.max(0, this.size[1] - height));
    this.view = { x, y, width, height };
    this.drawing.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
  }

  /** Zoom by a factor around a point of the frame, given as shares of its width and height. */
  zoom(factor, across = 0.5, down = 0.5) {
    const { x, y, width, height } = this.view;
    const wanted = width / factor;
    const shape = height / width;
    this.show({
      x: x + across * (width - wanted),
      y: y + down * (height - wanted * shape),
      width: wanted,
    });
  }

  act(what) {
    if (what === "in") this.zoom(STEP);
    else if (what === "out") this.zoom(1 / STEP);
    else if (what === "whole") this.show({ x: 0, y: 0, width: Infinity });
    else this.start();
  }

  listen() {
    let from = null;
    this.frame.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      from = { x: event.clientX, y: event.clientY, view: this.view, moved: false };
    });
    this.frame.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const scale = this.view.width / this.frame.clientWidth;
      const dx = event.clientX - from.x;
      const dy = event.clientY - from.y;
      if (!from.moved && Math.hypot(dx, dy) < 4) return;
      if (!from.moved) this.frame.setPointerCapture(event.pointerId);
      from.moved = true;
      this.show({ ...from.view, x: from.view.x - dx * scale, y: from.view.y - dy * scale });
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.frame.addEventListener(end, () => {
        from = null;
      });
    }
    this.frame.addEventListener(
      "wheel",
      (event) => {
        const box = this.frame.getBoundingClientRect();
        if (event.ctrlKey || event.metaKey) {
          event.preventDefault();
          const across = (event.clientX - box.left) / box.width;
          const down = (event.clientY - box.top) / box.height;
          this.zoom(Math.exp(-event.deltaY / 300), across, down);
          return;
        }
        const scale = this.view.width / this.frame.clientWidth;
        const before = this.view.y;
        this.show({ ...this.view, y: before + event.deltaY * scale });
        if (this.view.y !== before) event.preventDefault(); // at an end the page scrolls on
      },
      { passive: false },
    );
    this.frame.addEventListener("keydown", (event) => {
      const move = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
      const zoom = { "+": "in", "=": "in", "-": "out", 0: "start" };
      if (event.key in move) {
        const [dx, dy] = move[event.key];
        const step = this.view.height / 8;
        this.show({ ...this.view, x: this.view.x + dx * step, y: this.view.y + dy * step });
      } else if (event.key in zoom) this.act(zoom[event.key]);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  /** Mark the nodes whose words hold a text, and go to the first of them. */
  find(text) {
    const wanted = folded(text.trim());
    const found = [];
    for (const [name, shape] of this.shapes) {
      const node = this.nodes[name];
      const words = folded([name, node.label, node.concept ?? "", ...node.tokens].join("\n"));
      const hit = wanted !== "" && words.includes(wanted);
      shape.classList.toggle("found", hit);
      if (hit) found.push(shape);
    }
    this.drawing.classList.toggle("searching", wanted !== "");
    this.element.querySelector(".tree-count").textContent =
      wanted === "" ? "" : `${counted(found.length, "node")}`;
    if (found.length) this.reach(found.sort((a, b) => placeOf(a) - placeOf(b))[0]);
  }

  /** Bring a node into the middle. */
  reach(shape) {
    const dot = shape.querySelector("circle");
    const y = Number(dot.getAttribute("cy")) - this.view.height / 2;
    this.show({ ...this.view, y });
  }

  /** Show what is known of a node, and mark what it belongs to and what belongs to it. */
  open(name) {
    const family = new Set([name]);
    for (let above = this.nodes[name].parent; above; above = this.nodes[above].parent) {
      family.add(above);
    }
    const below = (one) => {
      for (const child of this.nodes[one].children) {
        family.add(child);
        below(child);
      }
    };
    below(name);
    this.drawing.classList.add("chosen");
    for (const [other, shape] of this.shapes) {
      shape.classList.toggle("near", family.has(other));
      shape.classList.toggle("open", other === name);
    }
    for (const link of this.drawing.querySelectorAll(".link")) {
      const near = family.has(link.dataset.parent) && family.has(link.dataset.child);
      link.classList.toggle("near", near);
    }
    this.panel.replaceChildren(...this.told(name));
    this.panel.hidden = false;
  }

  told(name) {
    const node = this.nodes[name];
    const close = h("button", { type: "button", class: "tree-close" }, "Close");
    close.addEventListener("click", () => {
      this.panel.hidden = true;
      this.drawing.classList.remove("chosen");
      this.shapes.get(name).focus();
    });
    const kin = (other, share) =>
      h(
        "button",
        {
          type: "button",
          class: "tree-kin",
          onclick: () => {
            this.open(other);
            this.reach(this.shapes.get(other));
          },
        },
        share === null ? "" : `${Math.round(100 * share)}% `,
        isolated(`${this.nodes[other].index} ${this.nodes[other].label}`),
      );
    const above = [
      node.parent ? kin(node.parent, node.share) : null,
      ...node.others.map(([other, share]) => kin(other, share)),
    ].filter((one) => one !== null);
    const below = node.children.map((child) => kin(child, this.nodes[child].share));
    return [
      h("div", { class: "tree-bar" }, h("h4", {}, isolated(node.label)), close),
      h(
        "p",
        { class: "note" },
        `Level ${node.level}, feature ${node.index}; active on ${percent(node.density)} of tokens. `,
        node.concept === null
          ? "No concept is confirmed."
          : `Selects ${node.concept}, held-out AUROC ${score(node.auroc)}.`,
      ),
      above.length ? h("h5", {}, "Belongs to") : null,
      above.length ? h("div", { class: "tree-kins" }, above) : null,
      below.length ? h("h5", {}, `Made of ${counted(below.length, "feature")} (share of each that goes here)`) : null,
      below.length ? h("div", { class: "tree-kins" }, below) : null,
      node.contexts.length ? h("h5", {}, "Where it fires") : null,
      h(
        "ol",
        { class: "tree-contexts" },
        node.contexts.map(([before, at, after]) =>
          h("li", { dir: "auto" }, before, h("mark", {}, at), after),
        ),
      ),
    ].filter((one) => one !== null);
  }
}

function placeOf(shape) {
  return Number(shape.querySelector("circle").getAttribute("cy"));
}

for (const element of document.querySelectorAll(".tree-view")) new TreeView(element);
