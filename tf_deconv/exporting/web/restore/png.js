// PNG files (W3C PNG, third edition). A canvas writes them too, but keeps colours only about, as it
// multiplies them by their opacity, and makes four channels of every picture.

import { crc32 } from "./crc.js";
import { hasTransparency, isGrey } from "./pixels.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

function chunk(name, content) {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = name.charCodeAt(i);
  bytes.set(content, 8);
  view.setUint32(content.length + 8, crc32(bytes.subarray(4, content.length + 8)));
  return bytes;
}

function paeth(left, above, corner) {
  const [a, b] = [Math.abs(above - corner), Math.abs(left - corner)];
  const c = Math.abs(left + above - 2 * corner);
  return a <= b && a <= c ? left : b <= c ? above : corner;
}

// What each filter expects of a byte, by its neighbours; 0: nothing.
const EXPECTED = [() => 0, (left) => left, (left, above) => above, null, paeth];

// Writes a row by the filter whose bytes are the smallest; returns it with its filter's number.
function filtered(row, before, channels) {
  let [best, least] = [null, Infinity];
  for (const [number, expected] of EXPECTED.entries()) {
    if (!expected) continue;
    const bytes = new Uint8Array(row.length + 1);
    bytes[0] = number;
    let sum = 0;
    for (let i = 0; i < row.length; i++) {
      const left = i < channels ? 0 : row[i - channels];
      const corner = i < channels ? 0 : before[i - channels];
      const value = (row[i] - expected(left, before[i], corner)) & 255;
      bytes[i + 1] = value;
      sum += value < 128 ? value : 256 - value;
    }
    if (sum < least) [best, least] = [bytes, sum];
  }
  return best;
}

// Returns a row without the channels that tell nothing.
function rowOf({ data, width }, y, isGrey, isOpaque) {
  const channels = (isGrey ? 1 : 3) + (isOpaque ? 0 : 1);
  const row = new Uint8Array(width * channels);
  for (let x = 0, from = y * width * 4, to = 0; x < width; x++, from += 4) {
    row[to++] = data[from];
    if (!isGrey) {
      row[to++] = data[from + 1];
      row[to++] = data[from + 2];
    }
    if (!isOpaque) row[to++] = data[from + 3];
  }
  return row;
}

async function deflated(picture, isGrey, isOpaque) {
  let [y, before] = [0, null];
  const rows = new ReadableStream({
    pull(controller) {
      if (y === picture.height) return controller.close();
      const row = rowOf(picture, y, isGrey, isOpaque);
      before ??= new Uint8Array(row.length);
      controller.enqueue(filtered(row, before, row.length / picture.width));
      before = row;
      y += 1;
    },
  });
  // "deflate" is zlib's form, which PNG wants.
  const packed = rows.pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

/**
 * Encodes a picture of 8 bits: grey where it is grey, with opacity where it has some.
 *
 * @param {Picture} picture The pixels.
 * @returns {Promise<Blob>} A PNG file.
 */
export async function encodePng(picture) {
  const { width, height } = picture;
  const [grey, opaque] = [isGrey(picture), !hasTransparency(picture)];
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  const kind = (grey ? 0 : 2) + (opaque ? 0 : 4);
  header.set([8, kind, 0, 0, 0], 8); // 8 bits, not interlaced.
  const parts = [
    new Uint8Array(SIGNATURE),
    chunk("IHDR", header),
    chunk("sRGB", new Uint8Array([0])),
    chunk("IDAT", await deflated(picture, grey, opaque)),
    chunk("IEND", new Uint8Array(0)),
  ];
  return new Blob(parts, { type: "image/png" });
}
