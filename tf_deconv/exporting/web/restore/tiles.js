// Pictures of any size through a network of fixed sizes: windows that overlap by what it sees, of
// which the middle is kept. Windows stay within the picture where they can; a side shorter than the
// window is mirrored up to it. The rules are those of `tf-deconv restore`, so the pixels are too.

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
// where the network sees the true borders, or else the smallest around it.
function windowSize(height, width, { divisor, sizes, tile_overlap: overlap }) {
  const exact = sizes.find(([h, w]) => h === height && w === width);
  if (exact) return exact;
  const sides = [height, width].map((side) => Math.ceil(side / divisor) * divisor);
  const usable = sizes
    .filter((size) => size.every((length) => length % divisor === 0))
    .filter((size) => size.every((length, axis) => core(sides[axis], length, overlap) > 0))
    .sort((a, b) => a[0] * a[1] - b[0] * b[1]);
  const inside = usable.filter((size) => size.every((length, axis) => length <= sides[axis]));
  const chosen = inside.at(-1) ?? usable[0];
  if (chosen) return chosen;
  const have = sizes.map(([h, w]) => `${w}×${h}`).join(", ");
  throw new Error(`A picture of ${width}×${height} does not suit this network, made for ${have}.`);
}

/**
 * Restores a picture.
 *
 * @param {Uint8ClampedArray} data RGBA, row by row.
 * @param {number} width Pixels.
 * @param {number} height Pixels.
 * @param {object} facts model.json.
 * @param {function} runTile (Float32Array, [height, width]) to a promise of a Float32Array.
 * @param {function} progress Receives the part that is done; awaited.
 * @returns {Promise<Uint8ClampedArray>} RGBA of width * scale by height * scale.
 */
export async function restorePixels(data, width, height, facts, runTile, progress) {
  const { channels_in: channels, channels_out: channelsOut, divisor, scale } = facts;
  const [tileHeight, tileWidth] = windowSize(height, width, facts);
  // A signature of the picture's own size pads inside what no divisor divides.
  const padded = (side, length) => (side === length ? side : Math.ceil(side / divisor) * divisor);
  const rows = windows(padded(height, tileHeight), tileHeight, facts.tile_overlap);
  const columns = windows(padded(width, tileWidth), tileWidth, facts.tile_overlap);
  const input = new Float32Array(tileHeight * tileWidth * channels);
  const output = new Uint8ClampedArray(width * scale * height * scale * 4).fill(255);
  let done = 0;
  for (const [top, firstRow, lastRow] of rows) {
    for (const [left, firstColumn, lastColumn] of columns) {
      fill(input, data, width, height, channels, top, left, tileHeight, tileWidth);
      const restored = await runTile(input, [tileHeight, tileWidth]);
      for (let y = firstRow * scale; y < Math.min(lastRow, height) * scale; y++) {
        for (let x = firstColumn * scale; x < Math.min(lastColumn, width) * scale; x++) {
          const from = ((y - top * scale) * tileWidth * scale + x - left * scale) * channelsOut;
          const to = (y * width * scale + x) * 4;
          for (let c = 0; c < 3; c++) {
            // The array clamps and rounds.
            output[to + c] = 255 * restored[from + (channelsOut === 1 ? 0 : c)];
          }
        }
      }
      done += 1;
      await progress(done / (rows.length * columns.length));
    }
  }
  return output;
}

function fill(input, data, width, height, channels, top, left, tileHeight, tileWidth) {
  let to = 0;
  for (let y = top; y < top + tileHeight; y++) {
    const row = mirrored(y, height) * width;
    for (let x = left; x < left + tileWidth; x++) {
      const from = (row + mirrored(x, width)) * 4;
      const alpha = data[from + 3] / 255;
      // A network that fills in takes what is transparent as missing, and tells it from black by
      // the fourth channel; for the others transparency is laid over white paper.
      const known = Math.round(alpha);
      const [factor, paper] = channels === 4 ? [known, 0] : [alpha, 1 - alpha];
      const red = (data[from] / 255) * factor + paper;
      const green = (data[from + 1] / 255) * factor + paper;
      const blue = (data[from + 2] / 255) * factor + paper;
      if (channels === 1) {
        input[to++] = 0.299 * red + 0.587 * green + 0.114 * blue; // ITU-R BT.601
        continue;
      }
      input[to++] = red;
      input[to++] = green;
      input[to++] = blue;
      if (channels === 4) input[to++] = known;
    }
  }
}
