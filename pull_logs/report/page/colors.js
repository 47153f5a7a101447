/** Colours that differ with most kinds of colour blindness, for light and dark pages. */

const LIGHT = ["#0072b2", "#d55e00", "#007a5e", "#b5468b", "#8f6a00", "#2f8fc4", "#5b4fa2", "#8a3a1c", "#4d7c0f", "#555555"];
const DARK = ["#56b4e9", "#ff9e4a", "#2fd6a4", "#e79ac8", "#f0e442", "#8ec9ff", "#b3a6ff", "#ffb59e", "#a8d96c", "#c0c0c0"];

/** Whether the page is dark now. */
export function isDark() {
  if (typeof document === "undefined") return false;
  if (matchMedia("print").matches) return false;
  const chosen = document.documentElement.dataset.theme;
  return chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
}

/**
 * Return the colour of the n-th run or group.
 * @param {number} index
 * @param {boolean} dark
 */
export function colorOf(index, dark) {
  const colors = dark ? DARK : LIGHT;
  return colors[index % colors.length];
}

/**
 * Return a colour with an opacity.
 * @param {string} color `#rrggbb`
 * @param {number} opacity
 */
export function faded(color, opacity) {
  return color + Math.round(opacity * 255).toString(16).padStart(2, "0");
}
