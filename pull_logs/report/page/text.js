/** Texts and elements. Every text of a run is set as text; nothing is parsed as HTML. */

/**
 * Return a number for a reader: six digits at most.
 * @param {any} value
 * @returns {string}
 */
export function shortNumber(value) {
  if (typeof value !== "number") return value === null || value === undefined ? "" : String(value);
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  const text = value.toPrecision(6);
  return String(Number(text)).length < text.length ? String(Number(text)) : text;
}

/**
 * Return a count with its noun: `1 run`, `2,566 metrics`.
 * @param {number} count
 * @param {string} noun In the singular.
 */
export function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * Return a cell for a reader.
 * @param {any} value
 */
export function shortCell(value) {
  if (typeof value === "number") return shortNumber(value);
  if (value === null) return "null";
  if (value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/**
 * Return a value of a config for a reader: all digits, because two values that differ must not look the same.
 * A text that reads like a number or like another value is in quotation marks.
 * @param {any} value
 */
export function exactCell(value) {
  if (typeof value !== "string") return value === undefined ? "" : JSON.stringify(value);
  const another = ["true", "false", "null"].includes(value) || (value.trim() !== "" && Number.isFinite(Number(value)));
  return another ? JSON.stringify(value) : value;
}

/**
 * Return a time in seconds for a reader.
 * @param {number} seconds
 */
export function shortTime(seconds) {
  if (seconds < 120) return `${shortNumber(seconds)} s`;
  if (seconds < 7200) return `${shortNumber(seconds / 60)} min`;
  return `${shortNumber(seconds / 3600)} h`;
}

/**
 * Return a new element.
 * @param {string} name
 * @param {Record<string, any>} [properties] Properties; those with a dash are attributes, `on...` are listeners.
 * @param {...(Node | string)} children Texts are added as text.
 * @returns {HTMLElement}
 */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key.includes("-") || key === "role" || key === "for") made.setAttribute(key, String(value));
    else /** @type {any} */ (made)[key] = value;
  }
  made.append(...children);
  return made;
}

/**
 * Return the element with an id.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  return document.getElementById(id);
}
