/** Smooths curves by an exponential moving average without the bias of its start. */

/**
 * Return the smoothed value at each point of a curve.
 *
 * A bucket of a reduced curve counts as as many values as it has, all of them its mean.
 * @param {import("./types.js").Curve} curve
 * @param {number} weight How much of the average stays from one value to the next, from 0 to below 1.
 * @returns {Float64Array}
 */
export function smoothed(curve, weight) {
  const { values, counts, means } = curve;
  const found = new Float64Array(values.length);
  let average = 0;
  let share = 0;
  if (!counts || !means) {
    for (let i = 0; i < values.length; i++) {
      average = average * weight + values[i] * (1 - weight);
      share = share * weight + (1 - weight);
      found[i] = average / share;
    }
    return found;
  }
  for (let i = 0; i < means.length; i++) {
    const kept = weight ** counts[i];
    average = average * kept + means[i] * (1 - kept);
    share = share * kept + (1 - kept);
    found[2 * i] = found[2 * i + 1] = average / share;
  }
  return found;
}
