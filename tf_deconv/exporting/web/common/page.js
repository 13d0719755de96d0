// What the pages share: model.json, the line that tells how it goes, the network and its runtime.

import { Tensor, loadAndCompile, loadLiteRt } from "@litertjs/core";

export const find = (id) => document.getElementById(id);
export const facts = await (await fetch("model.json")).json();

/** Writes the line below the controls. */
export function say(text, isFault = false) {
  find("status").textContent = text;
  find("status").classList.toggle("fault", isFault);
}

/** Loads the network, hands it over and says how that went; then keeps the page for later. */
export async function begin(use) {
  try {
    const [model, message] = await load();
    use(model);
    say(message);
    document.body.dataset.ready = "true";
  } catch (error) {
    console.error(error);
    say(`The network cannot be loaded: ${error.message ?? error}`, true);
  }
  // Afterwards, so that nothing is fetched twice at once. The page works without, but not offline.
  navigator.serviceWorker?.register("sw.js").catch(console.warn);
}

async function load() {
  await loadLiteRt("./lib/core/wasm/");
  const wanted = new URLSearchParams(location.search).get("accelerator") === "webgpu";
  if (wanted) {
    try {
      // In half precision, which is the default, the picture would not be Python's.
      const options = { accelerator: "webgpu", gpuOptions: { precision: "fp32" } };
      return [await loadAndCompile(facts.file, options), "Ready, on the GPU."];
    } catch (error) {
      console.warn(error);
    }
  }
  const model = await loadAndCompile(facts.file, { accelerator: "wasm" });
  const onCpu = "Ready. WebGPU is not to be had here, so it runs on the CPU.";
  return [model, wanted ? onCpu : "Ready."];
}

/**
 * Runs a signature.
 *
 * @param {object} model What `begin` handed over.
 * @param {string} signature Name.
 * @param {object} inputs Name to [Float32Array or Int32Array, shape].
 * @param {string} output Name of the one that is wanted.
 * @returns {Promise<Float32Array>} A copy of its numbers.
 */
export async function run(model, signature, inputs, output) {
  const tensors = {};
  try {
    for (const [name, [values, shape]] of Object.entries(inputs)) {
      tensors[name] = new Tensor(values, shape);
    }
    const results = await model.run(signature, tensors);
    const result = await results[output].moveTo("wasm");
    const values = Float32Array.from(result.toTypedArray());
    result.delete();
    return values;
  } finally {
    for (const tensor of Object.values(tensors)) {
      if (!tensor.deleted) tensor.delete();
    }
  }
}
