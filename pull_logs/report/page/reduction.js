/** Reduces lines to the columns of pixels of a chart: each column keeps its smallest and largest value. */

/**
 * @typedef {Object} Columns The visible part of an x axis, split into columns.
 * @property {number} min
 * @property {number} max
 * @property {number} count
 * @property {boolean} log
 */

/**
 * Return a position on the axis as a number of columns from its start.
 * @param {Columns} columns
 * @param {number} x
 */
export function columnOf(columns, x) {
  const { min, max, count, log } = columns;
  if (log) return ((Math.log(x) - Math.log(min)) / (Math.log(max) - Math.log(min))) * count;
  return ((x - min) / (max - min)) * count;
}

/**
 * Return the x of each value that a line is reduced to: both edges, and two in each column.
 * @param {Columns} columns
 * @returns {number[]}
 */
export function columnPositions(columns) {
  const { min, max, count, log } = columns;
  const [from, to] = log ? [Math.log(min), Math.log(max)] : [min, max];
  const positions = [min];
  for (let i = 0; i < 2 * count; i++) {
    const at = from + ((to - from) * (0.25 + i * 0.5)) / count;
    positions.push(log ? Math.exp(at) : at);
  }
  positions.push(max);
  return positions;
}

/**
 * Return the index of the first x that is not below a limit.
 * @param {ArrayLike<number>} xs
 * @param {number} limit
 */
export function firstFrom(xs, limit) {
  let low = 0;
  let high = xs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Return a line's values at the positions of columns; undefined where it has none, null where it is broken.
 *
 * In a column, the smaller and the larger value are in the order in which they come. The edges are where the
 * line enters and leaves the chart.
 * @param {import("./types.js").Line} line
 * @param {Columns} columns
 * @param {boolean} logY Values that have no logarithm are left out.
 * @returns {Array<number | null | undefined>}
 */
export function reduceLine(line, columns, logY) {
  const { xs, ys } = line;
  const { min, max, count } = columns;
  /** @type {Array<number | null | undefined>} */
  const found = new Array(2 * count + 2).fill(undefined);
  const first = firstFrom(xs, min);
  let column = -1;
  let low = 0;
  let high = 0;
  let lowFirst = true;
  const store = () => {
    if (column < 0) return;
    found[2 * column + 1] = lowFirst ? low : high;
    found[2 * column + 2] = lowFirst ? high : low;
  };
  let i = first;
  for (; i < xs.length && xs[i] <= max; i++) {
    const y = ys[i];
    if (logY && !(y > 0)) continue;
    const at = Math.min(Math.max(Math.floor(columnOf(columns, xs[i])), 0), count - 1);
    if (at !== column) {
      store();
      column = at;
      low = high = y;
      lowFirst = true;
    } else if (y < low) {
      low = y;
      lowFirst = false;
    } else if (y > high) {
      high = y;
      lowFirst = true;
    }
  }
  store();
  found[0] = crossing(line, first, min, logY);
  found[2 * count + 1] = crossing(line, i, max, logY);
  breakAtMarks(line, columns, found);
  return found;
}

/**
 * Return the value at which a line crosses an edge, between the points before and after it.
 * @param {import("./types.js").Line} line
 * @param {number} after The index of the first point after the edge.
 * @param {number} edge
 * @param {boolean} logY
 */
function crossing(line, after, edge, logY) {
  const { xs, ys } = line;
  if (after < 1 || after >= xs.length) return undefined;
  const [x0, x1, y0, y1] = [xs[after - 1], xs[after], ys[after - 1], ys[after]];
  if (logY && !(y0 > 0 && y1 > 0)) return undefined;
  const part = x1 > x0 ? (edge - x0) / (x1 - x0) : 0;
  return logY ? Math.exp(Math.log(y0) + (Math.log(y1) - Math.log(y0)) * part) : y0 + (y1 - y0) * part;
}

/**
 * Break a line where a value that is not finite has no other value beside it in its column.
 * @param {import("./types.js").Line} line
 * @param {Columns} columns
 * @param {Array<number | null | undefined>} found
 */
function breakAtMarks(line, columns, found) {
  for (let i = firstFrom(line.markXs, columns.min); i < line.markXs.length; i++) {
    if (line.markXs[i] > columns.max) return;
    const at = Math.min(Math.floor(columnOf(columns, line.markXs[i])), columns.count - 1);
    if (found[2 * at + 1] === undefined) found[2 * at + 1] = found[2 * at + 2] = null;
  }
}

/**
 * Return the marks of a line that are visible: of each column, one of each kind.
 * @param {import("./types.js").Line} line
 * @param {Columns} columns
 * @returns {Array<{x: number, code: number}>}
 */
export function visibleMarks(line, columns) {
  const seen = new Set();
  const marks = [];
  for (let i = firstFrom(line.markXs, columns.min); i < line.markXs.length; i++) {
    const x = line.markXs[i];
    if (x > columns.max) break;
    const key = Math.floor(columnOf(columns, x)) * 3 + line.markCodes[i];
    if (!seen.has(key)) marks.push({ x, code: line.markCodes[i] });
    seen.add(key);
  }
  return marks;
}
