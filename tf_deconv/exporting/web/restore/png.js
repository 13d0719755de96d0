// PNG files (W3C PNG, third edition) of pictures that a canvas does not keep: it multiplies colours by
// their opacity, and makes four channels of a grey picture.

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

const FILTERS = { none: 0, sub: 1, up: 2, paeth: 4 };

// Filters rows of a picture, each by the filter whose bytes are the smallest; four are tried in one loop.
class Filter {
  constructor(length, channels) {
    this.channels = channels;
    this.before = new Uint8Array(length);
    this.tried = Object.values(FILTERS).map((number) => {
      const bytes = new Uint8Array(length + 1);
      bytes[0] = number;
      return bytes;
    });
  }

  // Returns a row's bytes with its filter's number before them.
  next(row) {
    const { before, channels } = this;
    const [none, sub, up, paeth] = this.tried;
    const sums = [0, 0, 0, 0];
    for (let i = 0; i < row.length; i++) {
      const value = row[i];
      const above = before[i];
      const left = i < channels ? 0 : row[i - channels];
      const corner = i < channels ? 0 : before[i - channels];
      const a = Math.abs(above - corner);
      const b = Math.abs(left - corner);
      const c = Math.abs(left + above - 2 * corner);
      none[i + 1] = value;
      sub[i + 1] = value - left;
      up[i + 1] = value - above;
      paeth[i + 1] = value - (a <= b && a <= c ? left : b <= c ? above : corner);
      // As signed bytes: 255 is nearly nothing.
      sums[0] += Math.abs((none[i + 1] << 24) >> 24);
      sums[1] += Math.abs((sub[i + 1] << 24) >> 24);
      sums[2] += Math.abs((up[i + 1] << 24) >> 24);
      sums[3] += Math.abs((paeth[i + 1] << 24) >> 24);
    }
    this.before = row;
    return this.tried[sums.indexOf(Math.min(...sums))].slice();
  }
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
  const channels = (isGrey ? 1 : 3) + (isOpaque ? 0 : 1);
  const filter = new Filter(picture.width * channels, channels);
  let y = 0;
  const rows = new ReadableStream({
    pull(controller) {
      if (y === picture.height) controller.close();
      else controller.enqueue(filter.next(rowOf(picture, y++, isGrey, isOpaque)));
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
