// How many frames were restored and skipped, and how many come in a second.

import { find } from "./dom.js";

const RATE_MS = 3000; // Over which frames are counted.

/** What is told of the frames that are shown as they come. */
export class Counter {
  restored = 0;
  skipped = 0;
  #presented = null; // How many frames the video had shown.
  #moments = []; // When frames were restored.
  #duration = 0; // Of the last one, in milliseconds.

  /** Hears of a frame that the video shows; the browser itself may leave frames out. */
  see({ presentedFrames }) {
    if (this.#presented !== null) this.skipped += Math.max(presentedFrames - this.#presented - 1, 0);
    this.#presented = presentedFrames;
  }

  /** Hears of a jump: frames between are not skipped. */
  jump() {
    this.#presented = null;
  }

  /** Hears of a frame that was restored in some milliseconds. */
  add(duration) {
    this.restored += 1;
    this.#duration = duration;
    const now = performance.now();
    this.#moments = [...this.#moments.filter((moment) => now - moment < RATE_MS), now];
  }

  /** Writes it on the page. */
  show() {
    const moments = this.#moments;
    const span = moments.at(-1) - moments[0];
    const rate = moments.length > 1 ? ((moments.length - 1) * 1000) / span : 1000 / this.#duration;
    const frames = this.restored === 1 ? "1 frame" : `${this.restored} frames`;
    const counts = `${rate.toFixed(1)} frames/s · ${frames} restored, ${this.skipped} skipped`;
    find("rate").textContent = this.restored ? counts : "";
  }
}
