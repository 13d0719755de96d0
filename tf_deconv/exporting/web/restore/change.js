// What a network makes of a picture, kept so that the strength can be moved without running it again:
// as a change of each pixel, in parts of a grey level, or as pixels where there is none to change.

import { enlargedOpacity, fillHidden } from "./hidden.js";
import { Picture } from "./picture.js";
import { hasTransparency, isGrey } from "./pixels.js";

const PARTS = 64; // Of a grey level.
const ENDS = [-32768, 32767];
const [RED, GREEN, BLUE] = [0.299, 0.587, 0.114]; // ITU-R BT.601
const luminance = (values, i) => RED * values[i] + GREEN * values[i + 1] + BLUE * values[i + 2];

/** Whether a strength has a picture to set it against. */
export const hasStrength = (facts) => facts.scale === 1 && facts.channels_in < 4;

/** The result of a picture, while it is made and after. */
export class Change {
  /**
   * @param {Picture} picture What goes into the network.
   * @param {object} facts The model's.
   * @param {ArrayBuffer} made What an earlier one kept; nothing was made yet when left out.
   */
  constructor(picture, facts, made = null) {
    this.picture = picture;
    this.facts = facts;
    this.isFilling = facts.channels_in === 4;
    // A colour picture becomes grey, and a grey one stays so, though the network has colours.
    this.isGrey = facts.channels_out === 1 || (facts.keeps_grey && isGrey(picture));
    this.channels = this.isGrey ? 1 : 3;
    this.isChange = hasStrength(facts);
    const size = picture.width * picture.height * facts.scale ** 2 * this.channels;
    const Kind = this.isChange ? Int16Array : Uint8ClampedArray;
    this.values = made ? new Kind(made) : new Kind(size);
    this.given = this.isFilling ? picture.data : fillHidden(picture);
  }

  /**
   * Takes a row of pixels that the network made.
   *
   * @param {Float32Array} restored Values in [0, 1].
   * @param {number} from Index of the row's first value in them.
   * @param {number} x The first pixel's column in the result.
   * @param {number} y Its row.
   * @param {number} count Pixels.
   */
  takeRow(restored, from, x, y, count) {
    const { channels, facts, values } = this;
    const made = facts.channels_out;
    const width = this.picture.width * facts.scale;
    let to = (y * width + x) * channels;
    for (let i = 0; i < count; i++, from += made, to += channels) {
      const pixel = (y * width + x + i) * 4;
      if (channels === 1) {
        const grey = 255 * (made === 1 ? restored[from] : luminance(restored, from));
        values[to] = this.isChange ? this.#parts(grey, this.#grey(pixel)) : grey;
        continue;
      }
      for (let c = 0; c < 3; c++) {
        const value = 255 * restored[from + (made === 1 ? 0 : c)];
        values[to + c] = this.isChange ? this.#parts(value, this.given[pixel + c]) : value;
      }
    }
  }

  #parts(value, given) {
    const parts = Math.round((value - given) * PARTS);
    return Math.min(Math.max(parts, ENDS[0]), ENDS[1]) || 0; // A network that diverged gives NaN.
  }

  #grey(i) {
    const { given } = this;
    if (given[i] === given[i + 1] && given[i + 1] === given[i + 2]) return given[i];
    return Math.round(luminance(given, i));
  }

  /**
   * Makes the result.
   *
   * @param {number} strength 0 none of the change, 1 all of it, 2 twice as much.
   * @returns {Picture} picture + strength * (restored - picture), rounded last.
   */
  at(strength) {
    const { facts, picture } = this;
    const { scale } = facts;
    const [width, height] = [picture.width * scale, picture.height * scale];
    const result = new Picture(new Uint8ClampedArray(width * height * 4), width, height, picture.type);
    this.isChange ? this.#mix(result.data, strength / PARTS) : this.#copy(result.data);
    return result;
  }

  #mix(data, factor) {
    const { channels, given, picture, values } = this;
    for (let i = 0, from = 0; i < data.length; i += 4, from += channels) {
      data[i + 3] = picture.data[i + 3];
      if (!data[i + 3]) {
        for (let c = 0; c < 3; c++) data[i + c] = picture.data[i + c];
      } else if (channels === 1) {
        data[i] = data[i + 1] = data[i + 2] = this.#grey(i) + factor * values[from];
      } else {
        // The array clamps and rounds.
        for (let c = 0; c < 3; c++) data[i + c] = given[i + c] + factor * values[from + c];
      }
    }
  }

  #copy(data) {
    const { channels, facts, picture, values } = this;
    const isOpaque = this.isFilling || !hasTransparency(picture);
    const opacity = isOpaque ? null : enlargedOpacity(picture, facts.scale);
    for (let i = 0; i < data.length / 4; i++) {
      for (let c = 0; c < 3; c++) data[4 * i + c] = values[i * channels + (channels === 1 ? 0 : c)];
      data[4 * i + 3] = opacity ? opacity[i] : 255;
    }
  }
}
