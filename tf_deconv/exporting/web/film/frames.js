// A film on its way through a network, frame by frame.

import { Change } from "./change.js";
import { Picture } from "./picture.js";
import { restoreTiles } from "./tiles.js";

/** A film, of which a network with a state remembers what was before: in each window by itself. */
export class Session {
  windows = 0; // Of a frame: more than one where it is larger than the network's.
  #facts;
  #size = "";
  #states = [];

  /** @param {object} facts The model's. */
  constructor(facts) {
    this.#facts = facts;
  }

  /** Begins anew, as after a jump: what comes next has no past. */
  forget() {
    this.#states = [];
  }

  /**
   * Restores the next frame.
   *
   * @param {Picture} picture The frame; one of another size begins anew.
   * @param {function} step As `open` of network.js returns it.
   * @param {function} progress Receives the part that is done; awaited.
   * @returns {Promise<Change>} What the network makes of it.
   */
  async restore(picture, step, progress = () => {}) {
    const size = `${picture.width} ${picture.height}`;
    if (size !== this.#size) this.forget();
    this.#size = size;
    const change = new Change(picture, this.#facts);
    const states = this.#states;
    const runTile = async (window, sides, number) => {
      const [restored, next] = await step(window, sides, states[number]);
      states[number] = next;
      return restored;
    };
    try {
      await restoreTiles(change, runTile, progress);
      this.windows = states.length;
    } catch (error) {
      this.forget(); // Some windows are a frame ahead of others.
      throw error;
    }
    return change;
  }
}

/** Turns what can be drawn into pixels. */
export class Painter {
  #canvas = new OffscreenCanvas(1, 1);
  #context = this.#canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });

  /**
   * @param {ImageBitmap | VideoFrame} image A frame.
   * @param {number[]} size [width, height] of the result.
   * @param {number} turn By how many degrees it is turned to the right, a multiple of 90.
   * @returns {Picture} The pixels.
   */
  read(image, [width, height], turn = 0) {
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      [this.#canvas.width, this.#canvas.height] = [width, height];
    }
    const context = this.#context;
    const [across, down] = turn % 180 ? [height, width] : [width, height];
    context.setTransform(1, 0, 0, 1, width / 2, height / 2);
    context.rotate((turn * Math.PI) / 180);
    // Whole numbers for a quarter turn, so that no pixel is mixed with its neighbour.
    if (turn % 360) {
      const { a, b, c, d } = context.getTransform();
      context.setTransform(...[a, b, c, d].map(Math.round), width / 2, height / 2);
    }
    context.drawImage(image, -across / 2, -down / 2, across, down);
    return new Picture(context.getImageData(0, 0, width, height).data, width, height);
  }
}
