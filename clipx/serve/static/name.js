/** Naming: a file, labels, and how probable each is. */

import { ApiError, del, post } from "./api.js";
import { debounced, h, icon, iconButton, kindOf, percent, plural, textButton } from "./dom.js";
import { dropzone } from "./dropzone.js";
import { dispose, previewOf } from "./preview.js";

const OFFERED = {
  Animals: ["a dog", "a cat", "a bird", "a horse", "a fish"],
  Home: ["a chair", "a table", "a lamp", "a bed", "a cup"],
  Outdoors: ["a car", "a tree", "a house", "a street", "a mountain"],
  Sounds: ["rain", "a dog barking", "music", "a clock", "an engine"],
};
const START = ["a dog", "a cat", "a chair", "a car"];
const STORED = "labels";

/**
 * @param {HTMLElement} root
 * @param {object} app of app.js.
 * @returns {object} the view.
 */
export function mount(root, app) {
  return new Naming(root, app);
}

class Naming {
  dropText = "Drop to name it";
  #app;
  #labels = stored();
  #record = null;
  #rows = new Map();
  #asked = 0;
  #zone;
  #file = h("div", { class: "name-file" });
  #chips = h("ul", { class: "label-chips", role: "list", "aria-label": "Labels" });
  #input = h("input", { class: "query", type: "text", autocomplete: "off", enterkeyhint: "done",
    placeholder: "Add a label", "aria-label": "Add labels, with commas between them" });
  #bars = h("ol", { class: "bars", role: "list", "aria-label": "Probabilities, the highest first" });
  #status = h("p", { class: "note", role: "status", "aria-live": "polite" });
  #offers = h("div", { class: "offers" });
  #classify = debounced(60, () => this.#ask());

  constructor(root, app) {
    this.#app = app;
    this.#zone = dropzone({
      label: "Drop a file here",
      onFile: (record) => this.#take(record),
      onError: (message) => app.notice(message, "error"),
    });
    const terms = h("div", { class: "terms" }, this.#chips, this.#input);
    const field = h("div", { class: "field label-field" }, icon("tag"), terms);
    field.addEventListener("click", (event) => event.target === field && this.#input.focus());
    root.append(
      h("div", { class: "page-head" }, h("h1", { text: "Name" }),
        h("p", { text: "Say what it could be. The bars show how probable each label is among all of them." })),
      h("div", { class: "name" },
        h("section", { class: "panel", "aria-label": "The file" }, this.#zone, this.#file),
        h("section", { class: "panel", "aria-label": "Labels and probabilities" },
          field, this.#offers, this.#bars, this.#status)),
    );
    this.#input.addEventListener("keydown", (event) => this.#key(event));
    this.#input.addEventListener("input", () => {
      if (this.#input.value.includes(",")) this.#commit();
    });
    this.#input.addEventListener("blur", () => this.#commit());
    this.#show();
  }

  show() {}

  hide() {}

  /** @param {File[]} files of which the first is named. */
  take([file]) {
    this.#zone.take(file);
  }

  #take(record) {
    if (this.#record) del(`uploads/${this.#record.file}`).catch(() => {});
    this.#record = record;
    this.#show();
    this.#classify();
  }

  #key(event) {
    if (event.key === "Enter") {
      event.preventDefault();
      this.#commit();
    } else if (event.key === "Backspace" && !this.#input.value && this.#labels.length) {
      event.preventDefault();
      this.#set(this.#labels.slice(0, -1));
    }
  }

  #commit() {
    const words = this.#input.value.split(",").map((word) => word.trim()).filter(Boolean);
    this.#input.value = "";
    if (words.length) this.#set([...this.#labels, ...words]);
  }

  #set(labels) {
    this.#labels = [...new Set(labels)];
    try {
      sessionStorage.setItem(STORED, JSON.stringify(this.#labels));
    } catch {
      // storage is switched off: the labels live as long as the page
    }
    this.#show();
    this.#classify();
  }

  #show() {
    const record = this.#record;
    this.#chips.replaceChildren(...this.#labels.map((label) =>
      h("li", { class: "chip chip-label" }, h("span", { class: "chip-name", text: label }),
        iconButton("close", `Remove ${label}`, () => {
          this.#set(this.#labels.filter((one) => one !== label));
          this.#input.focus();
        }, { class: "chip-remove" }))));
    const nearest = record?.words?.length ? { "Nearest words": record.words } : {};
    const groups = Object.entries({ ...nearest, ...OFFERED })
      .map(([title, words]) => [title, words.filter((word) => !this.#labels.includes(word))])
      .filter(([, words]) => words.length);
    this.#offers.replaceChildren(...groups.slice(0, 4).map(([title, words]) =>
      h("button", { type: "button", class: "suggestion", title: words.join(", "),
        onclick: () => this.#set([...this.#labels, ...words]) }, icon("plus"), h("span", { text: title }))),
    this.#labels.length ? textButton("Clear", () => this.#set([]), { class: "suggestion quiet" }) : "");
    if (!record) this.#status.textContent = "";
    if (this.#file.dataset.file !== (record?.file ?? "")) this.#showFile();
    if (!record || !this.#labels.length) this.#fill([]);
  }

  #showFile() {
    const record = this.#record;
    this.#file.dataset.file = record?.file ?? "";
    dispose(this.#file);
    this.#file.replaceChildren();
    this.#zone.classList.toggle("small", Boolean(record));
    if (!record) return;
    this.#file.append(
      previewOf(record.preview, record.name),
      h("div", { class: "name-row" }, h("span", { class: "kind" }, icon(kindOf(record.modality).icon)),
        h("strong", { text: record.name }),
        textButton("Search by it", () => this.#app.openAsQuery(record), { symbol: "search" })),
    );
  }

  async #ask() {
    const own = (this.#asked += 1);
    if (!this.#record || !this.#labels.length || !this.#app.about.ready) {
      this.#fill([]);
      return;
    }
    try {
      const { predictions } = await post("classify", { file: this.#record.file, labels: this.#labels });
      if (own === this.#asked) this.#fill(predictions);
    } catch (error) {
      if (own !== this.#asked || !(error instanceof ApiError)) return;
      this.#fill([]);
      this.#status.textContent = error.message;
    }
  }

  /** Moves the bars to where they are now. Those that change places glide there. */
  #fill(predictions) {
    const before = new Map([...this.#rows].map(([label, row]) => [label, row.offsetTop]));
    const kept = new Set(predictions.map(({ label }) => label));
    for (const [label, row] of this.#rows) {
      if (kept.has(label)) continue;
      row.remove();
      this.#rows.delete(label);
    }
    for (const { label, probability, cosine } of predictions) {
      let row = this.#rows.get(label);
      if (!row) {
        row = h("li", { class: "bar-row" }, h("span", { class: "bar-label", text: label }),
          h("span", { class: "bar" }, h("span")), h("span", { class: "share" }), h("span", { class: "cosine" }));
        row.querySelector(".bar span").style.setProperty("--share", 0);
        this.#rows.set(label, row);
      }
      this.#bars.append(row);
      row.children[2].textContent = `${(100 * probability).toFixed(1)} %`;
      row.children[3].textContent = cosine.toFixed(3);
      row.offsetWidth; // so that a bar that is new grows from nothing
      row.querySelector(".bar span").style.setProperty("--share", probability);
    }
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
      for (const [label, row] of this.#rows) {
        const by = (before.get(label) ?? row.offsetTop) - row.offsetTop;
        const glide = [{ transform: `translateY(${by}px)` }, { transform: "none" }];
        if (by) row.animate(glide, { duration: 260, easing: "ease-out" });
      }
    }
    const [best] = predictions;
    const among = best && plural(predictions.length, "label");
    if (best) this.#status.textContent = `${best.label}: ${percent(best.probability)} among ${among}.`;
    else if (this.#record) this.#status.textContent = this.#labels.length ? "" : "Add a label to begin.";
    else this.#status.textContent = this.#labels.length ? "Drop a file to see the bars." : "";
  }
}

function stored() {
  try {
    const labels = JSON.parse(sessionStorage.getItem(STORED));
    if (Array.isArray(labels)) return labels.filter((label) => typeof label === "string");
  } catch {
    // nothing is kept, or storage is switched off
  }
  return START;
}
