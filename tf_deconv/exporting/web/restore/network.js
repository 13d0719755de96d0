// The network of a worker: compiled for a graphics processor where there is one that computes right.

import { isRight } from "./golden.js";
import { compile, loadRuntime, run, runFor } from "./runtime.js";

let runtime = null; // Promise of its number of threads.
let opened = null; // What `open` returned: one at a time, as each takes memory.
let hasFailed = false; // Whether the GPU gave up on a picture.

// Returns how much of a state there is for frames of a size: [1, h, w, channels].
export function stateShape({ divisor, state }, [height, width]) {
  const sides = [height, width].map((side) => (Math.ceil(side / divisor) * divisor) / state.stride);
  return [1, ...sides, state.channels];
}

// Returns what takes a window through a model, as `open` describes it.
function stepOf(model, facts) {
  return async (pixels, size, state = null) => {
    const [height, width] = size;
    const shape = [1, height, width, facts.channels_in];
    if (!facts.state) {
      const inputs = { image: [pixels, shape] };
      return [await run(model, `restore_${height}x${width}`, inputs, "restored"), null];
    }
    const wide = stateShape(facts, size);
    const past = state ?? new Float32Array(wide.reduce((all, side) => all * side));
    const inputs = { frame: [pixels, shape], state: [past, wide] };
    return runFor(model, `stream_${height}x${width}`, inputs, ["restored", "next_state"]);
  };
}

/**
 * Compiles a model, if it is not the one that is open.
 *
 * @param {object} facts The model's (model.json).
 * @param {string} wanted "auto", "webgpu" or "wasm".
 * @returns {Promise<object>} `step` takes (Float32Array, [height, width], state) to a promise of the
 *   restored values and the next state, which is null of a model without one; no state is no past.
 *   `how` and `note` say what computes.
 */
export async function open(facts, wanted) {
  runtime ??= loadRuntime().catch((error) => {
    runtime = null; // To be tried again with the next model.
    throw error;
  });
  const threads = await runtime;
  if (opened?.name === facts.name && opened.wanted === wanted && !opened.isLost) return opened;
  const before = opened;
  opened = null;
  before?.model.delete();
  let note = hasFailed ? "The graphics processor failed, so the processor is used." : "";
  if (!hasFailed && (wanted === "webgpu" || (wanted === "auto" && (await hasGpu())))) {
    let model = null;
    try {
      model = await compile(facts.file, "webgpu");
      const step = stepOf(model, facts);
      if (await isRight(facts, step)) {
        opened = { name: facts.name, wanted, model, step, how: "graphics processor", isGpu: true };
        return opened;
      }
      note = "The graphics processor computed a test picture wrongly, so the processor is used.";
    } catch (error) {
      console.warn(error);
      note = wanted === "webgpu" ? "There is no graphics processor to be had: the processor is used." : "";
    }
    model?.delete();
  }
  const model = await compile(facts.file, "wasm");
  const how = threads > 1 ? `processor, ${threads} threads` : "processor, 1 thread";
  opened = { name: facts.name, wanted, model, step: stepOf(model, facts), how, note };
  return opened;
}

/** Gives up the graphics processor, which may be lost at any time; returns whether one was used. */
export function leaveGpu() {
  if (!opened?.isGpu) return false;
  [hasFailed, opened.isLost] = [true, true];
  return true;
}

// One that is drawn by the processor would be slower than the processor itself.
async function hasGpu() {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    return Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
  } catch {
    return false;
  }
}

// What an engine does not say in words that help.
const OUT_OF_MEMORY = /memory|allocation|array length|table index|out of bounds/i;

/** Returns whether an engine ran out of memory. */
export const isOutOfMemory = (error) =>
  error instanceof RangeError || OUT_OF_MEMORY.test(error.message ?? String(error));
