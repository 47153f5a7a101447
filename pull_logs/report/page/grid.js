/** The grid of charts: which ones there are, when each is drawn, and the cursor and zoom that they share. */
import { foldFamilies } from "./families.js";
import { Panel } from "./panel.js";
import { element } from "./text.js";

const MOST_AT_ONCE = 60;
const SLICE = 12;

/**
 * @typedef {Object} Hovered What is under the pointer.
 * @property {Panel} panel
 * @property {number} x
 * @property {import("./chart_data.js").Drawn | null} item
 * @property {number} left
 * @property {number} top
 */

export class Grid {
  /**
   * @param {import("./model.js").Model} model
   * @param {HTMLElement} root
   * @param {{changed: (part: string) => void, announce: (text: string) => void}} page
   */
  constructor(model, root, page) {
    this.model = model;
    this.root = root;
    this.page = page;
    /** @type {Map<string, Panel>} */
    this.panels = new Map();
    /** @type {Set<Panel>} */
    this.visible = new Set();
    /** @type {Set<Panel>} */
    this.stale = new Set();
    /** @type {Hovered | null} */
    this.hovered = null;
    this.most = MOST_AT_ONCE;
    this.theme = "";
    this.scheduled = false;
    this.seen = false;
    this.following = false;
    /** @type {number | null} When the first chart was drawn, in milliseconds since the page was opened. */
    this.firstDrawn = null;
    this.observer = new IntersectionObserver((entries) => this.onSeen(entries), { rootMargin: "500px" });
    new ResizeObserver(() => this.refresh()).observe(root);
  }

  /** Put the charts that the view asks for into the page. */
  layout() {
    const { view } = this.model;
    const sought = view.metrics.toLowerCase();
    const names = this.model.names.filter((name) => name.toLowerCase().includes(sought));
    const parts = [];
    const wanted = new Set();
    let hiddenCount = 0;
    const families = foldFamilies(names);
    for (const family of families) {
      // A page on which everything is folded would show nothing.
      const folded = family.members.length > 1 && families.length > 1;
      if (folded) parts.push(this.familyButton(family));
      for (const name of folded && !view.open.includes(family.name) ? [] : family.members) {
        if (wanted.size >= this.most) hiddenCount++;
        else {
          wanted.add(name);
          parts.push(this.panel(name).root);
        }
      }
    }
    for (const [name, panel] of this.panels) if (!wanted.has(name)) this.drop(name, panel);
    if (hiddenCount) parts.push(this.moreButton(hiddenCount));
    if (!names.length) parts.push(element("p", { className: "empty" }, "No metric has a name with this text."));
    this.root.replaceChildren(...parts);
    this.refresh();
  }

  /** @param {string} name */
  panel(name) {
    const known = this.panels.get(name);
    if (known) return known;
    const panel = new Panel(this, name);
    this.panels.set(name, panel);
    this.observer.observe(panel.root);
    return panel;
  }

  /** @param {string} name @param {Panel} panel */
  drop(name, panel) {
    this.observer.unobserve(panel.root);
    this.visible.delete(panel);
    this.stale.delete(panel);
    this.panels.delete(name);
    panel.remove();
  }

  /** @param {{name: string, members: string[]}} family */
  familyButton(family) {
    const { view } = this.model;
    const open = view.open.includes(family.name);
    const toggle = () => {
      view.open = open ? view.open.filter((name) => name !== family.name) : [...view.open, family.name];
      this.page.changed("layout");
    };
    const text = `${family.name} (${family.members.length} charts)`;
    return element("button", { className: "family", type: "button", "aria-expanded": open, onclick: toggle }, text);
  }

  /** @param {number} count */
  moreButton(count) {
    const more = () => {
      this.most += MOST_AT_ONCE;
      this.layout();
    };
    const text = `Show ${Math.min(count, MOST_AT_ONCE)} of ${count} more charts`;
    return element("button", { className: "family", type: "button", onclick: more }, text);
  }

  /** @param {IntersectionObserverEntry[]} entries */
  onSeen(entries) {
    this.seen = true;
    for (const entry of entries) {
      const panel = [...this.panels.values()].find((item) => item.root === entry.target);
      if (!panel) continue;
      if (entry.isIntersecting) this.visible.add(panel);
      else this.visible.delete(panel);
    }
    this.schedule();
  }

  /**
   * Draw every chart again: the given one now, the visible ones soon, the others when they are seen.
   * @param {Panel | null} [first]
   */
  refresh(first = null) {
    this.stale = new Set(this.panels.values());
    if (first && this.model.decoded.has(first.name)) {
      this.stale.delete(first);
      first.draw();
    }
    this.schedule();
  }

  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => this.drawSome());
  }

  /** Draw visible charts for as long as a person does not notice, then go on in the next frame. */
  async drawSome() {
    const start = performance.now();
    for (const panel of this.stale) {
      if (!this.visible.has(panel)) continue;
      this.stale.delete(panel);
      await this.model.prepare(panel.name);
      if (this.panels.get(panel.name) === panel) panel.draw();
      this.firstDrawn ??= performance.now();
      if (performance.now() - start > SLICE) break;
    }
    this.scheduled = false;
    if ([...this.stale].some((panel) => this.visible.has(panel))) this.schedule();
    else this.decodeNext();
  }

  /** Decode one of the charts that were not seen yet, when there is time, so that all can be printed. */
  decodeNext() {
    const next = [...this.panels.keys()].find((name) => !this.model.pending.has(name));
    if (next) requestIdleCallback(() => this.model.prepare(next).then(() => this.decodeNext()));
  }

  /** Draw every chart now, for paper. */
  drawAll() {
    for (const panel of this.panels.values()) {
      if (this.model.decoded.has(panel.name)) panel.draw();
    }
  }

  /**
   * Show one range of the x axis in all charts; null for all of it.
   * @param {[number, number] | null} range
   * @param {Panel | null} [panel] The chart that was used.
   */
  zoom(range, panel = null) {
    const full = this.model.fullRange();
    if (range) {
      const [from, to] = [Math.max(range[0], full[0]), Math.min(range[1], full[1])];
      range = from < to && (from > full[0] || to < full[1]) ? [from, to] : null;
    }
    this.model.view.range = range;
    this.hover(null);
    this.refresh(panel);
    this.page.changed("range");
  }

  /**
   * Make the visible range longer or shorter.
   * @param {number} factor
   * @param {number} share Where the range stays as it is, from 0 for its start to 1 for its end.
   * @param {Panel | null} [panel]
   */
  scale(factor, share, panel = null) {
    this.#move((from, to) => {
      const at = from + (to - from) * share;
      return [at - (at - from) * factor, at + (to - at) * factor];
    }, panel);
  }

  /**
   * Move the visible range by a part of its length.
   * @param {number} part
   * @param {Panel | null} [panel]
   */
  pan(part, panel = null) {
    const log = this.model.view.logX;
    const spell = (/** @type {number} */ value) => (log ? Math.log(value) : value);
    const [low, high] = this.model.fullRange().map(spell);
    this.#move((from, to) => {
      const moved = Math.min(Math.max((to - from) * part, low - from), high - to);
      return [from + moved, to + moved];
    }, panel);
  }

  /**
   * @param {(from: number, to: number) => [number, number]} change
   * @param {Panel | null} panel
   */
  #move(change, panel) {
    const log = this.model.view.logX;
    const [from, to] = this.model.range.map((value) => (log ? Math.log(value) : value));
    const moved = change(from, to);
    this.zoom(log ? [Math.exp(moved[0]), Math.exp(moved[1])] : moved, panel);
  }

  /**
   * Show the cursor in every visible chart.
   * @param {Hovered | null} hovered
   */
  hover(hovered) {
    if (!hovered && !this.hovered) return;
    this.hovered = hovered;
    hovered?.panel.showCursor(hovered);
    if (this.following) return;
    this.following = true;
    requestAnimationFrame(() => {
      this.following = false;
      for (const panel of this.visible) if (panel !== this.hovered?.panel) panel.showCursor(this.hovered);
    });
  }

  /** @param {number} run */
  isolate(run) {
    if (run < 0) return;
    const { view } = this.model;
    const label = this.model.runs[run].label;
    view.only = view.only === label ? "" : label;
    this.page.changed("runs");
  }

  /** @param {string} text */
  announce(text) {
    this.page.announce(text);
  }
}
