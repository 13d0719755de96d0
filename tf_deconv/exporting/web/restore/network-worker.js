// Runs networks away from the page, which so never freezes. Not a module: the runtime loads a part of
// itself by importScripts, which modules do not have.

const modules = Promise.all([
  import("./runtime.js"),
  import("./tiles.js"),
  import("./change.js"),
  import("./picture.js"),
  import("./golden.js"),
]);
const MOST_PIXELS = 40e6; // Of the result.
const SHOW_MS = 100;
// What an engine does not say in words that help.
const OUT_OF_MEMORY = /memory|allocation|array length|table index|out of bounds/i;
let runtime = null; // Promise of its number of threads.
let opened = null; // { name, accelerator, model }: one at a time, as each takes memory.
let stopped = 0; // Jobs up to this number are given up.
let hasFailed = false; // Whether the GPU gave up on a picture.
let turn = Promise.resolve();

class Stopped extends Error {}

const tell = (message) => self.postMessage(message);

// Compiles a model: on a GPU where there is one that computes right, unless told otherwise.
async function open(facts, wanted) {
  const [{ compile, loadRuntime, run }, , , , { isRight }] = await modules;
  runtime ??= loadRuntime().catch((error) => {
    runtime = null; // To be tried again with the next model.
    throw error;
  });
  const threads = await runtime;
  if (opened?.name === facts.name && opened.wanted === wanted && !opened.isLost) return opened;
  const before = opened;
  opened = null;
  before?.model.delete();
  const runner = (model) => (pixels, [height, width]) => {
    const image = [pixels, [1, height, width, facts.channels_in]];
    return run(model, `restore_${height}x${width}`, { image }, "restored");
  };
  let note = hasFailed ? "The graphics processor failed, so the processor is used." : "";
  if (!hasFailed && (wanted === "webgpu" || (wanted === "auto" && (await hasGpu())))) {
    let model = null;
    try {
      model = await compile(facts.file, "webgpu");
      if (await isRight(facts, runner(model))) {
        const runTile = runner(model);
        opened = { name: facts.name, wanted, model, runTile, how: "graphics processor", isGpu: true };
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
  opened = { name: facts.name, wanted, model, runTile: runner(model), how, note };
  return opened;
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

async function restore(message) {
  const [, , , { Fault }] = await modules;
  try {
    await restoreOnce(message);
  } catch (error) {
    // A device may be lost at any time; the processor is not.
    if (!opened?.isGpu || error instanceof Stopped || error instanceof Fault) throw error;
    console.warn(error);
    [hasFailed, opened.isLost] = [true, true];
    await restoreOnce(message);
  }
}

async function restoreOnce({ number, file, facts, accelerator }) {
  const [, { restoreTiles }, { Change }, { readPicture }] = await modules;
  const { runTile, how, note } = await open(facts, accelerator);
  const started = performance.now();
  const picture = await readPicture(file, MOST_PIXELS / facts.scale ** 2);
  const change = new Change(picture, facts);
  let shown = performance.now();
  await restoreTiles(change, runTile, async (part) => {
    if (performance.now() - shown < SHOW_MS && part < 1) return;
    tell({ kind: "progress", number, part });
    await new Promise((go) => setTimeout(go)); // Lets a message that stops it come in.
    shown = performance.now();
    if (number <= stopped) throw new Stopped();
  });
  const { width, height } = picture;
  // The browser may lay a Blob on the disk, and many pictures wait here.
  const made = new Blob([change.values]);
  const duration = performance.now() - started;
  tell({ kind: "restored", number, width, height, made, duration, how, note });
}

async function begin({ facts, accelerator }) {
  try {
    const { how, note } = await open(facts, accelerator);
    const used = performance.getEntriesByType("resource").map(({ name }) => name);
    tell({ kind: "opened", name: facts.name, how, note, used: [...used, facts.file] });
  } catch (error) {
    console.error(error);
    const text = `The model cannot be loaded: ${error.message ?? error}. Reload the page to try again.`;
    tell({ kind: "closed", name: facts.name, text });
  }
}

async function explain(error, file) {
  const [, , , { Fault }] = await modules.catch(() => [, , , {}]);
  if (Fault && error instanceof Fault) return error.message;
  console.error(file.name, error);
  const text = error.message ?? String(error);
  if (error instanceof RangeError || OUT_OF_MEMORY.test(text)) {
    return "Not enough memory for this picture: close other tabs, or choose a smaller one.";
  }
  return `It could not be restored: ${text}.`;
}

async function handle(message) {
  const { number } = message;
  if (message.kind === "open") return begin(message);
  if (number <= stopped) return tell({ kind: "stopped", number });
  try {
    await restore(message);
  } catch (error) {
    if (error instanceof Stopped) tell({ kind: "stopped", number });
    else tell({ kind: "fault", number, text: await explain(error, message.file) });
  }
}

self.addEventListener("message", ({ data }) => {
  if (data.kind === "stop") stopped = data.number;
  else turn = turn.then(() => handle(data));
});
