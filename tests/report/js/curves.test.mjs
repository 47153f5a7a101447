/** Decoding, smoothing, x axes and reduction. */
import assert from "node:assert/strict";
import { test } from "node:test";

const page = "../../../pull_logs/report/page";
const { decodeCurves, fromBase64, inflate } = await import(`${page}/blocks.js`);
const { smoothed } = await import(`${page}/smoothing.js`);
const { lineOn, valuesAt, canBeAxis } = await import(`${page}/xaxis.js`);
const { columnPositions, reduceLine, visibleMarks, firstFrom } = await import(`${page}/reduction.js`);
const { ticksBetween, ticksEvery } = await import(`${page}/plot.js`);

/** A generator of numbers from 0 to 1 that always gives the same ones. */
function random(seed) {
  return () => {
    seed = (seed * 1664525 + 1013904223) % 4294967296;
    return seed / 4294967296;
  };
}

function planes(array) {
  const bytes = new Uint8Array(array.buffer);
  const width = array.BYTES_PER_ELEMENT;
  return Uint8Array.from(bytes, (_, index) => {
    const plane = Math.floor(index / array.length);
    return bytes[(index % array.length) * width + plane];
  });
}

function curveOf(values, extra = {}) {
  return {
    run: 0,
    steps: Float64Array.from(values, (_, index) => index),
    values: Float64Array.from(values),
    counts: null,
    means: null,
    markSteps: new Float64Array(),
    markCodes: new Uint8Array(),
    ...extra,
  };
}

test("a block is decoded into its curves", async () => {
  const arrays = [
    new Float32Array([1, 2, 3, 7, 9]),
    new Uint32Array([10, 5, 5, 100, 1]),
    new Uint32Array([4]),
    new Uint8Array([51]),
    new Uint32Array([12]),
    new Uint8Array([0]),
  ];
  const raw = Buffer.concat(arrays.map((array) => Buffer.from(planes(array))));
  const { deflateSync } = await import("node:zlib");
  const bytes = await inflate(fromBase64(deflateSync(raw).toString("base64")));
  const metric = { runs: [3, 5], points: [3, 2], buckets: [0, 1], marks: [1, 0], value_width: 4, step_width: 4 };
  const [first, second] = decodeCurves(metric, bytes);
  assert.deepEqual([first.run, [...first.steps], [...first.values], first.counts], [3, [10, 15, 20], [1, 2, 3], null]);
  assert.deepEqual([[...first.markSteps], [...first.markCodes]], [[12], [0]]);
  assert.deepEqual([second.run, [...second.steps], [...second.values]], [5, [100, 101], [7, 9]]);
  assert.deepEqual([[...second.counts], [...second.means]], [[4], [7.4]]);
});

test("smoothing has no bias at the start, and of a constant is the constant", () => {
  assert.deepEqual([...smoothed(curveOf([5, 5, 5]), 0.9)].map((value) => value.toFixed(9)), ["5.000000000", "5.000000000", "5.000000000"]);
  assert.equal(smoothed(curveOf([3, 9]), 0.5)[0], 3);
  assert.equal(smoothed(curveOf([3, 9]), 0.5)[1], 7);
});

test("a bucket counts as as many values as it has", () => {
  const bucket = curveOf([4, 4, 8, 8], { counts: new Uint32Array([3, 2]), means: Float64Array.from([4, 8]) });
  const every = smoothed(curveOf([4, 4, 4, 8, 8]), 0.8);
  const reduced = smoothed(bucket, 0.8);
  assert.ok(Math.abs(every[2] - reduced[0]) < 1e-12);
  assert.ok(Math.abs(every[4] - reduced[3]) < 1e-12);
});

test("an axis has its last value, or one between two", () => {
  const axis = curveOf([10, 20], { steps: Float64Array.from([2, 4]) });
  assert.deepEqual([...valuesAt(axis, [1, 2, 3, 4, 9], false)], [NaN, 10, 10, 20, 20]);
  assert.deepEqual([...valuesAt(axis, [1, 2, 3, 4, 9], true)], [NaN, 10, 15, 20, 20]);
  const line = lineOn(curveOf([7, 8, 9, 6, 5]), [7, 8, 9, 6, 5], axis, true);
  assert.deepEqual([line.xs, line.ys], [[10, 15, 20], [9, 6, 5]]);
});

test("a metric that falls is an axis only if all of it is there", () => {
  const falls = curveOf([3, 1]);
  assert.equal(canBeAxis([falls]), true);
  assert.equal(canBeAxis([{ ...falls, counts: new Uint32Array([9]) }]), false);
});

test("every extreme of what is visible is drawn, at any zoom", () => {
  const next = random(7);
  for (let round = 0; round < 300; round++) {
    const length = 1 + Math.floor(next() * 200);
    const ys = Float64Array.from({ length }, () => next() * 2 - 1);
    const xs = Float64Array.from({ length }, (_, index) => index * 3);
    const min = next() * length * 2;
    const max = min + 1 + next() * length * 2;
    const columns = { min, max, count: 1 + Math.floor(next() * 40), log: false };
    const line = { run: 0, xs, ys, markXs: [], markCodes: [] };
    const drawn = reduceLine(line, columns, false);
    const inner = drawn.slice(1, -1).filter((value) => value !== undefined);
    const visible = [...ys].filter((_, index) => xs[index] >= min && xs[index] <= max);
    assert.equal(drawn.length, columnPositions(columns).length);
    assert.equal(Math.min(...inner), Math.min(...visible));
    assert.equal(Math.max(...inner), Math.max(...visible));
  }
});

test("a line enters and leaves at the edges", () => {
  const line = { run: 0, xs: [0, 10], ys: [0, 100], markXs: [], markCodes: [] };
  const drawn = reduceLine(line, { min: 2, max: 8, count: 3, log: false }, false);
  assert.deepEqual([drawn[0], drawn[drawn.length - 1]], [20, 80]);
});

test("marks stay at any zoom, one of a kind in each column, and break the line", () => {
  const markXs = [5, 5.01, 5.02, 7];
  const line = { run: 0, xs: [1, 9], ys: [1, 2], markXs, markCodes: [0, 0, 1, 2] };
  assert.deepEqual(visibleMarks(line, { min: 0, max: 10, count: 10, log: false }), [
    { x: 5, code: 0 },
    { x: 5.02, code: 1 },
    { x: 7, code: 2 },
  ]);
  assert.equal(visibleMarks(line, { min: 5, max: 5.015, count: 100, log: false }).length, 2);
  assert.ok(reduceLine(line, { min: 0, max: 10, count: 10, log: false }, false).includes(null));
});

test("values without a logarithm are left out of a logarithmic axis", () => {
  const line = { run: 0, xs: [1, 2, 3], ys: [0, -1, 5], markXs: [], markCodes: [] };
  const drawn = reduceLine(line, { min: 1, max: 100, count: 4, log: true }, true);
  assert.deepEqual(drawn.filter((value) => value !== undefined), [5, 5]);
});

test("the first index from a limit", () => {
  assert.deepEqual([0, 2, 3, 9].map((limit) => firstFrom([1, 2, 2, 4], limit)), [0, 1, 3, 4]);
});

test("ticks are round numbers inside of the axis", () => {
  assert.deepEqual(ticksEvery(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(ticksEvery(1e18, 9e18, 6), [2e18, 4e18, 6e18, 8e18]);
  assert.deepEqual(ticksEvery(3, 3, 6), [3]);
  assert.deepEqual(ticksBetween(1e-3, 1e30), [1, 1e6, 1e12, 1e18, 1e24, 1e30]);
  assert.deepEqual(ticksBetween(0.5, 40), [0.5, 1, 2, 5, 10, 20]);
});
