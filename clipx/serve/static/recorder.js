// An AudioWorklet that hands on what the microphone hears, as one channel, in pieces of about 40 ms.

const PIECE = 2048; // samples

class Recorder extends AudioWorkletProcessor {
  #piece = new Float32Array(PIECE);
  #filled = 0;

  process([channels]) {
    const count = channels.length;
    for (let i = 0; count && i < channels[0].length; i += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.#piece[this.#filled] = sum / count;
      this.#filled += 1;
      if (this.#filled === PIECE) {
        this.port.postMessage(this.#piece, [this.#piece.buffer]);
        this.#piece = new Float32Array(PIECE);
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
