/** Windows in which a query is drawn or recorded. */

import { clock, h, icon, iconButton } from "./dom.js";
import { MOST_S, record } from "./microphone.js";
import { drawingPad } from "./pad.js";

/**
 * Opens a pad to draw on.
 * @param {(blob: Blob, name: string) => void} onFile called with the drawing.
 */
export function openPad(onFile) {
  const dialog = frame("Draw what you look for", "A few strokes are enough.");
  const onDrawing = (blob) => {
    dialog.close();
    onFile(blob, "drawing.ndjson");
  };
  dialog.append(drawingPad({ onDrawing, label: "Search" }));
  dialog.showModal();
  dialog.querySelector("canvas").focus();
}

/**
 * Records from the microphone, at once.
 * @param {(blob: Blob, name: string) => void} onFile called with the recording.
 */
export async function openRecorder(onFile) {
  const dialog = frame("Record a sound", `Whistle, bark, knock: ${MOST_S} seconds at most.`);
  const level = h("span", { class: "level" });
  const time = h("p", { class: "time", text: clock(0) });
  const state = h("p", { class: "state", role: "status", text: "Waiting for the microphone" });
  const finish = h("button", { type: "button", class: "button primary", disabled: true }, icon("stop"),
    h("span", { text: "Stop and search" }));
  dialog.append(h("div", { class: "recorder" }, h("span", { class: "meter" }, level), time, state, finish));
  let recording = null;
  const stop = async () => {
    const running = recording;
    recording = null;
    if (!running) return;
    try {
      const blob = await running.stop();
      dialog.close();
      onFile(blob, "recording.wav");
    } catch (error) {
      state.textContent = sentence(error.message);
    }
  };
  finish.addEventListener("click", stop);
  dialog.addEventListener("close", () => recording?.cancel());
  dialog.showModal();
  finish.focus();
  try {
    const started = await record({
      onLevel: (value) => level.style.setProperty("--level", Math.min(1, 1.6 * value)),
      onTime: (seconds) => (time.textContent = clock(Math.floor(seconds))),
      onFull: stop,
    });
    if (!dialog.open) {
      started.cancel();
      return;
    }
    recording = started;
    dialog.classList.add("recording");
    state.textContent = "Recording";
    finish.disabled = false;
    finish.focus();
  } catch (error) {
    state.textContent = sentence(error.message);
    dialog.classList.add("failed");
  }
}

function frame(title, note) {
  const heading = h("h2", { id: "capture-title", text: title });
  const dialog = h("dialog", { class: "dialog capture", "aria-labelledby": "capture-title" });
  const close = iconButton("close", "Close", () => dialog.close());
  dialog.append(h("div", { class: "capture-head" }, h("div", {}, heading, h("p", { text: note })), close));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  return dialog;
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
