/** The controls above the charts, and how they follow the view. */
import { byId, element } from "./text.js";
import { TIME_METRIC } from "./xaxis.js";

/**
 * Fill the lists and connect the controls.
 * @param {import("./model.js").Model} model
 * @param {import("./grid.js").Grid} grid
 * @param {(part: string) => void} changed
 */
export function connectControls(model, grid, changed) {
  const { view } = model;
  const axes = model.names.map((name) => option(name, name));
  const time = model.metricIndex.has(TIME_METRIC) ? [option("time", "time")] : [];
  byId("x").replaceChildren(option("step", "step"), ...time, ...axes);
  const keys = [...model.facts.config_diff.map(({ key }) => key), ...fieldNames(model)];
  byId("group").replaceChildren(option("", "run"), ...keys.map((key) => option(key, key)));
  /** @param {string} id @param {string} event @param {(control: any) => void} set @param {string} part */
  const on = (id, event, set, part) =>
    byId(id).addEventListener(event, () => {
      set(byId(id));
      changed(part);
    });
  on("x", "change", (control) => Object.assign(view, { x: control.value, range: null }), "axis");
  on("y", "change", (control) => (view.y = control.value), "charts");
  on("log-x", "change", (control) => Object.assign(view, { logX: control.checked, range: null }), "charts");
  on("smooth", "input", (control) => (view.smooth = Number(control.value)), "charts");
  on("group", "change", (control) => (view.group = control.value), "runs");
  on("mean", "change", (control) => (view.mean = control.checked), "charts");
  on("metrics", "input", (control) => (view.metrics = control.value), "layout");
  on("filter", "input", (control) => (view.filter = control.value), "runs");
  on("theme", "change", (control) => (view.theme = control.value), "theme");
  on("show-all", "click", () => Object.assign(view, { hidden: [], only: "" }), "runs");
  byId("zoom-in").addEventListener("click", () => grid.scale(0.5, 0.5));
  byId("zoom-out").addEventListener("click", () => grid.scale(2, 0.5));
  byId("pan-left").addEventListener("click", () => grid.pan(-0.25));
  byId("pan-right").addEventListener("click", () => grid.pan(0.25));
  byId("zoom-reset").addEventListener("click", () => grid.zoom(null));
}

/** @param {import("./model.js").Model} model */
function fieldNames(model) {
  const names = ["state"];
  if (model.runs.some((run) => "group" in run.fields)) names.push("group");
  if (model.runs.some((run) => "job_type" in run.fields)) names.push("job_type");
  return names;
}

/** @param {string} value @param {string} text */
function option(value, text) {
  return element("option", { value }, text);
}

/**
 * Make the controls show the view.
 * @param {import("./model.js").Model} model
 */
export function showControls(model) {
  const { view } = model;
  for (const id of ["x", "y", "group", "theme", "metrics", "filter", "smooth"]) {
    const control = byId(id);
    const value = String(/** @type {any} */ (view)[id]);
    if (control.value !== value) control.value = value;
  }
  byId("log-x").checked = view.logX;
  byId("mean").checked = view.mean;
  byId("mean").disabled = !view.group;
  byId("smooth-value").textContent = view.smooth ? view.smooth.toFixed(2) : "off";
  for (const id of ["zoom-out", "pan-left", "pan-right", "zoom-reset"]) byId(id).disabled = !view.range;
}
