/** The search: a bar of terms, filters, and the grid of what was found. */

import { del, ndjson } from "./api.js";
import { openPad, openRecorder } from "./capture.js";
import { Chips, place } from "./chips.js";
import { Detail } from "./detail.js";
import { $, count, debounced, h, icon, iconButton, kindOf, percent, plural, textButton } from "./dom.js";
import { send } from "./dropzone.js";
import { formatQuery, parseQuery } from "./query.js";
import { Results } from "./results.js";

const PAGE = 60; // hits at a time
const TYPING_MS = 200;
const CUT_MS = 250;
const SUGGESTED = 8;
const UNLIKELY = "None of them is a likely match: unrelated files score as high.";
const WELCOME =
  "Words find pictures, sounds, shapes and drawings. So does a file: drop one anywhere on this page, draw, or record.";
const FALLBACK = ["a dog", "a chair", "a red flower", "rain", "an airplane", "music"];

/**
 * @param {HTMLElement} root
 * @param {object} app of app.js.
 * @returns {object} the view.
 */
export function mount(root, app) {
  return new Search(root, app);
}

class Search {
  dropText = "Drop to search by it";
  #app;
  #root;
  #chips;
  #results;
  #detail;
  #parts;
  #latest = null; // the request that runs
  #asked = ""; // the body of the last request
  #wanted = PAGE;
  #end = null; // what the last line of an answer said
  #error = "";
  #examples = null;
  #type = debounced(TYPING_MS, () => this.#run());
  #cut = debounced(CUT_MS, () => this.#run());
  #slow = 0;

  constructor(root, app) {
    this.#app = app;
    this.#root = root;
    this.#parts = build();
    root.append(this.#parts.top, this.#parts.body);
    const { list, field, input, grid } = this.#parts;
    this.#chips = new Chips({
      list,
      field,
      input,
      onChange: () => this.#changed(),
      onRemove: (term) => {
        term.abort?.abort();
        if (term.owned && term.record) del(`uploads/${term.record.file}`).catch(() => {});
      },
    });
    this.#results = new Results(grid, {
      onOpen: (hit) => this.#detail.open(this.#results.shown, hit),
      onMore: (hit) => this.#like(hit, 1),
      onLess: (hit) => this.#like(hit, -1),
      onDrag: (x, y) => this.#chips.mark(x, y),
      onDrop: (hit, at) => this.#addHit(hit, 1, at),
      onDragEnd: () => this.#chips.unmark(),
    });
    this.#detail = new Detail({
      onMore: (hit) => this.#like(hit, 1),
      onLess: (hit) => this.#like(hit, -1),
      onWord: (word) => this.ask(word),
      notice: app.notice,
    });
    this.#listen();
    this.about(app.about);
  }

  /** The query bar gets the focus where no finger would open a keyboard by it. */
  show() {
    if (matchMedia("(hover: hover)").matches) this.#parts.input.focus({ preventScroll: true });
  }

  hide() {
    this.#detail && $("dialog.detail[open]")?.close();
  }

  /** @param {object} about what the server says of itself. */
  about(about) {
    const { kinds, folder } = this.#parts;
    this.#root.classList.toggle("without-index", !about.index);
    const chosen = new Set(this.#kinds());
    const modalities = Object.entries(about.index?.modalities ?? {});
    kinds.replaceChildren(
      h("legend", { class: "visually-hidden", text: "Kinds" }),
      ...modalities.map(([name, files]) =>
        h("label", { class: "toggle" },
          h("input", { type: "checkbox", value: name, checked: chosen.has(name), onchange: () => this.#changed() }),
          icon(kindOf(name).icon),
          h("span", { text: kindOf(name).many }),
          h("span", { class: "count", text: count(files) }))),
    );
    kinds.hidden = modalities.length < 2;
    const old = folder.value;
    folder.replaceChildren(
      h("option", { value: "", text: "All folders" }),
      ...about.folders.map(({ id, name, path, files }) =>
        h("option", { value: id, title: path, text: `${name} (${count(files)})` })),
    );
    folder.value = about.folders.some(({ id }) => id === old) ? old : "";
    folder.parentElement.hidden = about.folders.length < 2;
    this.#examples = null;
    this.#asked = "";
    this.#run();
  }

  /** The part of the address behind `#search?`: the terms in words, and nothing else. */
  get hash() {
    const words = this.#chips.terms.filter((term) => term.text !== undefined).map(asWords);
    return formatQuery([...words, ...this.#typed()]);
  }

  set hash(query) {
    if (query === this.hash) return;
    for (const term of this.#chips.terms.filter(({ text }) => text !== undefined)) this.#chips.remove(term);
    this.#parts.input.value = "";
    const terms = parseQuery(query);
    if (terms.length === 1 && terms[0].weight === 1) this.#parts.input.value = query;
    else for (const { text, weight } of terms) this.#addText(text, weight);
    this.#type.cancel();
    this.#run();
  }

  /**
   * Searches for words in place of what was asked before.
   * @param {string} words
   */
  ask(words) {
    this.#chips.clear();
    this.#parts.input.value = formatQuery([{ text: words, weight: 1 }]);
    this.#parts.input.focus();
    this.#type.cancel();
    this.#run();
  }

  /**
   * Makes chips of files.
   * @param {(File|{blob: Blob, name: string})[]} files
   */
  take(files) {
    this.#commit();
    for (const file of files) this.#upload(file.blob ?? file, file.name);
  }

  /**
   * Makes a chip of a file that the server has.
   * @param {object} record
   */
  openAsQuery(record) {
    this.#chips.clear();
    this.#parts.input.value = "";
    this.#chips.add({ record });
  }

  #listen() {
    const { form, field, input, cut, cutText, folder, since, until, more, file } = this.#parts;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#commit();
    });
    input.addEventListener("input", () => {
      this.#clearShown();
      this.#type();
    });
    input.addEventListener("keydown", (event) => {
      const last = this.#chips.terms.at(-1);
      if (event.key === "Backspace" && !input.value && last) {
        event.preventDefault();
        this.#chips.remove(last);
      }
    });
    field.addEventListener("click", (event) => event.target === field && input.focus());
    const { draw, microphone, pick, clear } = this.#parts;
    draw.addEventListener("click", () => openPad((blob, name) => this.take([{ blob, name }])));
    microphone.addEventListener("click", () => openRecorder((blob, name) => this.take([{ blob, name }])));
    pick.addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      this.take([...file.files]);
      file.value = "";
    });
    clear.addEventListener("click", () => {
      this.#chips.clear();
      input.value = "";
      input.focus();
      this.#run();
    });
    folder.addEventListener("change", () => this.#changed());
    const dated = () => {
      this.#showDates();
      this.#changed();
    };
    since.addEventListener("change", dated);
    until.addEventListener("change", dated);
    const { dates, datesButton, datesClear } = this.#parts;
    datesButton.addEventListener("click", () => {
      dates.togglePopover();
      if (dates.matches(":popover-open")) place(dates, datesButton);
    });
    datesClear.addEventListener("click", () => {
      since.value = until.value = "";
      dated();
      dates.hidePopover();
    });
    cut.addEventListener("input", () => {
      cutText.textContent = cut.value === "0" ? "off" : `${cut.value} %`;
      this.#results.cutOff(cut.value / 100);
      this.#say();
      this.#cut();
    });
    more.addEventListener("click", () => {
      this.#wanted += PAGE;
      this.#run();
    });
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest?.("input, textarea, select, [contenteditable], dialog");
      if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      this.#app.go("search");
      input.focus();
      input.select();
    });
  }

  /** What was typed becomes chips. */
  #commit() {
    const { input } = this.#parts;
    const terms = parseQuery(input.value);
    input.value = "";
    for (const { text, weight } of terms) this.#addText(text, weight);
    this.#changed();
  }

  #addText(text, weight) {
    const size = Math.min(3, Math.max(0.25, Math.abs(weight)));
    this.#chips.add({ text, sign: Math.sign(weight), weight: size });
  }

  #addHit(hit, sign, at) {
    const { file, name, modality, words, thumbnail, start_s, end_s } = hit;
    const record = { file, name, modality, words, thumbnail };
    const same = this.#chips.terms.find((term) => term.record?.file === file && term.start_s === start_s);
    if (same) {
      same.sign = sign;
      this.#chips.update(same);
    } else this.#chips.add({ record, sign, start_s, end_s }, at);
  }

  #like(hit, sign) {
    if (sign > 0) {
      this.#chips.clear();
      this.#parts.input.value = "";
    } else this.#commit();
    this.#addHit(hit, sign);
    scrollTo({ top: 0, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }

  async #upload(blob, name) {
    const abort = new AbortController();
    const term = this.#chips.add({ name, busy: true, abort, owned: true });
    try {
      const record = await send(blob, name, { signal: abort.signal });
      if (!this.#chips.terms.includes(term)) return;
      Object.assign(term, { record, busy: false });
      this.#chips.update(term);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#chips.remove(term);
      this.#app.notice(error.message, "error");
    }
  }

  #kinds() {
    return [...this.#parts.kinds.querySelectorAll("input:checked")].map((box) => box.value);
  }

  #typed() {
    return parseQuery(this.#parts.input.value);
  }

  #showDates() {
    const { since, until, datesText, datesButton } = this.#parts;
    const [from, to] = [since.value, until.value];
    datesText.textContent = from && to ? `${from} – ${to}` : from ? `Since ${from}` : to ? `Until ${to}` : "Any date";
    datesButton.classList.toggle("on", Boolean(from || to));
  }

  #clearShown() {
    const { clear, input } = this.#parts;
    const first = innerWidth < 480 ? "Search" : "Search by words, or drop a file";
    const { index, ready } = this.#app.about;
    if (ready && !index) input.placeholder = "There is nothing to search yet";
    else input.placeholder = this.#chips.terms.length ? "Add a term" : first;
    clear.hidden = !this.#chips.terms.length && !input.value;
  }

  #changed() {
    this.#wanted = PAGE;
    if (this.#chips) this.#type();
    this.#clearShown();
  }

  #body() {
    const terms = this.#chips.terms.filter((term) => !term.busy);
    const asked = terms.map(({ text, record, sign, weight, start_s }) => {
      if (text !== undefined) return { text, weight: sign * weight };
      const place = start_s === null ? {} : { start_s };
      return { file: record.file, weight: sign * weight, ...place };
    });
    const { folder, since, until, cut } = this.#parts;
    const body = { terms: [...asked, ...this.#typed()], k: this.#wanted, min_confidence: cut.value / 100 };
    const kinds = this.#kinds();
    if (kinds.length) body.modalities = kinds;
    if (folder.value) body.folder = folder.value;
    if (since.value) body.since = since.value;
    if (until.value) body.until = until.value;
    return body;
  }

  /** Asks the server, unless it was asked just that. */
  async #run() {
    const { about } = this.#app;
    const body = this.#body();
    this.#app.keep();
    if (!about.index || !about.ready || !body.terms.some(({ weight }) => weight > 0)) {
      this.#latest?.abort();
      this.#asked = "";
      this.#end = null;
      this.#error = "";
      this.#busy(false);
      this.#results.clear();
      this.#say();
      return;
    }
    const text = JSON.stringify(body);
    if (text === this.#asked) return;
    this.#asked = text;
    this.#latest?.abort();
    const own = (this.#latest = new AbortController());
    this.#busy(true);
    let first = true;
    const begin = () => {
      if (first) this.#results.begin();
      first = false;
    };
    try {
      await ndjson("search", body, (record) => {
        if (own.signal.aborted) return;
        if (record.event === "hit") {
          begin();
          this.#results.add(record);
        } else if (record.event === "end") {
          begin();
          this.#results.end();
          this.#end = record;
        }
      }, { signal: own.signal });
      this.#error = "";
    } catch (error) {
      if (error.name === "AbortError" || own.signal.aborted) return;
      this.#asked = "";
      this.#error = error.message;
    }
    if (own !== this.#latest) return;
    this.#busy(false);
    this.#say();
  }

  #busy(on) {
    clearTimeout(this.#slow);
    this.#parts.body.setAttribute("aria-busy", on);
    if (!on) this.#parts.field.classList.remove("asking");
    else this.#slow = setTimeout(() => this.#parts.field.classList.add("asking"), 150);
  }

  /** Says how many hits there are, or why there are none. */
  #say() {
    const { status, note, empty, more, cut, grid } = this.#parts;
    this.#clearShown();
    const shown = this.#results.shown.length;
    const answered = this.#end !== null;
    status.textContent = answered && shown ? plural(shown, "result") : "";
    note.classList.toggle("bad", Boolean(this.#error));
    if (this.#error && shown) note.textContent = `Not searched: ${this.#error}`; // the former answer stays
    else note.textContent = answered && shown && !this.#end.likely ? UNLIKELY : "";
    more.hidden = !answered || this.#end.count < this.#wanted || shown < this.#end.count;
    grid.hidden = !shown;
    const running = this.#parts.body.getAttribute("aria-busy") === "true";
    const cutOff = answered && !shown && this.#results.size > 0;
    empty.hidden = shown > 0 || (running && !cutOff);
    if (empty.hidden) return;
    const busy = this.#chips.terms.some((term) => term.busy);
    if (this.#error) this.#empty("warning", "Not searched", this.#error);
    else if (!this.#app.about.index && this.#app.about.ready) this.#noIndex();
    else if (answered) this.#nothing(cut.value);
    else if (busy) this.#empty("upload", "Reading the file", "");
    else if (this.#chips.terms.length || this.#typed().length) {
      this.#app.about.ready
        ? this.#empty("plus", "Everything is taken away", "Add something to look for: words or a file with a plus.")
        : this.#empty("search", "The space is loading", "Your search runs as soon as it is there.");
    } else this.#suggest();
  }

  #empty(symbol, title, text, ...more) {
    const { empty } = this.#parts;
    empty.className = "empty";
    empty.replaceChildren(h("span", { class: "empty-icon" }, icon(symbol)), h("h2", { text: title }),
      h("p", { text }), ...more);
  }

  #noIndex() {
    this.#empty("index", "Nothing is indexed yet", "Choose a folder of pictures, sounds, shapes or drawings.",
      textButton("Index a folder", () => this.#app.go("index"), { class: "button primary" }));
  }

  #nothing(cut) {
    const { folder, since, until } = this.#parts;
    const filtered = this.#kinds().length || folder.value || since.value || until.value;
    const text = cut > 0
      ? `No file reaches a confidence of ${percent(cut / 100)}${filtered ? " with these filters" : ""}.`
      : filtered ? "No file passes the filters." : "The index has no file for this.";
    const acts = [];
    if (cut > 0) acts.push(["Switch the cut-off off", () => {
      this.#parts.cut.value = 0;
      this.#parts.cut.dispatchEvent(new Event("input"));
    }]);
    if (filtered) acts.push(["Clear the filters", () => this.#clearFilters()]);
    this.#empty("search", "Nothing here matches", text,
      h("div", { class: "acts" }, ...acts.map(([label, act]) => textButton(label, act))));
  }

  #clearFilters() {
    const { kinds, folder, since, until } = this.#parts;
    for (const box of kinds.querySelectorAll("input:checked")) box.checked = false;
    folder.value = since.value = until.value = "";
    this.#showDates();
    this.#changed();
  }

  #suggest() {
    const { empty } = this.#parts;
    const asked = h("div", { class: "suggestions", "aria-label": "Suggestions", role: "group" });
    const show = (words) => asked.replaceChildren(...words.map((word) =>
      h("button", { type: "button", class: "suggestion", text: word, onclick: () => this.ask(word) })));
    empty.className = "empty welcome";
    empty.replaceChildren(
      h("h2", { text: "Look for anything, by anything" }),
      h("p", { text: WELCOME }),
      asked,
      h("p", { class: "hint" }, h("kbd", { text: "/" }), " to type, ", h("kbd", { text: "Enter" }),
        " to keep a term"),
      h("p", { class: "hint" }, h("kbd", { text: "a dog + a sketch - night" }), " adds and takes away"),
    );
    if (this.#examples) show(this.#examples);
    else if (this.#app.about.ready) {
      this.#words().then((words) => {
        this.#examples = words;
        show(words);
      });
    }
  }

  /** A few words that many files of the index are near to, of each kind some. */
  async #words() {
    const kinds = Object.keys(this.#app.about.index?.modalities ?? {});
    const counts = new Map(kinds.map((kind) => [kind, new Map()]));
    try {
      const asked = { terms: [{ text: "a photo" }], k: PAGE };
      await Promise.all(kinds.map((kind) => ndjson("search", { ...asked, modalities: [kind] },
        (record) => {
          const [word] = record.words ?? [];
          if (word) counts.get(kind).set(word, (counts.get(kind).get(word) ?? 0) + 1);
        })));
    } catch {
      return FALLBACK;
    }
    const ranked = [...counts.values()].map((words) => [...words].sort(([, a], [, b]) => b - a).map(([word]) => word));
    const words = new Set();
    for (let i = 0; i < SUGGESTED; i += 1) for (const list of ranked) if (list[i]) words.add(list[i]);
    return words.size ? [...words].slice(0, SUGGESTED) : FALLBACK;
  }
}

function asWords({ text, sign, weight }) {
  return { text, weight: sign * weight };
}

function build() {
  const list = h("ul", { class: "chips", role: "list", "aria-label": "Terms of the query" });
  const input = h("input", { type: "search", class: "query", autocomplete: "off", spellcheck: "false",
    enterkeyhint: "search", "aria-label": "What to look for", "aria-keyshortcuts": "/" });
  const none = () => {};
  const clear = iconButton("close", "Clear the query", none, { hidden: true });
  const draw = iconButton("pen", "Draw what you look for", none);
  const microphone = iconButton("microphone", "Record a sound", none);
  const pick = iconButton("upload", "Search by a file", none);
  const file = h("input", { type: "file", multiple: true, hidden: true, "aria-label": "Files to search by" });
  const tools = h("div", { class: "tools" }, clear, draw, microphone, pick);
  const field = h("div", { class: "field" }, icon("search"), h("div", { class: "terms" }, list, input), tools);
  const form = h("form", { role: "search", "aria-label": "Search" }, field, file);

  const kinds = h("fieldset", { class: "kinds" });
  const folder = h("select", { "aria-label": "Folder" });
  const since = h("input", { type: "date" });
  const until = h("input", { type: "date" });
  const datesText = h("span", { text: "Any date" });
  const datesButton = h("button", { type: "button", class: "pick" }, icon("calendar"), datesText);
  const datesClear = h("button", { type: "button", class: "button", text: "Any date" });
  const dates = h("div", { class: "popover dates", popover: "auto" },
    h("label", {}, h("span", { text: "From" }), since), h("label", {}, h("span", { text: "To" }), until), datesClear);
  const cut = h("input", { type: "range", min: 0, max: 100, step: 1, value: 0, id: "cut" });
  const cutText = h("output", { for: "cut", text: "off" });
  const filters = h("div", { class: "filters", role: "group", "aria-label": "Filters" },
    kinds,
    h("div", { class: "narrow" },
      h("label", { class: "pick" }, icon("folder"), folder),
      datesButton,
      dates,
      h("label", { class: "cut", title: "Hide what is less sure than this" },
        h("span", { text: "Cut-off" }), cut, cutText)));

  const status = h("p", { class: "status", role: "status", "aria-live": "polite" });
  const note = h("p", { class: "note", role: "status" });
  const grid = h("ol", { class: "grid", role: "list", "aria-label": "Results" });
  const more = h("button", { type: "button", class: "button", text: "Show more", hidden: true });
  const empty = h("div", { class: "empty" });
  const top = h("div", { class: "search-top" }, h("h1", { class: "visually-hidden", text: "Search" }), form, filters);
  const body = h("section", { class: "found", "aria-label": "What was found" },
    h("div", { class: "status-row" }, status, note), grid, h("div", { class: "more" }, more), empty);
  return { top, body, form, field, list, input, file, clear, draw, microphone, pick, kinds, folder, since, until, dates,
    datesButton, datesText, datesClear, cut, cutText, status, note, grid, more, empty };
}
