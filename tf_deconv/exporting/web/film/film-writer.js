// Pictures in, a WebM file out: every one of them, by the browser's own encoder.

import {
  canEncodeVideo, Output, Quality, StreamTarget, VideoSample, VideoSampleSource, WebMOutputFormat,
} from "./lib/mediabunny/index.js";
import { COLOURS, toI420 } from "./i420.js";
import { Fault } from "./picture.js";

// In the library's words and in people's; the better one first.
const CODECS = [
  ["vp9", "VP9"],
  ["vp8", "VP8"],
];
const QUANTIZER = 18; // Of 63: no loss is seen.
const BITS_PER_PIXEL = 0.4; // Where the encoder takes a rate alone.
const [LEAST_RATE, MOST_RATE] = [2e6, 80e6];
const KEY_SECONDS = 2; // Players seek to key frames.
const US = 1e6;

async function chooseEncoder(width, height, framesPerSecond) {
  const rate = width * height * framesPerSecond * BITS_PER_PIXEL;
  const bitrate = Math.round(Math.min(Math.max(rate, LEAST_RATE), MOST_RATE));
  for (const [codec, name] of CODECS) {
    const quantizer = codec === "vp9" ? QUANTIZER : undefined;
    const quality = new Quality({ quantizer, bitrate, bitrateMode: "variable" });
    // "realtime" would leave frames out.
    // A camera that was turned gives frames of another size: they stand whole within the first one's.
    const config = { quality, latencyMode: "quality", sizeChangeBehavior: "contain" };
    if (await canEncodeVideo(codec, { width, height, ...config })) {
      return { name, config: { codec, keyFrameInterval: KEY_SECONDS, ...config } };
    }
  }
  throw new Fault(`This browser has no encoder for films of ${width} × ${height}: another one has.`);
}

// A file that grows in Blobs, which may be on the disk; the library goes back to write lengths.
class Growing {
  blob = new Blob([]);
  stream = new WritableStream({
    write: ({ data, position }) => {
      const [before, after] = [this.blob.slice(0, position), this.blob.slice(position + data.length)];
      this.blob = new Blob([before, data, after]);
    },
  });
}

/** A film that is written. */
export class FilmWriter {
  count = 0; // Pictures that were taken.
  #file = new Growing();
  #output;
  #shape;
  #sound;
  #source;

  /**
   * Begins a film.
   *
   * @param {object} film `width` and `height` in pixels, `framesPerSecond`, the `shape` of a pixel, and
   *   `sound` as sound.js gives it, or null.
   */
  static async begin({ width, height, framesPerSecond = 30, shape = 1, sound = null }) {
    const { name, config } = await chooseEncoder(width, height, framesPerSecond);
    const writer = new FilmWriter(name, config, shape, sound);
    await writer.#output.start();
    return writer;
  }

  constructor(codecName, config, shape, sound) {
    this.codecName = codecName;
    [this.#shape, this.#sound] = [shape, sound];
    this.#source = new VideoSampleSource(config);
    const target = new StreamTarget(this.#file.stream, { chunked: true });
    this.#output = new Output({ format: new WebMOutputFormat(), target });
    this.#output.addVideoTrack(this.#source);
    if (sound) this.#output.addAudioTrack(sound.source);
  }

  /** Adds a picture; its times in microseconds, later than the one before. */
  async add(picture, timestamp, duration) {
    const { width, height } = picture;
    const sizes = {
      codedWidth: width,
      codedHeight: height,
      displayWidth: Math.max(1, Math.round(width * this.#shape)),
      displayHeight: height,
    };
    const how = { format: "I420", colorSpace: COLOURS, ...sizes, timestamp, duration };
    const sample = new VideoSample(new VideoFrame(toI420(picture), how));
    try {
      await this.#source.add(sample);
    } finally {
      sample.close();
    }
    this.count += 1;
    await this.#sound?.upTo(timestamp / US);
  }

  /** Returns the file. */
  async finish() {
    await this.#sound?.upTo(Infinity);
    await this.#output.finalize();
    return new Blob([this.#file.blob], { type: "video/webm" });
  }

  /** Lets go of the encoder. */
  cancel() {
    if (["pending", "started"].includes(this.#output.state)) this.#output.cancel().catch(console.warn);
  }
}
