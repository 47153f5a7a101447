/** Draws the data of a chart with uPlot: lines, bands, marks, and what is under the pointer. */
import { faded, isDark } from "./colors.js";
import { shortNumber, shortTime } from "./text.js";

const FEW_POINTS = 60;
const FEW_LINES = 12;
const SIZE = 4;
const LARGE = 1e16;

/**
 * Return a new plot of data in an element.
 * @param {HTMLElement} parent
 * @param {number} width
 * @param {number} height
 * @param {() => import("./chart_data.js").ChartData} data The data of the moment.
 * @param {{time: boolean, zoom: (range: [number, number]) => void}} options
 */
export function makePlot(parent, width, height, data, options) {
  const { drawn, columns, logY } = data();
  const axisColor = isDark() ? "#b8bec8" : "#4a5260";
  const grid = { stroke: isDark() ? "#333a44" : "#e4e7ec", width: 1 };
  const axis = { stroke: axisColor, grid, ticks: { ...grid, size: 4 }, font: "11px system-ui, sans-serif" };
  const texts = (/** @type {(value: number) => string} */ spell) => (/** @type {any} */ _, /** @type {any} */ ticks) =>
    ticks.map((/** @type {number | null} */ tick) => (tick === null || tick === undefined ? "" : spell(tick)));
  return new uPlot(
    {
      width,
      height,
      legend: { show: false },
      padding: [8, 18, 0, 0],
      cursor: { x: false, y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
      scales: {
        x: { time: false, distr: columns.log ? 3 : 1, range: () => [data().columns.min, data().columns.max] },
        y: { distr: logY ? 3 : 1, range: () => data().yRange },
      },
      axes: [
        { ...axis, ...(columns.log ? logTicks : evenTicks(Math.max(Math.floor(width / 90), 2))), size: 28, space: 60, values: texts(options.time ? shortTime : compact) },
        { ...axis, ...(logY ? logTicks : evenTicks(MOST_TICKS)), size: 58, values: texts(compact) },
      ],
      series: [{}, ...drawn.map((_, index) => seriesOf(data, index))],
      bands: bandsOf(drawn),
      hooks: {
        draw: [(/** @type {any} */ plot) => drawMarks(plot, data())],
        setSelect: [
          (/** @type {any} */ plot) => {
            const { left, width: chosen } = plot.select;
            if (chosen < 4) return;
            options.zoom([plot.posToVal(left, "x"), plot.posToVal(left + chosen, "x")]);
            plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          },
        ],
      },
    },
    plotData(data()),
    parent,
  );
}

const MOST_TICKS = 6;

/** The ticks of a logarithmic axis: powers of ten, and parts of them where there are few. */
const logTicks = {
  /** @param {any} _ @param {number} __ @param {number} min @param {number} max */
  splits: (_, __, min, max) => ticksBetween(min, max),
  /** @param {any} _ @param {number[]} ticks */
  filter: (_, ticks) => ticks,
};

/** @param {number} most */
function evenTicks(most) {
  return {
    /** @param {any} _ @param {number} __ @param {number} min @param {number} max */
    splits: (_, __, min, max) => ticksEvery(min, max, most),
  };
}

/**
 * Return round numbers with equal distances, at most about as many as asked for.
 * @param {number} min
 * @param {number} max
 * @param {number} most
 */
export function ticksEvery(min, max, most) {
  const least = max / most - min / most;
  if (!(least > 0 && Number.isFinite(least))) return [min];
  const power = Math.floor(Math.log10(least));
  const part = [1, 2, 2.5, 5, 10].find((factor) => Number(`${factor}e${power}`) >= least * 0.999) ?? 10;
  const step = Number(`${part}e${power}`);
  /** @type {number[]} */
  const ticks = [];
  for (let index = Math.ceil(min / step); index * step <= max; index++) {
    const tick = Number((index * step).toPrecision(12));
    if (ticks[ticks.length - 1] === tick) break;
    ticks.push(tick);
  }
  return ticks;
}

/**
 * Return the ticks of a logarithmic axis.
 * @param {number} min
 * @param {number} max
 */
export function ticksBetween(min, max) {
  const [from, to] = [Math.floor(Math.log10(min)), Math.ceil(Math.log10(max))];
  const step = Math.max(Math.ceil((to - from) / MOST_TICKS), 1);
  const parts = to - from <= 1 ? [1, 1.5, 2, 3, 4, 5, 7] : to - from <= 3 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let power = Math.ceil(from / step) * step; power <= to; power += step) {
    for (const part of parts) ticks.push(Number(`${part}e${power}`));
  }
  return ticks.filter((tick) => tick >= min && tick <= max);
}

/** @param {number} value */
function compact(value) {
  const size = Math.abs(value);
  return size && (size >= 1e6 || size < 1e-4) ? value.toExponential().replace("e+", "e") : shortNumber(value);
}

/** @param {import("./chart_data.js").ChartData} data */
export function plotData(data) {
  return [data.positions, ...data.drawn.map((item) => item.values)];
}

/**
 * @param {() => import("./chart_data.js").ChartData} data
 * @param {number} index
 */
function seriesOf(data, index) {
  const item = data().drawn[index];
  return {
    stroke: () => data().drawn[index]?.color ?? "#0000",
    width: item.width,
    spanGaps: false,
    points: { show: false },
  };
}

/** @param {import("./chart_data.js").Drawn[]} drawn */
function bandsOf(drawn) {
  return drawn.flatMap((item, index) =>
    item.kind === "high" ? [{ series: [index + 1, index + 2], fill: faded(drawn[index + 2].color, 0.18) }] : [],
  );
}

/**
 * Draw marks for values that are not finite, and points where there are few of them, or extremes.
 * @param {any} plot
 * @param {import("./chart_data.js").ChartData} data
 */
function drawMarks(plot, data) {
  const { ctx, bbox } = plot;
  const unit = SIZE * devicePixelRatio;
  ctx.save();
  if (data.yRange[1] >= LARGE) drawLargeTicks(plot, data);
  for (const item of data.drawn) {
    if (item.kind !== "line") continue;
    ctx.fillStyle = item.color;
    for (const [x, y] of pointsToMark(item, data)) {
      const left = plot.valToPos(x, "x", true);
      const top = plot.valToPos(y, "y", true);
      ctx.beginPath();
      ctx.arc(left, top, unit / 1.7, 0, 2 * Math.PI);
      ctx.fill();
    }
  }
  for (const mark of data.marks) {
    const left = plot.valToPos(mark.x, "x", true);
    ctx.fillStyle = ctx.strokeStyle = mark.color;
    drawMark(ctx, mark.code, left, mark.code === 1 ? bbox.top + unit : bbox.top + bbox.height - unit, unit);
  }
  ctx.restore();
}

/**
 * Draw the numbers of a y axis of very large values, for which uPlot draws none.
 * @param {any} plot
 * @param {import("./chart_data.js").ChartData} data
 */
function drawLargeTicks(plot, data) {
  const { ctx, bbox } = plot;
  const [min, max] = data.yRange;
  ctx.fillStyle = isDark() ? "#b8bec8" : "#4a5260";
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  for (const tick of data.logY ? ticksBetween(min, max) : ticksEvery(min, max, MOST_TICKS)) {
    ctx.fillText(compact(tick), bbox.left - 6 * devicePixelRatio, plot.valToPos(tick, "y", true));
  }
}

/**
 * Return the points of a line that get a dot.
 * @param {import("./chart_data.js").Drawn} item
 * @param {import("./chart_data.js").ChartData} data
 * @returns {Array<[number, number]>}
 */
export function pointsToMark(item, data) {
  /** @type {Array<[number, number]>} */
  const found = [];
  item.values.forEach((value, index) => {
    const edge = index === 0 || index === item.values.length - 1;
    if (!edge && value !== null && value !== undefined) found.push([data.positions[index], value]);
  });
  const lines = data.drawn.filter((other) => other.kind === "line").length;
  if (found.length <= FEW_POINTS && lines <= FEW_LINES) return found;
  if (found.length <= 2) return found;
  if (lines > FEW_LINES) return [];
  const order = [...found].sort((a, b) => a[1] - b[1]);
  return [order[0], order[order.length - 1]];
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {number} code
 * @param {number} left
 * @param {number} top
 * @param {number} unit
 */
function drawMark(ctx, code, left, top, unit) {
  ctx.beginPath();
  if (code === 0) {
    ctx.lineWidth = unit / 2.5;
    ctx.moveTo(left - unit, top - unit);
    ctx.lineTo(left + unit, top + unit);
    ctx.moveTo(left + unit, top - unit);
    ctx.lineTo(left - unit, top + unit);
    ctx.stroke();
    return;
  }
  const tip = code === 1 ? -unit : unit;
  ctx.moveTo(left, top + tip);
  ctx.lineTo(left - unit, top - tip);
  ctx.lineTo(left + unit, top - tip);
  ctx.fill();
}

/**
 * Draw the cursor and the line under it on a canvas of its own.
 * @param {HTMLCanvasElement} canvas
 * @param {any} plot
 * @param {import("./chart_data.js").ChartData} data
 * @param {number} x
 * @param {import("./chart_data.js").Drawn | null} item
 * @param {number | null} y
 */
export function drawCursor(canvas, plot, data, x, item, y) {
  const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const left = plot.valToPos(x, "x");
  ctx.clearRect(0, 0, canvas.width, canvas.height);
  ctx.save();
  ctx.scale(devicePixelRatio, devicePixelRatio);
  ctx.strokeStyle = isDark() ? "#8b95a5" : "#7b8494";
  ctx.setLineDash([3, 3]);
  ctx.beginPath();
  ctx.moveTo(left, 0);
  ctx.lineTo(left, plot.over.clientHeight);
  ctx.stroke();
  ctx.setLineDash([]);
  if (item) {
    const color = item.color.slice(0, 7);
    ctx.strokeStyle = ctx.fillStyle = color;
    ctx.lineWidth = 2.5;
    ctx.beginPath();
    let pen = false;
    item.values.forEach((value, index) => {
      if (value === undefined) return;
      if (value === null) pen = false;
      else if (pen) ctx.lineTo(plot.valToPos(data.positions[index], "x"), plot.valToPos(value, "y"));
      else ctx.moveTo(plot.valToPos(data.positions[index], "x"), plot.valToPos(value, "y"));
      if (value !== null) pen = true;
    });
    ctx.stroke();
    if (y !== null) {
      ctx.beginPath();
      ctx.arc(left, plot.valToPos(y, "y"), 4, 0, 2 * Math.PI);
      ctx.fill();
    }
  }
  ctx.restore();
}
