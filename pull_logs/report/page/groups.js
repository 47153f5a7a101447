/** Groups runs by a value of their config or of a field, and averages the lines of a group. */
import { firstFrom } from "./reduction.js";
import { exactCell } from "./text.js";

/**
 * Return the value of a run under a name: a config key, or a field such as `state`.
 * @param {import("./types.js").Run} run
 * @param {string} name
 * @returns {import("./types.js").Cell | undefined}
 */
export function valueOf(run, name) {
  if (name in run.config) return run.config[name];
  if (name.startsWith("config.")) return run.config[name.slice(7)];
  if (name.startsWith("summary.")) return run.summary[name.slice(8)];
  if (name === "id") return run.path.split("/").pop();
  if (["label", "path", "name", "state", "rows", "last_step", "complete"].includes(name)) {
    return /** @type {any} */ (run)[name];
  }
  if (name in run.fields) return run.fields[name];
  return run.summary[name];
}

/**
 * Return the groups of runs with the same value, in the order of the values.
 * @param {import("./types.js").Run[]} runs
 * @param {string} key
 * @returns {Array<{name: string, runs: number[]}>}
 */
export function groupRuns(runs, key) {
  /** @type {Map<string, {value: any, runs: number[]}>} */
  const groups = new Map();
  runs.forEach((run, index) => {
    const value = valueOf(run, key);
    const name = value === undefined ? "(none)" : exactCell(value);
    const group = groups.get(name) ?? { value, runs: [] };
    group.runs.push(index);
    groups.set(name, group);
  });
  return [...groups]
    .sort(([, a], [, b]) => compareCells(a.value, b.value))
    .map(([name, group]) => ({ name, runs: group.runs }));
}

/**
 * Compare two values: numbers before texts, missing ones last.
 * @param {any} a
 * @param {any} b
 */
export function compareCells(a, b) {
  const rank = (/** @type {any} */ value) =>
    value === undefined || value === null || value === "" ? 3 : typeof value === "number" ? 0 : 1;
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (typeof a === "number") return a - b;
  if (rank(a) === 3) return 0;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

/**
 * Return the mean of lines and the band of one standard deviation around it, at these positions.
 *
 * A line counts from its first to its last point, with the mean of its points between two positions, and the
 * value between its neighbours where it has none there. With one line there is no band.
 * @param {import("./types.js").Line[]} lines
 * @param {number[]} positions Ascending.
 * @param {boolean} logY
 */
export function meanAndBand(lines, positions, logY) {
  const sampled = lines.map((line) => sampleLine(line, positions));
  /** @type {Array<number | undefined>} */
  const mean = [];
  /** @type {Array<number | undefined>} */
  const low = [];
  /** @type {Array<number | undefined>} */
  const high = [];
  positions.forEach((_, index) => {
    const values = sampled.map((line) => line[index]).filter((value) => value === value);
    const middle = values.reduce((total, value) => total + value, 0) / values.length;
    const squares = values.reduce((total, value) => total + (value - middle) ** 2, 0);
    const spread = values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : NaN;
    const drawn = values.length && (!logY || middle > 0);
    mean.push(drawn ? middle : undefined);
    const banded = drawn && spread === spread;
    const bottom = middle - spread;
    low.push(banded ? (logY && bottom <= 0 ? Math.min(...values.filter((v) => v > 0)) : bottom) : undefined);
    high.push(banded ? middle + spread : undefined);
  });
  return { mean, low, high };
}

/**
 * Return the value of a line at each position; NaN before its first and after its last point.
 * @param {import("./types.js").Line} line
 * @param {number[]} positions
 */
function sampleLine(line, positions) {
  const { xs, ys } = line;
  let next = positions.length ? firstFrom(xs, positions[0]) : 0;
  return positions.map((position, index) => {
    let total = 0;
    let count = 0;
    const until = index + 1 < positions.length ? (position + positions[index + 1]) / 2 : position;
    for (; next < xs.length && xs[next] <= until; next++) {
      total += ys[next];
      count++;
    }
    if (count) return total / count;
    if (!next || next >= xs.length) return NaN;
    const part = xs[next] > xs[next - 1] ? (position - xs[next - 1]) / (xs[next] - xs[next - 1]) : 0;
    return ys[next - 1] + (ys[next] - ys[next - 1]) * Math.min(Math.max(part, 0), 1);
  });
}
