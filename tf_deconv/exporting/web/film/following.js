// How a film's picture has moved and lightened as a whole since the frame before, and a state so: what
// `tf_deconv/inference/following.py` computes, which says why, with its names and numbers.

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
const [BLOCK, FOR_EACH, LEAST_CHANGE] = [6, 3, 0.25];
const LINED = 0.01;
// As long as Lanczos' kernel, too.
const AROUND = [0, 0.2, 0.2, 0.2, 0.2, 0.2];
const [CLEAR, KEPT] = [0.2, 0.85];
const MOST_GAIN = 2;
const TINY = 1e-9;
const STRIDE = 2; // Pixels of a square's side.

/** Numbers row by row, of which each place has `deep`. */
class Grid {
  constructor(values, high, wide, deep = 1) {
    Object.assign(this, { values, high, wide, deep });
  }
}

const NONE = { down: 0, right: 0, gain: 1, still: null };

/** Whether a motion is none. */
export const isNone = ({ down, right, gain }) => !down && !right && gain === 1;

/** What is known of a film's last frame: enough to say what the picture does until the next. */
export class Follower {
  #before = null;
  #stillness = null;

  /**
   * Takes the next frame.
   *
   * @param {Picture} picture The frame; all of a film are of one size.
   * @returns {object} By how many pixels most of the picture has moved `down` and to the `right` since the
   *   frame before, 0 where that cannot be told from nothing, the `gain` by which it is brighter, 1
   *   likewise, as at the first frame, and, if there is any, what is `still` for all that: a grid of
   *   squares of which the values are 0 or 1.
   */
  to(picture) {
    const { width, height } = picture;
    let side = CELL_PX;
    while (Math.max(height, width) > MOST_CELLS * side) side *= 2;
    if (Math.min(height, width) < FEWEST * side) return NONE;
    const before = this.#before;
    this.#before = cellsOf(picture, side);
    if (!before) return NONE;
    let { down, right, gain } = compared(before, this.#before);
    if (side * Math.hypot(down, right) < LEAST_PX) [down, right] = [0, 0];
    if (isNone({ down, right, gain })) return NONE;
    const kept = this.#stillness;
    const now = stillness(before, this.#before, down, right, gain);
    if (kept) now.values.forEach((_, i) => (now.values[i] += KEPT * kept.values[i]));
    this.#stillness = now;
    return { down: side * down, right: side * right, gain, still: stillSquares(now, side / STRIDE) };
  }
}

/**
 * Moves and lightens a state as the picture. The mean of the frames is read between its pixels, its
 * weight and the features from the nearest square; where something comes in there is no past.
 *
 * @param {Float32Array} state What the past weighs, the mean of the squares' pixels, and features, of
 *   each square.
 * @param {number[]} shape [rows, columns, values of each square].
 * @param {object} motion As of `Follower`.
 * @param {number} channels Of a frame.
 * @param {Float32Array} into As long as `state`: receives the result.
 */
export function follow(state, [high, wide, deep], motion, channels, into) {
  const [down, right] = [motion.down, motion.right].map((px) => Math.floor(px / STRIDE + 0.5));
  into.fill(0);
  const { top, left, rows, columns } = shared(high, wide, down, right);
  for (let y = top; y < top + rows; y++) {
    const from = ((y - down) * wide + left - right) * deep;
    into.set(state.subarray(from, from + columns * deep), (y * wide + left) * deep);
  }
  const image = moved(unfolded(state, high, wide, deep, channels), motion.down, motion.right);
  fold(image.values, motion.gain, into, high, wide, deep, channels);
  const { still } = motion;
  if (!still) return;
  for (let y = 0; y < Math.min(high, still.high); y++) {
    for (let x = 0; x < Math.min(wide, still.wide); x++) {
      if (!still.values[y * still.wide + x]) continue;
      const from = (y * wide + x) * deep;
      into.set(state.subarray(from, from + deep), from);
    }
  }
}

// ---- What the picture has done

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

// Returns by how many cells most has moved, and its gain.
function compared(earlier, now) {
  // About as light, so that what is left tells of motion.
  let ratio = mean(now.values) / mean(earlier.values);
  if (!(ratio >= 1 / MOST_GAIN && ratio <= MOST_GAIN)) ratio = 1;
  const before = times(earlier, ratio);
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
  let [box, is, then] = both(before, now, found);
  if (Math.min(box.rows, box.columns) < FEWEST) return NONE;
  if (found.some(Boolean) && isLined(then, is)) {
    found = [0, 0];
    [box, is, then] = both(before, now, found);
  }
  const was = cut(before, box);
  const part = parts(then, is);
  const [shown, gone] = [inner(is), inner(moved(then, ...part))];
  const suits = suitsMost(inner(was), gone, shown);
  const gain = gainOf(times(suits ? gone : inner(was), 1 / ratio), shown);
  return suits ? { down: found[0] + part[0], right: found[1] + part[1], gain } : { ...NONE, gain };
}

// Returns the box that both frames show when it has moved so far, and what is and was there.
function both(before, now, [down, right]) {
  const box = shared(now.high, now.wide, down, right);
  const then = cut(before, { ...box, top: box.top - down, left: box.left - right });
  return [box, cut(now, box), then];
}

// Whether a picture is of lines in one direction, along which no place is told.
function isLined(before, now) {
  const { high, wide } = now;
  const middle = now.values.map((value, i) => 0.5 * (value + before.values[i]));
  const change = inner(new Grid(now.values.map((value, i) => value - before.values[i]), high, wide));
  const common = mean(change.values);
  const noise = NOISE_SLOPES * mean(change.values.map((value) => (value - common) ** 2));
  let [yy, xx, yx, count] = [0, 0, 0, 0];
  for (let y = LOBES; y < high - LOBES; y++) {
    for (let x = LOBES, i = y * wide + x; x < wide - LOBES; x++, i++, count++) {
      const slopeY = 0.5 * (middle[i + wide] - middle[i - wide]);
      const slopeX = 0.5 * (middle[i + 1] - middle[i - 1]);
      yy += slopeY * slopeY;
      xx += slopeX * slopeX;
      yx += slopeY * slopeX;
    }
  }
  const half = (yy + xx) / 2 / count - noise;
  const apart = Math.hypot((yy - xx) / 2, yx) / count;
  return half - apart < LINED * (half + apart);
}

// Returns how much more cells are like what they were than like what came there: 1 is what tells of a
// cell by itself that it did not move; what came in did.
function stillness(before, now, down, right, gain) {
  const { high, wide } = now;
  const size = now.values.length;
  const { values: gone } = moved(before, down, right);
  const [left, had] = [new Float64Array(size), new Float64Array(size)];
  for (let i = 0; i < size; i++) {
    left[i] = Math.abs(now.values[i] - gain * gone[i]);
    had[i] = Math.abs(now.values[i] - before.values[i]);
  }
  const least = CLEAR * mean(left) + TINY;
  // As sums of differences the difference of sums.
  const more = new Grid(left.map((value, i) => value - had[i]), high, wide);
  const around = filtered(filtered(more, AROUND, 0, -LOBES), AROUND, 1, -LOBES);
  const [cameY, cameX] = [down, right].map((by) => Math.ceil(Math.abs(by)));
  for (let y = 0, i = 0; y < high; y++) {
    const isOldY = down > 0 ? y >= cameY : y < high - cameY;
    for (let x = 0; x < wide; x++, i++) {
      const isOld = isOldY && (right > 0 ? x >= cameX : x < wide - cameX);
      around.values[i] = isOld ? around.values[i] / least : 0;
    }
  }
  return around;
}

// Returns which squares stand still, a cell having so many along a side; null if none does.
function stillSquares({ values, high, wide }, times) {
  if (!values.some((value) => value > 1)) return null;
  const squares = new Grid(new Uint8Array(values.length * times * times), high * times, wide * times);
  for (let y = 0, i = 0; y < squares.high; y++) {
    const row = Math.floor(y / times) * wide;
    for (let x = 0; x < squares.wide; x++, i++) {
      squares.values[i] = values[row + Math.floor(x / times)] > 1;
    }
  }
  return squares;
}

// Returns the part where the kernel has all it needs.
function inner(grid) {
  const { high, wide } = grid;
  return cut(grid, { top: LOBES, left: LOBES, rows: high - 2 * LOBES, columns: wide - 2 * LOBES });
}

// Loops, not `map` and `reduce`: with those a frame took twice as long.
function times({ values, high, wide }, factor) {
  const products = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) products[i] = factor * values[i];
  return new Grid(products, high, wide);
}

function mean(values) {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

function greatest(values) {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]));
  return most;
}

// Returns how far each place is from a factor times what it was, less what all of them are.
function distances(before, now, factor, common) {
  const [was, is, far] = [before.values, now.values, new Float64Array(now.values.length)];
  for (let i = 0; i < far.length; i++) far[i] = Math.abs(is[i] - factor * was[i] - common);
  return new Grid(far, now.high, now.wide);
}

// Whether far more of a picture is explained better by moving it than worse.
function suitsMost(before, gone, now) {
  const [left, had] = [gone, before].map((each) => {
    return distances(each, now, 1, mean(now.values) - mean(each.values));
  });
  const least = LEAST_CHANGE * mean(left.values);
  const [lefts, hads] = [left, had].map(inBlocks);
  let [better, worse] = [0, 0];
  lefts.forEach((value, i) => {
    better += hads[i] - value > least;
    worse += hads[i] - value < -least;
  });
  return better >= FOR_EACH * worse;
}

// Returns means over whole blocks of cells.
function inBlocks({ values, high, wide }) {
  const [down, across] = [high, wide].map((side) => Math.floor(side / BLOCK));
  const sums = new Float64Array(down * across);
  for (let y = 0; y < down * BLOCK; y++) {
    for (let block = 0, from = y * wide; block < across; block++, from += BLOCK) {
      const to = Math.floor(y / BLOCK) * across + block;
      for (let x = 0; x < BLOCK; x++) sums[to] += values[from + x];
    }
  }
  return sums.map((sum) => sum / BLOCK ** 2);
}

// Returns the factor by which most has become lighter; 1 if that may be chance.
function gainOf(before, now) {
  const [was, is] = [before.values, now.values];
  const least = TINY * (1 + greatest(is));
  const left = (factor) => mean(distances(before, now, factor, 0).values);
  let [gain, explained, spread] = [1, 0, 0];
  for (let step = 0; step < STEPS; step++) {
    spread = Math.sqrt(Math.PI / 2) * left(gain) + least;
    const squared = (OUTLYING * spread) ** 2;
    let [squares, products] = [0, 0];
    for (let i = 0; i < is.length; i++) {
      const change = is[i] - gain * was[i];
      const sharing = 1 + (change * change) / squared;
      // By the mean of both, in which both have as much noise: it favours no gain.
      const both = (was[i] + is[i]) / 2 / (sharing * sharing);
      squares += both * was[i];
      products += both * is[i];
    }
    if (squares <= 0) return 1;
    gain = products / squares;
    explained = (gain - 1) ** 2 * squares;
  }
  const isTold = explained >= EVIDENCE * spread ** 2 && left(gain) < left(1);
  return isTold && gain >= 1 / MOST_GAIN && gain <= MOST_GAIN ? gain : 1;
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

// Returns by which parts of a cell most has moved; [0, 0] if that may be chance.
function parts(was, is) {
  const tiny = TINY * (1 + greatest(is.values));
  let [y, x, sums] = [0, 0, null];
  for (let step = 0; step < STEPS; step++) {
    sums = slopesOf(moved(was, y, x), is, tiny);
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
  const box = { top: LOBES, left: LOBES, rows: is.high - 2 * LOBES, columns: is.wide - 2 * LOBES };
  const [left, had] = [moved(was, y, x), was].map((each) => remaining(each, is, box, 0, 0));
  return left <= had ? [y, x] : [0, 0];
}

// Returns weighted sums of the products of slopes and change, where the kernel has all it needs.
function slopesOf(before, now, tiny) {
  const { high, wide } = now;
  const [was, is] = [before.values, now.values];
  const [both, changes] = [new Float64Array(is.length), new Float64Array(is.length)];
  const count = (high - 2 * LOBES) * (wide - 2 * LOBES);
  let middle = 0;
  for (let y = 0; y < high; y++) {
    const isInner = y >= LOBES && y < high - LOBES;
    for (let x = 0, i = y * wide; x < wide; x++, i++) {
      both[i] = 0.5 * (was[i] + is[i]);
      changes[i] = is[i] - was[i];
      if (isInner && x >= LOBES && x < wide - LOBES) middle += changes[i];
    }
  }
  middle /= count;
  let spread = 0;
  for (let y = LOBES; y < high - LOBES; y++) {
    const end = (y + 1) * wide - LOBES;
    for (let i = y * wide + LOBES; i < end; i++) {
      changes[i] -= middle;
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

const moved = (grid, down, right) => shifted(shifted(grid, down, 0), right, 1);

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

// Puts the mean of the frames back into a state, where that has a past, as much lighter.
function fold(image, gain, state, high, wide, deep, channels) {
  let from = 0;
  for (let y = 0; y < high * STRIDE; y++) {
    let square = Math.floor(y / STRIDE) * wide * deep;
    const first = 1 + (y % STRIDE) * STRIDE * channels;
    for (let x = 0; x < wide; x++, square += deep) {
      const isKnown = state[square] > 0;
      for (let i = 0; i < STRIDE * channels; i++, from++) {
        state[square + first + i] = isKnown ? gain * image[from] : 0;
      }
    }
  }
}
