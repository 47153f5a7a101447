/** Decodes the curves of a metric: base64, deflate, then arrays that are stored byte plane by byte plane. */

/**
 * Return the bytes that a base64 text holds.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function fromBase64(text) {
  const known = /** @type {any} */ (Uint8Array);
  if (known.fromBase64) return known.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/**
 * Return what compressed bytes contain.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * Return numbers whose bytes are stored plane by plane.
 * @param {Uint8Array} bytes
 * @param {number} start
 * @param {number} count
 * @param {number} width
 * @returns {ArrayBuffer}
 */
export function fromPlanes(bytes, start, count, width) {
  const joined = new Uint8Array(count * width);
  for (let plane = 0; plane < width; plane++) {
    let from = start + plane * count;
    for (let to = plane; to < joined.length; to += width) joined[to] = bytes[from++];
  }
  return joined.buffer;
}

/** @param {number[]} numbers */
function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

/**
 * Return the curves of a metric.
 * @param {import("./types.js").Metric} metric
 * @param {Uint8Array} bytes
 * @returns {import("./types.js").Curve[]}
 */
export function decodeCurves(metric, bytes) {
  const points = sum(metric.points);
  const buckets = sum(metric.buckets);
  const marks = sum(metric.marks);
  let offset = 0;
  /** @param {number} count @param {number} width */
  const take = (count, width) => {
    const buffer = fromPlanes(bytes, offset, count, width);
    offset += count * width;
    return buffer;
  };
  const single = metric.value_width === 4;
  const values = single ? new Float32Array(take(points, 4)) : new Float64Array(take(points, 8));
  const small = metric.step_width === 4;
  /** @param {number} count */
  const takeSteps = (count) =>
    small ? Float64Array.from(new Uint32Array(take(count, 4))) : new Float64Array(take(count, 8));
  const steps = takeSteps(points);
  const counts = new Uint32Array(take(buckets, 4));
  const levels = new Uint8Array(take(buckets, 1));
  const markSteps = takeSteps(marks);
  const codes = new Uint8Array(take(marks, 1));
  return cutCurves(metric, { values, steps, counts, levels, markSteps, codes });
}

/**
 * Cut the arrays of a metric into its curves.
 * @param {import("./types.js").Metric} metric
 * @param {{values: Float32Array | Float64Array, steps: Float64Array, counts: Uint32Array, levels: Uint8Array, markSteps: Float64Array, codes: Uint8Array}} arrays
 * @returns {import("./types.js").Curve[]}
 */
function cutCurves(metric, arrays) {
  let point = 0;
  let bucket = 0;
  let mark = 0;
  return metric.runs.map((run, index) => {
    const points = metric.points[index];
    const buckets = metric.buckets[index];
    const marks = metric.marks[index];
    const values = arrays.values.subarray(point, point + points);
    const curve = {
      run,
      steps: running(arrays.steps.subarray(point, point + points)),
      values,
      counts: buckets ? arrays.counts.subarray(bucket, bucket + buckets) : null,
      means: buckets ? bucketMeans(values, arrays.levels.subarray(bucket, bucket + buckets)) : null,
      markSteps: running(arrays.markSteps.subarray(mark, mark + marks)),
      markCodes: arrays.codes.subarray(mark, mark + marks),
    };
    point += points;
    bucket += buckets;
    mark += marks;
    return curve;
  });
}

/**
 * Turn differences into numbers, in place.
 * @param {Float64Array} differences
 */
function running(differences) {
  for (let i = 1; i < differences.length; i++) differences[i] += differences[i - 1];
  return differences;
}

/**
 * Return the means of buckets from their levels between the two extremes.
 * @param {Float32Array | Float64Array} values
 * @param {Uint8Array} levels
 */
function bucketMeans(values, levels) {
  return Float64Array.from(levels, (level, index) => {
    const low = Math.min(values[2 * index], values[2 * index + 1]);
    const high = Math.max(values[2 * index], values[2 * index + 1]);
    return low + (high - low) * (level / 255);
  });
}
