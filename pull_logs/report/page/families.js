/** Folds metrics whose names differ only in numbers, such as the norms of 127 layers, into families. */

const LEAST_MEMBERS = 5;

/**
 * Return the name of the family that a metric may belong to.
 * @param {string} name
 */
export function familyOf(name) {
  return name.replace(/\d+/g, "*");
}

/**
 * Return metrics and families in the order of the metrics; a family has at least five members.
 * @param {string[]} names
 * @returns {Array<{name: string, members: string[]}>} A metric that is in no family is its only member.
 */
export function foldFamilies(names) {
  /** @type {Map<string, string[]>} */
  const families = new Map();
  for (const name of names) {
    const family = familyOf(name);
    families.set(family, [...(families.get(family) ?? []), name]);
  }
  /** @type {Array<{name: string, members: string[]}>} */
  const folded = [];
  const done = new Set();
  for (const name of names) {
    const family = familyOf(name);
    const members = families.get(family) ?? [];
    if (members.length < LEAST_MEMBERS) folded.push({ name, members: [name] });
    else if (!done.has(family)) folded.push({ name: family, members });
    done.add(family);
  }
  return folded;
}
