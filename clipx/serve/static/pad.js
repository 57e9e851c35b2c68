// A canvas to draw on with mouse, pen or finger; what is drawn leaves as QuickDraw's simplified strokes.

const SIDE = 255; // of QuickDraw's canvas
const EPSILON = 2; // how far a point that is left out lies from the line at most, on that canvas
const LINE = 1 / 90; // width of a stroke, of the pad's

/**
 * A pad with its buttons.
 * @param {object} options
 * @param {(drawing: File) => void} options.onDrawing called with a `drawing.ndjson` of one line
 * @param {string} [options.label] of the button that hands the drawing on
 * @returns {HTMLElement}
 */
export function drawingPad({onDrawing, label = "Search"}) {
  const root = document.createElement("div");
  root.className = "pad";
  const canvas = document.createElement("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Drawing pad: draw with mouse, pen or finger");
  const hint = Object.assign(document.createElement("p"), {className: "pad-hint", textContent: "Draw here"});
  const sheet = Object.assign(document.createElement("div"), {className: "pad-sheet"});
  sheet.append(canvas, hint);
  const bar = Object.assign(document.createElement("div"), {className: "pad-bar"});
  const button = (text, act, className = "") => {
    const made = Object.assign(document.createElement("button"), {type: "button", textContent: text, className});
    made.addEventListener("click", act);
    bar.append(made);
    return made;
  };

  /** @type {number[][][]} strokes of points [x, y] as shares of the pad */
  const strokes = [];
  let drawing = null; // the pointer that draws
  const pen = canvas.getContext("2d");

  const draw = () => {
    const side = canvas.width;
    pen.clearRect(0, 0, side, side);
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = LINE * side;
    pen.lineCap = pen.lineJoin = "round";
    for (const stroke of strokes) trace(pen, stroke, side);
  };
  const changed = () => {
    draw();
    hint.hidden = strokes.length > 0;
    for (const one of [undo, clear, search]) one.disabled = !strokes.length;
    canvas.dataset.strokes = String(strokes.length);
  };
  const takeBack = () => {
    strokes.pop();
    changed();
  };
  const undo = button("Undo", takeBack);
  const clear = button("Clear", () => {
    strokes.length = 0;
    changed();
  });
  const search = button(label, () => onDrawing(toNdjson(strokes)), "pad-search primary");

  const add = (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (value, from, length) => Math.min(1, Math.max(0, (value - from) / length));
    for (const one of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
      strokes.at(-1).push([share(one.clientX, box.left, box.width), share(one.clientY, box.top, box.height)]);
    }
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (drawing !== null || event.button) return; // a palm, another finger, another button
    drawing = event.pointerId;
    canvas.setPointerCapture(drawing);
    strokes.push([]);
    add(event);
    changed();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== drawing) return;
    add(event);
    draw();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      if (event.pointerId === drawing) drawing = null;
    });
  }
  root.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey) return;
    event.preventDefault();
    if (strokes.length) takeBack();
  });
  new ResizeObserver(() => {
    const side = Math.round(canvas.clientWidth * (devicePixelRatio || 1));
    if (!side || side === canvas.width) return;
    canvas.width = canvas.height = side;
    draw();
  }).observe(canvas);
  new MutationObserver(draw).observe(document.documentElement, {attributes: true}); // another theme
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  root.append(sheet, bar);
  changed();
  return root;
}

/** A smooth line through the middles between points. */
function trace(pen, stroke, side) {
  const points = stroke.map(([x, y]) => [x * side, y * side]);
  pen.beginPath();
  pen.moveTo(...points[0]);
  for (let i = 1; i + 1 < points.length; i += 1) {
    const [x, y] = points[i];
    pen.quadraticCurveTo(x, y, (x + points[i + 1][0]) / 2, (y + points[i + 1][1]) / 2);
  }
  pen.lineTo(...points.at(-1));
  pen.stroke();
}

/**
 * Strokes as QuickDraw's simplified drawings are: moved to the left upper corner, scaled to 0..255, few points.
 * @param {number[][][]} strokes of points [x, y] in any unit, y down
 * @returns {File} `drawing.ndjson`
 */
export function toNdjson(strokes) {
  const all = strokes.flat();
  const [left, top] = [0, 1].map((axis) => Math.min(...all.map((point) => point[axis])));
  const size = Math.max(...all.map(([x, y]) => Math.max(x - left, y - top)));
  const scale = size > 0 ? SIDE / size : 0; // a dot
  const drawing = strokes.map((stroke) => {
    const scaled = stroke.map(([x, y]) => [(x - left) * scale, (y - top) * scale]);
    const kept = simplify(scaled.length > 1 ? scaled : [scaled[0], scaled[0]]);
    return [0, 1].map((axis) => kept.map((point) => Math.round(point[axis])));
  });
  const text = `${JSON.stringify({drawing})}\n`;
  return new File([text], "drawing.ndjson", {type: "application/x-ndjson"});
}

/** Ramer's and Douglas and Peucker's choice of points. */
function simplify(points) {
  const keep = new Set([0, points.length - 1]);
  const parts = [[0, points.length - 1]];
  while (parts.length) {
    const [first, last] = parts.pop();
    const [[x, y], [u, v]] = [points[first], points[last]];
    const length = Math.hypot(u - x, v - y);
    let [farthest, most] = [0, EPSILON];
    for (let i = first + 1; i < last; i += 1) {
      const [p, q] = points[i];
      const away = length ? Math.abs((u - x) * (q - y) - (v - y) * (p - x)) / length : Math.hypot(p - x, q - y);
      if (away > most) [farthest, most] = [i, away];
    }
    if (farthest) {
      keep.add(farthest);
      parts.push([first, farthest], [farthest, last]);
    }
  }
  return points.filter((_, i) => keep.has(i));
}
