// Pixels as the encoders of films have them: brightness, and colour of four pixels together. Browsers would
// do it too, each to colours of its own: Chromium 156 to the full range, which not every player knows.

/** What `toI420` writes, in WebCodecs' words: BT.709 with room below black and above white. */
export const COLOURS = { matrix: "bt709", primaries: "bt709", transfer: "bt709", fullRange: false };
const [RED, BLUE] = [0.2126, 0.0722];
const GREEN = 1 - RED - BLUE;
const [BLACK, MIDDLE, LEVELS, COLOUR_LEVELS] = [16, 128, 219 / 255, 224 / 255];

/** Returns the bytes of a picture, (width + 1) / 2 colours to a row. */
export function toI420({ data, width, height }) {
  const [wide, high] = [(width + 1) >> 1, (height + 1) >> 1];
  // The array rounds.
  const planes = new Uint8ClampedArray(width * height + 2 * wide * high);
  for (let i = 0, from = 0; i < width * height; i++, from += 4) {
    const luma = RED * data[from] + GREEN * data[from + 1] + BLUE * data[from + 2];
    planes[i] = BLACK + LEVELS * luma;
  }
  let blue = width * height;
  let red = blue + wide * high;
  for (let y = 0; y < height; y += 2) {
    const below = y + 1 < height ? 4 * width : 0;
    for (let x = 0; x < width; x += 2) {
      const right = x + 1 < width ? 4 : 0;
      const first = 4 * (y * width + x);
      let [r, g, b] = [0, 0, 0];
      for (const from of [first, first + right, first + below, first + below + right]) {
        r += data[from] / 4;
        g += data[from + 1] / 4;
        b += data[from + 2] / 4;
      }
      const luma = RED * r + GREEN * g + BLUE * b;
      planes[blue++] = MIDDLE + (COLOUR_LEVELS * (b - luma)) / (2 * (1 - BLUE));
      planes[red++] = MIDDLE + (COLOUR_LEVELS * (r - luma)) / (2 * (1 - RED));
    }
  }
  return planes;
}
