// Runs the network over frames and films away from the page. Not a module: see network-worker.js.

const modules = Promise.all([
  import("./network.js"),
  import("./frames.js"),
  import("./saving.js"),
  import("./picture.js"),
  import("./film-writer.js"),
]);
const BREATHE_MS = 100;
const SHOW_MS = 150;
let live = null; // { name, session, painter, change }: what is shown as it goes.
let recorder = null; // What writes the frames that are shown; its writer is begun by the first one.
let stopped = 0; // Jobs up to this number are given up.
let turn = Promise.resolve();
let paused = null; // { promise, goOn } while a film that is saved waits.

class Stopped extends Error {}

const tell = (message, handedOver = []) => self.postMessage(message, handedOver);

// Returns what lets messages in within a job, and ends the job when one of them said so.
function breather(number) {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < BREATHE_MS) return;
    await new Promise((go) => setTimeout(go));
    last = performance.now();
    if (number <= stopped) throw new Stopped();
  };
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

// Restores a frame that is shown as it goes.
async function frame({ number, bitmap, size, facts, accelerator, strength, forget, time }) {
  const [{ leaveGpu, open }, { Painter, Session }, , { shownAs }] = await modules;
  try {
    if (live?.name !== facts.name) {
      live = { name: facts.name, session: new Session(facts), painter: live?.painter ?? new Painter() };
    }
    if (forget) live.session.forget();
    const picture = live.painter.read(bitmap, size);
    const restore = async () => {
      const { step } = await open(facts, accelerator);
      return live.session.restore(picture, step, breather(number));
    };
    const started = performance.now();
    try {
      live.change = await restore();
    } catch (error) {
      if (error instanceof Stopped || !leaveGpu()) throw error;
      live.change = await restore();
    }
    const duration = performance.now() - started;
    const result = live.change.at(strength);
    if (recorder) await record(recorder, result, time);
    const [before, after] = [shownAs(picture), shownAs(result)];
    const { windows } = live.session;
    tell({ kind: "restored", number, before, after, duration, windows }, [before, after]);
  } finally {
    bitmap.close();
  }
}

async function mix({ number, strength }) {
  if (!live?.change) return tell({ kind: "mixed", number });
  const [, , , { shownAs }] = await modules;
  const after = shownAs(live.change.at(strength));
  return tell({ kind: "mixed", number, after }, [after]);
}

// ---- Recording what is shown

async function record(film, result, time) {
  const [, , , , { FilmWriter }] = await modules;
  const { width, height } = result;
  film.writer ??= await FilmWriter.begin({ width, height });
  const at = Math.round(time * 1e6);
  film.first ??= at;
  if (at <= (film.last ?? -1)) return;
  film.last = at;
  await film.writer.add(result, at - film.first, 0);
}

async function beginRecording() {
  recorder = {};
}

async function endRecording() {
  const { writer } = recorder ?? {};
  recorder = null;
  const [, , , { Fault }] = await modules;
  if (!writer) throw new Fault("Nothing was recorded: no frame was restored meanwhile.");
  const { count: done, codecName } = writer;
  const blob = await writer.finish();
  tell({ kind: "recorded", blob, done, codecName });
}

// ---- Saving a film

async function save({ number, file, facts, accelerator, strength }) {
  const [{ leaveGpu, open }, , { restoreFilm }, { Fault, shownAs }] = await modules;
  const breathe = breather(number);
  let shown = 0;
  const told = async ({ done, total, before, after }) => {
    const isDue = performance.now() - shown > SHOW_MS || done === total;
    const bitmaps = isDue ? [shownAs(before), shownAs(after)] : [];
    if (isDue) shown = performance.now();
    tell({ kind: "progress", number, done, total, before: bitmaps[0], after: bitmaps[1] }, bitmaps);
    await breathe();
    await paused?.promise;
    if (number <= stopped) throw new Stopped();
  };
  const restore = async () => {
    const { step } = await open(facts, accelerator);
    return restoreFilm(file, facts, strength, step, told, breathe);
  };
  let saved = null;
  try {
    saved = await restore();
  } catch (error) {
    if (error instanceof Stopped || error instanceof Fault || !leaveGpu()) throw error;
    console.warn(error);
    saved = await restore();
  }
  tell({ kind: "saved", number, ...saved });
}

async function explain(error) {
  const [{ isOutOfMemory }, , , { Fault }] = await modules.catch(() => [{}, , , {}]);
  if (Fault && error instanceof Fault) return error.message;
  console.error(error);
  if (isOutOfMemory?.(error)) return "Not enough memory: close other tabs, or choose a smaller film.";
  return `It could not be restored: ${error.message ?? error}.`;
}

// Those of recordings come without a number, and so are never given up.
const JOBS = { frame, mix, save, record: beginRecording, endRecording };

async function handle(message) {
  const { kind, number } = message;
  if (kind === "open") return begin(message);
  try {
    if (number <= stopped) throw new Stopped();
    await JOBS[kind](message);
  } catch (error) {
    message.bitmap?.close();
    if (error instanceof Stopped) tell({ kind: "stopped", number });
    else tell({ kind: "fault", number, of: kind, text: await explain(error) });
  }
  return undefined;
}

function setPaused(isPaused) {
  if (isPaused && !paused) {
    paused = {};
    paused.promise = new Promise((go) => {
      paused.goOn = go;
    });
  } else if (!isPaused && paused) {
    const { goOn } = paused;
    paused = null;
    goOn();
  }
}

self.addEventListener("message", ({ data }) => {
  if (data.kind === "stop") {
    stopped = data.number;
    setPaused(false);
  } else if (data.kind === "pause") setPaused(data.isPaused);
  else turn = turn.then(() => handle(data));
});
