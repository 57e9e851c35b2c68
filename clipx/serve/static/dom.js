/** Small helpers to build the page: elements, icons, numbers in words. Text goes in as text, never as markup. */

/**
 * Makes an element.
 * @param {string} tag
 * @param {Object<string, any>} properties `class`, `text`, `dataset`, `on...` handlers, else attributes; null,
 *   undefined and false leave an attribute out, true makes it empty.
 * @param {...(Node|string|null)} children
 * @returns {HTMLElement}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an SVG element.
 * @param {string} tag
 * @param {Object<string, string|number>} attributes
 * @param {...Node} children
 * @returns {SVGElement}
 */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * An icon of the sheet in index.html; decoration, so hidden from screen readers.
 * @param {string} name
 * @returns {SVGElement}
 */
export function icon(name) {
  return s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `#icon-${name}` }));
}

/**
 * A button that shows an icon only.
 * @param {string} name of the icon.
 * @param {string} label what it does, for tooltips and screen readers.
 * @param {(event: Event) => void} onclick
 * @param {Object<string, any>} more as of `h`.
 * @returns {HTMLButtonElement}
 */
export function iconButton(name, label, onclick, more = {}) {
  const { class: extra = "", ...rest } = more;
  const look = { class: `icon-button ${extra}`.trim(), title: label, "aria-label": label };
  return h("button", { type: "button", ...look, onclick, ...rest }, icon(name));
}

/**
 * A button that says what it does.
 * @param {string} text
 * @param {(event: Event) => void} onclick
 * @param {{symbol?: string, class?: string}} look an icon before the text; the class is "button" by default.
 * @returns {HTMLButtonElement}
 */
export function textButton(text, onclick, { symbol = null, class: name = "button" } = {}) {
  return h("button", { type: "button", class: name, onclick }, symbol && icon(symbol), h("span", { text }));
}

/**
 * @param {string} selector
 * @param {ParentNode} within
 * @returns {HTMLElement} the first match.
 */
export function $(selector, within = document) {
  return within.querySelector(selector);
}

/**
 * Calls a function once it was not asked for again for some time.
 * @param {number} wait in ms.
 * @param {(...args: any[]) => void} call
 * @returns {((...args: any[]) => void) & {cancel: () => void}}
 */
export function debounced(wait, call) {
  let timer = 0;
  const later = (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...args), wait);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

/** @param {number} value @returns {string} with separators of thousands. */
export function count(value) {
  return value.toLocaleString("en");
}

/** @param {number} value @param {string} one @param {string} many @returns {string} "1 file", "2 files". */
export function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** @param {number} share in [0, 1] @returns {string} such as "92 %"; "< 1 %" for what is not 0. */
export function percent(share) {
  return share > 0 && share < 0.005 ? "< 1 %" : `${Math.round(100 * share)} %`;
}

/** @param {number} seconds @returns {string} such as "1:05", or "0:01.5" for parts of a second. */
export function clock(seconds) {
  const tenths = Math.round(10 * seconds);
  const minutes = Math.floor(tenths / 600);
  const rest = (tenths - 600 * minutes) / 10;
  return `${minutes}:${rest < 10 ? "0" : ""}${Number.isInteger(rest) ? rest : rest.toFixed(1)}`;
}

/** @param {number} seconds @returns {string} such as "about 3 min". */
export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

const KINDS = {
  image: { title: "Picture", many: "Pictures", icon: "picture" },
  audio: { title: "Sound", many: "Sounds", icon: "sound" },
  video: { title: "Film", many: "Films", icon: "picture", moves: true },
  pointcloud: { title: "Shape", many: "Shapes", icon: "shape" },
  sketch: { title: "Drawing", many: "Drawings", icon: "pen" },
  depth: { title: "Depth map", many: "Depth maps", icon: "layers" },
};

/**
 * How the page names a modality; one that it does not know goes by its own name.
 * @param {string} modality
 * @returns {{title: string, many: string, icon: string, moves?: boolean}} moves: whether it has a picture at each time
 */
export function kindOf(modality) {
  return KINDS[modality] ?? { title: modality, many: modality, icon: "file" };
}
