// The network and its runtime, on the page or in a worker.

import { Tensor, loadAndCompile, loadLiteRt } from "./lib/core/index.js";

const WASM = new URL("./lib/core/wasm/", import.meta.url).href;
const THREADED = `${WASM}litert_wasm_threaded_internal`;
// More threads than this wait for each other longer than they help.
const MOST_THREADS = 8;
let threads = 1;

// Returns whether both parts of the threaded build are there, without a connection too. Not on the
// page itself, which would freeze while it waits for them.
async function hasThreads() {
  if (typeof document !== "undefined" || self.crossOriginIsolated !== true) return false;
  if (navigator.hardwareConcurrency < 2) return false;
  try {
    const answers = await Promise.all([".js", ".wasm"].map((end) => fetch(THREADED + end)));
    return answers.every((answer) => answer.ok);
  } catch {
    return false;
  }
}

/**
 * Loads the runtime: with threads where the page is isolated from other origins.
 *
 * @returns {Promise<number>} How many threads it has.
 */
export async function loadRuntime() {
  // In a worker the runtime would look for its parts beside the worker.
  const parts = { locateFile: (name) => WASM + name, mainScriptUrlOrBlob: `${THREADED}.js` };
  self.Module = { ...parts };
  if (await hasThreads()) {
    try {
      await loadLiteRt(WASM, { threads: true });
      threads = Math.min(navigator.hardwareConcurrency, MOST_THREADS);
      return threads;
    } catch (error) {
      console.warn(error); // A browser without relaxed SIMD, say.
      self.Module = { ...parts };
    }
  }
  await loadLiteRt(WASM);
  return threads;
}

/**
 * Fetches and compiles a network.
 *
 * @param {string} file URL of a .tflite file.
 * @param {"wasm" | "webgpu"} accelerator What computes.
 * @returns {Promise<object>} The model, for `run`.
 */
export async function compile(file, accelerator) {
  let answer = null;
  try {
    answer = await fetch(file);
  } catch {
    throw new Error("it was not kept for use without a connection");
  }
  if (!answer.ok) throw new Error(`the host answers ${answer.status} for ${file}`);
  const content = new Uint8Array(await answer.arrayBuffer());
  if (accelerator === "webgpu") {
    // In half precision, which is the default, the picture would not be Python's.
    const model = await loadAndCompile(content, { accelerator, gpuOptions: { precision: "fp32" } });
    // Without a word the runtime takes the processor for what a GPU cannot do.
    if (model.options.accelerator === accelerator && model.isFullyAccelerated) return model;
    model.delete();
    throw new Error("the graphics processor cannot run all of it");
  }
  return loadAndCompile(content, { accelerator, cpuOptions: { numThreads: threads } });
}

/**
 * Runs a signature.
 *
 * @param {object} model What `compile` returned.
 * @param {string} signature Name.
 * @param {object} inputs Name to [Float32Array or Int32Array, shape].
 * @param {string} output Name of the one that is wanted.
 * @returns {Promise<Float32Array>} A copy of its numbers.
 */
export async function run(model, signature, inputs, output) {
  const [values] = await runFor(model, signature, inputs, [output]);
  return values;
}

/** Runs a signature as `run` does; returns the numbers of several outputs, in their order. */
export async function runFor(model, signature, inputs, outputs) {
  const tensors = {};
  try {
    for (const [name, [values, shape]] of Object.entries(inputs)) {
      tensors[name] = new Tensor(values, shape);
    }
    const results = await model.run(signature, tensors);
    const found = [];
    for (const output of outputs) {
      const result = await results[output].moveTo("wasm");
      found.push(Float32Array.from(result.toTypedArray()));
      result.delete();
    }
    return found;
  } finally {
    for (const tensor of Object.values(tensors)) {
      if (!tensor.deleted) tensor.delete();
    }
  }
}
