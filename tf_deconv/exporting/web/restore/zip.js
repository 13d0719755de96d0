// ZIP archives without compression (APPNOTE.TXT 6.3), which pictures have no use for.

import { crc32 } from "./crc.js";

const MOST_BYTES = 0xffffffff; // What the sizes of a plain archive can count.
const MOST_FILES = 0xffff;
const VERSION = 20;
const UTF8 = 0x0800;

// Date and time as MS-DOS has them, to two seconds.
function stamps(date) {
  const day = (Math.max(date.getFullYear() - 1980, 0) << 9) | ((date.getMonth() + 1) << 5);
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
  return [time, day | date.getDate()];
}

// Returns bytes of [value, size in bytes] pairs, the least byte first.
function packed(fields) {
  const bytes = new Uint8Array(fields.reduce((total, [, size]) => total + size, 0));
  let at = 0;
  for (const [value, size] of fields) {
    for (let i = 0; i < size; i++) bytes[at++] = Math.floor(value / 2 ** (8 * i)) & 255;
  }
  return bytes;
}

/** An archive that grows by a file at a time, and holds no more of it than the browser likes to. */
export class Archive {
  #parts = [];
  #entries = [];
  #size = 0;
  #directorySize = 0;

  /** Adds a file; names are paths with "/", and no two alike. */
  async add(name, blob, date = new Date()) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const path = new TextEncoder().encode(name);
    const common = [
      [VERSION, 2],
      [UTF8, 2],
      [0, 2], // Stored.
      ...stamps(date).map((stamp) => [stamp, 2]),
      [crc32(bytes), 4],
      [bytes.length, 4],
      [bytes.length, 4],
      [path.length, 2],
      [0, 2],
    ];
    const local = packed([[0x04034b50, 4], ...common]);
    const entry = packed([
      [0x02014b50, 4],
      [VERSION, 2],
      ...common,
      [0, 2],
      [0, 2],
      [0, 2],
      [0, 4],
      [this.#size, 4],
    ]);
    this.#entries.push(entry, path);
    this.#parts.push(local, path, blob);
    this.#size += local.length + path.length + bytes.length;
    this.#directorySize += entry.length + path.length;
    const isTooLarge = this.#size + this.#directorySize > MOST_BYTES;
    if (isTooLarge || this.#entries.length / 2 > MOST_FILES) {
      throw new Error("Together they are larger than 4 GB: save them one by one.");
    }
  }

  /** Returns the archive. */
  finish() {
    const count = this.#entries.length / 2;
    const end = packed([
      [0x06054b50, 4],
      [0, 2],
      [0, 2],
      [count, 2],
      [count, 2],
      [this.#directorySize, 4],
      [this.#size, 4],
      [0, 2],
    ]);
    return new Blob([...this.#parts, ...this.#entries, end], { type: "application/zip" });
  }
}
