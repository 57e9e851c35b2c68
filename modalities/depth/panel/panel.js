/** The tab that shows how far everything in a photo is. */

const SCALE_TICKS = 5;
const UNITS = { m: "m", inverse: "", affine: "" };
const NICE = [1, 2, 5];

/**
 * @param {HTMLElement} root
 * @param {object} page what the page offers a panel.
 * @returns {{show: () => void, hide: () => void, take: (files: File[]) => void, dropText: string}}
 */
export function mount(root, page) {
  const sheet = new URL("panel.css", import.meta.url).href;
  document.head.append(page.h("link", { rel: "stylesheet", href: sheet }));
  return new Depth(root, page);
}

class Depth {
  dropText = "Drop to see its depth";
  #page;
  #record = null;
  #job = null; // { stream } while one is under way
  #map = null; // { summary, values, at: [column, row] }
  #view = null;
  #parts = {};

  constructor(root, page) {
    this.#page = page;
    const { h, icon } = page;
    const p = this.#parts;
    p.zone = page.dropzone({ accept: "image/*", label: "Drop a photo, best of a room", onFile: (record) => this.#take(record),
      onError: (message) => page.notice(message, "error") });
    p.status = h("p", { class: "note depth-status", role: "status", "aria-live": "polite", hidden: true });
    p.photo = h("img", { alt: "", draggable: "false" });
    p.photoCross = h("span", { class: "depth-cross", hidden: true });
    p.map = h("img", { alt: "The depth of the photo in colours", draggable: "false" });
    p.mapCross = h("span", { class: "depth-cross", hidden: true });
    const frame = (image, cross, label) => h("div", { class: "depth-frame", role: "application", tabindex: 0, "aria-label": label,
      "aria-describedby": "depth-value" }, image, cross);
    const keys = "arrow keys move the cross";
    p.photoFrame = frame(p.photo, p.photoCross, `The photo; ${keys}`);
    p.mapFrame = frame(p.map, p.mapCross, `The depth map; ${keys}`);
    p.waiting = h("div", { class: "depth-waiting" }, h("span", { class: "spinner" }), h("span", { text: "Looking at the photo" }));
    p.value = h("output", { class: "depth-value", id: "depth-value" });
    p.scale = h("img", { class: "depth-colors", alt: "", draggable: "false" });
    p.ticks = h("div", { class: "depth-ticks", "aria-hidden": "true" });
    p.mark = h("span", { class: "depth-mark", hidden: true });
    p.label = h("p", { class: "note" });
    p.legend = h("div", { class: "depth-legend" },
      h("div", { class: "depth-ends" }, h("span", { text: "near" }), p.value, h("span", { text: "far" })),
      h("div", { class: "depth-bar" }, p.scale, p.mark), p.ticks, p.label);
    p.note = h("p", { class: "note" });
    p.cloud = h("div", { class: "depth-cloud" });
    p.links = Object.fromEntries([["colors.png", "Map (PNG)"], ["depth.png", "Millimetres (16-bit PNG)"], ["cloud.ply", "Cloud (PLY)"]]
      .map(([name, text]) => [name, h("a", { class: "button", download: name, text })]));
    p.away = h("button", { type: "button", class: "button", onclick: () => this.#drop() }, icon("close"), h("span", { text: "Another photo" }));
    p.search = h("button", { type: "button", class: "button", onclick: () => page.openAsQuery(this.#record) }, icon("search"),
      h("span", { text: "Search by the photo" }));
    p.save = h("div", { class: "acts depth-save" }, h("span", { class: "note", text: "Save" }), ...Object.values(p.links));
    p.cloudPart = h("section", { class: "panel depth-part", "aria-label": "The cloud" },
      h("div", { class: "panel-head" }, h("h2", { text: "In space" }), h("p", { text: "Drag or use the arrow keys to turn it." })), p.cloud);
    p.result = h("div", { class: "depth-result", hidden: true },
      h("section", { class: "panel depth-part", "aria-label": "Photo and map" },
        h("div", { class: "depth-pair" }, h("figure", {}, p.photoFrame, h("figcaption", { text: "Photo" })),
          h("figure", {}, h("div", { class: "depth-stack" }, p.mapFrame, p.waiting), h("figcaption", { text: "Depth" }))),
        p.legend, p.note, p.save, h("div", { class: "acts" }, p.away, p.search)),
      p.cloudPart);
    root.append(
      h("div", { class: "page-head" }, h("h1", { text: "Depth" }),
        h("p", { text: "How far is everything in a photo? Read from what the space knows of near and far: coarse, but from one picture." })),
      h("div", { class: "depth" }, p.zone, p.status, p.result));
    for (const one of [p.photoFrame, p.mapFrame]) {
      one.addEventListener("pointermove", (event) => this.#point(event, one));
      one.addEventListener("pointerdown", (event) => this.#point(event, one));
      one.addEventListener("keydown", (event) => this.#key(event));
    }
    addEventListener("pagehide", () => this.#close());
  }

  show() {}

  hide() {
    this.#close();
    if (this.#record && !this.#map) this.#drop();
  }

  /** @param {File[]} files of which the first is looked at. */
  take([file]) {
    this.#parts.zone.take(file);
  }

  async #take(record) {
    const { api, notice } = this.#page;
    const p = this.#parts;
    if (record.modality !== "image" && record.modality !== "depth") {
      notice(`${record.name} is no photo.`, "error");
      api.del(`uploads/${record.file}`).catch(() => {});
      return;
    }
    this.#drop();
    this.#record = record;
    p.photo.src = api.url(record.preview.url);
    p.photo.alt = record.name;
    p.photo.width = record.preview.width;
    p.photo.height = record.preview.height;
    p.zone.hidden = true;
    p.result.hidden = false;
    this.#state("waiting");
    this.#say("");
    const job = (this.#job = { stream: null });
    try {
      const { job: name, position } = await api.post("panels/depth/jobs", { file: record.file, settings: {} });
      if (this.#job !== job) {
        api.post(`jobs/${name}/stop`).catch(() => {});
        return;
      }
      p.waiting.lastChild.textContent = position ? "Another job is running; yours is next" : "Looking at the photo";
      job.stream = api.events(`jobs/${name}/events`, {
        progress: () => (p.waiting.lastChild.textContent = "Looking at the photo"),
        done: (summary) => this.#show(name, summary),
        stopped: (summary) => (summary.width ? this.#show(name, summary) : this.#fail("Stopped")),
        failed: ({ error }) => this.#fail(error),
        lost: () => this.#fail("The server does not answer. Is clipx serve still running?"),
      });
    } catch (error) {
      if (this.#job === job) this.#fail(error.message);
    }
  }

  async #show(job, summary) {
    const { api, h, ShapeView } = this.#page;
    const p = this.#parts;
    this.#close();
    const own = this.#record;
    const file = (name) => api.url(`jobs/${job}/download/${name}`);
    try {
      const answer = await fetch(file("values.bin"));
      if (!answer.ok) throw new Error("The values of the map cannot be had.");
      const values = new Float32Array(await answer.arrayBuffer());
      if (this.#record !== own) return;
      this.#map = { summary, values, at: null };
    } catch (error) {
      this.#fail(error.message);
      return;
    }
    p.map.src = file("colors.png");
    p.map.width = summary.width;
    p.map.height = summary.height;
    p.scale.src = file("scale.png");
    for (const [name, link] of Object.entries(p.links)) link.href = file(name);
    p.links["depth.png"].hidden = summary.unit !== "m";
    p.links["cloud.ply"].hidden = !summary.cloud;
    p.label.textContent = `${sentence(summary.label)}. Point at a place to read its value.`;
    p.note.textContent = summary.note;
    this.#scale();
    this.#state("done");
    this.#move(Math.floor(summary.values.width / 2), Math.floor(summary.values.height / 2));
    p.cloudPart.hidden = !summary.cloud;
    if (!summary.cloud) return;
    const canvas = h("canvas", { "aria-label": "The photo as a cloud of points. Arrow keys turn it." });
    p.cloud.replaceChildren(canvas);
    this.#view = new ShapeView(canvas, { yaw: 0, pitch: 0.08, distance: 2.4, swing: true });
    this.#view.load(file("cloud.shape")).catch((error) => {
      if (error.name !== "AbortError") p.cloud.replaceChildren(h("p", { class: "note", text: `The cloud cannot be shown: ${error.message}` }));
    });
  }

  /** Marks at round values, where the colours have them. */
  #scale() {
    const { near, far, low, high, unit } = this.#map.summary;
    const { h } = this.#page;
    const p = this.#parts;
    if (low === null || low === high) {
      p.ticks.replaceChildren();
      return;
    }
    const marks = unit === "m" ? spacedByInverse(low, high) : evenly(low, high);
    const tick = (value, kind) => {
      const shown = h("span", { text: written(value, unit), class: kind });
      shown.style.setProperty("--at", this.#place(value));
      return shown;
    };
    const room = (value, share) => Math.abs(this.#place(value) - 0.5) < 0.5 - share; // so that it touches no end
    p.ticks.replaceChildren(tick(near, "first"),
      ...marks.filter((value) => room(value, 0.12)).map((value) => tick(value, room(value, 0.3) ? "" : "wide")), tick(far, "last"));
  }

  /** Where on the scale a value is: 0 near, 1 far. */
  #place(value) {
    const { near, far, unit } = this.#map.summary;
    const height = { m: (v) => 1 / v, inverse: (v) => v, affine: (v) => -v }[unit];
    const share = (height(near) - height(value)) / (height(near) - height(far));
    return Number.isFinite(share) ? Math.min(1, Math.max(0, share)) : 0.5;
  }

  #point(event, frame) {
    if (!this.#map) return;
    const box = frame.getBoundingClientRect();
    const { width, height } = this.#map.summary.values;
    const share = (value, from, length) => (value - from) / length;
    this.#move(Math.floor(share(event.clientX, box.left, box.width) * width), Math.floor(share(event.clientY, box.top, box.height) * height));
  }

  #key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way || !this.#map) return;
    event.preventDefault();
    const { width, height } = this.#map.summary.values;
    const step = event.shiftKey ? 1 : Math.max(1, Math.round(Math.max(width, height) / 50));
    this.#move(this.#map.at[0] + step * way[0], this.#map.at[1] + step * way[1]);
  }

  #move(column, row) {
    const p = this.#parts;
    const { summary, values } = this.#map;
    const { width, height } = summary.values;
    this.#map.at = [Math.min(width - 1, Math.max(0, column)), Math.min(height - 1, Math.max(0, row))];
    const [x, y] = this.#map.at;
    const value = values[y * width + x];
    for (const cross of [p.photoCross, p.mapCross]) {
      cross.hidden = false;
      cross.style.setProperty("--x", (x + 0.5) / width);
      cross.style.setProperty("--y", (y + 0.5) / height);
    }
    p.mark.hidden = Number.isNaN(value);
    p.value.textContent = Number.isNaN(value) ? "unknown here" : written(value, summary.unit);
    if (!Number.isNaN(value)) p.mark.style.setProperty("--at", this.#place(value));
  }

  #state(name) {
    const p = this.#parts;
    const done = name === "done";
    p.waiting.hidden = done;
    p.map.hidden = !done;
    p.mapFrame.classList.toggle("depth-none", !done);
    for (const one of [p.legend, p.note, p.save]) one.hidden = !done;
    p.search.hidden = !done;
    p.cloudPart.hidden = !done;
    for (const cross of [p.photoCross, p.mapCross]) cross.hidden = !done;
    p.mapFrame.style.setProperty("--ratio", `${this.#record?.preview.width} / ${this.#record?.preview.height}`);
  }

  #say(text) {
    this.#parts.status.textContent = text;
    this.#parts.status.hidden = !text;
  }

  #fail(error) {
    this.#drop();
    this.#say(sentence(error));
  }

  #drop() {
    const p = this.#parts;
    this.#close();
    if (this.#record) this.#page.api.del(`uploads/${this.#record.file}`).catch(() => {});
    this.#record = this.#map = null;
    this.#view?.dispose();
    this.#view = null;
    p.cloud.replaceChildren();
    p.zone.hidden = false;
    p.result.hidden = true;
    this.#say("");
  }

  /** Closes the stream, which ends a job that runs. */
  #close() {
    this.#job?.stream?.close();
    this.#job = null;
  }
}

/** A value with its unit, of three digits. */
function written(value, unit) {
  const digits = Math.max(0, Math.min(4, 2 - Math.floor(Math.log10(Math.max(Math.abs(value), 1e-9)))));
  return `${value.toFixed(unit === "m" ? Math.min(2, digits) : digits)}${UNITS[unit] ? ` ${UNITS[unit]}` : ""}`;
}

/** Round values in between, about evenly spaced on a scale of 1 / value. */
function spacedByInverse(low, high) {
  const found = [];
  for (let i = 1; i < SCALE_TICKS - 1; i += 1) {
    const share = i / (SCALE_TICKS - 1);
    const value = 1 / ((1 - share) / low + share / high);
    const digit = 10 ** Math.floor(Math.log10(value) - 0.3);
    found.push(Math.round(value / digit) * digit);
  }
  return [...new Set(found)].filter((value) => value > low && value < high);
}

function evenly(low, high) {
  const rough = (high - low) / SCALE_TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = NICE.map((one) => one * power).find((one) => one >= rough) ?? 10 * power;
  const found = [];
  for (let value = Math.ceil(low / step) * step; value < high; value += step) found.push(value);
  return found;
}

function sentence(text) {
  return text && text[0].toUpperCase() + text.slice(1);
}
