/** Places curves on the x axis: by step, by time since the start of the run, or by another metric. */

export const TIME_METRIC = "_runtime";

/**
 * Whether a metric can be an x axis: everything of it is in the file, or it never falls.
 * @param {import("./types.js").Curve[]} curves
 */
export function canBeAxis(curves) {
  return curves.every((curve) => !curve.counts || neverFalls(curve.values));
}

/** @param {ArrayLike<number>} values */
export function neverFalls(values) {
  for (let i = 1; i < values.length; i++) if (values[i] < values[i - 1]) return false;
  return true;
}

/**
 * Return the value of a curve at each of these ascending steps: the last one logged there or before,
 * or a value between it and the next one. Before the first value there is none, NaN.
 * @param {import("./types.js").Curve} axis
 * @param {ArrayLike<number>} steps
 * @param {boolean} between Whether to interpolate.
 */
export function valuesAt(axis, steps, between) {
  const found = new Float64Array(steps.length);
  let at = 0;
  for (let i = 0; i < steps.length; i++) {
    while (at < axis.steps.length && axis.steps[at] <= steps[i]) at++;
    if (!at) {
      found[i] = NaN;
      continue;
    }
    const before = axis.values[at - 1];
    const distance = at < axis.steps.length ? axis.steps[at] - axis.steps[at - 1] : 0;
    const part = distance ? (steps[i] - axis.steps[at - 1]) / distance : 0;
    found[i] = between && part ? before + (axis.values[at] - before) * part : before;
  }
  return found;
}

/**
 * Place a curve on an axis.
 * @param {import("./types.js").Curve} curve
 * @param {ArrayLike<number>} ys The value at each point: that of the curve, or a smoothed one.
 * @param {import("./types.js").Curve | null} axis The metric of the axis in the same run; null for the step.
 * @param {boolean} between
 * @returns {import("./types.js").Line}
 */
export function lineOn(curve, ys, axis, between) {
  if (!axis) {
    return { run: curve.run, xs: curve.steps, ys, markXs: curve.markSteps, markCodes: curve.markCodes };
  }
  const [xs, values] = placed(valuesAt(axis, curve.steps, between), ys);
  const [markXs, markCodes] = placed(valuesAt(axis, curve.markSteps, between), curve.markCodes);
  return { run: curve.run, xs, ys: values, markXs, markCodes };
}

/**
 * Return positions and what is there, without the positions that are not known, in ascending order.
 * @param {Float64Array} xs
 * @param {ArrayLike<number>} items
 * @returns {[number[], number[]]}
 */
function placed(xs, items) {
  const order = Array.from(xs, (_, index) => index).filter((index) => xs[index] === xs[index]);
  order.sort((a, b) => xs[a] - xs[b] || a - b);
  return [order.map((index) => xs[index]), order.map((index) => items[index])];
}
