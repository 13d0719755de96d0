// Pictures of any size through a network of fixed sizes: windows that overlap by what it sees, of
// which the middle is kept. Windows stay within the picture; a side shorter than the window is
// mirrored up to it.

const mirrored = (index, size) => {
  const within = index % (2 * size);
  return Math.min(within, 2 * size - 1 - within);
};

// Returns [window start, first kept, one after the last kept] along one axis.
function windows(side, length, overlap) {
  if (side <= length) return [[0, 0, side]];
  const core = length - 2 * overlap;
  const places = [];
  for (let first = 0; first < side; first += core) {
    const start = Math.min(Math.max(first - overlap, 0), side - length);
    places.push([start, first, Math.min(first + core, side)]);
  }
  return places;
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
  const { channels_in: channels, channels_out: channelsOut, divisor, scale, sizes } = facts;
  const exact = sizes.find(([h, w]) => h === height && w === width);
  const [tileHeight, tileWidth] = exact ?? sizes.reduce((a, b) => (a[0] * a[1] > b[0] * b[1] ? a : b));
  const tooFar = facts.tile_overlap === null || 2 * facts.tile_overlap >= Math.min(tileHeight, tileWidth);
  if (!exact && tooFar) throw new Error(`This network takes ${tileWidth}×${tileHeight} pixels alone.`);
  const up = (side) => Math.ceil(side / divisor) * divisor;
  const rows = windows(up(height), tileHeight, facts.tile_overlap);
  const columns = windows(up(width), tileWidth, facts.tile_overlap);
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
      if (channels === 4) {
        // A network that fills in: what is transparent is missing.
        const known = Math.round(alpha);
        for (let c = 0; c < 3; c++) input[to++] = (data[from + c] / 255) * known;
        input[to++] = known;
        continue;
      }
      // Transparency is laid over white paper.
      const [r, g, b] = [0, 1, 2].map((c) => (data[from + c] / 255) * alpha + 1 - alpha);
      if (channels === 1) input[to++] = 0.299 * r + 0.587 * g + 0.114 * b; // ITU-R BT.601
      else {
        input[to++] = r;
        input[to++] = g;
        input[to++] = b;
      }
    }
  }
}
