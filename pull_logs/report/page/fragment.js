/** Keeps the view in the fragment of the URL, so that it can be shared. */

/** @returns {import("./types.js").View} */
export function usualView() {
  return {
    x: "step",
    range: null,
    logX: false,
    y: "auto",
    smooth: 0,
    group: "",
    mean: false,
    hidden: [],
    only: "",
    filter: "",
    metrics: "",
    sort: "",
    columns: null,
    open: [],
    theme: "auto",
  };
}

/**
 * Return the view that a fragment describes; what it does not have, or has wrongly, is as usual.
 * @param {string} fragment
 * @param {import("./types.js").View} usual
 * @returns {import("./types.js").View}
 */
export function readFragment(fragment, usual) {
  const view = /** @type {Record<string, any>} */ ({ ...usual });
  for (const [name, text] of new URLSearchParams(fragment.replace(/^#/, ""))) {
    if (!(name in view)) continue;
    try {
      const value = JSON.parse(text);
      if (fits(name, value)) view[name] = value;
    } catch {
      continue;
    }
  }
  return /** @type {any} */ (view);
}

/**
 * Whether a value is one that a part of the view can have.
 * @param {string} name
 * @param {any} value
 */
function fits(name, value) {
  const texts = Array.isArray(value) && value.every((item) => typeof item === "string");
  if (name === "range") {
    return (
      value === null ||
      (Array.isArray(value) && value.length === 2 && value.every(Number.isFinite) && value[0] < value[1])
    );
  }
  if (name === "columns") return value === null || texts;
  if (name === "hidden" || name === "open") return texts;
  if (name === "smooth") return typeof value === "number" && value >= 0 && value < 1;
  if (name === "logX" || name === "mean") return typeof value === "boolean";
  if (name === "y") return ["auto", "linear", "log"].includes(value);
  if (name === "theme") return ["auto", "light", "dark"].includes(value);
  return typeof value === "string";
}

/**
 * Return the fragment of a view: what differs from the usual one.
 * @param {import("./types.js").View} view
 * @param {import("./types.js").View} usual
 */
export function writeFragment(view, usual) {
  const parts = new URLSearchParams();
  const expected = /** @type {Record<string, any>} */ (usual);
  for (const [name, value] of Object.entries(view)) {
    const text = JSON.stringify(value);
    if (text !== JSON.stringify(expected[name])) parts.set(name, text);
  }
  return parts.toString();
}
