/** The window that shows one hit: what it looks or sounds like, its figures, its path. */

import { get } from "./api.js";
import { clock, h, icon, iconButton, kindOf, percent, textButton } from "./dom.js";
import { dispose, previewOf } from "./preview.js";

const EXPLAINED = {
  Confidence: "The probability that no unrelated file would score as high.",
  "By chance": "How many unrelated files are expected to score as high (the e-value).",
  Score: "What the hits are ranked by; 1 at most.",
  Cosine: "How near the file and the query are in the joint space, from −1 to 1.",
  Place: "The part of the sound or film that was found.",
  Changed: "When the file was last changed.",
};

/** A dialog for hits; one at a time, with steps to the former and the next. */
export class Detail {
  #dialog = h("dialog", { class: "dialog detail", "aria-labelledby": "detail-name" });
  #hits = [];
  #at = 0;
  #acts;

  /**
   * @param {object} acts
   * @param {(hit: object) => void} acts.onMore
   * @param {(hit: object) => void} acts.onLess
   * @param {(word: string) => void} acts.onWord
   * @param {(text: string, kind?: string) => void} acts.notice
   */
  constructor(acts) {
    this.#acts = acts;
    const dialog = this.#dialog;
    document.body.append(dialog);
    dialog.addEventListener("close", () => this.#empty());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("keydown", (event) => {
      const own = event.target.closest("canvas, input, [role=slider]"); // has a use for arrow keys itself
      if (own || event.altKey || event.ctrlKey || event.metaKey) return;
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) this.#step(step);
    });
  }

  /**
   * @param {object[]} hits that can be stepped through.
   * @param {object} hit the one to show.
   */
  open(hits, hit) {
    this.#hits = hits;
    this.#at = hits.indexOf(hit);
    this.#show();
    this.#dialog.showModal();
  }

  #step(by) {
    const to = this.#at + by;
    if (to < 0 || to >= this.#hits.length) return;
    this.#at = to;
    this.#show();
  }

  #empty() {
    dispose(this.#dialog);
    this.#dialog.replaceChildren();
  }

  #show() {
    const hit = this.#hits[this.#at];
    const focused = document.activeElement?.dataset?.step; // stays on the arrow that was pressed
    this.#empty();
    const kind = kindOf(hit.modality);
    const stage = h("div", { class: "stage loading" });
    const closed = (act) => () => {
      this.#dialog.close();
      act(hit);
    };
    const arrow = (name, label, by) =>
      iconButton(name, label, () => this.#step(by), {
        disabled: !this.#hits[this.#at + by],
        dataset: { step: by },
      });
    const words = hit.words.map((word) =>
      h("button", { type: "button", class: "word", text: word, title: `Search for ${word}`, onclick: () => {
        this.#dialog.close();
        this.#acts.onWord(word);
      } }),
    );
    this.#dialog.append(
      h(
        "div",
        { class: "detail-bar" },
        h("p", { text: `${this.#at + 1} of ${this.#hits.length}` }),
        arrow("left", "The one before", -1),
        arrow("right", "The next one", 1),
        iconButton("close", "Close", () => this.#dialog.close()),
      ),
      stage,
      h(
        "div",
        { class: "detail-text" },
        h("p", { class: "kind" }, icon(kind.icon), h("span", { text: kind.title })),
        h("h2", { id: "detail-name", text: hit.name }),
        h("div", { class: "words", "aria-label": "Nearest words", role: "group" }, ...words),
        h(
          "div",
          { class: "acts" },
          textButton("More like this", closed(this.#acts.onMore), { symbol: "more", class: "button primary" }),
          textButton("Less like this", closed(this.#acts.onLess), { symbol: "less" }),
        ),
        figures(hit),
        this.#path(hit),
      ),
    );
    if (focused) this.#dialog.querySelector(`[data-step="${focused}"]:enabled`)?.focus();
    this.#fill(stage, hit);
  }

  async #fill(stage, hit) {
    const { file, name, start_s, end_s } = hit;
    let preview;
    try {
      const gone = { kind: "none", reason: "The file is no longer there." };
      preview = hit.missing ? gone : await get(`files/${file}/preview`);
    } catch (error) {
      preview = { kind: "none", reason: error.message };
    }
    if (!stage.isConnected) return;
    stage.classList.remove("loading");
    stage.append(previewOf(start_s === null ? preview : { ...preview, start_s, end_s }, name));
  }

  #path({ folder, name }) {
    const path = folder ? `${folder.replace(/[/\\]$/, "")}${folder.includes("\\") ? "\\" : "/"}${name}` : name;
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(path);
        this.#acts.notice("The path is copied.");
      } catch {
        this.#acts.notice("The browser does not allow copying here.", "error");
      }
    };
    return h("div", { class: "path" }, h("code", { text: path }), iconButton("copy", "Copy the path", copy));
  }
}

function figures(hit) {
  const rows = {
    Confidence: percent(hit.confidence),
    "By chance": hit.e_value < 0.001 ? "under 0.001" : hit.e_value.toPrecision(2),
    Score: hit.score.toFixed(3),
    Cosine: hit.cosine.toFixed(3),
  };
  if (hit.start_s !== null) rows.Place = `${clock(hit.start_s)} – ${clock(hit.end_s)}`;
  if (hit.date) rows.Changed = hit.date;
  return h(
    "dl",
    { class: "figures" },
    ...Object.entries(rows).map(([name, value]) => {
      const explained = h("dd", { text: EXPLAINED[name] });
      return h("div", {}, h("dt", { text: name }), h("dd", { class: "value", text: value }), explained);
    }),
  );
}
