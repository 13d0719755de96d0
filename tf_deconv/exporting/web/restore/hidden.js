// Transparent pixels and what a network sees of them: never the colours that nobody sees, which
// would come out as a dark rim. The rules are those of `tf-deconv restore`.

const COLOURS = 3;

/**
 * Gives hidden pixels the colours of visible ones around them: push-pull (Gortler et al., "The
 * Lumigraph", 1996, section 3.4.1).
 *
 * @param {Picture} picture Hidden is where the opacity is 0.
 * @returns {Uint8ClampedArray} RGBA; the picture's own where nothing or everything is hidden.
 */
export function fillHidden({ data, width, height }) {
  let [hidden, most] = [0, 0];
  for (let i = 3; i < data.length; i += 4) {
    if (data[i] === 0) hidden += 1;
    most = Math.max(most, data[i]);
  }
  if (!hidden || !most) return data;
  const level = {
    width,
    height,
    weight: (i) => Math.fround(data[4 * i + 3] / most),
    colour: (i, c) => data[4 * i + c],
  };
  const below = coarser(level);
  const filled = data.slice();
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (data[4 * i + 3]) continue;
      const from = ((y >> 1) * below.width + (x >> 1)) * COLOURS;
      for (let c = 0; c < COLOURS; c++) filled[4 * i + c] = below.colours[from + c];
    }
  }
  return filled;
}

// Returns the level below, half as large, with every pixel of it filled. Each sum and product is
// rounded to float32 as in Python: a mean of exactly half a level would round to either side, and
// a network makes two levels of one.
function coarser({ width, height, weight, colour }) {
  const [w, h] = [(width + 1) >> 1, (height + 1) >> 1];
  const [weights, colours] = [new Float32Array(w * h), new Float32Array(w * h * COLOURS)];
  let isWhole = true;
  for (let y = 0, to = 0; y < h; y++) {
    for (let x = 0; x < w; x++, to++) {
      let total = 0;
      for (let v = 2 * y; v < Math.min(2 * y + 2, height); v++) {
        for (let u = 2 * x; u < Math.min(2 * x + 2, width); u++) {
          const from = v * width + u;
          const opacity = weight(from);
          if (!opacity) continue;
          total = Math.fround(total + opacity);
          for (let c = 0; c < COLOURS; c++) {
            colours[to * COLOURS + c] += Math.fround(opacity * colour(from, c));
          }
        }
      }
      if (total) for (let c = 0; c < COLOURS; c++) colours[to * COLOURS + c] /= total;
      else isWhole = false;
      weights[to] = Math.min(total, 1);
    }
  }
  if (!isWhole && Math.max(w, h) > 1) {
    const here = {
      width: w,
      height: h,
      weight: (i) => weights[i],
      colour: (i, c) => colours[i * COLOURS + c],
    };
    const below = coarser(here);
    for (let y = 0, i = 0; y < h; y++) {
      for (let x = 0; x < w; x++, i++) {
        if (weights[i]) continue;
        const from = ((y >> 1) * below.width + (x >> 1)) * COLOURS;
        for (let c = 0; c < COLOURS; c++) colours[i * COLOURS + c] = below.colours[from + c];
      }
    }
  }
  return { width: w, height: h, colours };
}

// Catmull-Rom's kernel (Keys 1981, a = -1/2).
function cubic(distance) {
  const d = Math.abs(distance);
  if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
  return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
}

// Returns [first pixel, weights] for each place along an enlarged side.
function places(side, scale) {
  return Array.from({ length: side * scale }, (_, i) => {
    const middle = (i + 0.5) / scale;
    const first = Math.max(Math.trunc(middle - 1.5), 0);
    const last = Math.min(Math.trunc(middle + 2.5), side);
    const weights = [];
    for (let x = first; x < last; x++) weights.push(cubic(x - middle + 0.5));
    const total = weights.reduce((a, b) => a + b, 0);
    return [first, weights.map((weight) => weight / total)];
  });
}

/**
 * Enlarges a picture's opacity by bicubic interpolation.
 *
 * @param {Picture} picture The picture.
 * @param {number} scale How many times as large.
 * @returns {Uint8ClampedArray} One byte for each pixel.
 */
export function enlargedOpacity({ data, width, height }, scale) {
  const [columns, rows] = [places(width, scale), places(height, scale)];
  const wide = new Float32Array(columns.length * height);
  for (let y = 0; y < height; y++) {
    for (const [x, [first, weights]] of columns.entries()) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) {
        sum += weights[k] * data[4 * (y * width + first + k) + 3];
      }
      wide[y * columns.length + x] = sum;
    }
  }
  const enlarged = new Uint8ClampedArray(columns.length * rows.length);
  for (const [y, [first, weights]] of rows.entries()) {
    for (let x = 0; x < columns.length; x++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) {
        sum += weights[k] * wide[(first + k) * columns.length + x];
      }
      enlarged[y * columns.length + x] = sum;
    }
  }
  return enlarged;
}
