/** One chart: its heading, its plot, and what the pointer and the keyboard do in it. */
import { chartData } from "./chart_data.js";
import { drawCursor, makePlot, plotData } from "./plot.js";
import { firstFrom } from "./reduction.js";
import { element, shortNumber, shortTime } from "./text.js";

const HEIGHT = 220;
const NEAR = 40;

export class Panel {
  /**
   * @param {import("./grid.js").Grid} grid
   * @param {string} name
   */
  constructor(grid, name) {
    this.grid = grid;
    this.model = grid.model;
    this.name = name;
    /** @type {any} */
    this.plot = null;
    this.key = "";
    /** @type {import("./chart_data.js").ChartData | null} */
    this.data = null;
    this.readout = element("span", { className: "readout" });
    this.note = element("p", { className: "chart-note" });
    this.holder = element("div", { className: "plot", "aria-hidden": "true" });
    this.tip = element("div", { className: "tip", hidden: true });
    this.root = element(
      "section",
      { className: "panel", tabIndex: 0, role: "group", "aria-label": this.describe(), "aria-describedby": "keys" },
      element("header", {}, element("h3", { title: name }, name), this.readout),
      this.holder,
      this.tip,
      this.note,
    );
    this.root.addEventListener("keydown", (event) => this.onKey(event));
    this.root.addEventListener("blur", () => grid.hover(null));
  }

  /** Return what the chart shows, in words. */
  describe() {
    const metric = this.model.metric(this.name);
    const lows = metric.min.filter((value) => value !== null);
    const highs = metric.max.filter((value) => value !== null);
    const marks = metric.marks.filter(Boolean).length;
    const range = lows.length
      ? `from ${shortNumber(Math.min(...lows))} to ${shortNumber(Math.max(...highs))}`
      : "no finite value";
    const broken = marks ? `, values that are not finite in ${marks}` : "";
    return `${this.name}: ${metric.runs.length} runs, ${range}${broken}`;
  }

  /** Draw what the view asks for; the metric was prepared. */
  draw() {
    const width = Math.max(this.holder.clientWidth, 120);
    this.data = chartData(this.model, this.name, Math.max(width - 70, 50));
    const { drawn, logY, columns } = this.data;
    const key = [width, logY, columns.log, this.grid.theme, this.model.view.x, this.model.view.group]
      .concat(drawn.map((item) => `${item.kind}${item.width}${item.group}`))
      .join();
    if (this.plot && key === this.key) {
      this.plot.setData(plotData(this.data));
    } else {
      this.plot?.destroy();
      this.plot = this.make(width);
      this.key = key;
    }
    this.note.textContent = this.data.notes.join("; ");
    this.showCursor(null);
  }

  /** @param {number} width */
  make(width) {
    const plot = makePlot(
      this.holder,
      width,
      HEIGHT,
      () => /** @type {import("./chart_data.js").ChartData} */ (this.data),
      { time: this.model.view.x === "time", zoom: (range) => this.grid.zoom(range, this) },
    );
    const { over } = plot;
    this.overlay = /** @type {HTMLCanvasElement} */ (element("canvas", { className: "overlay" }));
    this.overlay.width = over.clientWidth * devicePixelRatio;
    this.overlay.height = over.clientHeight * devicePixelRatio;
    over.append(this.overlay);
    over.addEventListener("mousemove", (/** @type {MouseEvent} */ event) => this.onMove(event));
    over.addEventListener("mouseleave", () => this.grid.hover(null));
    over.addEventListener("click", (/** @type {MouseEvent} */ event) => this.onClick(event));
    over.addEventListener("dblclick", () => this.grid.zoom(null, this));
    over.addEventListener("wheel", (/** @type {WheelEvent} */ event) => this.onWheel(event), { passive: false });
    return plot;
  }

  /** @param {MouseEvent} event */
  onMove(event) {
    const rect = this.plot.over.getBoundingClientRect();
    const [left, top] = [event.clientX - rect.left, event.clientY - rect.top];
    const x = this.plot.posToVal(left, "x");
    this.grid.hover({ panel: this, x, item: this.nearest(x, top), left, top });
  }

  /** @param {MouseEvent} event */
  onClick(event) {
    this.onMove(event);
    const item = this.grid.hovered?.item;
    if (item && item.run >= 0) this.grid.isolate(item.run);
  }

  /** @param {WheelEvent} event */
  onWheel(event) {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return;
    event.preventDefault();
    const rect = this.plot.over.getBoundingClientRect();
    const share = (event.clientX - rect.left) / rect.width;
    if (event.shiftKey) this.grid.pan(Math.sign(event.deltaY || event.deltaX) * 0.1, this);
    else this.grid.scale(event.deltaY > 0 ? 1.25 : 0.8, share, this);
  }

  /**
   * Return the line whose value at x is nearest to a height; null if none is near.
   * @param {number} x
   * @param {number} top
   */
  nearest(x, top) {
    let best = null;
    let distance = NEAR;
    for (const item of this.data?.drawn ?? []) {
      if (item.kind !== "line" && item.kind !== "mean") continue;
      const point = pointNear(item.line, x);
      if (!point) continue;
      const away = Math.abs(this.plot.valToPos(point.y, "y") - top);
      if (away < distance) [best, distance] = [item, away];
    }
    return best;
  }

  /**
   * Show where the cursor of the page is.
   * @param {import("./grid.js").Hovered | null} hovered
   */
  showCursor(hovered) {
    if (!this.plot || !this.overlay || !this.data) return;
    if (!hovered) {
      this.overlay.getContext("2d")?.clearRect(0, 0, this.overlay.width, this.overlay.height);
      this.readout.textContent = "";
      this.tip.hidden = true;
      return;
    }
    const { item } = hovered;
    const own = item && this.data.drawn.find((other) => sameLine(other, item));
    const point = own ? pointNear(own.line, hovered.x) : null;
    drawCursor(this.overlay, this.plot, this.data, hovered.x, own ?? null, point ? point.y : null);
    this.readout.textContent = point ? shortNumber(point.y) : "";
    this.tip.hidden = hovered.panel !== this || !point;
    if (!this.tip.hidden && item && point) this.showTip(item.name, hovered, point);
  }

  /**
   * @param {string} name
   * @param {import("./grid.js").Hovered} hovered
   * @param {{x: number, y: number}} point
   */
  showTip(name, hovered, point) {
    const { x } = this.model.view;
    const at = x === "time" ? shortTime(point.x) : `${x} ${shortNumber(point.x)}`;
    this.tip.replaceChildren(element("b", {}, name), ` ${at}: ${shortNumber(point.y)}`);
    const width = this.root.clientWidth;
    const left = this.plot.over.offsetLeft + hovered.left;
    this.tip.style.left = left > width / 2 ? "" : `${left + 24}px`;
    this.tip.style.right = left > width / 2 ? `${width - left - 2}px` : "";
    this.tip.style.top = `${Math.max(hovered.top + 8, 30)}px`;
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (event.target !== this.root || event.ctrlKey || event.metaKey || event.altKey) return;
    const sideways = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const along = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (sideways && event.shiftKey) this.grid.pan(sideways * 0.1, this);
    else if (sideways) this.moveCursor(sideways);
    else if (along) this.changeLine(along);
    else if (event.key === "+" || event.key === "=") this.grid.scale(0.5, 0.5, this);
    else if (event.key === "-") this.grid.scale(2, 0.5, this);
    else if (event.key === "Home" || event.key === "0") this.grid.zoom(null, this);
    else if (event.key === "Enter" && this.grid.hovered?.item) this.grid.isolate(this.grid.hovered.item.run);
    else return;
    event.preventDefault();
  }

  /** @param {number} direction */
  moveCursor(direction) {
    const [min, max] = this.model.range;
    const hovered = this.grid.hovered;
    const item = hovered?.item ?? this.data?.drawn.find((other) => other.kind === "line" || other.kind === "mean");
    if (!item || !this.data) return;
    const { xs } = item.line;
    const from = hovered ? hovered.x : direction > 0 ? min : max;
    let index = firstFrom(xs, from);
    if (direction > 0) while (index < xs.length && hovered && xs[index] <= from) index++;
    else index--;
    // A column at a time where the points are closer than that.
    const step = ((max - min) / this.data.columns.count) * direction;
    while (index > 0 && index < xs.length - 1 && Math.abs(xs[index] - from) < Math.abs(step)) index += direction;
    if (index < 0 || index >= xs.length) return;
    this.setCursor(Math.min(Math.max(xs[index], min), max), item);
  }

  /** @param {number} direction */
  changeLine(direction) {
    const items = (this.data?.drawn ?? []).filter((item) => item.kind === "line" || item.kind === "mean");
    if (!items.length) return;
    const current = items.findIndex((item) => this.grid.hovered?.item && sameLine(item, this.grid.hovered.item));
    const item = items[(current + direction + items.length) % items.length];
    this.setCursor(this.grid.hovered?.x ?? this.model.range[0], item);
  }

  /**
   * @param {number} x
   * @param {import("./chart_data.js").Drawn} item
   */
  setCursor(x, item) {
    const point = pointNear(item.line, x);
    const top = point ? this.plot.valToPos(point.y, "y") : 0;
    this.grid.hover({ panel: this, x, item, left: this.plot.valToPos(x, "x"), top });
    this.grid.announce(`${item.name}, ${this.model.view.x} ${shortNumber(x)}: ${point ? shortNumber(point.y) : "no value"}`);
  }

  /** Free what the chart holds. */
  remove() {
    this.plot?.destroy();
    this.plot = null;
    this.root.remove();
  }
}

/**
 * Whether two lines, of two charts, are of the same run or group.
 * @param {import("./chart_data.js").Drawn} a
 * @param {import("./chart_data.js").Drawn} b
 */
function sameLine(a, b) {
  return a.kind === b.kind && a.run === b.run && a.group === b.group;
}

/**
 * Return the point of a line that is nearest to x; null for a line without points.
 * @param {import("./types.js").Line} line
 * @param {number} x
 */
export function pointNear(line, x) {
  const { xs, ys } = line;
  if (!xs.length) return null;
  let index = Math.min(firstFrom(xs, x), xs.length - 1);
  if (index > 0 && x - xs[index - 1] < xs[index] - x) index--;
  return ys[index] === ys[index] ? { x: xs[index], y: ys[index] } : null;
}
