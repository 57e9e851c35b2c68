/** The JSON API of the server, version 1. Every address is relative to the page, whose own path holds the token. */

const BASE = new URL("api/v1/", document.baseURI);

/** What the server refused, or that it does not answer, in one line. */
export class ApiError extends Error {
  /**
   * @param {string} message one line.
   * @param {number} status of HTTP; 0 where there was no answer.
   */
  constructor(message, status) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/**
 * The address of a resource, for images, players and fetch.
 * @param {string} path relative to the API.
 * @returns {string}
 */
export function url(path) {
  return new URL(path, BASE).href;
}

/**
 * @param {string} path relative to the API.
 * @returns {Promise<any>} the JSON of the answer.
 */
export function get(path) {
  return json(path, {});
}

/**
 * @param {string} path relative to the API.
 * @param {any} body sent as JSON.
 * @returns {Promise<any>} the JSON of the answer.
 */
export function post(path, body = {}) {
  return json(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

/**
 * @param {string} path relative to the API.
 * @returns {Promise<any>} the JSON of the answer; null where it is empty.
 */
export function del(path) {
  return json(path, { method: "DELETE" });
}

/**
 * Sends a file.
 * @param {Blob} blob its content.
 * @param {string} name its name, whose suffix says what it is.
 * @param {{signal?: AbortSignal}} options
 * @returns {Promise<any>} the file's record.
 */
export function upload(blob, name, { signal } = {}) {
  const headers = { "X-Filename": encodeURIComponent(name), "Content-Type": "application/octet-stream" };
  return json("uploads", { method: "POST", headers, body: blob, signal });
}

/**
 * Posts a question whose answer comes line by line.
 * @param {string} path relative to the API.
 * @param {any} body sent as JSON.
 * @param {(record: any) => void} onRecord called for each line as it arrives.
 * @param {{signal?: AbortSignal}} options
 */
export async function ndjson(path, body, onRecord, { signal } = {}) {
  const headers = { "Content-Type": "application/json" };
  const answer = await answered(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines) {
      if (!line.trim()) continue;
      const record = JSON.parse(line);
      if (record.error && record.event !== "hit") throw new ApiError(record.error, answer.status);
      onRecord(record);
    }
    if (done) return;
  }
}

/**
 * Listens to server-sent events. A stream that breaks is not opened again: it may stand for a job.
 * @param {string} path relative to the API.
 * @param {Object<string, (data: any) => void>} handlers one per event; `lost` is called without data where the stream
 *   ends and nobody closed it.
 * @returns {{close: () => void}}
 */
export function events(path, handlers) {
  const source = new EventSource(url(path));
  for (const [name, handler] of Object.entries(handlers)) {
    if (name !== "lost") source.addEventListener(name, (event) => handler(JSON.parse(event.data)));
  }
  source.onerror = () => {
    source.close();
    handlers.lost?.();
  };
  return { close: () => source.close() };
}

async function json(path, options) {
  const answer = await answered(path, options);
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

async function answered(path, options) {
  let answer;
  try {
    answer = await fetch(url(path), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Is clipx serve still running?", 0);
  }
  if (answer.ok) return answer;
  let message = `The server refused this (${answer.status}).`;
  try {
    message = (await answer.json()).error ?? message;
  } catch {
    // no JSON: the status says what there is to say
  }
  throw new ApiError(message, answer.status);
}
