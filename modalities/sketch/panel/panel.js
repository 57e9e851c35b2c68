/** The tab that draws a photo or a sentence: strokes appear while they are found. */

const STYLES = { "": "Pen", contour: "Contours", "one-line": "One line", hatching: "Hatching", brush: "Brush" };
const OWN_COUNT = { "one-line": true, hatching: true }; // the style says how many strokes
const OF_PHOTOS = ["one-line", "hatching"];
const MOST = 128;

/**
 * @param {HTMLElement} root
 * @param {object} page what the page offers a panel.
 * @returns {{show: () => void, hide: () => void, take: (files: File[]) => void, dropText: string}}
 */
export function mount(root, page) {
  const sheet = new URL("panel.css", import.meta.url).href;
  document.head.append(page.h("link", { rel: "stylesheet", href: sheet }));
  return new Drawing(root, page);
}

class Drawing {
  dropText = "Drop to draw it";
  #page;
  #record = null; // of the photo
  #job = null; // { name, stream, sketchOf } while one is under way
  #done = null; // { job, summary } of what was drawn last
  #parts = {};
  #svg = ""; // what is shown
  #shown = ""; // its address

  constructor(root, page) {
    this.#page = page;
    const { h, icon } = page;
    const p = this.#parts;
    p.zone = page.dropzone({ accept: "image/*", label: "Drop a photo", onFile: (record) => this.#take(record),
      onError: (message) => page.notice(message, "error") });
    p.photo = h("figure", { class: "draw-photo", hidden: true });
    p.text = h("input", { class: "draw-text", type: "text", placeholder: "a cat on a chair", "aria-label": "A sentence to draw",
      autocomplete: "off", enterkeyhint: "go" });
    p.count = h("input", { type: "range", min: 4, max: 64, step: 1, value: 16, "aria-label": "Strokes" });
    p.countOut = h("output", { text: "16" });
    p.style = h("select", { "aria-label": "Style" }, ...Object.entries(STYLES).map(([value, text]) => h("option", { value, text })));
    p.fast = h("input", { type: "checkbox" });
    p.go = h("button", { type: "submit", class: "button primary draw-go" }, icon("pen"), h("span", { text: "Draw" }));
    p.form = h("form", { class: "panel draw-form", "aria-label": "What to draw, and how" },
      p.zone, p.photo,
      h("label", { class: "draw-row draw-sentence" }, h("span", { text: "or a sentence" }), p.text),
      h("label", { class: "draw-row" }, h("span", { class: "draw-label" }, h("span", { text: "Strokes" }), p.countOut), p.count),
      h("label", { class: "draw-row" }, h("span", { text: "Style" }), h("span", { class: "draw-select" }, p.style)),
      h("label", { class: "draw-check" }, p.fast, h("span", {}, h("span", { text: "Fast" }),
        h("small", { text: "one start and few steps" }))),
      p.go);

    p.image = h("img", { class: "draw-image", alt: "", hidden: true, draggable: "false" });
    p.empty = h("p", { class: "draw-empty" }, icon("pen"), h("span", { text: "The drawing appears here while it is found." }));
    p.paper = h("div", { class: "draw-paper" }, p.image, p.empty);
    p.bar = h("progress", { class: "draw-bar", max: 1, value: 0, "aria-label": "Progress of the drawing" });
    p.status = h("p", { class: "note draw-status", role: "status", "aria-live": "polite" });
    p.stop = h("button", { type: "button", class: "button", onclick: () => this.#stop() }, icon("stop"), h("span", { text: "Stop" }));
    p.fewer = h("input", { type: "range", min: 1, max: 16, step: 1, value: 16, "aria-label": "Strokes that are shown" });
    p.fewerOut = h("output");
    p.more = h("button", { type: "button", class: "button", onclick: () => this.#more() }, icon("plus"), h("span", { text: "More strokes" }));
    p.size = h("input", { type: "number", min: 10, max: 2000, step: 1, value: 150, "aria-label": "Width on paper in millimetres" });
    p.search = h("button", { type: "button", class: "button", onclick: () => this.#search() }, icon("search"), h("span", { text: "Search by it" }));
    p.guesses = h("p", { class: "note draw-guesses" });
    p.links = Object.fromEntries([["svg", "SVG"], ["png", "PNG"], ["gif", "GIF film"]].map(([kind, text]) =>
      [kind, h("a", { class: "button", download: `drawing.${kind}`, text })]));
    p.tools = h("div", { class: "draw-tools", hidden: true },
      h("label", { class: "draw-row" }, h("span", { class: "draw-label" }, h("span", { text: "Fewer strokes, the least important go first" }),
        p.fewerOut), p.fewer),
      h("div", { class: "acts" }, p.more, p.search),
      h("div", { class: "acts draw-save" }, h("span", { class: "note", text: "Save" }), p.links.svg,
        h("label", { class: "draw-size" }, p.size, h("span", { text: "mm wide" })), p.links.png, p.links.gif),
      p.guesses);
    root.append(
      h("div", { class: "page-head" }, h("h1", { text: "Draw" }),
        h("p", { text: "A photo or a sentence in a few strokes, moved until the space takes the drawing for what it shows." })),
      h("div", { class: "draw" }, p.form,
        h("section", { class: "panel draw-result", "aria-label": "The drawing" }, p.paper,
          h("div", { class: "draw-going" }, p.bar, h("div", { class: "draw-now" }, p.status, p.stop)), p.tools)));
    p.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start();
    });
    p.form.addEventListener("input", () => this.#show());
    p.fewer.addEventListener("input", () => this.#few());
    p.size.addEventListener("input", () => this.#link());
    addEventListener("pagehide", () => this.#leave());
    this.#show();
  }

  show() {}

  /** A drawing that nobody watches is stopped; what it has found is lost with it. */
  hide() {
    if (this.#job) this.#page.notice("The drawing was stopped, as its tab was left.");
    this.#leave();
  }

  /** @param {File[]} files of which the first is drawn. */
  take([file]) {
    this.#parts.zone.take(file);
  }

  #take(record) {
    const { h, notice, api } = this.#page;
    if (record.modality !== "image") {
      notice(`${record.name} is no photo.`, "error");
      api.del(`uploads/${record.file}`).catch(() => {});
      return;
    }
    this.#drop();
    this.#record = record;
    const picture = h("img", { src: api.url(record.preview.url), alt: record.name, draggable: "false" });
    const away = h("button", { type: "button", class: "icon-button", title: "Remove the photo", "aria-label": "Remove the photo",
      onclick: () => this.#drop() }, this.#page.icon("close"));
    this.#parts.photo.replaceChildren(picture, h("figcaption", {}, h("span", { text: record.name }), away));
    this.#show();
  }

  #drop() {
    if (this.#record) this.#page.api.del(`uploads/${this.#record.file}`).catch(() => {});
    this.#record = null;
    this.#show();
  }

  #show() {
    const p = this.#parts;
    const busy = Boolean(this.#job);
    p.photo.hidden = !this.#record;
    p.zone.classList.toggle("small", Boolean(this.#record));
    p.text.closest("label").hidden = Boolean(this.#record);
    for (const option of p.style.options) option.disabled = !this.#record && OF_PHOTOS.includes(option.value);
    if (p.style.selectedOptions[0].disabled && p.text.value.trim()) p.style.value = "";
    p.count.disabled = Boolean(OWN_COUNT[p.style.value]);
    p.countOut.textContent = p.count.disabled ? "as the style has it" : p.count.value;
    p.go.disabled = busy || !(this.#record || p.text.value.trim());
    p.stop.hidden = !busy;
    p.bar.hidden = !busy;
    p.status.parentElement.parentElement.hidden = !busy && !p.status.textContent;
    p.tools.hidden = busy || !this.#done;
  }

  async #start(strokes = Number(this.#parts.count.value)) {
    const { api, notice } = this.#page;
    const p = this.#parts;
    if (this.#job) return;
    const settings = { fast: p.fast.checked, style: p.style.value || null };
    if (!OWN_COUNT[p.style.value]) settings.strokes = strokes;
    const job = { name: null, stream: null };
    if (!this.#record) settings.text = p.text.value.trim();
    this.#job = job;
    this.#done = null;
    p.guesses.textContent = "";
    this.#picture("");
    this.#progress(0, 0, "Starting");
    p.paper.scrollIntoView({ block: "nearest" });
    try {
      const { job: name, position } = await api.post("panels/sketch/jobs", { file: this.#record?.file, settings });
      if (this.#job !== job) { // left meanwhile
        api.post(`jobs/${name}/stop`).catch(() => {});
        return;
      }
      job.name = name;
      if (position) this.#progress(0, 0, "Another drawing is running; yours is next");
      job.stream = api.events(`jobs/${name}/events`, {
        progress: ({ done, total, note }) => this.#progress(done, total, note),
        partial: ({ svg }) => this.#picture(svg),
        done: (summary) => this.#end(summary, false),
        stopped: (summary) => this.#end(summary, true),
        failed: ({ error }) => this.#fail(error),
        lost: () => this.#fail("The server does not answer. Is clipx serve still running?"),
      });
    } catch (error) {
      if (this.#job !== job) return;
      this.#close();
      this.#note(error.message, true);
      if (error.status !== 409 && !error.status) notice(error.message, "error");
    }
  }

  #progress(done, total, note) {
    const p = this.#parts;
    if (total && done) p.bar.value = done / total;
    else p.bar.removeAttribute("value");
    const loss = note.startsWith("loss ") ? ` · ${note}` : "";
    this.#note(done ? `Step ${done} of ${total}${loss}` : sentence(note));
    this.#show();
  }

  #note(text, bad = false) {
    this.#parts.status.textContent = text;
    this.#parts.status.classList.toggle("bad", bad);
    this.#show();
  }

  #picture(svg) {
    const p = this.#parts;
    URL.revokeObjectURL(this.#shown);
    this.#svg = svg;
    this.#shown = svg ? URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" })) : "";
    p.image.hidden = !svg;
    p.empty.hidden = Boolean(svg);
    if (!svg) return;
    p.image.src = this.#shown;
    p.image.alt = `A drawing of ${this.#record?.name ?? p.text.value}`;
  }

  #end(summary, stopped) {
    const job = this.#job.name;
    this.#close();
    if (!summary.svg) { // stopped before there was anything
      this.#note("Stopped before there was a drawing.");
      return;
    }
    const p = this.#parts;
    this.#done = { job, summary };
    this.#picture(summary.svg);
    this.#note(`${stopped ? "Stopped" : "Done"} after ${summary.step} ${summary.step === 1 ? "step" : "steps"} · loss ${summary.loss.toFixed(3)}`);
    p.fewer.max = summary.strokes; // before the value, which would be clamped to the former one
    p.fewer.value = summary.strokes;
    p.fewer.closest("label").hidden = summary.strokes < 2;
    p.more.hidden = Boolean(OWN_COUNT[p.style.value]) || summary.strokes >= MOST;
    const guesses = summary.guesses.map(({ word, probability }) => `${word} ${Math.round(100 * probability)} %`);
    p.guesses.textContent = guesses.length ? `The space takes it for: ${guesses.join(", ")}` : "";
    this.#few();
    this.#show();
  }

  #fail(error) {
    this.#close();
    this.#note(sentence(error), true);
  }

  /** The first strokes of the drawing, which matter most. */
  #few() {
    const p = this.#parts;
    const { strokes, svg } = this.#done.summary;
    const kept = Number(p.fewer.value);
    p.fewerOut.textContent = kept < strokes ? `${kept} of ${strokes}` : String(strokes);
    this.#picture(kept < strokes ? firstStrokes(svg, kept) : svg);
    this.#link();
  }

  #link() {
    const p = this.#parts;
    if (!this.#done) return;
    const kept = Number(p.fewer.value);
    for (const [kind, link] of Object.entries(p.links)) {
      const size = kind === "svg" && p.size.validity.valid && p.size.value ? `&size_mm=${p.size.value}` : "";
      link.href = this.#page.api.url(`jobs/${this.#done.job}/download/drawing.${kind}?strokes=${kept}${size}`);
    }
  }

  #more() {
    const strokes = Math.min(MOST, 2 * this.#done.summary.strokes);
    const p = this.#parts;
    p.count.max = Math.max(Number(p.count.max), strokes);
    p.count.value = strokes;
    this.#start(strokes);
  }

  async #search() {
    const { api, notice, openAsQuery } = this.#page;
    try {
      openAsQuery(await api.upload(new Blob([this.#svg]), "drawing.svg"));
    } catch (error) {
      notice(error.message, "error");
    }
  }

  #stop() {
    const job = this.#job;
    if (!job) return;
    if (!job.name) return this.#leave();
    this.#note("Stopping");
    this.#page.api.post(`jobs/${job.name}/stop`).catch((error) => this.#fail(error.message));
  }

  /** Closes the stream, which ends the job on the server. */
  #leave() {
    if (!this.#job) return;
    this.#close();
    this.#note("Stopped");
  }

  #close() {
    this.#job?.stream?.close();
    this.#job = null;
    this.#show();
  }
}

/** An SVG that `to_svg` wrote with its first strokes only. */
function firstStrokes(svg, count) {
  const drawing = new DOMParser().parseFromString(svg, "image/svg+xml");
  [...drawing.querySelectorAll("[id^='stroke-']")].slice(count).forEach((stroke) => stroke.remove());
  return new XMLSerializer().serializeToString(drawing);
}

/** With a capital, and an end. */
function sentence(text) {
  return text && text[0].toUpperCase() + text.slice(1);
}
