// A sound: its waveform, with the place that was found, and a player.

const HEIGHT = 48; // pixels of the waveform
const BAR = 4; // pixels from one bar to the next
let playing = null; // one sound at a time
let made = 0; // players, for ids

/**
 * A player with a waveform.
 * @param {object} sound
 * @param {string | URL} sound.url
 * @param {number[]} sound.peaks heights from 0 to 1, evenly over what is drawn of the sound
 * @param {number} sound.duration_s
 * @param {?number} [sound.wave_start_s] where what is drawn begins; all of it by default
 * @param {?number} [sound.wave_end_s]
 * @param {?number} [sound.start_s] of the place that was found, where it starts to play
 * @param {?number} [sound.end_s]
 * @param {string} [sound.name] for the accessible name
 * @returns {HTMLElement}
 */
export function soundPlayer(sound) {
  const {url, peaks, duration_s, wave_start_s, wave_end_s, start_s = null, end_s = null, name = "sound"} = sound;
  const root = element("div", "sound");
  const button = element("button", "sound-play");
  const time = element("span", "sound-time");
  button.type = "button";
  const icon = svg("svg", {viewBox: "0 0 24 24", "aria-hidden": "true"});
  const shape = icon.appendChild(svg("path"));
  button.append(icon);

  const total = Math.max(duration_s, 0.01);
  const first = wave_start_s ?? 0;
  const drawn = Math.max((wave_end_s ?? total) - first, 0.01);
  const wave = svg("svg", {class: "sound-wave", preserveAspectRatio: "none"});
  made += 1;
  const mask = svg("clipPath", {id: `sound-${made}`});
  const played = mask.appendChild(svg("rect", {height: HEIGHT}));
  const bars = svg("path", {class: "sound-bars"});
  const done = svg("path", {class: "sound-played", "clip-path": `url(#${mask.id})`});
  const found = svg("rect", {class: "sound-found", height: HEIGHT});
  const needle = svg("line", {class: "sound-needle", y2: HEIGHT});
  const hasPlace = start_s !== null && end_s !== null && end_s - start_s < 0.98 * total;
  wave.append(mask, ...(hasPlace ? [found] : []), bars, done, needle);
  wave.setAttribute("tabindex", "0");
  wave.setAttribute("role", "slider");
  wave.setAttribute("aria-label", `Place in ${name}`);
  wave.setAttribute("aria-valuemin", "0");
  wave.setAttribute("aria-valuemax", total.toFixed(1));

  const audio = new Audio();
  audio.preload = "none"; // a page of hits would fetch them all
  let at = start_s ?? 0;
  let begun = false;
  let wide = 0; // pixels

  const place = (seconds) => Math.min(1, Math.max(0, (seconds - first) / drawn)) * wide;
  const draw = () => {
    wave.setAttribute("viewBox", `0 0 ${wide} ${HEIGHT}`);
    const path = inBars(peaks, Math.max(1, Math.floor(wide / BAR))).map((peak, i) => {
      const half = Math.max(0.6, 0.46 * HEIGHT * peak);
      return `M${(i + 0.5) * BAR} ${(HEIGHT / 2 - half).toFixed(1)}v${(2 * half).toFixed(1)}`;
    });
    bars.setAttribute("d", path.join(""));
    done.setAttribute("d", path.join(""));
    found.setAttribute("x", place(start_s));
    found.setAttribute("width", Math.max(2, place(end_s) - place(start_s)));
    show();
  };
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
    seek(first + ((event.clientX - box.left) / box.width) * drawn);
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

  new ResizeObserver(() => {
    wide = Math.round(wave.clientWidth);
    draw();
  }).observe(wave);
  root.append(button, wave, time);
  state();
  show();
  return root;
}

/** The highest of the peaks that fall on each of so many bars. */
function inBars(peaks, count) {
  return Array.from({length: count}, (_, i) => {
    const first = Math.floor((i * peaks.length) / count);
    return Math.max(0, ...peaks.slice(first, Math.max(first + 1, Math.floor(((i + 1) * peaks.length) / count))));
  });
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
