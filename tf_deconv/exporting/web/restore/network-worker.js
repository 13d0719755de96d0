// Runs networks away from the page, which so never freezes. Not a module: the runtime loads a part of
// itself by importScripts, which modules do not have.

const modules = Promise.all([
  import("./network.js"),
  import("./tiles.js"),
  import("./change.js"),
  import("./picture.js"),
]);
const MOST_PIXELS = 40e6; // Of the result.
const SHOW_MS = 100;
let stopped = 0; // Jobs up to this number are given up.
let turn = Promise.resolve();

class Stopped extends Error {}

const tell = (message) => self.postMessage(message);

async function restore(message) {
  const [{ leaveGpu }, , , { Fault }] = await modules;
  try {
    await restoreOnce(message);
  } catch (error) {
    // A device may be lost at any time; the processor is not.
    if (error instanceof Stopped || error instanceof Fault || !leaveGpu()) throw error;
    console.warn(error);
    await restoreOnce(message);
  }
}

async function restoreOnce({ number, file, facts, accelerator }) {
  const [{ open }, { restoreTiles }, { Change }, { readPicture }] = await modules;
  const { step, how, note } = await open(facts, accelerator);
  const started = performance.now();
  const picture = await readPicture(file, MOST_PIXELS / facts.scale ** 2);
  const change = new Change(picture, facts);
  let shown = performance.now();
  const runTile = async (window, size) => (await step(window, size))[0];
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
    const [{ open }] = await modules;
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
  const [{ isOutOfMemory }, , , { Fault }] = await modules.catch(() => [{}, , , {}]);
  if (Fault && error instanceof Fault) return error.message;
  console.error(file.name, error);
  const text = error.message ?? String(error);
  if (isOutOfMemory?.(error)) {
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
