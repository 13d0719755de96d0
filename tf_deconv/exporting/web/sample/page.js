// What the page of a generator begins with: model.json, the line that tells how it goes, the network.

import { keepOffline } from "./offline.js";
import { compile, loadRuntime } from "./runtime.js";

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
  keepOffline([facts.file]);
}

async function load() {
  await loadRuntime();
  const wanted = new URLSearchParams(location.search).get("accelerator") === "webgpu";
  if (wanted) {
    try {
      return [await compile(facts.file, "webgpu"), "Ready, on the GPU."];
    } catch (error) {
      console.warn(error);
    }
  }
  const model = await compile(facts.file, "wasm");
  const onCpu = "Ready. WebGPU is not to be had here, so it runs on the CPU.";
  return [model, wanted ? onCpu : "Ready."];
}
