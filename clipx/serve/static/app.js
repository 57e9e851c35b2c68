/** The frame of the page: tabs, theme, notices, and files that are dropped anywhere. */

import * as api from "./api.js";
import { $, count, h, iconButton, icon } from "./dom.js";
import { dropzone, limitUploads } from "./dropzone.js";
import * as indexing from "./indexing.js";
import * as naming from "./name.js";
import { previewOf } from "./preview.js";
import * as search from "./search.js";
import { ShapeView } from "./shape.js";

const POLL_MS = 300;
const NOTICE_MS = 6000;
const GLYPHS = { search: "search", sketch: "pen", draw: "pen", depth: "layers", name: "tag", index: "index" };

const tabs = new Map(); // name -> { button, root, view }
let current = null;

const app = {
  about: null,
  notice,
  go: (name) => {
    location.hash = name === "search" && searchHash() ? `search?${searchHash()}` : name;
    if (current !== name) show(name);
  },
  openAsQuery: (record) => {
    app.go("search");
    tabs.get("search").view.openAsQuery(record);
  },
  /** Writes the query into the address, where the search is what is shown. */
  keep: () => {
    if (current !== "search") return;
    const hash = searchHash();
    history.replaceState(null, "", hash ? `#search?${hash}` : "#search");
  },
  refresh: load,
};

/** What a panel gets. */
const page = { api, dropzone, h, icon, notice, previewOf, ShapeView, openAsQuery: app.openAsQuery };

start();

async function start() {
  theme();
  dropAnywhere();
  try {
    app.about = await api.get("about");
  } catch (error) {
    banner(error.message, true);
    return;
  }
  limitUploads(app.about.upload_bytes);
  add("search", "Search", search.mount);
  for (const { name, title, script } of app.about.panels) await addPanel(name, title, script);
  add("name", "Name", naming.mount);
  add("index", "Index", indexing.mount);
  addEventListener("hashchange", route);
  $("#holding").addEventListener("click", () => app.go("index"));
  refreshed();
  route();
}

/** Asks the server what it holds now; while it loads the space, again and again. */
async function load() {
  try {
    app.about = await api.get("about");
    refreshed();
  } catch (error) {
    banner(error.message, true);
  }
}

function refreshed() {
  const { ready, error, index } = app.about;
  if (error) banner(error, true);
  else banner(ready ? "" : "Loading the space. Your first search runs as soon as it is there.");
  const holding = $("#holding");
  holding.hidden = !index;
  if (index) holding.textContent = `${count(index.files)} ${index.files === 1 ? "file" : "files"}`;
  holding.title = index ? `${index.name}: what is in it` : "";
  for (const { view } of tabs.values()) view.about?.(app.about);
  if (ready && !index && !error && !location.hash.slice(1).split("?")[0].replace("search", "")) app.go("index");
  if (!ready && !error) setTimeout(load, POLL_MS);
}

// Tabs

function add(name, title, mount, needs = app) {
  const [id, tabId] = [`view-${name}`, `tab-${name}`];
  const root = h("section", { class: "view", role: "tabpanel", id, "aria-labelledby": tabId, hidden: true });
  $("#main").append(root);
  const state = { "aria-controls": id, "aria-selected": "false", tabindex: -1 };
  const button = h("button", { type: "button", role: "tab", id: tabId, ...state, onclick: () => app.go(name) },
    icon(GLYPHS[name] ?? "file"), h("span", { text: title }));
  $(".tabs").append(button);
  const tab = { button, root, view: null };
  tabs.set(name, tab);
  tab.view = mount(root, needs) ?? {};
  return tab;
}

async function addPanel(name, title, script) {
  try {
    const module = await import(new URL(script, document.baseURI));
    add(name, title, (root, needs) => module.mount(root, needs), page);
  } catch (error) {
    notice(`The panel ${title} does not load: ${error.message}`, "error");
  }
}

function show(name) {
  if (!tabs.has(name)) name = "search";
  if (name === current) return;
  const before = tabs.get(current);
  current = name;
  for (const [one, { button, root }] of tabs) {
    root.hidden = one !== name;
    button.setAttribute("aria-selected", one === name);
    button.tabIndex = one === name ? 0 : -1;
  }
  before?.view.hide?.();
  const { button, view } = tabs.get(name);
  button.scrollIntoView({ block: "nearest", inline: "nearest" });
  document.title = name === "search" ? "clipx" : `${button.textContent} · clipx`;
  scrollTo(0, 0);
  if (!$(".tabs").contains(document.activeElement)) view.show?.();
}

function route() {
  const [name, query = ""] = decoded(location.hash.slice(1)).split(/\?(.*)/s);
  show(name || "search");
  if (name === "search" || !name) tabs.get("search").view.hash = query;
}

function searchHash() {
  return encodeURIComponent(tabs.get("search")?.view?.hash ?? "").replaceAll("%20", "+").replaceAll("%22", '"');
}

function decoded(text) {
  const marked = text.replaceAll("+", "%20");
  try {
    return decodeURIComponent(marked);
  } catch {
    return text;
  }
}

$(".tabs").addEventListener("keydown", (event) => {
  const names = [...tabs.keys()];
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const ends = { Home: 0, End: names.length - 1 };
  if (!step && !(event.key in ends)) return;
  event.preventDefault();
  const to = names[ends[event.key] ?? (names.indexOf(current) + step + names.length) % names.length];
  app.go(to);
  tabs.get(to).button.focus();
});

// Theme, notices, the banner

function theme() {
  const button = $("#theme");
  const label = () => {
    const to = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    button.title = `To the ${to} theme`;
    button.setAttribute("aria-label", button.title);
  };
  button.addEventListener("click", () => {
    const to = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.dispatchEvent(new CustomEvent("themechoice", { detail: to }));
  });
  new MutationObserver(label).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  label();
}

/**
 * Says something for some seconds.
 * @param {string} text one line.
 * @param {"info"|"error"} kind an error stays until it is closed.
 */
function notice(text, kind = "info") {
  const symbol = icon(kind === "error" ? "warning" : "check");
  const shown = h("div", { class: `notice notice-${kind}` }, symbol, h("p", { text }));
  shown.append(iconButton("close", "Close", () => shown.remove()));
  for (const old of $("#notices").children) if (old.querySelector("p").textContent === text) old.remove();
  $("#notices").append(shown);
  if (kind !== "error") setTimeout(() => shown.remove(), NOTICE_MS);
}

function banner(text, bad = false) {
  const shown = $("#banner");
  shown.hidden = !text;
  shown.textContent = text;
  shown.classList.toggle("bad", bad);
}

// Files dropped anywhere

function dropAnywhere() {
  const veil = $("#dropping");
  const withFiles = (event) => event.dataTransfer?.types.includes("Files") && !$("dialog[open]");
  const taker = () => {
    const { root, view } = tabs.get(current) ?? {};
    const zone = [...(root?.querySelectorAll(".dropzone") ?? [])].find((one) => one.checkVisibility());
    if (view?.take) return { text: view.dropText, take: (files) => view.take(files) };
    if (zone) return { text: "Drop to open it here", take: ([file]) => zone.take(file) };
    if (!app.about?.index) return null;
    return { text: "Drop to search by it", take: (files) => {
      app.go("search");
      tabs.get("search").view.take(files);
    } };
  };
  addEventListener("dragover", (event) => {
    if (!withFiles(event)) return;
    event.preventDefault();
    const to = taker();
    event.dataTransfer.dropEffect = to ? "copy" : "none";
    veil.hidden = !to;
    $("#dropping-text").textContent = to?.text ?? "";
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) veil.hidden = true;
  });
  addEventListener("drop", (event) => {
    veil.hidden = true;
    if (!withFiles(event)) return;
    event.preventDefault();
    const files = [...event.dataTransfer.files].filter((file) => file.size || file.type);
    if (files.length) taker()?.take(files);
  });
}
