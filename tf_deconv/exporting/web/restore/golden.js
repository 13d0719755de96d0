// A small picture whose result is known (model.json): does a GPU compute what Python does?

const KEPT = 32; // Pixels of the result that are compared, along each axis.
const MOST_LEVELS = 1;

/** Draws the picture that the export drew: slopes, edges and noise, (H, W, C) in [0, 1]. */
export function draw(height, width, channels) {
  const picture = new Float32Array(height * width * channels);
  let to = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const known = channels < 4 || (5 * y + 3 * x) % 11 > 0;
      for (let c = 0; c < Math.min(channels, 3); c++) {
        const noise = (31 * x * x + 17 * y * y + 7 * x * y + 101 * c) % 61;
        picture[to++] = known ? ((x + 2 * y + 40 * c + noise) % 256) / 255 : 0;
      }
      if (channels === 4) picture[to++] = Number(known);
    }
  }
  return picture;
}

/**
 * Tries a network.
 *
 * @param {object} facts The model's.
 * @param {function} step As `open` of network.js returns it.
 * @returns {Promise<boolean>} Whether no pixel is more than a grey level away from what is known.
 */
export async function isRight({ golden, channels_in, channels_out, scale, state }, step) {
  const [height, width] = golden.size;
  const drawn = draw(height, width, channels_in);
  let [restored, past] = await step(drawn, golden.size);
  // Of a film the second frame is known, which depends on the state.
  if (state) [restored] = await step(drawn, golden.size, past);
  const answer = Uint8Array.from(atob(golden.answer), (letter) => letter.charCodeAt(0));
  const apart = Math.max(1, Math.floor((Math.max(height, width) * scale) / KEPT));
  let i = 0;
  for (let y = 0; y < height * scale; y += apart) {
    for (let x = 0; x < width * scale; x += apart) {
      for (let c = 0; c < channels_out; c++) {
        const value = 255 * restored[(y * width * scale + x) * channels_out + c];
        // Written so that NaN is wrong.
        const isNear = Math.abs(Math.min(Math.max(value, 0), 255) - answer[i++]) <= MOST_LEVELS;
        if (!isNear) return false;
      }
    }
  }
  return i === answer.length;
}
