// Writes WebM files (RFC 9559), with their length and an index of key frames, so that players can seek.

const MS = 1000; // Microseconds.
const LONGEST_CLUSTER_MS = 30_000; // Blocks count from their cluster in 16 bits.
const [PICTURES, SOUND] = [1, 2];
// BT.709 in the narrow range, as i420.js makes it, by the numbers of ITU-T H.273.
const COLOURS = [[0x55b1, 1], [0x55b9, 1], [0x55ba, 1], [0x55bb, 1]];

function idBytes(id) {
  const bytes = [];
  for (let rest = id; rest; rest = Math.floor(rest / 256)) bytes.unshift(rest & 255);
  return bytes;
}

function numberBytes(value, least = 1) {
  const bytes = [];
  for (let rest = value; rest || bytes.length < least; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return bytes;
}

// Eight bytes always: what is written does not change its length.
const sizeBytes = (size) => [0x01, ...numberBytes(size, 7)];

function real(value) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value);
  return bytes;
}

const lengthOf = (parts) => parts.reduce((all, part) => all + part.length, 0);

function joined(parts) {
  const bytes = new Uint8Array(lengthOf(parts));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const encoded = (value) =>
  typeof value === "number"
    ? numberBytes(value)
    : typeof value === "string"
      ? new TextEncoder().encode(value)
      : Array.isArray(value)
        ? joined(value)
        : value;

// An element: of a number, a text, bytes, or elements in a list.
function element(id, value) {
  const content = encoded(value);
  return joined([idBytes(id), sizeBytes(content.length), content]);
}

/** A film that grows by a packet at a time; what is done lies in Blobs, which may be on the disk. */
export class WebmWriter {
  #codec;
  #width;
  #height;
  #shape;
  #sound;
  #parts = [];
  #size = 0; // Of the clusters so far.
  #cluster = null; // { time, blocks }
  #cues = []; // [ms, place of the cluster]
  #end = 0;

  /**
   * @param {object} film `codec` in Matroska's words, `width` and `height` in pixels, the `shape` of a
   *   pixel, and `sound`: { kind, setup, rate, channels, delay, preroll }, or null.
   */
  constructor({ codec, width, height, shape = 1, sound = null }) {
    [this.#codec, this.#width, this.#height] = [codec, width, height];
    [this.#shape, this.#sound] = [shape, sound];
  }

  /** Adds a packet of the pictures; times in microseconds, which do not decrease. */
  addPicture(data, time, duration, isKey) {
    const ms = Math.round(time / MS);
    const isFull = this.#cluster && ms - this.#cluster.time > LONGEST_CLUSTER_MS;
    if (!this.#cluster || isKey || isFull) this.#beginCluster(ms, isKey);
    this.#addBlock(PICTURES, data, ms, isKey);
    this.#end = Math.max(this.#end, (time + duration) / MS);
  }

  /** Adds a packet of the sound, after the pictures that are shown before it. */
  addSound(data, time) {
    const ms = Math.round(time / MS);
    if (!this.#cluster || ms - this.#cluster.time > LONGEST_CLUSTER_MS) this.#beginCluster(ms, false);
    this.#addBlock(SOUND, data, ms, true);
    this.#end = Math.max(this.#end, ms);
  }

  #beginCluster(time, isKey) {
    this.#endCluster();
    this.#cluster = { time, blocks: [element(0xe7, time)] };
    if (isKey) this.#cues.push([time, this.#size]);
  }

  #endCluster() {
    if (!this.#cluster) return;
    const bytes = element(0x1f43b675, this.#cluster.blocks);
    this.#parts.push(new Blob([bytes]));
    this.#size += bytes.length;
  }

  #addBlock(track, data, ms, isKey) {
    const past = ms - this.#cluster.time;
    const head = [0x80 | track, (past >> 8) & 255, past & 255, isKey ? 0x80 : 0];
    this.#cluster.blocks.push(element(0xa3, [head, data]));
  }

  #track(number, type, codec, inner) {
    const unique = [element(0xd7, number), element(0x73c5, number), element(0x83, type), element(0x9c, 0)];
    return element(0xae, [...unique, element(0x86, codec), ...inner]);
  }

  #tracks() {
    const size = [element(0xb0, this.#width), element(0xba, this.#height)];
    if (this.#shape !== 1) {
      size.push(element(0x54b0, Math.round(this.#width * this.#shape)), element(0x54ba, this.#height));
    }
    size.push(element(0x55b0, COLOURS.map(([id, value]) => element(id, value))));
    const tracks = [this.#track(PICTURES, 1, this.#codec, [element(0xe0, size)])];
    if (this.#sound) {
      const { kind, setup, rate, channels, delay, preroll } = this.#sound;
      const inner = [element(0xe1, [element(0xb5, real(rate)), element(0x9f, channels)])];
      if (setup) inner.push(element(0x63a2, setup));
      if (delay) inner.push(element(0x56aa, delay));
      if (preroll) inner.push(element(0x56bb, preroll));
      tracks.push(this.#track(SOUND, 2, kind, inner));
    }
    return element(0x1654ae6b, tracks);
  }

  /** Returns the file. */
  finish() {
    this.#endCluster();
    const ebml = element(0x1a45dfa3, [
      element(0x4286, 1), element(0x42f7, 1), element(0x42f2, 4), element(0x42f3, 8),
      element(0x4282, "webm"), element(0x4287, 4), element(0x4285, 2),
    ]);
    const info = element(0x1549a966, [
      element(0x2ad7b1, 1_000_000), element(0x4489, real(this.#end)),
      element(0x4d80, "tf_deconv"), element(0x5741, "tf_deconv"),
    ]);
    const tracks = this.#tracks();
    const cuesFrom = (start) =>
      element(0x1c53bb6b, this.#cues.map(([ms, place]) =>
        element(0xbb, [
          element(0xb3, ms),
          element(0xb7, [element(0xf7, PICTURES), element(0xf1, Uint8Array.from(numberBytes(start + place, 8)))]),
        ]),
      ));
    // The index stands in front, where it is of any use before the whole film was fetched.
    const start = info.length + tracks.length + cuesFrom(0).length;
    const segment = [[...idBytes(0x18538067)], sizeBytes(start + this.#size)];
    const head = joined([ebml, ...segment, info, tracks, cuesFrom(start)]);
    return new Blob([head, ...this.#parts], { type: "video/webm" });
  }
}
