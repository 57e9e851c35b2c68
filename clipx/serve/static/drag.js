/** Dragging with mouse, pen or finger: a copy follows the pointer. */

const FAR_PX = 6; // a press that moves less is a click

/**
 * Lets an element be dragged.
 * @param {HTMLElement} element
 * @param {object} to
 * @param {boolean} [to.touch] whether a finger drags too; it then no longer scrolls from here.
 * @param {() => HTMLElement} [to.ghost] what follows the pointer; a copy of the element by default.
 * @param {() => void} [to.onStart]
 * @param {(x: number, y: number, ghost: HTMLElement) => void} to.onMove in pixels of the window.
 * @param {(x: number, y: number) => void} to.onDrop
 * @param {() => void} to.onEnd always last, after a drop and where Escape ended it.
 */
export function draggable(element, { touch = false, ghost = () => copyOf(element), onStart, onMove, onDrop, onEnd }) {
  element.addEventListener("pointerdown", (down) => {
    if (down.button !== 0 || (down.pointerType === "touch" && !touch)) return;
    if (down.target.closest("input, [role=slider]")) return; // is dragged itself
    const box = element.getBoundingClientRect();
    let shown = null;
    const listen = new AbortController();
    const { signal } = listen;

    const move = (event) => {
      if (event.pointerId !== down.pointerId) return;
      const far = Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) >= FAR_PX;
      if (!shown && !far) return;
      event.preventDefault();
      if (!shown) {
        shown = ghost();
        shown.classList.add("ghost");
        document.body.append(shown);
        document.body.classList.add("dragging");
        onStart?.();
      }
      const dx = Math.min(down.clientX - box.left, shown.offsetWidth - 8);
      const dy = Math.min(down.clientY - box.top, shown.offsetHeight - 8);
      shown.style.setProperty("translate", `${event.clientX - dx}px ${event.clientY - dy}px`);
      onMove(event.clientX, event.clientY, shown);
    };
    const end = (event) => {
      listen.abort();
      if (!shown) return;
      shown.remove();
      document.body.classList.remove("dragging");
      if (event?.type === "pointerup") {
        addEventListener("click", swallow, { capture: true, once: true });
        setTimeout(() => removeEventListener("click", swallow, { capture: true }), 0);
        onDrop(event.clientX, event.clientY);
      }
      onEnd();
    };
    addEventListener("pointermove", move, { signal });
    addEventListener("pointerup", end, { signal });
    addEventListener("pointercancel", end, { signal });
    addEventListener("keydown", (event) => event.key === "Escape" && end(), { signal });
  });
  element.addEventListener("dragstart", (event) => event.preventDefault()); // the browser's own, of images and links
}

function swallow(event) {
  event.preventDefault();
  event.stopPropagation();
}

function copyOf(element) {
  const copy = element.cloneNode(true);
  copy.setAttribute("aria-hidden", "true");
  for (const named of [copy, ...copy.querySelectorAll("[id]")]) named.removeAttribute("id");
  const { width, height } = element.getBoundingClientRect();
  copy.style.setProperty("width", `${width}px`);
  copy.style.setProperty("height", `${height}px`);
  return copy;
}
