/** The grid of what was found. */

import { get } from "./api.js";
import { clock, h, icon, iconButton, kindOf, percent } from "./dom.js";
import { draggable } from "./drag.js";
import { previewOf, thumbnailOf } from "./preview.js";

const CONFIDENCE = "Confidence: the probability that no unrelated file would score as high";

/** A list of hits that is filled as they arrive, and keeps the cards of those that were there before. */
export class Results {
  #list;
  #acts;
  #cards = new Map();
  #filled = 0;
  #cut = 0;
  #sounds = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: "200px" });

  /**
   * @param {HTMLElement} list an `<ol>`.
   * @param {object} acts
   * @param {(hit: object) => void} acts.onOpen
   * @param {(hit: object) => void} acts.onMore more like this.
   * @param {(hit: object) => void} acts.onLess less like this.
   * @param {(x: number, y: number) => number} acts.onDrag where it is dragged to; -1: nowhere.
   * @param {(hit: object, at: number) => void} acts.onDrop
   * @param {() => void} acts.onDragEnd
   */
  constructor(list, acts) {
    this.#list = list;
    this.#acts = acts;
    list.addEventListener("keydown", (event) => this.#key(event));
  }

  /** The hits of at least the cut-off, best first. */
  get shown() {
    return [...this.#list.children].filter((card) => !card.hidden).map((card) => this.#cards.get(card.dataset.key).hit);
  }

  /** How many there are, with those below the cut-off. */
  get size() {
    return this.#cards.size;
  }

  /** Begins another list; cards of the former stay until `end`, so that nothing flickers. */
  begin() {
    this.#filled = 0;
  }

  /** @param {object} hit the next one, as the server sends it. */
  add(hit) {
    const key = `${hit.file}@${hit.start_s ?? ""}`;
    let card = this.#cards.get(key);
    if (!card) {
      card = this.#build(hit, key);
      this.#cards.set(key, card);
    }
    card.hit = hit;
    card.show();
    card.element.hidden = hit.confidence < this.#cut;
    const next = this.#list.children[this.#filled];
    if (next !== card.element) this.#list.insertBefore(card.element, next ?? null);
    this.#filled += 1;
  }

  /** Takes away what the present list does not have. */
  end() {
    for (const old of [...this.#list.children].slice(this.#filled)) {
      this.#sounds.unobserve(old);
      this.#cards.delete(old.dataset.key);
      old.remove();
    }
  }

  /** Empties the list. */
  clear() {
    this.begin();
    this.end();
  }

  /**
   * Hides the hits below a confidence.
   * @param {number} confidence in [0, 1].
   */
  cutOff(confidence) {
    this.#cut = confidence;
    for (const { element, hit } of this.#cards.values()) element.hidden = hit.confidence < confidence;
  }

  #build(hit, key) {
    const kind = kindOf(hit.modality);
    const open = h("button", { type: "button", class: "card-open", onclick: () => this.#acts.onOpen(card.hit) });
    const lasts = hit.start_s !== null && !kind.moves; // its waveform comes when it is seen
    const look = thumbnailOf(lasts ? { ...hit, thumbnail: false } : hit, { lazy: true });
    const well = h("div", { class: `well look-${hit.modality}` }, look);
    const words = h("span");
    const kindIcon = h("span", { class: "card-kind", title: kind.title }, icon(kind.icon));
    const bar = h("span", { class: "bar" }, h("span"));
    const share = h("span", { class: "share" });
    const marks = h("p", { class: "marks" });
    const element = h(
      "li",
      { class: "card", dataset: { key } },
      well,
      h(
        "div",
        { class: "card-text" },
        h("h3", {}, open),
        h("p", { class: "card-words" }, kindIcon, words),
        h("p", { class: "confidence", title: CONFIDENCE }, bar, share),
      ),
      marks,
      h(
        "div",
        { class: "card-acts" },
        iconButton("more", `More like ${hit.name}`, () => this.#acts.onMore(card.hit)),
        iconButton("less", `Less like ${hit.name}`, () => this.#acts.onLess(card.hit)),
      ),
    );
    const show = () => {
      const { name, modality, confidence, missing, start_s, end_s } = card.hit;
      open.textContent = name;
      open.title = name;
      const title = kindOf(modality).title;
      open.setAttribute("aria-label", `${name}, ${title.toLowerCase()}, confidence ${percent(confidence)}`);
      words.textContent = card.hit.words.join(", ");
      share.textContent = percent(confidence);
      bar.firstChild.style.setProperty("--share", confidence);
      element.classList.toggle("unlikely", confidence < 0.1);
      element.classList.toggle("missing", missing);
      marks.replaceChildren(
        missing ? h("span", { class: "mark-missing" }, icon("warning"), h("span", { text: "missing" })) : "",
        start_s === null ? "" : h("span", { class: "mark-time", text: `${clock(start_s)} – ${clock(end_s)}` }),
      );
    };
    const card = { element, hit, show };
    if (lasts && !hit.missing) this.#sounds.observe(element);
    let at = -1;
    draggable(element, {
      ghost: () => {
        const { width } = well.getBoundingClientRect();
        const ghost = h("div", { class: "ghost-card", "aria-hidden": "true" }, well.cloneNode(true));
        ghost.style.setProperty("width", `${Math.min(width, 120)}px`);
        return ghost;
      },
      onStart: () => element.classList.add("dragged"),
      onMove: (x, y) => (at = this.#acts.onDrag(x, y)),
      onDrop: () => at >= 0 && this.#acts.onDrop(card.hit, at),
      onEnd: () => {
        element.classList.remove("dragged");
        this.#acts.onDragEnd();
      },
    });
    return card;
  }

  /** Fetches the waveforms of sounds that come into view. */
  #seen(entries) {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      this.#sounds.unobserve(target);
      const { hit } = this.#cards.get(target.dataset.key) ?? {};
      if (hit) this.#listen(target, hit);
    }
  }

  async #listen(element, { file, name, start_s, end_s }) {
    try {
      const preview = await get(`files/${file}/preview`);
      if (preview.kind !== "sound" || !element.isConnected) return;
      if (end_s - start_s > 0.98 * preview.duration_s) element.classList.add("whole");
      element.querySelector(".well").replaceChildren(previewOf({ ...preview, start_s, end_s }, name));
    } catch {
      // the card keeps its thumbnail or icon
    }
  }

  #key(event) {
    const cards = [...this.#list.children].filter((card) => !card.hidden);
    const at = cards.indexOf(event.target.closest(".card"));
    if (at < 0 || !event.target.classList.contains("card-open")) return;
    const top = cards[at].offsetTop;
    const columns = Math.max(1, cards.filter((card) => card.offsetTop === cards[0].offsetTop).length);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const to = { Home: 0, End: cards.length - 1 }[event.key] ?? at + (steps[event.key] ?? 0);
    if (!(event.key in steps) && event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    const next = cards[to] ?? (event.key === "ArrowDown" && cards.at(-1).offsetTop > top ? cards.at(-1) : null);
    next?.querySelector(".card-open").focus();
  }
}
