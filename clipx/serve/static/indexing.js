/** The index: what is in it, and the work of adding a folder. */

import { events, get, post } from "./api.js";
import { count, duration, h, icon, iconButton, kindOf, plural, textButton } from "./dom.js";

const TITLES = { running: "Indexing", stopping: "Stopping", stopped: "Stopped", done: "Done", failed: "Not indexed" };
const HOLDS = "What is searched. Files that change, move or go are noticed when their folder is indexed again.";
const BEGIN = "Its files are read on this machine, and nothing leaves it. Then you search them by anything.";
const RUNNING = ["running", "stopping"];

/**
 * @param {HTMLElement} root
 * @param {object} app of app.js.
 * @returns {object} the view.
 */
export function mount(root, app) {
  return new Indexing(root, app);
}

class Indexing {
  #app;
  #head = h("div", { class: "page-head" });
  #holds = h("section", { class: "panel holds", "aria-labelledby": "holds-title" });
  #work = h("section", { class: "panel work", "aria-labelledby": "work-title", hidden: true });
  #picker = h("section", { class: "panel picker", "aria-labelledby": "picker-title" });
  #parts;
  #open = false; // whether the picker is, where an index is there
  #state = { state: "idle" };
  #stream = null;
  #folder = null;
  #indexes = false; // whether there are folders to choose from

  constructor(root, app) {
    this.#app = app;
    root.append(this.#head, h("div", { class: "index" }, this.#work, this.#holds, this.#picker));
    this.#parts = this.#buildWork();
    this.about(app.about);
    this.#browse(null);
    get("indexing").then((state) => this.#take(state)).catch(() => {});
  }

  show() {}

  hide() {}

  /** @param {object} about what the server says of itself. */
  about({ index, space, folders }) {
    const title = index || !this.#indexes ? "Index" : "Begin with a folder";
    const text = index ? HOLDS : this.#indexes ? BEGIN : "There is no index, and this page was opened without folders.";
    this.#head.replaceChildren(h("h1", { text: title }), h("p", { text: this.#folder || index ? text : "" }));
    this.#holds.hidden = !index;
    if (index) this.#showHolds(index, space, folders);
    this.#showPicker();
    this.#showWork();
  }

  #showHolds({ name, files, modalities }, space, folders) {
    const kinds = Object.entries(modalities).sort(([, a], [, b]) => b - a);
    const rows = kinds.map(([kind, held]) => {
      const bar = h("span", { class: "bar" }, h("span"));
      bar.firstChild.style.setProperty("--share", held / Math.max(1, files));
      const { many, icon: symbol } = kindOf(kind);
      const number = h("span", { class: "share", text: count(held) });
      return h("li", { class: "held" }, icon(symbol), h("span", { text: many }), bar, number);
    });
    this.#holds.replaceChildren(
      h("div", { class: "panel-head" }, h("div", {}, h("h2", { id: "holds-title", text: name }),
        h("p", { text: `${plural(files, "file")}${space ? `, space ${space.name}` : ""}` })),
      this.#indexes ? textButton("Add a folder", () => this.#add(), { symbol: "plus" }) : null),
      h("ul", { class: "held-list", role: "list" }, ...rows),
    );
    if (!folders.length) return;
    this.#holds.append(h("h3", { text: "Folders" }), h("ul", { class: "folder-list", role: "list" },
      ...folders.map(({ path, name: short, files: inside }) =>
        h("li", {}, icon("folder"), h("span", { class: "folder-path", text: path ?? short }),
          h("span", { class: "share", text: count(inside) })))));
  }

  // The folder picker

  #add() {
    this.#open = true;
    this.#showPicker();
    this.#picker.querySelector("button:enabled")?.focus();
  }

  async #browse(id) {
    try {
      this.#folder = await get(id === null ? "folders" : `folders?of=${encodeURIComponent(id)}`);
    } catch (error) {
      this.#app.notice(error.message, "error");
      return;
    }
    if (id === null) {
      this.#indexes = this.#folder.folders.length > 0;
      this.about(this.#app.about);
    }
    const focused = this.#picker.contains(document.activeElement);
    this.#showPicker();
    if (focused) this.#picker.querySelector(".folder-rows button, .picker-path button:enabled")?.focus();
  }

  #showPicker() {
    const [folder, { index }] = [this.#folder, this.#app.about];
    const busy = RUNNING.includes(this.#state.state);
    this.#picker.hidden = busy || !this.#indexes || (Boolean(index) && !this.#open);
    if (this.#picker.hidden) return;
    const { id, path, parent, folders, files } = folder;
    const here = id === null; // the list of roots
    const up = iconButton("up", "The folder above", () => this.#browse(parent), { disabled: here });
    const close = iconButton("close", "Close", () => {
      this.#open = false;
      this.#showPicker();
    });
    const rows = folders.map((one) =>
      h("li", {}, h("button", { type: "button", class: "folder-row", onclick: () => this.#browse(one.id) },
        icon("folder"), h("span", { text: one.name }), icon("right"))));
    const said = here ? "Choose where to begin."
      : files ? `${plural(files, "file")} directly in it${folders.length ? ", and those in its folders" : ""}`
      : folders.length ? "The files in its folders" : "No file here can be read.";
    this.#picker.replaceChildren(
      h("div", { class: "panel-head" },
        h("h2", { id: "picker-title", text: index ? "Add a folder" : "Choose a folder" }), index && close),
      h("div", { class: "picker-path" }, up, h("code", { text: path || "This machine" })),
      rows.length ? h("ul", { class: "folder-rows", role: "list", "aria-label": "Folders" }, ...rows)
        : h("p", { class: "folder-none", text: "No folders in here." }),
      h("div", { class: "picker-foot" }, h("p", { class: "note", role: "status", text: said }),
        h("button", { type: "button", class: "button primary", disabled: here || (!files && !folders.length),
          onclick: () => this.#start([id]) }, h("span", { text: "Index this folder" }))),
    );
  }

  // The work

  #buildWork() {
    const title = h("h2", { id: "work-title" });
    const note = h("p", { role: "status", "aria-live": "polite" });
    const range = { role: "progressbar", "aria-label": "Files looked at", "aria-valuemin": 0 };
    const bar = h("div", { class: "progress", ...range }, h("span"));
    const numbers = h("dl", { class: "numbers" });
    const stop = textButton("Stop", () => this.#stop(), { symbol: "stop" });
    const resume = textButton("Resume", () => this.#start(null), { symbol: "play", class: "button primary" });
    const search = textButton("Search it", () => this.#app.go("search"), { symbol: "search", class: "button primary" });
    const failures = h("details", { class: "failures", hidden: true }, h("summary"), h("ul", { role: "list" }));
    const acts = h("div", { class: "acts" }, stop, resume, search);
    this.#work.append(h("div", { class: "panel-head" }, h("div", {}, title, note), acts), bar, numbers, failures);
    return { title, note, bar, numbers, stop, resume, search, failures };
  }

  async #start(folders) {
    try {
      this.#take(await post("indexing", folders ? { folders } : {}));
    } catch (error) {
      this.#app.notice(error.message, "error");
    }
  }

  async #stop() {
    this.#parts.stop.disabled = true;
    try {
      this.#take(await post("indexing/stop"));
    } catch (error) {
      this.#app.notice(error.message, "error");
    }
  }

  #take(state) {
    const before = this.#state.state;
    this.#state = state;
    const running = RUNNING.includes(state.state);
    if (running && !this.#stream) this.#follow();
    if (!running) {
      this.#stream?.close();
      this.#stream = null;
    }
    if (RUNNING.includes(before) && !running) this.#open = false;
    this.#showWork();
    if (RUNNING.includes(before) !== running) this.#showPicker();
    if (RUNNING.includes(before) && !running) this.#app.refresh();
  }

  #follow() {
    this.#stream = events("indexing/events", {
      state: (state) => this.#take(state),
      lost: () => {
        this.#stream = null;
        get("indexing").then((state) => this.#take(state)).catch((error) => this.#app.notice(error.message, "error"));
      },
    });
  }

  #showWork() {
    const { state, done = 0, total = 0, files = 0, seconds = 0, error, failures = [] } = this.#state;
    const { title, note, bar, numbers, stop, resume, search, failures: list } = this.#parts;
    this.#work.hidden = state === "idle";
    if (this.#work.hidden) return;
    const running = RUNNING.includes(state);
    title.textContent = TITLES[state];
    this.#work.dataset.state = state;
    const pace = seconds > 0 ? done / seconds : 0;
    const left = pace > 0 && total > done ? `, ${duration((total - done) / pace)} left` : "";
    if (state === "failed") note.textContent = error ?? "";
    else if (!total) note.textContent = running ? "Looking for files" : "There was no file to read.";
    else if (running) note.textContent = `${count(done)} of ${plural(total, "file")}${left}`;
    else if (state === "stopped") note.textContent = `${count(done)} of ${count(total)} files, ${count(files)} kept.`;
    else note.textContent = `${plural(total, "file")} in ${duration(seconds)}.`;
    bar.setAttribute("aria-valuemax", Math.max(1, total));
    bar.setAttribute("aria-valuenow", done);
    bar.classList.toggle("unknown", running && !total);
    bar.firstChild.style.setProperty("--share", total ? done / total : state === "done" ? 1 : 0);
    const { added = 0, updated = 0, reused = 0, unchanged = 0, removed = 0 } = this.#state;
    const shown = { Added: added, Updated: updated, Moved: reused, Unchanged: unchanged, Removed: removed };
    shown["Not read"] = failures.length;
    const cells = Object.entries(shown).filter(([, value]) => value).map(([name, value]) => [name, count(value)]);
    if (pace) cells.push(["Files per second", pace < 10 ? pace.toFixed(1) : Math.round(pace)]);
    const cell = ([name, value]) => h("div", {}, h("dt", { text: name }), h("dd", { text: value }));
    numbers.replaceChildren(...cells.map(cell));
    stop.hidden = !running;
    stop.disabled = state === "stopping";
    resume.hidden = !["stopped", "failed"].includes(state);
    search.hidden = state !== "done" || !this.#app.about.index;
    list.hidden = !failures.length;
    list.firstChild.textContent = `${plural(failures.length, "file")} not read`;
    const rows = list.lastChild;
    if (rows.childElementCount > failures.length) rows.replaceChildren();
    for (const { name, reason } of failures.slice(rows.childElementCount)) {
      rows.append(h("li", {}, h("strong", { text: name }), h("span", { text: reason })));
    }
  }
}
