/** The runs, their curves and the view: what every part of the page reads. */
import { decodeCurves, fromBase64, inflate } from "./blocks.js";
import { colorOf, isDark } from "./colors.js";
import { makeFilter } from "./filter.js";
import { groupRuns } from "./groups.js";
import { smoothed } from "./smoothing.js";
import { byId } from "./text.js";
import { TIME_METRIC, canBeAxis, lineOn, neverFalls } from "./xaxis.js";

export class Model {
  /**
   * @param {import("./types.js").Facts} facts
   * @param {import("./types.js").View} view
   */
  constructor(facts, view) {
    this.facts = facts;
    this.view = view;
    this.runs = facts.runs;
    /** @type {Map<string, number>} */
    this.metricIndex = new Map(facts.metrics.map((metric, index) => [metric.name, index]));
    /** @type {Map<string, import("./types.js").Curve[]>} */
    this.decoded = new Map();
    /** @type {Map<string, Promise<import("./types.js").Curve[]>>} */
    this.pending = new Map();
    /** @type {Map<string, import("./types.js").Line[]>} */
    this.lineCache = new Map();
    /** @type {boolean[]} */
    this.filtered = [];
    /** @type {boolean[]} */
    this.shown = [];
    /** @type {Array<{name: string, runs: number[]}>} */
    this.groups = [];
    /** @type {Map<number, number>} */
    this.groupOf = new Map();
    this.only = -1;
    this.settle();
  }

  /** Work out what follows from the view: the groups and the runs that are shown. */
  settle() {
    const { view } = this;
    if (view.x !== "step" && view.x !== "time" && !this.metricIndex.has(view.x)) view.x = "step";
    const keep = makeFilter(view.filter);
    const hidden = new Set(view.hidden);
    this.filtered = this.runs.map((run) => keep(run));
    this.shown = this.runs.map((run, index) => this.filtered[index] && !hidden.has(run.label));
    this.groups = view.group ? groupRuns(this.runs, view.group) : [];
    this.groupOf = new Map(this.groups.flatMap((group, index) => group.runs.map((run) => [run, index])));
    this.only = view.only ? this.runs.findIndex((run) => run.label === view.only) : -1;
    this.lineCache.clear();
  }

  /** The names of the metrics that have charts. */
  get names() {
    return this.facts.metrics.map((metric) => metric.name).filter((name) => name !== TIME_METRIC);
  }

  /**
   * Return what is known of a metric.
   * @param {string} name
   */
  metric(name) {
    return this.facts.metrics[this.metricIndex.get(name) ?? -1];
  }

  /**
   * Return the colour of a run.
   * @param {number} run
   */
  color(run) {
    return colorOf(this.groupOf.get(run) ?? run, isDark());
  }

  /**
   * Decode a metric, if that was not done before.
   * @param {string} name
   * @returns {Promise<import("./types.js").Curve[]>}
   */
  decode(name) {
    const known = this.pending.get(name);
    if (known) return known;
    const block = byId(`block-${this.metricIndex.get(name)}`);
    const promise = inflate(fromBase64(block.textContent.trim())).then((bytes) => {
      const curves = decodeCurves(this.metric(name), bytes);
      this.decoded.set(name, curves);
      return curves;
    });
    this.pending.set(name, promise);
    return promise;
  }

  /** The metric of the x axis; null for the step. */
  get axisMetric() {
    const { x } = this.view;
    if (x === "step") return null;
    return x === "time" ? (this.metricIndex.has(TIME_METRIC) ? TIME_METRIC : null) : x;
  }

  /**
   * Decode all that a chart needs.
   * @param {string} name
   */
  async prepare(name) {
    const axis = this.axisMetric;
    await Promise.all([this.decode(name), axis ? this.decode(axis) : null]);
    if (axis && axis !== TIME_METRIC && !canBeAxis(this.decoded.get(axis) ?? [])) {
      this.view.x = "step";
      this.lineCache.clear();
    }
  }

  /**
   * Return the lines of a metric that was prepared, over the x axis.
   * @param {string} name
   * @param {boolean} smooth
   * @returns {import("./types.js").Line[]}
   */
  lines(name, smooth) {
    const key = `${smooth}:${name}`;
    const cached = this.lineCache.get(key);
    if (cached) return cached;
    const axis = this.axisMetric;
    const axisCurves = axis ? (this.decoded.get(axis) ?? []) : [];
    const axisOf = new Map(axisCurves.map((curve) => [curve.run, curve]));
    const between = axisCurves.every((curve) => neverFalls(curve.values));
    const lines = (this.decoded.get(name) ?? [])
      .filter((curve) => !axis || axisOf.has(curve.run))
      .map((curve) => {
        const ys = smooth ? smoothed(curve, this.view.smooth) : curve.values;
        return lineOn(curve, ys, axisOf.get(curve.run) ?? null, between);
      });
    this.lineCache.set(key, lines);
    return lines;
  }

  /**
   * Return the range of the x axis when nothing is zoomed.
   * @returns {[number, number]}
   */
  fullRange() {
    const ends = this.axisMetric ? this.#axisEnds() : this.#stepEnds();
    let [min, max] = ends;
    if (!(min <= max)) return [0, 1];
    if (this.view.logX) {
      min = Math.max(min, this.#leastPositive());
      max = Math.max(max, min);
    }
    if (min === max) return this.view.logX ? [min / 2, max * 2] : [min - 1, max + 1];
    return [min, max];
  }

  #leastPositive() {
    const axis = this.axisMetric;
    if (!axis) return 1;
    let least = Infinity;
    for (const curve of this.decoded.get(axis) ?? []) {
      for (const value of curve.values) if (value > 0 && value < least) least = value;
    }
    return least;
  }

  /** @returns {[number, number]} */
  #stepEnds() {
    const lasts = this.runs.map((run) => run.last_step).filter((step) => step !== null);
    return [this.facts.first_step, Math.max(...lasts)];
  }

  /** @returns {[number, number]} */
  #axisEnds() {
    const metric = this.metric(this.axisMetric ?? "");
    const mins = metric.min.filter((value) => value !== null);
    const maxs = metric.max.filter((value) => value !== null);
    return [Math.min(...mins), Math.max(...maxs)];
  }

  /** The visible part of the x axis. */
  get range() {
    const full = this.fullRange();
    const range = this.view.range;
    if (!range || (this.view.logX && !(range[0] > 0))) return full;
    return range;
  }
}
