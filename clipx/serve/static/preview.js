/** What a file looks or sounds like: the player of a sound or a film, the turnable view of a shape, a picture. */

import { url } from "./api.js";
import { h, icon, kindOf, s } from "./dom.js";
import { ShapeView } from "./shape.js";
import { soundPlayer } from "./sound.js";

const LARGER = 4; // how much a small picture is enlarged at most

/**
 * An element that shows a file. Before it is taken out of the page, `dispose` frees what a view of a shape holds.
 * @param {object} preview as of `files/{file}/preview`.
 * @param {string} name what to call it.
 * @returns {HTMLElement}
 */
export function previewOf(preview, name) {
  if (preview.kind === "picture") {
    const { width, height } = preview;
    const image = h("img", { src: url(preview.url), alt: name, width, height, draggable: "false" });
    image.style.setProperty("--most", `${LARGER * width}px`);
    return h("div", { class: "preview" }, image);
  }
  if (preview.kind === "sound") {
    return h("div", { class: "preview preview-sound" }, soundPlayer({ ...preview, url: url(preview.url), name }));
  }
  if (preview.kind === "film") return h("div", { class: "preview" }, film(preview, name));
  if (preview.kind === "shape") return shape(preview, name);
  return h("div", { class: "preview preview-none" }, icon("file"), h("p", { text: preview.reason ?? "No preview" }));
}

/**
 * Frees what a preview holds.
 * @param {Element|null} element as `previewOf` made it, or one that holds such.
 */
export function dispose(element) {
  for (const one of element?.querySelectorAll("canvas") ?? []) {
    views.get(one)?.dispose();
    views.delete(one);
  }
}

const views = new Map();

/** A player that begins at the place that was found, and stops at its end. */
function film({ url: source, start_s = null, end_s = null }, name) {
  const place = start_s === null ? "" : `#t=${start_s.toFixed(2)},${end_s.toFixed(2)}`;
  return h("video", { src: url(source) + place, controls: "", preload: "metadata", playsinline: "", "aria-label": name });
}

function shape(preview, name) {
  const size = preview.triangles
    ? `${preview.triangles.toLocaleString("en")} triangles`
    : `${preview.points.toLocaleString("en")} points`;
  const canvas = h("canvas", { "aria-label": `${name}, ${size}. Arrow keys turn it.` });
  const note = h("p", { class: "preview-note", text: `${size} · drag to turn` });
  const element = h("div", { class: "preview preview-shape loading" }, canvas, note);
  const load = async () => {
    const view = new ShapeView(canvas);
    views.set(canvas, view);
    await view.load(url(preview.url));
  };
  requestAnimationFrame(() => {
    // a canvas has a size once it is on the page
    load()
      .catch((error) => {
        note.textContent = `It cannot be shown here: ${error.message}`;
        element.classList.add("failed");
      })
      .finally(() => element.classList.remove("loading"));
  });
  return element;
}

/**
 * The small picture of a file: of an indexed one its thumbnail, of an upload its preview, of a sound its waveform.
 * @param {{file: string, modality: string, thumbnail?: boolean, preview?: object}} record
 * @param {{lazy?: boolean}} options
 * @returns {Element}
 */
export function thumbnailOf({ file, modality, thumbnail, preview }, { lazy = false } = {}) {
  const loading = lazy ? "lazy" : null;
  if (preview?.kind === "sound") return waveform(preview);
  const source = thumbnail ? `files/${file}/thumbnail` : preview?.kind === "picture" ? preview.url : null;
  if (source) return h("img", { src: url(source), alt: "", loading, decoding: "async", draggable: "false" });
  return h("span", { class: "thumb-icon" }, icon(kindOf(modality).icon));
}

/**
 * A sound as bars; those of the place that was found stand out.
 * @param {{peaks: number[], duration_s: number}} sound
 * @param {{bars?: number, start_s?: number|null, end_s?: number|null}} options the place, and how many bars.
 * @returns {SVGElement}
 */
export function waveform({ peaks, duration_s }, { bars = 48, start_s = null, end_s = null } = {}) {
  const svg = s("svg", { class: "waveform", viewBox: `0 0 ${4 * bars} 100`, preserveAspectRatio: "none" });
  svg.setAttribute("aria-hidden", "true");
  const loudest = Math.max(...peaks, 1e-6);
  for (let i = 0; i < bars; i += 1) {
    const [from, to] = [i, i + 1].map((edge) => Math.round((edge * peaks.length) / bars));
    const height = Math.max(4, (92 * Math.max(...peaks.slice(from, Math.max(to, from + 1)))) / loudest);
    const at = ((i + 0.5) / bars) * duration_s;
    const found = start_s !== null && at >= start_s && at < (end_s ?? duration_s);
    const place = { x: 4 * i + 0.8, y: 50 - height / 2, width: 2.4, height, rx: 1.2 };
    svg.append(s("rect", { ...place, class: found ? "found" : "" }));
  }
  return svg;
}
