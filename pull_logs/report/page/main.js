/** Starts the page, and brings every part up to date when the view changes. */
import { isDark } from "./colors.js";
import { connectControls, showControls } from "./controls.js";
import { readFragment, usualView, writeFragment } from "./fragment.js";
import { Grid } from "./grid.js";
import { Model } from "./model.js";
import { renderLegend, renderSummary } from "./summary.js";
import { Table } from "./table.js";
import { byId } from "./text.js";

/** @returns {import("./types.js").View} */
function startingView(/** @type {import("./types.js").Facts} */ facts) {
  const key = facts.group_by?.replace(/^config\./, "") ?? "";
  return { ...usualView(), group: key };
}

function start() {
  /** @type {import("./types.js").Facts} */
  const facts = JSON.parse(byId("facts").textContent);
  const usual = startingView(facts);
  const model = new Model(facts, readFragment(location.hash, usual));
  const { view } = model;
  const announce = (/** @type {string} */ text) => (byId("live").textContent = text);
  const page = { changed, announce };
  const grid = new Grid(model, byId("charts"), page);
  const table = new Table(model, page);

  /** @param {string} part What changed. */
  function changed(part) {
    if (part === "axis" || part === "layout" || part === "runs" || part === "theme") model.settle();
    if (part === "charts") model.lineCache.clear();
    if (part === "theme" || part === "all") applyTheme();
    if (part === "layout" || part === "all") grid.layout();
    else if (part !== "range" && part !== "table") grid.refresh();
    if (part !== "range" && part !== "charts" && part !== "layout") renderRuns();
    showControls(model);
    const fragment = writeFragment(view, usual);
    if (fragment !== location.hash.slice(1)) history.replaceState(null, "", `#${fragment}`);
  }

  function renderRuns() {
    table.render();
    table.renderChooser();
    renderLegend(model);
  }

  function applyTheme() {
    document.documentElement.dataset.theme = view.theme;
    grid.theme = isDark() ? "dark" : "light";
  }

  function redrawForMedia() {
    applyTheme();
    renderRuns();
    grid.refresh();
  }

  renderSummary(model, (label) => {
    view.only = view.only === label ? "" : label;
    changed("runs");
  });
  connectControls(model, grid, changed);
  addEventListener("hashchange", () => {
    Object.assign(view, readFragment(location.hash, usual));
    model.settle();
    changed("all");
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !view.only) return;
    view.only = "";
    changed("runs");
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawForMedia);
  addEventListener("beforeprint", () => {
    grid.theme = "print";
    grid.drawAll();
  });
  addEventListener("afterprint", redrawForMedia);
  changed("all");
  Object.assign(window, { pullLogsReport: { model, grid, table } });
}

start();
