/** Works out what one chart draws: the values of each line at each column of pixels, marks, and the y axis. */
import { faded } from "./colors.js";
import { meanAndBand } from "./groups.js";
import { columnPositions, reduceLine, visibleMarks } from "./reduction.js";

const MANY_LINES = 60;
const FAR_APART = 100;
const BEYOND = 10;

/**
 * @typedef {Object} Drawn One line or band of a chart.
 * @property {"line" | "raw" | "mean" | "low" | "high"} kind
 * @property {number} run The index of the run; -1 for a group.
 * @property {number} group The index of the group; -1 for a run.
 * @property {string} name
 * @property {string} color
 * @property {number} width
 * @property {Array<number | null | undefined>} values
 * @property {import("./types.js").Line} line The points it was made of.
 *
 * @typedef {Object} ChartData
 * @property {import("./reduction.js").Columns} columns
 * @property {number[]} positions
 * @property {Drawn[]} drawn
 * @property {Array<{x: number, code: number, color: string, run: number}>} marks
 * @property {[number, number]} yRange
 * @property {boolean} logY
 * @property {string[]} notes What the chart does not show, and why.
 */

/**
 * Return what the chart of a metric draws.
 * @param {import("./model.js").Model} model
 * @param {string} name
 * @param {number} width The width of the chart in pixels.
 * @returns {ChartData}
 */
export function chartData(model, name, width) {
  const { view } = model;
  const raw = model.lines(name, false).filter((line) => model.shown[line.run]);
  const lines = view.smooth ? model.lines(name, true).filter((line) => model.shown[line.run]) : raw;
  const [min, max] = model.range;
  const count = Math.max(Math.floor(raw.length > MANY_LINES ? width / 2 : width), 20);
  const columns = { min, max, count, log: view.logX };
  const beyond = view.y === "auto" && model.only < 0 ? diverged(lines, raw) : new Set();
  const logY = view.y === "log" || (view.y === "auto" && isSpread(raw.filter((line) => !beyond.has(line.run))));
  const positions = columnPositions(columns);
  const drawn =
    view.mean && model.groups.length
      ? groupLines(model, lines, positions, logY)
      : runLines(model, lines, view.smooth ? raw : [], columns, logY);
  const marks = raw.flatMap((line) =>
    visibleMarks(line, columns).map((mark) => ({ ...mark, color: model.color(line.run), run: line.run })),
  );
  const groups = new Set([...beyond].map((run) => model.groupOf.get(run)));
  const visible = drawn.filter((item) => !beyond.has(item.run) && !(item.run < 0 && groups.has(item.group)));
  return { columns, positions, drawn, marks, yRange: yRange(visible, logY), logY, notes: notesOn(model, raw, beyond, logY) };
}

/**
 * Return the runs that the automatic axis does not follow: those that diverged far beyond all others.
 * @param {import("./types.js").Line[]} lines
 * @param {import("./types.js").Line[]} raw
 * @returns {Set<number>}
 */
function diverged(lines, raw) {
  const marked = new Set(raw.filter((line) => line.markXs.length).map((line) => line.run));
  const size = (/** @type {import("./types.js").Line[]} */ some) =>
    some.reduce((top, line) => {
      for (let i = 0; i < line.ys.length; i++) top = Math.max(top, Math.abs(line.ys[i]));
      return top;
    }, 0);
  const others = lines.filter((line) => !marked.has(line.run));
  if (!others.length) return new Set();
  const usual = size(others) * BEYOND;
  return new Set(lines.filter((line) => marked.has(line.run) && size([line]) > usual).map((line) => line.run));
}

/**
 * @param {import("./model.js").Model} model
 * @param {import("./types.js").Line[]} raw
 * @param {Set<number>} beyond
 * @param {boolean} logY
 */
function notesOn(model, raw, beyond, logY) {
  const notes = [];
  if (beyond.size) {
    const names = [...beyond].slice(0, 3).map((run) => model.runs[run].name || model.runs[run].path);
    const more = beyond.size > 3 ? ` and ${beyond.size - 3} more` : "";
    notes.push(`beyond the axis: ${names.join(", ")}${more} (Y linear or log shows all)`);
  }
  const count = logY ? raw.reduce((total, line) => total + notPositive(line), 0) : 0;
  if (count) notes.push(`${count} values of 0 or less are not on the logarithmic axis`);
  return notes;
}

/**
 * Whether values are all positive and so far apart that only a logarithmic axis shows them.
 * @param {import("./types.js").Line[]} lines
 */
function isSpread(lines) {
  let top = 0;
  const sample = [];
  for (const { ys } of lines) {
    for (let i = 0; i < ys.length; i++) {
      if (!(ys[i] > 0)) return false;
      if (ys[i] > top) top = ys[i];
    }
    for (let i = 0; i < ys.length; i += Math.ceil(ys.length / 20)) sample.push(ys[i]);
  }
  sample.sort((a, b) => a - b);
  return sample.length > 0 && top / sample[sample.length >> 1] > FAR_APART;
}

/** @param {import("./types.js").Line} line */
function notPositive(line) {
  let count = 0;
  for (let i = 0; i < line.ys.length; i++) if (!(line.ys[i] > 0)) count++;
  return count;
}

/**
 * @param {import("./model.js").Model} model
 * @param {import("./types.js").Line[]} lines
 * @param {import("./types.js").Line[]} raw The lines before smoothing, if they are smoothed.
 * @param {import("./reduction.js").Columns} columns
 * @param {boolean} logY
 * @returns {Drawn[]}
 */
function runLines(model, lines, raw, columns, logY) {
  /** @param {import("./types.js").Line} line @param {"line" | "raw"} kind @returns {Drawn} */
  const make = (line, kind) => {
    const aside = model.only >= 0 && line.run !== model.only;
    const color = model.color(line.run);
    return {
      kind,
      run: line.run,
      group: -1,
      name: model.runs[line.run].name || model.runs[line.run].path,
      color: faded(color, aside ? 0.12 : kind === "raw" ? 0.28 : 1),
      width: kind === "raw" || aside ? 1 : lines.length > MANY_LINES ? 1 : 1.5,
      values: reduceLine(line, columns, logY),
      line,
    };
  };
  const made = [...raw.map((line) => make(line, "raw")), ...lines.map((line) => make(line, "line"))];
  return made.sort((a, b) => Number(a.run === model.only) - Number(b.run === model.only));
}

/**
 * @param {import("./model.js").Model} model
 * @param {import("./types.js").Line[]} lines
 * @param {number[]} positions
 * @param {boolean} logY
 * @returns {Drawn[]}
 */
function groupLines(model, lines, positions, logY) {
  return model.groups.flatMap((group, index) => {
    const members = lines.filter((line) => model.groupOf.get(line.run) === index);
    if (!members.length) return [];
    const { mean, low, high } = meanAndBand(members, positions, logY);
    const ys = mean.map((value) => value ?? NaN);
    const line = { run: -1, xs: positions, ys, markXs: [], markCodes: [] };
    const color = model.color(members[0].run);
    const name = `${model.view.group}=${group.name}, mean of ${members.length}`;
    const base = { run: -1, group: index, name, line };
    return [
      { ...base, kind: /** @type {const} */ ("high"), color: faded(color, 0), width: 0, values: high },
      { ...base, kind: /** @type {const} */ ("low"), color: faded(color, 0), width: 0, values: low },
      { ...base, kind: /** @type {const} */ ("mean"), color, width: 2, values: mean },
    ];
  });
}

/**
 * Return the range of the y axis: what is drawn, and a little more.
 * @param {Drawn[]} drawn
 * @param {boolean} logY
 * @returns {[number, number]}
 */
function yRange(drawn, logY) {
  let min = Infinity;
  let max = -Infinity;
  for (const { values } of drawn) {
    for (const value of values) {
      if (value === null || value === undefined) continue;
      if (value < min) min = value;
      if (value > max) max = value;
    }
  }
  if (min > max) return logY ? [0.1, 10] : [0, 1];
  if (logY) return min === max ? [min / 2, max * 2] : [min * (min / max) ** 0.05, max * (max / min) ** 0.05];
  const pad = min === max ? Math.abs(min) / 10 || 1 : max / 20 - min / 20;
  return [Math.max(min - pad, -Number.MAX_VALUE), Math.min(max + pad, Number.MAX_VALUE)];
}
