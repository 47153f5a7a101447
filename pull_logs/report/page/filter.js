/** The filter of the table: simple forms of the expression language, or plain text. */
import { valueOf } from "./groups.js";

const CLAUSE =
  /^\s*(?:`([^`]+)`|([A-Za-z_][\w.:/-]*))\s*(<=|>=|==|!=|<|>|\bcontains\b)\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^\s"']+)\s*$/;

/**
 * Return a test of runs. `config.lr <= 1e-3 and state == "finished"` is an expression; what is not one is a
 * text that some cell has to contain.
 * @param {string} text
 * @returns {(run: import("./types.js").Run) => boolean}
 */
export function makeFilter(text) {
  if (!text.trim()) return () => true;
  const any = split(text, "or").map((part) => split(part, "and").map(parseClause));
  if (any.every((clauses) => clauses.every(Boolean))) {
    return (run) => any.some((clauses) => clauses.every((clause) => clause && clause(run)));
  }
  const sought = text.trim().toLowerCase();
  return (run) => textOf(run).includes(sought);
}

/**
 * Whether a filter is read as an expression.
 * @param {string} text
 */
export function isExpression(text) {
  return split(text, "or").every((part) => split(part, "and").every((clause) => parseClause(clause)));
}

/**
 * Split a text at a word outside of quotes.
 * @param {string} text
 * @param {string} word
 */
function split(text, word) {
  const parts = [""];
  for (const token of text.match(/"(?:[^"\\]|\\.)*"|'[^']*'|`[^`]*`|\w+|\W/g) ?? []) {
    if (token.toLowerCase() === word) parts.push("");
    else parts[parts.length - 1] += token;
  }
  return parts;
}

/**
 * @param {string} text
 * @returns {((run: import("./types.js").Run) => boolean) | null}
 */
function parseClause(text) {
  const match = CLAUSE.exec(text);
  if (!match) return null;
  const name = match[1] ?? match[2];
  const wanted = literal(match[4]);
  if (wanted === undefined) return null;
  return (run) => holds(valueOf(run, name), match[3], wanted);
}

/** @param {string} text */
function literal(text) {
  if (/^["']/.test(text)) return text.slice(1, -1).replace(/\\(.)/g, "$1");
  if (text === "true" || text === "false") return text === "true";
  const number = Number(text);
  return Number.isNaN(number) ? undefined : number;
}

/**
 * Whether a comparison holds; of a missing value it never does.
 * @param {any} value
 * @param {string} operator
 * @param {string | number | boolean} wanted
 */
function holds(value, operator, wanted) {
  if (value === undefined || value === null) return false;
  if (operator === "contains") {
    return Array.isArray(value) ? value.includes(wanted) : String(value).includes(String(wanted));
  }
  if (operator === "==") return value === wanted;
  if (operator === "!=") return value !== wanted;
  if (typeof value !== typeof wanted) return false;
  if (operator === "<") return value < wanted;
  if (operator === "<=") return value <= wanted;
  return operator === ">" ? value > wanted : value >= wanted;
}

/** @param {import("./types.js").Run} run */
function textOf(run) {
  const cells = [run.label, run.path, run.name, run.state];
  for (const part of [run.config, run.fields]) {
    for (const [key, value] of Object.entries(part)) cells.push(`${key}=${JSON.stringify(value)}`);
  }
  return cells.join("\n").toLowerCase();
}
