// A sound: its waveform, with the place that was found, and a player.

const HEIGHT = 48; // of the waveform's own coordinates
const BAR = 3; // units from one bar to the next
let playing = null; // one sound at a time
let made = 0; // players, for ids

/**
 * A player with a waveform.
 * @param {object} sound
 * @param {string | URL} sound.url
 * @param {number[]} sound.peaks heights from 0 to 1, evenly over the sound
 * @param {number} sound.duration_s
 * @param {?number} [sound.start_s] of the place that was found, where it starts to play
 * @param {?number} [sound.end_s]
 * @param {string} [sound.name] for the accessible name
 * @returns {HTMLElement}
 */
export function soundPlayer({url, peaks, duration_s, start_s = null, end_s = null, name = "sound"}) {
  const root = element("div", "sound");
  const button = element("button", "sound-play");
  const time = element("span", "sound-time");
  button.type = "button";
  const icon = svg("svg", {viewBox: "0 0 24 24", "aria-hidden": "true"});
  const shape = icon.appendChild(svg("path"));
  button.append(icon);

  const total = Math.max(duration_s, 0.01);
  const wide = peaks.length * BAR;
  const wave = svg("svg", {class: "sound-wave", viewBox: `0 0 ${wide} ${HEIGHT}`, preserveAspectRatio: "none"});
  const place = (seconds) => Math.min(1, Math.max(0, seconds / total)) * wide;
  if (start_s !== null && end_s !== null && end_s - start_s < 0.98 * total) {
    const width = Math.max(2, place(end_s) - place(start_s));
    wave.append(svg("rect", {class: "sound-found", x: place(start_s), y: 0, width, height: HEIGHT}));
  }
  const bars = peaks.map((peak, i) => {
    const half = Math.max(0.6, 0.46 * HEIGHT * peak);
    return `M${(i + 0.5) * BAR} ${(HEIGHT / 2 - half).toFixed(1)}v${(2 * half).toFixed(1)}`;
  });
  made += 1;
  const mask = svg("clipPath", {id: `sound-${made}`});
  const played = mask.appendChild(svg("rect", {x: 0, y: 0, width: 0, height: HEIGHT}));
  const clip = `url(#${mask.id})`;
  wave.append(mask, svg("path", {class: "sound-bars", d: bars.join("")}));
  wave.append(svg("path", {class: "sound-played", d: bars.join(""), "clip-path": clip}));
  const needle = wave.appendChild(svg("line", {class: "sound-needle", y1: 0, y2: HEIGHT}));
  wave.setAttribute("tabindex", "0");
  wave.setAttribute("role", "slider");
  wave.setAttribute("aria-label", `Place in ${name}`);
  wave.setAttribute("aria-valuemin", "0");
  wave.setAttribute("aria-valuemax", total.toFixed(1));

  const audio = new Audio();
  audio.preload = "none"; // a page of hits would fetch them all
  let at = start_s ?? 0;
  let begun = false;

  const show = () => {
    const x = place(at);
    played.setAttribute("width", x);
    needle.setAttribute("x1", x);
    needle.setAttribute("x2", x);
    time.textContent = `${clock(at)} / ${clock(total)}`;
    wave.setAttribute("aria-valuenow", at.toFixed(1));
    wave.setAttribute("aria-valuetext", `${clock(at)} of ${clock(total)}`);
  };
  const state = () => {
    shape.setAttribute("d", audio.paused ? "M8 5v14l11-7z" : "M7 5h4v14H7zM13 5h4v14h-4z");
    button.setAttribute("aria-label", `${audio.paused ? "Play" : "Pause"} ${name}`);
    root.classList.toggle("is-playing", !audio.paused);
  };
  const follow = () => {
    if (audio.paused) return;
    if (!root.isConnected) { // whoever took it out of the page wants silence
      audio.pause();
      return;
    }
    at = audio.currentTime;
    show();
    requestAnimationFrame(follow);
  };
  const seek = (seconds) => {
    at = Math.min(total, Math.max(0, seconds));
    if (begun) audio.currentTime = at;
    show();
  };
  const toggle = async () => {
    if (!audio.paused) {
      audio.pause();
      return;
    }
    if (at >= total - 0.05) seek(start_s ?? 0);
    if (playing !== audio) playing?.pause();
    playing = audio;
    if (!begun) {
      audio.src = url;
      audio.currentTime = at; // before anything is loaded: where it starts
      begun = true;
    }
    try {
      await audio.play();
    } catch (error) {
      if (error.name !== "AbortError") time.textContent = "This browser cannot play it.";
    }
  };

  button.addEventListener("click", toggle);
  audio.addEventListener("play", () => {
    state();
    follow();
  });
  audio.addEventListener("pause", state);
  audio.addEventListener("ended", () => {
    at = total;
    show();
    state();
  });
  const point = (event) => {
    const box = wave.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * total);
  };
  wave.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    wave.setPointerCapture(event.pointerId);
    point(event);
  });
  wave.addEventListener("pointermove", (event) => {
    if (wave.hasPointerCapture(event.pointerId)) point(event);
  });
  wave.addEventListener("keydown", (event) => {
    const step = Math.max(0.1, total / 50);
    const places = {ArrowLeft: at - step, ArrowDown: at - step, ArrowRight: at + step, ArrowUp: at + step};
    Object.assign(places, {Home: 0, End: total, PageUp: at + 5 * step, PageDown: at - 5 * step});
    if (event.key === " " || event.key === "Enter") toggle();
    else if (event.key in places) seek(places[event.key]);
    else return;
    event.preventDefault();
  });

  root.append(button, wave, time);
  state();
  show();
  return root;
}

/** @param {number} seconds */
function clock(seconds) {
  const whole = Math.floor(seconds / 60);
  const rest = seconds - 60 * whole;
  return `${whole}:${rest.toFixed(1).padStart(4, "0")}`;
}

function element(kind, className) {
  return Object.assign(document.createElement(kind), {className});
}

function svg(kind, attributes = {}) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
