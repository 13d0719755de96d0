// Pictures in, a WebM file out: every one of them, by the browser's own encoder.

import { COLOURS, toI420 } from "./i420.js";
import { Fault } from "./picture.js";
import { WebmWriter } from "./webm-writer.js";

// In WebCodecs', Matroska's and people's words; the better one first.
const CODECS = [
  ["vp09.00.50.08", "V_VP9", "VP9"],
  ["vp8", "V_VP8", "VP8"],
];
const QUANTIZER = 18; // Of 63: no loss is seen.
const BITS_PER_PIXEL = 0.4; // Where the encoder takes a rate alone.
const [LEAST_RATE, MOST_RATE] = [2e6, 80e6];
const KEY_US = 2e6; // Players seek to key frames.
const MOST_WAITING = 4;

async function chooseConfig(width, height, framesPerSecond) {
  const rate = width * height * framesPerSecond * BITS_PER_PIXEL;
  // "realtime" would leave frames out.
  const common = { width, height, latencyMode: "quality" };
  const bitrate = Math.round(Math.min(Math.max(rate, LEAST_RATE), MOST_RATE));
  for (const [codec, matroska, name] of CODECS) {
    for (const how of [{ bitrateMode: "quantizer" }, { bitrateMode: "variable", bitrate }]) {
      if (how.bitrateMode === "quantizer" && name !== "VP9") continue;
      const config = { codec, ...common, ...how };
      const { supported } = await VideoEncoder.isConfigSupported(config).catch(() => ({}));
      if (supported) return { config, matroska, name };
    }
  }
  throw new Fault(`This browser has no encoder for films of ${width} × ${height}: another one has.`);
}

/** A film that is written. */
export class FilmWriter {
  count = 0; // Pictures that were taken.
  #encoder;
  #fault = null;
  #isQuantized;
  #lastKey = -Infinity;
  #sound;
  #writer;

  /**
   * Begins a film.
   *
   * @param {object} film `width` and `height` in pixels, `framesPerSecond`, the `shape` of a pixel,
   *   and `sound` with its packets, as webm-reader.js gives it, or null.
   */
  static async begin({ width, height, framesPerSecond = 30, shape = 1, sound = null }) {
    const { config, matroska, name } = await chooseConfig(width, height, framesPerSecond);
    const writer = new WebmWriter({ codec: matroska, width, height, shape, sound });
    return new FilmWriter(config, name, writer, sound?.packets ?? []);
  }

  constructor(config, codecName, writer, sound) {
    this.codecName = codecName;
    [this.#writer, this.#sound] = [writer, [...sound]];
    this.#isQuantized = config.bitrateMode === "quantizer";
    this.#encoder = new VideoEncoder({
      output: (chunk) => this.#take(chunk),
      error: (error) => {
        this.#fault = error;
      },
    });
    this.#encoder.configure(config);
  }

  #take(chunk) {
    const data = new Uint8Array(chunk.byteLength);
    chunk.copyTo(data);
    this.#writer.addPicture(data, chunk.timestamp, chunk.duration ?? 0, chunk.type === "key");
    while (this.#sound.length && this.#sound[0].time <= chunk.timestamp) this.#addSound();
  }

  #addSound() {
    const { data, time } = this.#sound.shift();
    this.#writer.addSound(data, time);
  }

  /** Adds a picture; its times in microseconds, later than the one before. */
  async add(picture, timestamp, duration) {
    const { width: codedWidth, height: codedHeight } = picture;
    const how = { format: "I420", colorSpace: COLOURS, codedWidth, codedHeight, timestamp, duration };
    const frame = new VideoFrame(toI420(picture), how);
    const keyFrame = timestamp - this.#lastKey >= KEY_US;
    if (keyFrame) this.#lastKey = timestamp;
    try {
      if (this.#fault) throw this.#fault;
      this.#encoder.encode(frame, { keyFrame, ...(this.#isQuantized && { vp9: { quantizer: QUANTIZER } }) });
    } finally {
      frame.close();
    }
    this.count += 1;
    while (this.#encoder.encodeQueueSize > MOST_WAITING && !this.#fault) {
      await new Promise((go) => this.#encoder.addEventListener("dequeue", go, { once: true }));
    }
  }

  /** Returns the file. */
  async finish() {
    if (this.#fault) throw this.#fault;
    await this.#encoder.flush();
    this.#encoder.close();
    while (this.#sound.length) this.#addSound();
    return this.#writer.finish();
  }

  /** Lets go of the encoder. */
  cancel() {
    if (this.#encoder.state !== "closed") this.#encoder.close();
  }
}
