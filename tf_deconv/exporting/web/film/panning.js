// How far a film's picture has moved as a whole since the frame before, and a state moved as far: what
// `tf_deconv/inference/panning.py` computes, which says why, with its names and numbers.

const [CELL_PX, MOST_CELLS] = [2, 512];
const COARSEST = 64;
const FARTHEST = 0.25;
const [LEAST_GAIN, DEVIATIONS] = [0.05, 8];
const STEPS = 5;
const OUTLYING = 2.5;
const LEAST_PX = 0.05;
const FEWEST = 8;
const LOBES = 3;
// As long as Lanczos' kernel, for all go the same way.
const SMOOTHING = [0, 0, 0.25, 0.5, 0.25, 0];
const EVIDENCE = 100;
const NOISE_SLOPES = 0.104;
const TINY = 1e-9;
const STRIDE = 2; // Pixels of a square's side.

/** Numbers row by row, of which each place has `deep`. */
class Grid {
  constructor(values, high, wide, deep = 1) {
    Object.assign(this, { values, high, wide, deep });
  }
}

/** What is known of a film's last frame: enough to say how far the next one has moved. */
export class Pan {
  #before = null;

  /**
   * Takes the next frame.
   *
   * @param {Picture} picture The frame; all of a film are of one size.
   * @returns {number[]} By how many pixels most of the picture has moved, [down, to the right], since the
   *   frame before; [0, 0] where that cannot be told from nothing, and at the first frame.
   */
  to(picture) {
    const { width, height } = picture;
    let side = CELL_PX;
    while (Math.max(height, width) > MOST_CELLS * side) side *= 2;
    if (Math.min(height, width) < FEWEST * side) return [0, 0];
    const before = this.#before;
    this.#before = cellsOf(picture, side);
    if (!before) return [0, 0];
    const found = displacement(before, this.#before).map((by) => side * by);
    return Math.hypot(...found) >= LEAST_PX ? found : [0, 0];
  }
}

/**
 * Moves a state with the picture. The mean of the frames is read between its pixels, its weight and the
 * features from the nearest square; where something comes in there is no past.
 *
 * @param {Float32Array} state What the past weighs, the mean of the squares' pixels, and features, of
 *   each square.
 * @param {number[]} shape [rows, columns, values of each square].
 * @param {number[]} by [down, to the right], in pixels of the frame.
 * @param {number} channels Of a frame.
 * @param {Float32Array} into As long as `state`: receives the result.
 */
export function follow(state, [high, wide, deep], by, channels, into) {
  const [down, right] = by.map((px) => Math.floor(px / STRIDE + 0.5));
  into.fill(0);
  const { top, left, rows, columns } = shared(high, wide, down, right);
  for (let y = top; y < top + rows; y++) {
    const from = ((y - down) * wide + left - right) * deep;
    into.set(state.subarray(from, from + columns * deep), (y * wide + left) * deep);
  }
  const image = shifted(shifted(unfolded(state, high, wide, deep, channels), by[0], 0), by[1], 1);
  fold(image.values, into, high, wide, deep, channels);
}

// ---- How far

// Returns smoothed means of all colours over whole cells.
function cellsOf({ data, width, height }, side) {
  const [high, wide] = [Math.floor(height / side), Math.floor(width / side)];
  const means = new Float64Array(high * wide);
  const count = 3 * side * side;
  for (let row = 0, to = 0; row < high; row++) {
    for (let column = 0; column < wide; column++, to++) {
      let sum = 0;
      for (let y = row * side; y < (row + 1) * side; y++) {
        let from = (y * width + column * side) * 4;
        for (let x = 0; x < side; x++, from += 4) sum += data[from] + data[from + 1] + data[from + 2];
      }
      means[to] = sum / count;
    }
  }
  const cells = new Grid(means, high, wide);
  return filtered(filtered(cells, SMOOTHING, 0, -LOBES), SMOOTHING, 1, -LOBES);
}

// Returns by how many cells most has moved, [down, to the right].
function displacement(before, now) {
  const levels = [[before, now]];
  while (Math.max(levels.at(-1)[0].high, levels.at(-1)[0].wide) > COARSEST) {
    levels.push(levels.at(-1).map(halved));
  }
  const [{ high, wide }] = levels.at(-1);
  let reach = [high, wide].map((side) => Math.floor(FARTHEST * side));
  let [found, isClear] = [[0, 0], false];
  for (const level of levels.reverse()) {
    found = best(...level, found.map((by) => 2 * by), reach);
    isClear ||= isTold(...level, found);
    reach = [1, 1];
  }
  if (!isClear) found = [0, 0];
  const part = parts(before, now, ...found);
  return found.map((by, axis) => by + part[axis]);
}

// Whether a displacement leaves clearly less than none does, of what it shows.
function isTold(before, now, [down, right]) {
  const box = shared(now.high, now.wide, down, right);
  const gain = Math.max(LEAST_GAIN, DEVIATIONS / Math.sqrt(Math.max(box.rows * box.columns, 1)));
  return remaining(before, now, box, down, right) < (1 - gain) * remaining(before, now, box, 0, 0);
}

// Returns the place around `middle` that leaves the least; far ones have a price.
function best(before, now, middle, reach) {
  // For along an edge all places are alike.
  const price = LEAST_GAIN / (FARTHEST * Math.max(now.high, now.wide));
  let [found, least] = [null, 0];
  for (let down = middle[0] - reach[0]; down <= middle[0] + reach[0]; down++) {
    for (let right = middle[1] - reach[1]; right <= middle[1] + reach[1]; right++) {
      const box = shared(now.high, now.wide, down, right);
      const left = remaining(before, now, box, down, right);
      const cost = left * (1 + price * Math.hypot(down, right));
      if (!found || cost < least) [found, least] = [[down, right], cost];
    }
  }
  return found;
}

// Returns the mean absolute difference in a box of `now`, less what all of it changed by.
function remaining(before, now, { top, left, rows, columns }, down, right) {
  const count = rows * columns;
  if (!count) return Infinity;
  const { wide } = now;
  const [was, is, back] = [before.values, now.values, down * wide + right];
  let sum = 0;
  for (let y = top; y < top + rows; y++) {
    const end = y * wide + left + columns;
    for (let i = end - columns; i < end; i++) sum += is[i] - was[i - back];
  }
  const mean = sum / count;
  let total = 0;
  for (let y = top; y < top + rows; y++) {
    const end = y * wide + left + columns;
    for (let i = end - columns; i < end; i++) total += Math.abs(is[i] - was[i - back] - mean);
  }
  return total / count;
}

// Returns by which parts of a cell most has moved beyond whole cells; [0, 0] if that may be chance.
function parts(before, now, down, right) {
  const box = shared(now.high, now.wide, down, right);
  if (Math.min(box.rows, box.columns) < FEWEST) return [0, 0];
  const is = cut(now, box);
  const was = cut(before, { ...box, top: box.top - down, left: box.left - right });
  const tiny = TINY * (1 + is.values.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
  let [y, x, sums] = [0, 0, null];
  for (let step = 0; step < STEPS; step++) {
    sums = slopesOf(shifted(shifted(was, y, 0), x, 1), is, tiny);
    const { yy, xx, yx, yChange, xChange } = sums;
    const area = yy * xx - yx * yx;
    if (area <= TINY * (yy + xx) ** 2) return [0, 0]; // Flat, or of lines in one direction.
    y -= (xx * yChange - yx * xChange) / area;
    x -= (yy * xChange - yx * yChange) / area;
    if (Math.max(Math.abs(y), Math.abs(x)) > 1) return [0, 0];
  }
  const { yy, xx, yx, weight, spread } = sums;
  const noise = NOISE_SLOPES * weight * spread ** 2;
  const evidence = y * y * (yy - noise) + 2 * y * x * yx + x * x * (xx - noise);
  if (evidence < EVIDENCE * spread ** 2) return [0, 0]; // It may be chance.
  const { high, wide } = is;
  const inner = { top: LOBES, left: LOBES, rows: high - 2 * LOBES, columns: wide - 2 * LOBES };
  const moved = shifted(shifted(was, y, 0), x, 1);
  return remaining(moved, is, inner, 0, 0) <= remaining(was, is, inner, 0, 0) ? [y, x] : [0, 0];
}

// Returns weighted sums of the products of slopes and change, where the kernel has all it needs.
function slopesOf(moved, now, tiny) {
  const { high, wide } = now;
  const [was, is] = [moved.values, now.values];
  const [both, changes] = [new Float64Array(is.length), new Float64Array(is.length)];
  const count = (high - 2 * LOBES) * (wide - 2 * LOBES);
  let mean = 0;
  for (let y = 0; y < high; y++) {
    const isInner = y >= LOBES && y < high - LOBES;
    for (let x = 0, i = y * wide; x < wide; x++, i++) {
      both[i] = 0.5 * (was[i] + is[i]);
      changes[i] = is[i] - was[i];
      if (isInner && x >= LOBES && x < wide - LOBES) mean += changes[i];
    }
  }
  mean /= count;
  let spread = 0;
  for (let y = LOBES; y < high - LOBES; y++) {
    const end = (y + 1) * wide - LOBES;
    for (let i = y * wide + LOBES; i < end; i++) {
      changes[i] -= mean;
      spread += Math.abs(changes[i]);
    }
  }
  // Of noise it is a standard deviation. A little more, so that no change at all is one too.
  spread = (Math.sqrt(Math.PI / 2) * spread) / count + tiny;
  const squared = (OUTLYING * spread) ** 2;
  let [weight, yy, xx, yx, yChange, xChange] = [0, 0, 0, 0, 0, 0];
  for (let y = LOBES; y < high - LOBES; y++) {
    const end = (y + 1) * wide - LOBES;
    for (let i = y * wide + LOBES; i < end; i++) {
      const change = changes[i];
      const sharing = 1 + (change * change) / squared;
      const part = 1 / (sharing * sharing);
      const slopeY = 0.5 * (both[i + wide] - both[i - wide]);
      const slopeX = 0.5 * (both[i + 1] - both[i - 1]);
      const [partY, partX] = [part * slopeY, part * slopeX];
      weight += part;
      yy += partY * slopeY;
      xx += partX * slopeX;
      yx += partY * slopeX;
      yChange += partY * change;
      xChange += partX * change;
    }
  }
  return { weight, spread, yy, xx, yx, yChange, xChange };
}

// ---- Moving

// Returns the box in the later one of two frames of what is in both.
function shared(high, wide, down, right) {
  const [rows, columns] = [high - Math.abs(down), wide - Math.abs(right)];
  const [top, left] = [Math.max(0, down), Math.max(0, right)];
  return { top, left, rows: Math.max(0, rows), columns: Math.max(0, columns) };
}

function cut({ values, wide }, { top, left, rows, columns }) {
  const part = new Float64Array(rows * columns);
  for (let y = 0; y < rows; y++) {
    const from = (top + y) * wide + left;
    part.set(values.subarray(from, from + columns), y * columns);
  }
  return new Grid(part, rows, columns);
}

const sinc = (x) => (x ? Math.sin(Math.PI * x) / (Math.PI * x) : 1);

// Moves values along an axis, read between places by Lanczos' kernel; the last one goes on.
function shifted(grid, by, axis) {
  if (!by) return grid;
  const whole = Math.floor(by);
  const kernel = [];
  for (let i = -LOBES; i < LOBES; i++) {
    const away = i + (by - whole);
    kernel.push(sinc(away) * sinc(away / LOBES));
  }
  const sum = kernel.reduce((total, factor) => total + factor);
  return filtered(grid, kernel.map((factor) => factor / sum), axis, -LOBES - whole);
}

// Returns sums along an axis of what is `first`, `first` + 1, ... places on; the ends go on.
function filtered({ values, high, wide, deep }, kernel, axis, first) {
  const total = new Float64Array(values.length);
  const long = wide * deep;
  const clipped = (place, side) => Math.min(Math.max(place, 0), side - 1);
  if (axis === 0) {
    for (let y = 0; y < high; y++) {
      const from = kernel.map((_, k) => clipped(y + first + k, high) * long);
      mix(values, from, kernel, total, y * long, long);
    }
    return new Grid(total, high, wide, deep);
  }
  // A row with what its ends go on as.
  const row = new Float64Array((wide + kernel.length - 1) * deep);
  const places = Int32Array.from(row, (_, to) => {
    return clipped(Math.floor(to / deep) + first, wide) * deep + (to % deep);
  });
  const from = kernel.map((_, k) => k * deep);
  for (let y = 0; y < high; y++) {
    for (let to = 0; to < row.length; to++) row[to] = values[y * long + places[to]];
    mix(row, from, kernel, total, y * long, long);
  }
  return new Grid(total, high, wide, deep);
}

// Writes sums of `count` values from six places on. Written out, it takes half the time.
function mix(values, [f0, f1, f2, f3, f4, f5], [k0, k1, k2, k3, k4, k5], total, to, count) {
  for (let i = 0; i < count; i++) {
    total[to + i] =
      k0 * values[f0 + i] +
      k1 * values[f1 + i] +
      k2 * values[f2 + i] +
      k3 * values[f3 + i] +
      k4 * values[f4 + i] +
      k5 * values[f5 + i];
  }
}

// Returns means over two by two cells; what is left over at the ends is left out.
function halved({ values, high, wide }) {
  const [rows, columns] = [high >> 1, wide >> 1];
  const means = new Float64Array(rows * columns);
  for (let y = 0, to = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++, to++) {
      const i = 2 * (y * wide + x);
      means[to] = (values[i] + values[i + 1] + values[i + wide] + values[i + wide + 1]) / 4;
    }
  }
  return new Grid(means, rows, columns);
}

// Returns the mean of the frames, pixel by pixel.
function unfolded(state, high, wide, deep, channels) {
  const image = new Float64Array(high * wide * STRIDE ** 2 * channels);
  let to = 0;
  for (let y = 0; y < high * STRIDE; y++) {
    let from = Math.floor(y / STRIDE) * wide * deep + 1 + (y % STRIDE) * STRIDE * channels;
    for (let x = 0; x < wide; x++, from += deep) {
      for (let i = 0; i < STRIDE * channels; i++) image[to++] = state[from + i];
    }
  }
  return new Grid(image, high * STRIDE, wide * STRIDE, channels);
}

// Puts the mean of the frames back into a state, where that has a past.
function fold(image, state, high, wide, deep, channels) {
  let from = 0;
  for (let y = 0; y < high * STRIDE; y++) {
    let square = Math.floor(y / STRIDE) * wide * deep;
    const first = 1 + (y % STRIDE) * STRIDE * channels;
    for (let x = 0; x < wide; x++, square += deep) {
      const isKnown = state[square] > 0;
      for (let i = 0; i < STRIDE * channels; i++, from++) {
        state[square + first + i] = isKnown ? image[from] : 0;
      }
    }
  }
}
