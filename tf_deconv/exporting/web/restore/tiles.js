// Pictures of any size through a network of fixed sizes: windows that overlap by what it sees, of
// which the middle is kept. Windows stay within the picture where they can; a side shorter than the
// window is mirrored up to it. The rules are those of `tf-deconv restore`, so the pixels are too.

import { Fault } from "./picture.js";

const mirrored = (index, size) => {
  const within = index % (2 * size);
  return Math.min(within, 2 * size - 1 - within);
};

// Returns how much of a side one window restores.
const core = (side, length, overlap) =>
  length >= side ? side : overlap === null ? 0 : length - 2 * overlap;

// Returns [window start, first kept, one after the last kept] along one axis.
function windows(side, length, overlap) {
  const step = core(side, length, overlap);
  const places = [];
  for (let first = 0; first < side; first += step) {
    const start = Math.max(Math.min(first - overlap, side - length), 0);
    places.push([start, first, Math.min(first + step, side)]);
  }
  return places;
}

// Returns the window's [height, width]: the picture's own, or else the largest inside the picture,
// where the network sees the true borders, or else the smallest around it. Of a network with a state
// it is the one of which as many as it takes have the fewest pixels.
function windowSize(height, width, { divisor, sizes, state, tile_overlap: overlap }) {
  const exact = sizes.find(([h, w]) => h === height && w === width);
  if (exact) return exact;
  const sides = [height, width].map((side) => Math.ceil(side / divisor) * divisor);
  const usable = sizes
    .filter((size) => size.every((length) => length % divisor === 0))
    .filter((size) => size.every((length, axis) => core(sides[axis], length, overlap) > 0))
    .sort((a, b) => a[0] * a[1] - b[0] * b[1]);
  if (state && usable.length) {
    const pixels = (size) =>
      size.reduce(
        (total, length, axis) =>
          total * length * Math.ceil(sides[axis] / core(sides[axis], length, overlap)),
        1,
      );
    return usable.reduce((best, size) => (pixels(size) <= pixels(best) ? size : best));
  }
  const inside = usable.filter((size) => size.every((length, axis) => length <= sides[axis]));
  const chosen = inside.at(-1) ?? usable[0];
  if (chosen) return chosen;
  const have = sizes.map(([h, w]) => `${w} × ${h}`).join(", ");
  throw new Fault(`A picture of ${width} × ${height} does not suit this model, made for ${have}.`);
}

/**
 * Lays windows over a picture.
 *
 * @param {object} picture Its width and height.
 * @param {object} facts The model's.
 * @returns {object} `size`, [height, width] of each window, and `rows` and `columns`: of those along an
 *   axis [start, first of what is kept, one after the last]. The last ones may go beyond the picture.
 */
export function layWindows({ width, height }, facts) {
  const size = windowSize(height, width, facts);
  const [rows, columns] = [height, width].map((side, axis) => {
    const length = size[axis];
    // A signature of the picture's own size pads inside what no divisor divides.
    const padded = side === length ? side : Math.ceil(side / facts.divisor) * facts.divisor;
    return windows(padded, length, facts.tile_overlap);
  });
  return { size, rows, columns };
}

/**
 * Restores a picture.
 *
 * @param {Change} change Where the result goes: what the network sees is `given` of it.
 * @param {function} runTile (Float32Array, [height, width], [row, column]) to a promise of a
 *   Float32Array; row and column say where the window lies, as of `layWindows`.
 * @param {function} progress Receives the part that is done; awaited.
 */
export async function restoreTiles(change, runTile, progress) {
  const { facts, picture } = change;
  const { width, height } = picture;
  const { channels_in: channels, channels_out: channelsOut, scale } = facts;
  const { size, rows, columns } = layWindows(picture, facts);
  const [tileHeight, tileWidth] = size;
  const input = new Float32Array(tileHeight * tileWidth * channels);
  let done = 0;
  for (const row of rows) {
    for (const column of columns) {
      const [[top, firstRow, lastRow], [left, firstColumn, lastColumn]] = [row, column];
      fill(input, change.given, width, height, channels, top, left, tileHeight, tileWidth);
      const restored = await runTile(input, size, [row, column]);
      const [x, count] = [firstColumn * scale, (Math.min(lastColumn, width) - firstColumn) * scale];
      for (let y = firstRow * scale; y < Math.min(lastRow, height) * scale; y++) {
        const from = ((y - top * scale) * tileWidth * scale + x - left * scale) * channelsOut;
        change.takeRow(restored, from, x, y, count);
      }
      done += 1;
      await progress(done / (rows.length * columns.length));
    }
  }
}

function fill(input, data, width, height, channels, top, left, tileHeight, tileWidth) {
  let to = 0;
  for (let y = top; y < top + tileHeight; y++) {
    const row = mirrored(y, height) * width;
    for (let x = left; x < left + tileWidth; x++) {
      const from = (row + mirrored(x, width)) * 4;
      // A network that fills in takes what is transparent as missing, and tells it from black by
      // the fourth channel.
      const known = channels === 4 ? Math.round(data[from + 3] / 255) : 1;
      const [red, green, blue] = [data[from], data[from + 1], data[from + 2]];
      if (channels === 1) {
        input[to++] = (0.299 * red + 0.587 * green + 0.114 * blue) / 255; // ITU-R BT.601
        continue;
      }
      input[to++] = (red / 255) * known;
      input[to++] = (green / 255) * known;
      input[to++] = (blue / 255) * known;
      if (channels === 4) input[to++] = known;
    }
  }
}
