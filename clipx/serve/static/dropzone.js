/** A place to drop a file on, or to pick one: it uploads the file and hands its record on. */

import { ApiError, upload } from "./api.js";
import { h, icon } from "./dom.js";

let most = Infinity; // bytes of an upload

/** @param {number} bytes the most that the server takes. */
export function limitUploads(bytes) {
  most = bytes;
}

/**
 * Uploads a file, unless it is too large to try.
 * @param {Blob} blob
 * @param {string} name
 * @param {{signal?: AbortSignal}} options
 * @returns {Promise<object>} the file's record.
 */
export async function send(blob, name, options) {
  if (blob.size > most) {
    throw new ApiError(`${name} has ${megabytes(blob.size)}; ${megabytes(most)} is the most that can be sent.`, 413);
  }
  if (!blob.size) throw new ApiError(`${name} is empty.`, 415);
  return upload(blob, name, options);
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

/**
 * @param {object} options
 * @param {string|string[]} [options.accept] suffixes or types that the file dialog offers.
 * @param {string} options.label what to drop.
 * @param {(record: object) => void} options.onFile
 * @param {(message: string) => void} [options.onError]
 * @returns {HTMLElement & {take: (file: File) => Promise<void>}}
 */
export function dropzone({ accept = [], label, onFile, onError = () => {} }) {
  const input = h("input", { type: "file", class: "visually-hidden", accept: [accept].flat().join(",") });
  const text = h("span", { class: "dropzone-label", text: label });
  const note = h("small", { text: "or click to choose" });
  const zone = h("label", { class: "dropzone" }, input, icon("upload"), text, note);
  let latest = null;
  zone.take = async (file) => {
    latest?.abort();
    const own = (latest = new AbortController());
    zone.classList.add("busy");
    text.textContent = `Reading ${file.name}`;
    try {
      const record = await send(file, file.name, { signal: own.signal });
      if (latest === own) onFile(record);
    } catch (error) {
      if (error.name !== "AbortError") onError(error.message);
    } finally {
      if (latest === own) {
        latest = null;
        zone.classList.remove("busy");
        text.textContent = label;
      }
    }
  };
  input.addEventListener("change", () => {
    if (input.files[0]) zone.take(input.files[0]);
    input.value = "";
  });
  return zone;
}
