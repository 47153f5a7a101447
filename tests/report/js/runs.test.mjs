/** Filters, groups, families, and the fragment. */
import assert from "node:assert/strict";
import { test } from "node:test";

const page = "../../../pull_logs/report/page";
const { makeFilter, isExpression } = await import(`${page}/filter.js`);
const { groupRuns, meanAndBand, compareCells } = await import(`${page}/groups.js`);
const { foldFamilies } = await import(`${page}/families.js`);
const { readFragment, usualView, writeFragment } = await import(`${page}/fragment.js`);
const { exactCell, shortNumber, shortTime } = await import(`${page}/text.js`);

function run(label, config, more = {}) {
  return { label, path: `acme/p/${label}`, name: `run ${label}`, state: "finished", rows: 5, config, summary: {}, fields: {}, ...more };
}

const RUNS = [
  run("A", { lr: 0.1, "model.kind": "cnn" }, { summary: { "val/acc": 0.9 }, fields: { tags: ["base", "x"] } }),
  run("B", { lr: 0.01, "model.kind": "mlp" }, { state: "crashed" }),
  run("C", { lr: null, note: 'a "b" and c' }),
];
const kept = (text) => RUNS.filter(makeFilter(text)).map((item) => item.label).join("");

test("simple expressions filter runs", () => {
  assert.equal(kept("lr <= 0.01"), "B");
  assert.equal(kept("config.lr > 1e-3 and state == 'finished'"), "A");
  assert.equal(kept('state == "crashed" or summary.val/acc >= 0.9'), "AB");
  assert.equal(kept('tags contains "base"'), "A");
  assert.equal(kept("model.kind != \"cnn\""), "B");
  assert.equal(kept('note == "a \\"b\\" and c"'), "C");
  assert.equal(kept("`model.kind` contains \"m\""), "B");
});

test("what is not an expression is a text", () => {
  assert.equal(kept("RUN b"), "B");
  assert.equal(kept("mlp"), "B");
  assert.equal(kept("lr <= "), "");
  assert.equal(kept(""), "ABC");
  assert.deepEqual(["lr < 1", "lr < x", "cnn and"].map(isExpression), [true, false, false]);
});

test("runs are grouped in the order of their values", () => {
  assert.deepEqual(groupRuns(RUNS, "lr"), [
    { name: "0.01", runs: [1] },
    { name: "0.1", runs: [0] },
    { name: "null", runs: [2] },
  ]);
  assert.deepEqual(groupRuns(RUNS, "note").map((group) => group.name), ['a "b" and c', "(none)"]);
});

test("numbers sort before texts, and missing values last", () => {
  assert.deepEqual(["b10", undefined, 3, "b9", 20].sort(compareCells), [3, 20, "b9", "b10", undefined]);
  assert.ok(compareCells(undefined, 1) > 0);
});

test("a mean has the band of one standard deviation where there are two values", () => {
  const lines = [
    { xs: [0, 10], ys: [0, 10] },
    { xs: [0, 5], ys: [2, 7] },
  ];
  const { mean, low, high } = meanAndBand(lines, [0, 5, 10], false);
  assert.deepEqual(mean, [1, 6, 10]);
  assert.ok(Math.abs(high[0] - (1 + Math.SQRT2)) < 1e-12 && Math.abs(low[1] - (6 - Math.SQRT2)) < 1e-12);
  assert.deepEqual([low[2], high[2]], [undefined, undefined]);
});

test("metrics that differ only in numbers are a family", () => {
  const layers = [1, 2, 3, 4, 5].map((layer) => `layer${layer}/norm`);
  assert.deepEqual(foldFamilies(["loss", ...layers, "top1", "top5"]), [
    { name: "loss", members: ["loss"] },
    { name: "layer*/norm", members: layers },
    { name: "top1", members: ["top1"] },
    { name: "top5", members: ["top5"] },
  ]);
});

test("a fragment has what differs from the usual view, and reads as it was written", () => {
  const usual = usualView();
  const view = { ...usual, range: [1, 2.5], hidden: ["A", "B"], smooth: 0.9, group: "lr&<>", columns: [] };
  const fragment = writeFragment(view, usual);
  assert.deepEqual(readFragment(`#${fragment}`, usual), view);
  assert.equal(writeFragment(usual, usual), "");
});

test("what a fragment has wrongly is as usual", () => {
  const usual = usualView();
  for (const fragment of [
    "range=[2,1]", "range=[0]", "smooth=1", "hidden=[1]", "y=\"cubic\"", "theme=3", "x=%", "__proto__={}", "constructor=1", "x={",
  ]) {
    assert.deepEqual(readFragment(`#${fragment}`, usual), usual, fragment);
  }
});

test("numbers and times are short", () => {
  assert.deepEqual([0.1 + 0.2, 1234567890123, 12, null, "NaN", 1e-9].map(shortNumber), ["0.3", "1.23457e+12", "12", "", "NaN", "1e-9"]);
  assert.deepEqual([3, 300, 86400].map(shortTime), ["3 s", "5 min", "24 h"]);
});

test("values of configs that differ do not look the same", () => {
  const values = [7241732096, 7241732097, 0.1, "0.1", 0.1000001, true, "true", null, "null", "adam", "NaN", "", [1, 2], ["1", 2]];
  const shown = [
    "7241732096", "7241732097", "0.1", '"0.1"', "0.1000001", "true", '"true"', "null", '"null"', "adam", "NaN", "", "[1,2]", '["1",2]',
  ];
  assert.deepEqual(values.map(exactCell), shown);
  assert.equal(new Set(shown).size, shown.length);
  assert.equal(exactCell(undefined), "");
});
