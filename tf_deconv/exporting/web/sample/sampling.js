// Pictures from a seed, by the rules of `tf-deconv sample`: the same noise, the same steps, and
// rounded to float32 at the same places. Knows no canvas and no runtime.

import { normal } from "./noise.js";

/** Returns the label of picture `index`: `label`, or the classes in turn; null without classes. */
export function labelOf({ classes }, index, label = null) {
  return classes ? (label ?? index % classes) : null;
}

/** Returns how often one picture runs the network. */
export function runsOfPicture({ kind, classes }, { steps, solver, guidance = 1 }) {
  if (kind === "vae") return 1;
  const isGuided = classes && guidance !== 0 && guidance !== 1;
  return steps * (solver === "heun" ? 2 : 1) * (isGuided ? 2 : 1);
}

/**
 * Makes a picture.
 *
 * @param {object} generator model.json's `generator`.
 * @param {function} run Receives {latent, label} of a VAE, and returns a promise of a picture in
 *   [0, 1]; or {x, t, label} of a flow, and returns a promise of a velocity. `latent`, `x` and what
 *   comes back are Float32Arrays; `label` is null for a generator without classes, and `classes`
 *   means none.
 * @param {number} index Number of the picture, from 0.
 * @param {object} options seed; label, or null for the classes in turn; of a flow: steps, solver
 *   ("euler" or "heun") and guidance (1 as trained).
 * @returns {Promise<Float32Array>} height * width * channels numbers in [0, 1].
 */
export async function samplePicture(generator, run, index, options) {
  const { kind, latent, height, width, channels } = generator;
  const label = labelOf(generator, index, options.label);
  const start = normal(options.seed, index, 1, latent ?? height * width * channels);
  if (kind === "vae") return run({ latent: start, label });
  return toPicture(await flow(generator, run, start, label, options));
}

async function flow({ classes }, run, start, label, { steps, solver, guidance = 1 }) {
  const velocityAt = (x, time) => velocity(run, x, Math.fround(time), label, classes, guidance);
  let x = start;
  let now = 0;
  for (let i = 1; i <= steps; i++) {
    const then = i === steps ? 1 : i * (1 / steps); // As numpy.linspace rounds.
    const step = Math.fround(then - now);
    const first = await velocityAt(x, now);
    let ahead = moved(x, step, first);
    if (solver === "heun") {
      const second = await velocityAt(ahead, then);
      // The mean of both, doubled: half the step goes with it.
      ahead = moved(x, step / 2, first.map((value, j) => value + second[j]));
    }
    [x, now] = [ahead, then];
  }
  return x;
}

// A Float32Array's map rounds what it is given; products within a sum are rounded by hand.
const moved = (x, step, direction) => x.map((value, i) => value + Math.fround(step * direction[i]));

// Leaning towards the label (Ho and Salimans 2022).
async function velocity(run, x, t, label, classes, guidance) {
  if (label === null) return run({ x, t, label });
  if (guidance === 0) return run({ x, t, label: classes });
  const told = await run({ x, t, label });
  if (guidance === 1) return told;
  const untold = await run({ x, t, label: classes });
  return moved(untold, Math.fround(guidance), told.map((value, i) => value - untold[i]));
}

// [-1, 1] to [0, 1], clipped.
const toPicture = (x) => x.map((value) => Math.min(Math.max(Math.fround(value + 1) / 2, 0), 1));
