// A film on its way through a network, frame by frame.

import { Change } from "./change.js";
import { Follower, follow, isNone } from "./following.js";
import { stateShape } from "./network.js";
import { Picture } from "./picture.js";
import { layWindows, restoreTiles } from "./tiles.js";

// Copies a box of squares; a place is [row, column].
function copySquares(from, fromWide, [top, left], to, toWide, [row, column], [rows, columns], deep) {
  for (let y = 0; y < rows; y++) {
    const start = ((top + y) * fromWide + left) * deep;
    const squares = from.subarray(start, start + columns * deep);
    to.set(squares, ((row + y) * toWide + column) * deep);
  }
}

/** What a network remembers of a film: a state of the whole frame, of which each window sees a part. */
class Past {
  #facts;
  #windows;
  #sides; // The frame's [height, width].
  #shape; // The state's [rows, columns, values of each square].
  #state = null; // No past.
  #next = null; // Made window by window; between frames it is only room.
  #follower;

  constructor(facts, picture, windows) {
    [this.#facts, this.#windows] = [facts, windows];
    this.#sides = [picture.height, picture.width];
    const { size, rows, columns } = windows;
    const whole = [rows, columns].map((places, axis) => places.at(-1)[0] + size[axis]);
    this.#shape = this.#shapeOf(whole);
    // As of `networks/video.py`: there is a mean of the frames, which can be moved.
    const { stride, channels } = facts.state;
    if (stride === 2 && channels >= 1 + 4 * facts.channels_in) this.#follower = new Follower();
  }

  #shapeOf(size) {
    return stateShape(this.#facts, size).slice(1);
  }

  get #isOneWindow() {
    return this.#windows.rows.length * this.#windows.columns.length === 1;
  }

  #room() {
    return this.#next ?? new Float32Array(this.#shape.reduce((all, side) => all * side));
  }

  /** Does with the state what the whole picture has done since the frame before. */
  follow(picture) {
    const motion = this.#follower?.to(picture);
    if (!this.#state || !motion || isNone(motion)) return;
    const moved = this.#room();
    this.#clearBeyond(this.#state);
    follow(this.#state, this.#shape, motion, this.#facts.channels_in, moved);
    this.#clearBeyond(moved);
    [this.#state, this.#next] = [moved, this.#state];
  }

  // Takes the past of what lies beyond the frame: what is mirrored there moves otherwise.
  #clearBeyond(state) {
    const [high, wide, deep] = this.#shape;
    const [rows, columns] = this.#sides.map((side) => this.#square(side));
    if (columns < wide) {
      for (let y = 0; y < rows; y++) state.fill(0, (y * wide + columns) * deep, (y + 1) * wide * deep);
    }
    state.fill(0, Math.min(rows, high) * wide * deep);
  }

  /** Returns the part of a window, which lies at [row, column] of `layWindows`. */
  of(place) {
    if (!this.#state || this.#isOneWindow) return this.#state;
    const [high, wide, deep] = this.#shapeOf(this.#windows.size);
    const part = new Float32Array(high * wide * deep);
    const corner = place.map(([start]) => this.#square(start));
    copySquares(this.#state, this.#shape[1], corner, part, wide, [0, 0], [high, wide], deep);
    return part;
  }

  /** Takes what a window left; of it what is kept of its pixels is, and what lies beyond the frame. */
  take(place, left) {
    if (this.#isOneWindow) {
      this.#next = left;
      return;
    }
    this.#next = this.#room();
    const [, wide, deep] = this.#shapeOf(this.#windows.size);
    const first = place.map(([, from]) => this.#square(from));
    const count = place.map(([, , to], axis) => {
      const end = to >= this.#sides[axis] ? this.#shape[axis] : this.#square(to);
      return end - first[axis];
    });
    const corner = place.map(([start], axis) => first[axis] - this.#square(start));
    copySquares(left, wide, corner, this.#next, this.#shape[1], first, count, deep);
  }

  // Returns the first square that begins at a pixel or after it.
  #square(pixel) {
    return Math.ceil(pixel / this.#facts.state.stride);
  }

  /** Ends a frame, of which all windows were taken. */
  endFrame() {
    [this.#state, this.#next] = [this.#next, this.#state];
  }
}

/** A film, of which a network with a state remembers what was before. */
export class Session {
  windows = 0; // Of a frame: more than one where it is larger than the network's.
  #facts;
  #size = "";
  #past = null;

  /** @param {object} facts The model's. */
  constructor(facts) {
    this.#facts = facts;
  }

  /** Begins anew, as after a jump: what comes next has no past. */
  forget() {
    this.#past = null;
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
    const facts = this.#facts;
    const change = new Change(picture, facts);
    const windows = layWindows(picture, facts);
    if (facts.state) this.#past ??= new Past(facts, picture, windows);
    const past = this.#past;
    const runTile = async (window, sides, place) => {
      const [restored, left] = await step(window, sides, past?.of(place));
      past?.take(place, left);
      return restored;
    };
    try {
      past?.follow(picture);
      await restoreTiles(change, runTile, progress);
      past?.endFrame();
    } catch (error) {
      this.forget(); // Part of the next state is there, and the old one was moved.
      throw error;
    }
    this.windows = windows.rows.length * windows.columns.length;
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
