/** The terms of a query as chips: weighed, taken away, ordered by dragging, dragged out of the bar. */

import { draggable } from "./drag.js";
import { h, icon, iconButton, kindOf } from "./dom.js";
import { thumbnailOf } from "./preview.js";

const LEAST = 0.25;
const MOST = 3;
const STEP = 0.25;

/**
 * @typedef {object} Term
 * @property {string} [text] what is looked for in words.
 * @property {object} [record] or a file: an upload or a hit, `{file, name, modality, words, preview | thumbnail}`.
 * @property {number} sign 1, or -1 where it is taken away.
 * @property {number} weight from 0.25 to 3.
 * @property {number|null} [start_s] the place in a sound that is meant.
 * @property {number|null} [end_s]
 * @property {boolean} [busy] whether its file is still on the way.
 * @property {boolean} [owned] whether the upload goes with the chip.
 */

/** The chips before the input of a query bar. */
export class Chips {
  /** @type {Term[]} */
  terms = [];
  #list;
  #field;
  #input;
  #onChange;
  #onRemove;
  #popover = new Popover(() => this.#changed());
  #slot = h("li", { class: "slot", "aria-hidden": "true" });

  /**
   * @param {object} parts
   * @param {HTMLElement} parts.list a `<ul>`.
   * @param {HTMLElement} parts.field the bar, over which things are dropped.
   * @param {HTMLInputElement} parts.input gets the focus after a chip was removed.
   * @param {() => void} parts.onChange called after each change of the terms.
   * @param {(term: Term) => void} parts.onRemove called with each term that was removed.
   */
  constructor({ list, field, input, onChange, onRemove }) {
    this.#list = list;
    this.#field = field;
    this.#input = input;
    this.#onChange = onChange;
    this.#onRemove = onRemove;
  }

  /**
   * @param {Partial<Term>} given
   * @param {number} at its place; the last by default.
   * @returns {Term}
   */
  add(given, at = this.terms.length) {
    const term = { sign: 1, weight: 1, start_s: null, end_s: null, ...given };
    this.terms.splice(at, 0, term);
    term.element = this.#build(term);
    this.#list.insertBefore(term.element, this.#list.children[at] ?? null);
    this.update(term);
    return term;
  }

  /** @param {Term} term */
  remove(term) {
    const at = this.terms.indexOf(term);
    if (at < 0) return;
    this.terms.splice(at, 1);
    this.#popover.close();
    term.element.remove();
    this.#onRemove(term);
    this.#changed();
  }

  /** Removes every chip. */
  clear() {
    for (const term of [...this.terms]) this.remove(term);
  }

  /**
   * Shows a term as it is now.
   * @param {Term} term
   */
  update(term) {
    const { element, sign, weight, busy, record } = term;
    const name = nameOf(term);
    element.classList.toggle("chip-minus", sign < 0);
    element.classList.toggle("chip-busy", Boolean(busy));
    element.setAttribute("aria-label", `${sign < 0 ? "minus" : "plus"} ${name}, weight ${weight}`);
    const [signed, face, text, weighed, remove] = element.children;
    signed.replaceChildren(icon(sign < 0 ? "minus" : "plus"));
    signed.setAttribute("aria-label", sign < 0 ? `Add ${name} instead of taking it away` : `Take ${name} away`);
    signed.title = sign < 0 ? "Taken away. Click to add it." : "Added. Click to take it away.";
    face.hidden = !record && !busy;
    face.className = `chip-face look-${record?.modality}`;
    face.replaceChildren(busy ? h("span", { class: "spinner" }) : record ? thumbnailOf(record) : "");
    const words = busy ? "reading it" : (record?.words ?? []).slice(0, 3).join(", ");
    const lines = [h("span", { class: "chip-name", text: name })];
    if (words) lines.push(h("span", { class: "chip-words", text: words }));
    text.replaceChildren(...lines);
    text.title = record ? `${kindOf(record.modality).title}: ${name}` : name;
    weighed.textContent = `×${weight}`;
    weighed.classList.toggle("plain", weight === 1);
    weighed.setAttribute("aria-label", `Weight of ${name}: ${weight}`);
    remove.setAttribute("aria-label", `Remove ${name}`);
    this.#changed();
  }

  /**
   * Where in the bar something would land that is dragged there, marked for the eye.
   * @param {number} x in pixels of the window.
   * @param {number} y
   * @returns {number} a place among the terms; -1 outside the bar.
   */
  mark(x, y) {
    const at = this.#placeAt(x, y);
    this.#field.classList.toggle("drop-here", at >= 0);
    if (at < 0) this.#slot.remove();
    else this.#list.insertBefore(this.#slot, this.terms[at]?.element ?? null);
    return at;
  }

  /** Takes the mark away. */
  unmark() {
    this.#slot.remove();
    this.#field.classList.remove("drop-here");
  }

  #placeAt(x, y) {
    const box = this.#field.getBoundingClientRect();
    const near = 12; // pixels about the bar that still count
    if (x < box.left - near || x > box.right + near || y < box.top - near || y > box.bottom + near) return -1;
    const before = this.terms.findIndex(({ element }) => {
      const one = element.getBoundingClientRect();
      return y < one.top || (y <= one.bottom && x < one.left + one.width / 2);
    });
    return before < 0 ? this.terms.length : before;
  }

  #build(term) {
    const element = h(
      "li",
      { class: "chip", role: "group", onkeydown: (event) => this.#key(event, term) },
      iconButton("plus", "", () => {
        term.sign = -term.sign;
        this.update(term);
      }, { class: "chip-sign" }),
      h("span", { class: "chip-face" }),
      h("span", { class: "chip-text" }),
      h("button", { type: "button", class: "chip-weight", title: "Weight", onclick: () => this.#weigh(term) }),
      iconButton("close", "Remove", () => {
        this.remove(term);
        this.#input.focus();
      }, { class: "chip-remove" }),
    );
    let at = 0;
    draggable(element, {
      touch: true,
      onStart: () => {
        this.#popover.close();
        element.classList.add("dragged");
      },
      onMove: (x, y, ghost) => {
        at = this.mark(x, y);
        ghost.classList.toggle("ghost-out", at < 0);
      },
      onDrop: () => (at < 0 ? this.remove(term) : this.#move(term, at)),
      onEnd: () => {
        this.unmark();
        element.classList.remove("dragged");
      },
    });
    return element;
  }

  #move(term, to) {
    const from = this.terms.indexOf(term);
    const at = Math.max(0, Math.min(this.terms.length - 1, to > from ? to - 1 : to));
    if (at === from) return;
    this.terms.splice(from, 1);
    this.terms.splice(at, 0, term);
    this.#list.insertBefore(term.element, this.terms[at + 1]?.element ?? null);
    this.#changed();
  }

  #key(event, term) {
    const weighed = event.target.classList.contains("chip-weight");
    const at = this.terms.indexOf(term);
    const step = { ArrowUp: STEP, ArrowDown: -STEP }[event.key];
    const focused = event.target;
    if (event.altKey && event.key === "ArrowLeft") this.#move(term, at - 1);
    else if (event.altKey && event.key === "ArrowRight") this.#move(term, at + 2);
    else if (event.key === "Delete" || event.key === "Backspace") {
      this.remove(term);
      this.#input.focus();
    } else if (weighed && step) {
      term.weight = Math.min(MOST, Math.max(LEAST, term.weight + step));
      this.update(term);
    } else return;
    event.preventDefault();
    if (focused.isConnected) focused.focus();
  }

  #weigh(term) {
    this.#popover.open(term, () => this.update(term));
  }

  #changed() {
    this.#onChange();
  }
}

function nameOf({ text, record, name }) {
  return text ?? record?.name ?? name ?? "file";
}

/** The small window in which a chip is weighed. */
class Popover {
  #element = null;

  open(term, onWeight) {
    this.close();
    const { element } = term;
    const output = h("output", { text: `×${term.weight}` });
    const range = { type: "range", min: LEAST, max: MOST, step: STEP, value: term.weight };
    const slider = h("input", {
      ...range,
      "aria-label": `Weight of ${nameOf(term)}`,
      oninput: () => {
        term.weight = Number(slider.value);
        output.textContent = `×${term.weight}`;
        onWeight();
      },
    });
    const words = term.record?.words?.join(", ");
    this.#element = h(
      "div",
      { class: "popover", popover: "auto" },
      h("label", { class: "popover-row" }, h("span", { text: "Weight" }), output),
      slider,
      h("p", { class: "popover-note", text: words ? `Nearest words: ${words}` : "How much this counts in the sum." }),
    );
    const popover = this.#element;
    popover.addEventListener("toggle", (event) => {
      if (event.newState === "closed") popover.remove();
    });
    document.body.append(popover);
    popover.showPopover();
    place(popover, element);
    slider.focus();
  }

  close() {
    this.#element?.remove();
    this.#element = null;
  }
}

/**
 * Puts a popover below an element, within the window.
 * @param {HTMLElement} popover
 * @param {Element} element
 */
export function place(popover, element) {
  const box = element.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left, innerWidth - popover.offsetWidth - 8));
  popover.style.setProperty("left", `${left + scrollX}px`);
  popover.style.setProperty("top", `${box.bottom + 8 + scrollY}px`);
}
