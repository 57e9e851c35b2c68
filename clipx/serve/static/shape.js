// Clouds and meshes in 3D, by plain WebGL 2: turned by pointer and arrow keys, drawn only when something moves.

const FIELD_OF_VIEW = 0.6; // radians from top to bottom
const DISTANCE = [1.1, 3.8, 12]; // of the eye from the centre: least, at first, most
const PITCH_MOST = 1.5; // radians: the poles are not passed
const TURN_S = 24; // of one slow turn, after which the view rests
const SWING = 0.45; // radians to each side, of a view that swings

/**
 * @typedef {object} Shape
 * @property {Float32Array} positions three numbers a point, inside the unit sphere, y up
 * @property {?Uint8Array} colors red, green, blue and opacity of each point
 * @property {Uint32Array} triangles three numbers of points each; none: a cloud
 */

/**
 * Decode the binary that the server sends (`CXS1`).
 * @param {ArrayBuffer} buffer
 * @returns {Shape}
 */
export function decodeShape(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < 16 || view.getUint32(0) !== 0x43585331) throw new Error("this is no shape");
  const [points, triangles, flags] = [4, 8, 12].map((at) => view.getUint32(at, true));
  const colorBytes = flags & 1 ? 4 * points : 0;
  if (buffer.byteLength !== 16 + 12 * points + colorBytes + 12 * triangles) throw new Error("this shape is cut short");
  const after = 16 + 12 * points;
  return {
    positions: new Float32Array(buffer, 16, 3 * points),
    colors: colorBytes ? new Uint8Array(buffer, after, colorBytes) : null,
    triangles: new Uint32Array(buffer, after + colorBytes, 3 * triangles),
  };
}

const VERTEX = `#version 300 es
uniform mat4 turn, lens;
uniform float size;
in vec3 place;
in vec4 tint;
out vec3 seen;
out vec3 color;
void main() {
  vec4 at = turn * vec4(place, 1.0);
  seen = at.xyz;
  color = tint.rgb;
  gl_Position = lens * at;
  gl_PointSize = clamp(size / -at.z, 1.5, 48.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
uniform bool mesh, colored;
uniform vec3 paper;
uniform float distance;
in vec3 seen;
in vec3 color;
out vec4 shown;
void main() {
  vec3 normal;
  if (mesh) {
    normal = normalize(cross(dFdx(seen), dFdy(seen)));
  } else {
    vec2 at = vec2(gl_PointCoord.x, 1.0 - gl_PointCoord.y) * 2.0 - 1.0;
    float from = dot(at, at);
    if (from > 1.0) discard;
    normal = vec3(at, sqrt(1.0 - from));
  }
  float key = max(dot(normal, normalize(vec3(-0.45, 0.7, 0.75))), 0.0);
  float fill = max(dot(normal, normalize(vec3(0.8, -0.1, 0.5))), 0.0);
  float light = mesh ? 0.3 + 0.7 * key + 0.16 * fill : colored ? 1.0 : 0.62 + 0.42 * key;
  float far = clamp((-seen.z - distance + 1.0) / 2.0, 0.0, 1.0);
  float haze = mesh || colored ? 0.12 * far : 0.62 * far;
  shown = vec4(mix(min(color * light, 1.0), paper, haze), 1.0);
}`;

/** A canvas that shows a shape. It has an accessible name, and takes part in the tab order. */
export class ShapeView {
  #canvas;
  #gl = null;
  #program = null;
  #places = {};
  #shape = null;
  #colors = {ink: [0.4, 0.5, 0.6], paper: [1, 1, 1]};
  #yaw;
  #pitch;
  #distance;
  #swing;
  #turning = false;
  #before = 0; // when the last frame of the slow turn was drawn, milliseconds
  #turned_s = 0;
  #frame = 0;
  #visible = true;
  #pointers = new Map();
  #ended = new AbortController();
  #observers = [];
  #note = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{yaw?: number, pitch?: number, distance?: number, swing?: boolean}} [start] from where it is seen at first,
   *     in radians and radii; and whether it swings at first, as what was photographed from one side should, in place of
   *     a whole turn
   */
  constructor(canvas, {yaw = -0.6, pitch = 0.32, distance = DISTANCE[1], swing = false} = {}) {
    this.#canvas = canvas;
    [this.#yaw, this.#pitch, this.#distance, this.#swing] = [yaw, pitch, distance, swing];
    canvas.classList.add("shape");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    if (!canvas.hasAttribute("aria-label")) canvas.setAttribute("aria-label", "3D view");
    canvas.title = "Drag or use the arrow keys to turn; + and - to zoom";
    this.#gl = canvas.getContext("webgl2", {antialias: true, alpha: true});
    if (!this.#gl) {
      this.#say("This browser has no WebGL, which a 3D view needs.");
      return;
    }
    this.#prepare();
    this.#listen();
  }

  /**
   * Fetch a shape and show it.
   * @param {string | URL} url
   */
  async load(url) {
    const answer = await fetch(url, {signal: this.#ended.signal});
    if (!answer.ok) throw new Error(`the shape cannot be had (status ${answer.status})`);
    this.show(decodeShape(await answer.arrayBuffer()));
  }

  /**
   * Show a shape that is here already.
   * @param {Shape} shape
   */
  show(shape) {
    this.#shape = shape;
    if (!this.#gl) return;
    this.#upload();
    this.#turning = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#before = 0;
    this.#ask();
  }

  /** Give everything back. The canvas can then no longer be drawn on. */
  dispose() {
    this.#ended.abort();
    this.#observers.forEach((one) => one.disconnect());
    cancelAnimationFrame(this.#frame);
    this.#shape = null;
    this.#note?.remove();
    this.#gl?.getExtension("WEBGL_lose_context")?.loseContext();
    this.#gl = null;
  }

  #say(text) {
    this.#note ??= Object.assign(document.createElement("p"), {className: "shape-note"});
    this.#note.textContent = text;
    this.#canvas.hidden = true;
    this.#canvas.after(this.#note);
  }

  #prepare() {
    const gl = this.#gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, "place");
    gl.bindAttribLocation(program, 1, "tint");
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      this.#say("The 3D view does not work with this graphics driver.");
    }
    this.#program = program;
    this.#places = {};
    for (const name of ["turn", "lens", "size", "mesh", "colored", "paper", "distance"]) {
      this.#places[name] = gl.getUniformLocation(program, name);
    }
    gl.enable(gl.DEPTH_TEST);
    this.#readColors();
  }

  #upload() {
    const gl = this.#gl;
    const {positions, colors, triangles} = this.#shape;
    const fill = (target, data) => {
      gl.bindBuffer(target, gl.createBuffer());
      gl.bufferData(target, data, gl.STATIC_DRAW);
    };
    fill(gl.ARRAY_BUFFER, positions);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 0, 0);
    if (colors) {
      fill(gl.ARRAY_BUFFER, colors);
      gl.enableVertexAttribArray(1);
      gl.vertexAttribPointer(1, 4, gl.UNSIGNED_BYTE, true, 0, 0);
    } else {
      gl.disableVertexAttribArray(1);
    }
    if (triangles.length) fill(gl.ELEMENT_ARRAY_BUFFER, triangles);
  }

  #readColors() {
    const style = getComputedStyle(this.#canvas);
    const rgb = (text, otherwise) => {
      const numbers = text.match(/[\d.]+/g)?.slice(0, 3).map((value) => Number(value) / 255);
      return numbers?.length === 3 ? numbers : otherwise;
    };
    const accent = rgb(style.color, [0.23, 0.43, 0.65]);
    const paper = rgb(style.backgroundColor, [0.95, 0.94, 0.92]);
    const grey = paper[0] < 0.5 ? 0.78 : 0.62;
    this.#colors = {ink: accent.map((value) => 0.55 * value + 0.45 * grey), paper};
  }

  #listen() {
    const canvas = this.#canvas;
    const signal = this.#ended.signal;
    const on = (name, act, options = {}) => canvas.addEventListener(name, act, {signal, ...options});
    on("webglcontextlost", (event) => {
      event.preventDefault(); // or it is never restored
      cancelAnimationFrame(this.#frame);
      this.#frame = 0;
    });
    on("webglcontextrestored", () => {
      this.#prepare();
      if (this.#shape) this.#upload();
      this.#ask();
    });
    on("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#pointers.set(event.pointerId, event);
      this.#turning = false;
    });
    on("pointermove", (event) => this.#drag(event));
    for (const name of ["pointerup", "pointercancel"]) on(name, (event) => this.#pointers.delete(event.pointerId));
    on("wheel", (event) => this.#wheel(event), {passive: false});
    on("keydown", (event) => this.#key(event));
    this.#observe(new ResizeObserver(() => this.#ask()), canvas);
    this.#observe(new IntersectionObserver((entries) => {
      this.#visible = entries.at(-1).isIntersecting;
      this.#ask();
    }), canvas);
    const theme = () => {
      this.#readColors();
      this.#ask();
    };
    this.#observe(new MutationObserver(theme), document.documentElement, {attributes: true});
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme, {signal});
  }

  #observe(observer, target, options) {
    observer.observe(target, options);
    this.#observers.push(observer);
  }

  #drag(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const spread = () => {
      const [a, b] = this.#pointers.values();
      return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    };
    if (this.#pointers.size === 2) {
      const old = spread();
      this.#pointers.set(event.pointerId, event);
      this.#zoom(old / Math.max(1, spread()));
      return;
    }
    this.#pointers.set(event.pointerId, event);
    const scale = Math.PI / Math.max(1, Math.min(this.#canvas.clientWidth, this.#canvas.clientHeight));
    this.#turn((event.clientX - before.clientX) * scale, (event.clientY - before.clientY) * scale);
  }

  /** Ctrl (a trackpad's pinch), or a canvas that was clicked: else the wheel scrolls the page. */
  #wheel(event) {
    if (!event.ctrlKey && document.activeElement !== this.#canvas) return;
    event.preventDefault();
    this.#zoom(Math.exp(Math.min(100, Math.max(-100, event.deltaY)) * (event.ctrlKey ? 0.01 : 0.002)));
  }

  #key(event) {
    const step = 0.12;
    const acts = {
      ArrowLeft: () => this.#turn(-step, 0),
      ArrowRight: () => this.#turn(step, 0),
      ArrowUp: () => this.#turn(0, -step),
      ArrowDown: () => this.#turn(0, step),
      "+": () => this.#zoom(1 / 1.12),
      "=": () => this.#zoom(1 / 1.12),
      "-": () => this.#zoom(1.12),
    };
    if (!acts[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[event.key]();
  }

  #turn(yaw, pitch) {
    this.#turning = false;
    this.#yaw += yaw;
    this.#pitch = Math.min(PITCH_MOST, Math.max(-PITCH_MOST, this.#pitch + pitch));
    this.#ask();
  }

  #zoom(by) {
    this.#turning = false;
    this.#distance = Math.min(DISTANCE[2], Math.max(DISTANCE[0], this.#distance * by));
    this.#ask();
  }

  #ask() {
    if (!this.#frame && this.#shape && this.#gl) this.#frame = requestAnimationFrame((now) => this.#draw(now));
  }

  #draw(now) {
    this.#frame = 0;
    const gl = this.#gl;
    const canvas = this.#canvas;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * ratio));
    if (!gl || gl.isContextLost() || !this.#visible || !width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
    const {positions, colors, triangles} = this.#shape;
    if (this.#turning) this.#slowly(now);
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(this.#program);
    const lens = perspective(width / height);
    gl.uniformMatrix4fv(this.#places.turn, false, turned(this.#yaw, this.#pitch, this.#distance));
    gl.uniformMatrix4fv(this.#places.lens, false, lens);
    const spacing = Math.sqrt(4 / Math.max(1, positions.length / 3)); // of points spread over the surface
    gl.uniform1f(this.#places.size, 0.62 * spacing * lens[5] * height);
    gl.uniform1i(this.#places.mesh, triangles.length ? 1 : 0);
    gl.uniform1i(this.#places.colored, colors ? 1 : 0);
    gl.uniform3fv(this.#places.paper, this.#colors.paper);
    gl.uniform1f(this.#places.distance, this.#distance);
    if (!colors) gl.vertexAttrib4f(1, ...this.#colors.ink, 1);
    if (triangles.length) gl.drawElements(gl.TRIANGLES, triangles.length, gl.UNSIGNED_INT, 0);
    else gl.drawArrays(gl.POINTS, 0, positions.length / 3);
    canvas.dataset.drawn = String(Number(canvas.dataset.drawn ?? 0) + 1);
    if (this.#turning) this.#ask();
  }

  /** The slow turn at first. */
  #slowly(now) {
    const step = Math.min(0.1, (now - (this.#before || now)) / 1000);
    this.#before = now;
    const [old, next] = [this.#turned_s, this.#turned_s + step].map((time) => (2 * Math.PI * time) / TURN_S);
    this.#turned_s += step;
    this.#yaw += this.#swing ? SWING * (Math.sin(2 * next) - Math.sin(2 * old)) : next - old;
    this.#turning = this.#turned_s < TURN_S;
  }
}

function perspective(aspect) {
  const [near, far] = [0.05, DISTANCE[2] + 1.5];
  const tall = 1 / Math.tan(FIELD_OF_VIEW / 2) * Math.min(1, aspect); // a narrow canvas shows the whole width
  const deep = 1 / (near - far);
  return new Float32Array([tall / aspect, 0, 0, 0, 0, tall, 0, 0, 0, 0, (near + far) * deep, -1, 0, 0,
    2 * near * far * deep, 0]);
}

function turned(yaw, pitch, distance) {
  const [c, s, d, t] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  return new Float32Array([c, s * t, -s * d, 0, 0, d, t, 0, s, -c * t, c * d, 0, 0, 0, -distance, 1]);
}
