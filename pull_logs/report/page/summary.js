/** The parts around the charts: the verdict, health, config differences, and which bundle this is. */
import { byId, counted, element, exactCell } from "./text.js";

const MOST_RUNS = 8;
const MOST_FINDINGS = 5;
const OPEN_RUNS = 2;

/**
 * Show what is said about all runs together.
 * @param {import("./model.js").Model} model
 * @param {(label: string) => void} isolate
 */
export function renderSummary(model, isolate) {
  const { facts } = model;
  document.title = `${facts.title}: run report`;
  byId("title").textContent = facts.title;
  const rows = facts.runs.reduce((total, run) => total + run.rows, 0);
  const complete = facts.runs.filter((run) => run.complete).length;
  byId("facts-line").textContent =
    `${counted(facts.runs.length, "run")}, ${counted(model.names.length, "metric")}, ${counted(rows, "row")}; ` +
    (complete === facts.runs.length ? "every history is complete" : `${complete} of ${facts.runs.length} histories are complete`);
  renderVerdict(facts);
  byId("health").replaceChildren(...healthItems(model, isolate));
  renderDifferences(model);
  renderNotes(facts);
}

/** @param {import("./types.js").Facts} facts */
function renderVerdict(facts) {
  const { answer, sentences } = facts.verdict;
  byId("verdict").textContent = answer ? capital(answer) : "No metric says which run is best.";
  byId("sentences").replaceChildren(...sentences.map((text) => element("li", {}, capital(text))));
}

/** @param {string} text */
function capital(text) {
  const first = text.split(" ", 1)[0];
  const start = /^[a-z]+$/.test(first) ? first.charAt(0).toUpperCase() : text.charAt(0);
  return start + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

/**
 * @param {import("./model.js").Model} model
 * @param {(label: string) => void} isolate
 */
function healthItems(model, isolate) {
  const names = new Map(model.runs.map((run) => [run.label, run.name || run.path]));
  if (!model.facts.health.length) return [element("li", {}, "Nothing is wrong with any run.")];
  return model.facts.health.map((entry) => {
    const found = entry.found.slice(0, MOST_FINDINGS).map((item) => {
      const where = item.step === null ? "" : ` from step ${item.step}`;
      const text = `${item.metric ?? ""}${where}: ${item.message}`.replace(/^: /, "");
      const button = element("button", { type: "button", onclick: () => isolate(item.run) }, names.get(item.run) ?? item.run);
      return element("li", {}, button, ` ${text}`);
    });
    const more = entry.found.length - found.length;
    if (more > 0) found.push(element("li", {}, `and ${more} more`));
    const heading = `${entry.flag}: ${counted(entry.runs, "run")}`;
    return element("li", {}, element("details", { open: entry.runs <= OPEN_RUNS }, element("summary", {}, heading), element("ul", {}, ...found)));
  });
}

/** @param {import("./model.js").Model} model */
function renderDifferences(model) {
  const { config_diff, config_same } = model.facts;
  const rows = config_diff.map(({ key, values }) => {
    /** @type {Map<string, string[]>} */
    const byValue = new Map();
    for (const run of model.runs) {
      const text = run.label in values ? exactCell(values[run.label]) : "(not set)";
      byValue.set(text, [...(byValue.get(text) ?? []), run.label]);
    }
    const cells = [...byValue].map(([text, labels]) => {
      const named = labels.slice(0, MOST_RUNS).join(" ") + (labels.length > MOST_RUNS ? ` and ${labels.length - MOST_RUNS} more` : "");
      return element("span", { className: "value", title: named }, element("b", {}, text), ` ${labels.length}`);
    });
    return element("tr", {}, element("th", { scope: "row" }, key), element("td", {}, ...cells));
  });
  byId("difference-body").replaceChildren(...rows);
  byId("difference-table").hidden = !rows.length;
  const differing = rows.length ? `${counted(rows.length, "key")} ${rows.length === 1 ? "differs" : "differ"}` : "No key differs";
  byId("difference-count").textContent = `${differing}, ${config_same} ${config_same === 1 ? "is" : "are"} the same in all runs`;
}

/** @param {import("./types.js").Facts} facts */
function renderNotes(facts) {
  const identities = facts.bundles.map((bundle) =>
    element("li", {}, `${bundle.name}: content `, element("code", {}, bundle.content_id), ", bundle ", element("code", {}, bundle.bundle_id)),
  );
  byId("notes").replaceChildren(...facts.notes.map((note) => element("li", {}, note)));
  byId("identities").replaceChildren(...identities, element("li", {}, `made by pull-logs ${facts.version}; the page requests nothing`));
}

/**
 * Show the colours of the groups.
 * @param {import("./model.js").Model} model
 */
export function renderLegend(model) {
  const items = model.groups.map((group) => {
    const swatch = element("span", { className: "swatch", "aria-hidden": "true" });
    swatch.style.background = model.color(group.runs[0]);
    const shown = group.runs.filter((run) => model.shown[run]).length;
    return element("li", {}, swatch, `${group.name} (${shown})`);
  });
  byId("legend").replaceChildren(...items);
  byId("legend").hidden = !items.length;
}
