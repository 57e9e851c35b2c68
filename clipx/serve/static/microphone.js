// The microphone as a WAV file: MediaRecorder writes WebM, which sound libraries do not read.

/** Seconds that a recording has at most. */
export const MOST_S = 30;

/**
 * Start to record.
 * @param {object} [calls]
 * @param {(level: number) => void} [calls.onLevel] the loudest sample of each 40 ms, from 0 to 1
 * @param {(seconds: number) => void} [calls.onTime] how long the recording is; no longer called once it is full
 * @param {() => void} [calls.onFull] called once when it has MOST_S seconds
 * @returns {Promise<{stop: () => Promise<Blob>, cancel: () => void}>} `stop` gives a mono WAV of 16 bits
 * @throws {Error} one line: no microphone, or no permission
 */
export async function record({onLevel, onTime, onFull} = {}) {
  if (!navigator.mediaDevices || !window.AudioWorkletNode) throw new Error("this browser gives a page no microphone");
  let stream;
  try {
    const audio = {channelCount: 1, echoCancellation: false, noiseSuppression: false}; // they take sounds for noise
    stream = await navigator.mediaDevices.getUserMedia({audio});
  } catch (error) {
    throw new Error(REASONS[error.name] ?? `the microphone does not work (${error.name})`);
  }
  const context = new AudioContext();
  const end = () => {
    stream.getTracks().forEach((track) => track.stop());
    if (context.state !== "closed") context.close();
  };
  try {
    await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url));
    await context.resume();
  } catch {
    end();
    throw new Error("this browser cannot record here");
  }
  const source = context.createMediaStreamSource(stream);
  const node = new AudioWorkletNode(context, "recorder", {numberOfOutputs: 0});
  const pieces = [];
  const most = MOST_S * context.sampleRate;
  let samples = 0;
  node.port.onmessage = ({data}) => {
    if (samples >= most) return;
    pieces.push(data.subarray(0, most - samples));
    samples += pieces.at(-1).length;
    onLevel?.(data.reduce((loudest, value) => Math.max(loudest, Math.abs(value)), 0));
    onTime?.(samples / context.sampleRate);
    if (samples >= most) {
      end();
      onFull?.();
    }
  };
  source.connect(node);
  return {
    async stop() {
      end();
      node.port.onmessage = null;
      if (!samples) throw new Error("nothing was recorded");
      return wav(pieces, samples, context.sampleRate);
    },
    cancel() {
      end();
      node.port.onmessage = null;
    },
  };
}

const REASONS = {
  NotAllowedError: "the microphone is not allowed; allow it for this page in the browser's settings",
  NotFoundError: "no microphone was found",
  NotReadableError: "the microphone is in use by another program",
};

/**
 * Samples from -1 to 1 as a mono WAV of 16 bits.
 * @param {Float32Array[]} pieces
 * @param {number} samples in all pieces
 * @param {number} rate samples a second
 * @returns {Blob}
 */
export function wav(pieces, samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples));
  const letters = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  letters(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples, true);
  letters(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of what follows, up to "data"
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  letters(36, "data");
  view.setUint32(40, 2 * samples, true);
  let at = 44;
  for (const piece of pieces) {
    for (const value of piece) {
      view.setInt16(at, Math.round(32767 * Math.min(1, Math.max(-1, value))), true);
      at += 2;
    }
  }
  return new Blob([view], {type: "audio/wav"});
}
