// The noise of docs/noise.md: the same numbers as Python's tf_deconv.generation.noise. A number depends on
// seed, stream, picture and place alone.

const ROTATIONS = [
  [13, 15, 26, 6],
  [17, 29, 16, 24],
];

/**
 * Threefry-2x32 with 20 rounds, Salmon et al. 2011.
 *
 * @param {number} seed 0 to 2 ** 31 - 1.
 * @param {number} stream 0 to 2 ** 32 - 1, as `picture` and `block` are.
 * @param {number} picture
 * @param {number} block
 * @returns {number[]} Two words, 0 to 2 ** 32 - 1.
 */
export function words(seed, stream, picture, block) {
  const keys = [seed, stream, seed ^ stream ^ 0x1bd11bda];
  // `| 0` after each sum: a number's integers are exact up to 2 ** 53 only.
  let x0 = (picture + keys[0]) | 0;
  let x1 = (block + keys[1]) | 0;
  for (let group = 0; group < 5; group++) {
    for (const distance of ROTATIONS[group % 2]) {
      x0 = (x0 + x1) | 0;
      x1 = ((x1 << distance) | (x1 >>> (32 - distance))) ^ x0;
    }
    x0 = (x0 + keys[(group + 1) % 3]) | 0;
    x1 = (x1 + keys[(group + 2) % 3] + group + 1) | 0;
  }
  return [x0 >>> 0, x1 >>> 0];
}

/**
 * Standard normal numbers for pictures first, first + 1, ...
 *
 * @param {number} seed 0 to 2 ** 31 - 1.
 * @param {number} first Number of the first picture; first + count is at most 2 ** 32.
 * @param {number} count Pictures.
 * @param {number} size Numbers per picture.
 * @param {number} stream 0 to 2 ** 32 - 1.
 * @returns {Float32Array} count * size numbers, picture after picture.
 */
export function normal(seed, first, count, size, stream = 0) {
  const above = [2 ** 31, 2 ** 32, 2 ** 32 + 1 - first, 2 ** 31, 2 ** 32];
  [seed, first, count, size, stream].forEach((value, i) => {
    if (Number.isInteger(value) && value >= 0 && value < above[i]) return;
    const name = ["seed", "first", "count", "size", "stream"][i];
    throw new RangeError(`${name}=${value}: expected a whole number from 0 to ${above[i] - 1}`);
  });
  const numbers = new Float32Array(count * size);
  for (let picture = 0; picture < count; picture++) {
    for (let i = 0; i < size; i += 2) {
      const [w0, w1] = words(seed, stream, first + picture, i / 2);
      // 24 bits of each word: u1 in (0, 1], so that its logarithm is finite, and u2 in [0, 1).
      const radius = Math.sqrt(-2 * Math.log(((w0 >>> 8) + 1) / 2 ** 24));
      const angle = (2 * Math.PI * (w1 >>> 8)) / 2 ** 24;
      numbers[picture * size + i] = radius * Math.cos(angle);
      // An odd size leaves the last pair's second number out.
      if (i + 1 < size) numbers[picture * size + i + 1] = radius * Math.sin(angle);
    }
  }
  return numbers;
}
