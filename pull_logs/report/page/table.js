/** The table of runs: sorted, filtered, with the columns that a person chose. */
import { compareCells, valueOf } from "./groups.js";
import { isExpression } from "./filter.js";
import { byId, element, exactCell, shortCell } from "./text.js";

const MOST_ROWS = 500;
const USUAL_KEYS = 5;
const USUAL_SUMMARIES = 3;
const LONGEST = 40;

export class Table {
  /**
   * @param {import("./model.js").Model} model
   * @param {{changed: (part: string) => void}} page
   */
  constructor(model, page) {
    this.model = model;
    this.page = page;
    this.rank = new Map(model.facts.verdict.ranking.map((label, index) => [label, index]));
    this.all = this.everyColumn();
    this.most = MOST_ROWS;
  }

  /** The names of all columns that a table can have. */
  everyColumn() {
    const { facts, runs } = this.model;
    const summaries = new Set(runs.flatMap((run) => Object.keys(run.summary)));
    const fields = new Set(runs.flatMap((run) => Object.keys(run.fields)));
    return [
      ...["name", "state", "rows", "last_step", "complete", "path"],
      ...facts.config_diff.map(({ key }) => `config.${key}`),
      ...[...summaries].map((name) => `summary.${name}`),
      ...[...fields],
    ];
  }

  /** The columns that are shown. */
  get columns() {
    const { view, facts } = this.model;
    if (view.columns) return view.columns.filter((name) => this.all.includes(name));
    const keys = facts.config_diff.slice(0, USUAL_KEYS).map(({ key }) => `config.${key}`);
    const charted = facts.metrics.map(({ name }) => `summary.${name}`).filter((name) => this.all.includes(name));
    return ["name", "state", ...charted.slice(0, USUAL_SUMMARIES), ...keys, "last_step"];
  }

  /** The runs in the order of the table. */
  ordered() {
    const { view, runs } = this.model;
    const order = runs.map((_, index) => index).filter((index) => this.model.filtered[index]);
    const descending = view.sort.startsWith("-");
    const column = view.sort.replace(/^-/, "");
    const place = (/** @type {number} */ index) => this.rank.get(runs[index].label) ?? runs.length;
    order.sort((a, b) => {
      if (!column) return place(a) - place(b) || a - b;
      const [first, second] = [valueOf(runs[a], column), valueOf(runs[b], column)];
      const missing = compareCells(first, undefined) === 0 || compareCells(second, undefined) === 0;
      return compareCells(first, second) * (descending && !missing ? -1 : 1) || a - b;
    });
    return order;
  }

  /** Show the table as the view has it. */
  render() {
    const { view, runs } = this.model;
    const order = this.ordered();
    const columns = this.columns;
    const head = element(
      "tr",
      {},
      element("th", { scope: "col" }, this.allBox(order)),
      ...columns.map((name) => this.heading(name)),
    );
    byId("run-head").replaceChildren(head);
    byId("run-body").replaceChildren(...order.slice(0, this.most).map((run) => this.row(run, columns)));
    const shown = order.filter((run) => this.model.shown[run]).length;
    const cut = order.length > this.most ? `; the first ${this.most} are listed` : "";
    byId("run-count").textContent = `${shown} of ${runs.length} runs shown${cut}`;
    const plain = view.filter.trim() && !isExpression(view.filter);
    byId("filter-kind").textContent = plain ? "read as text: runs with it in a name, tag or config" : "";
    byId("show-all").hidden = !view.hidden.length && !view.only;
  }

  /** @param {number[]} order */
  allBox(order) {
    const { view, runs } = this.model;
    const labels = order.map((run) => runs[run].label);
    const hidden = labels.filter((label) => view.hidden.includes(label));
    const toggle = () => {
      const others = view.hidden.filter((label) => !labels.includes(label));
      view.hidden = hidden.length ? others : [...others, ...labels];
      this.page.changed("runs");
    };
    const box = { type: "checkbox", checked: !hidden.length, onchange: toggle, "aria-label": "Show all runs listed" };
    const input = /** @type {HTMLInputElement} */ (element("input", box));
    input.indeterminate = hidden.length > 0 && hidden.length < labels.length;
    return input;
  }

  /** @param {string} name */
  heading(name) {
    const { view } = this.model;
    const sorted = view.sort.replace(/^-/, "") === name;
    const descending = sorted && view.sort.startsWith("-");
    const sort = () => {
      view.sort = !sorted ? name : descending ? "" : `-${name}`;
      this.page.changed("table");
      const button = byId("run-head").querySelectorAll("button")[this.columns.indexOf(name)];
      button?.focus();
    };
    const arrow = sorted ? (descending ? " ▼" : " ▲") : "";
    const direction = sorted ? (descending ? "descending" : "ascending") : "none";
    const text = name.replace(/^(config|summary)\./, "");
    const title = `Sort by ${name}`;
    return element(
      "th",
      { scope: "col", "aria-sort": direction },
      element("button", { type: "button", onclick: sort, title }, text + arrow),
    );
  }

  /**
   * @param {number} index
   * @param {string[]} columns
   */
  row(index, columns) {
    const { view } = this.model;
    const run = this.model.runs[index];
    const toggle = () => {
      const hidden = view.hidden.includes(run.label);
      view.hidden = hidden ? view.hidden.filter((label) => label !== run.label) : [...view.hidden, run.label];
      this.page.changed("runs");
    };
    const name = run.name || run.path;
    const box = {
      type: "checkbox",
      checked: !view.hidden.includes(run.label),
      onchange: toggle,
      "aria-label": `Show ${name} (${run.label})`,
    };
    const swatch = element("span", { className: "swatch", "aria-hidden": "true" });
    swatch.style.background = this.model.color(index);
    const made = element(
      "tr",
      { className: view.only === run.label ? "only" : "" },
      element("td", {}, element("label", { className: "show" }, element("input", box), swatch)),
      ...columns.map((column) => this.cell(run, index, column)),
    );
    return made;
  }

  /**
   * @param {import("./types.js").Run} run
   * @param {number} index
   * @param {string} column
   */
  cell(run, index, column) {
    const value = valueOf(run, column);
    if (column === "name") {
      const isolate = () => {
        this.model.view.only = this.model.view.only === run.label ? "" : run.label;
        this.page.changed("runs");
      };
      const pressed = this.model.view.only === run.label;
      const title = `Isolate ${run.label}: ${run.path}`;
      const text = run.name || run.path;
      const button = element("button", { type: "button", "aria-pressed": pressed, title, onclick: isolate }, text);
      return element("th", { scope: "row" }, button);
    }
    const written = column.startsWith("config.") ? exactCell : shortCell;
    const text = column === "complete" ? (run.complete ? "yes" : `no: ${run.reason}`) : written(value);
    const long = text.length > LONGEST;
    const shown = long ? `${text.slice(0, LONGEST - 1)}…` : text;
    const kind = typeof value === "number" ? "number" : column === "state" ? `state ${stateKind(run.state)}` : "";
    return element("td", { className: kind, title: long ? text : "" }, shown);
  }

  /** Show the list of columns to choose from. */
  renderChooser() {
    const shown = new Set(this.columns);
    const boxes = this.all.map((name) => {
      const choose = () => {
        const now = this.columns;
        const chosen = now.includes(name) ? now.filter((other) => other !== name) : [...now, name];
        this.model.view.columns = this.all.filter((other) => chosen.includes(other));
        this.page.changed("table");
      };
      const input = element("input", { type: "checkbox", checked: shown.has(name), onchange: choose });
      return element("label", {}, input, ` ${name}`);
    });
    byId("column-list").replaceChildren(...boxes);
  }
}

/** @param {string} state */
function stateKind(state) {
  if (state === "finished") return "good";
  return state === "running" ? "open" : "bad";
}
