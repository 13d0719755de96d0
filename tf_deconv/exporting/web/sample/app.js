// Makes pictures with the exported TFLite file, in the browser; nothing is sent anywhere.

import { begin, facts, find, say } from "./page.js";
import { run } from "./runtime.js";
import { labelOf, runsOfPicture, samplePicture } from "./sampling.js";

const { generator, sampler } = facts;
const { kind, height, width, channels, classes } = generator;
// Sides of one picture, of up to four and of more, on the screen; four of these fit a phone's.
const CELLS_PX = [280, 140, 84];
const GAP_PX = 4;
const MAX_COLUMNS = 10;
// Of the file that is saved: white space, times that each pixel is repeated, columns of classes.
const [SAVED_GAP_PX, SAVED_SCALE, MOST_SAVED_COLUMNS] = [2, 2, 20];
const SHOW_MS = 50;
let model = null;
let running = false;
let stopped = false;

find("title").textContent = facts.title;
find("summary").textContent = `${facts.summary} Nothing leaves this device.`;
find("label-field").hidden = !classes;
find("steps-field").hidden = find("solver-field").hidden = kind !== "flow";
find("guidance-field").hidden = kind !== "flow" || !classes;
for (let label = 0; label < classes; label++) find("label").add(new Option(label, label));
for (const [name, value] of Object.entries(sampler ?? {})) find(name).value = value;

class Fault extends Error {}
class Stopped extends Error {}

// Returns a field's number.
function numberIn(id, name, isWhole = true) {
  const field = find(id);
  const value = field.valueAsNumber;
  const isGood = value >= field.min && value <= field.max && (!isWhole || Number.isInteger(value));
  field.setAttribute("aria-invalid", !isGood);
  if (isGood) return value;
  field.focus();
  const wanted = `a ${isWhole ? "whole number" : "number"} from ${field.min} to ${field.max}`;
  throw new Fault(`${name}${field.value && ` ${field.value}`}: expected ${wanted}.`);
}

function readOptions() {
  const options = { seed: numberIn("seed", "Seed"), count: numberIn("count", "Pictures") };
  options.label = find("label").value === "" ? null : Number(find("label").value);
  if (kind === "flow") {
    options.steps = numberIn("steps", "Steps");
    options.solver = find("solver").value;
    if (classes) options.guidance = numberIn("guidance", "Guidance", false);
  }
  return options;
}

function runNetwork({ latent, x, t, label }) {
  const inputs = latent
    ? { latent: [latent, [1, latent.length]] }
    : { x: [x, [1, height, width, channels]], t: [Float32Array.of(t), [1]] };
  if (label !== null) inputs.label = [Int32Array.of(label), [1]];
  return kind === "vae"
    ? run(model, "decode", inputs, "image")
    : run(model, "step", inputs, "velocity");
}

function pixelsOf(picture) {
  const pixels = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      // The array clamps and rounds.
      pixels.data[4 * i + c] = 255 * picture[i * channels + (channels === 1 ? 0 : c)];
    }
    pixels.data[4 * i + 3] = 255;
  }
  return pixels;
}

// Empties the grid; whole multiples of a pixel, or some would look wider than others.
function prepareGrid(count, inTurn) {
  const side = CELLS_PX[count === 1 ? 0 : count <= 4 ? 1 : 2];
  const cell = Math.max(1, Math.floor(side / width)) * width;
  find("grid").replaceChildren();
  find("grid").style.setProperty("--cell", `${cell}px`);
  // Where there is room, a class has columns of its own.
  const columns = Math.max(1, Math.floor(MAX_COLUMNS / classes)) * classes;
  find("grid").style.maxWidth = inTurn ? `${columns * (cell + GAP_PX) - GAP_PX}px` : "";
  find("result").hidden = false;
  find("download").hidden = true;
  find("facts").textContent = "";
}

function show(picture, index, label) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(pixelsOf(picture), 0, 0);
  canvas.setAttribute("role", "img");
  const ofClass = label === null ? "" : ` of class ${label}`;
  canvas.setAttribute("aria-label", `Picture ${index}${ofClass}`);
  const figure = document.createElement("figure");
  figure.append(canvas);
  if (label !== null) {
    const caption = document.createElement("figcaption");
    caption.textContent = label;
    figure.append(caption);
  }
  find("grid").append(figure);
}

async function makePictures(options) {
  const { seed, count, label } = options;
  prepareGrid(count, classes > 0 && label === null);
  find("progress").value = 0;
  find("progress").hidden = false;
  say("Generating…");
  const runs = count * runsOfPicture(generator, options);
  const started = performance.now();
  let [done, made, shown] = [0, 0, started];
  const runOnce = async (inputs) => {
    // A pause after each run would cost more than a small network does.
    if (performance.now() - shown > SHOW_MS) {
      find("progress").value = done / runs;
      await new Promise((go) => setTimeout(go)); // Lets the page draw, and be stopped.
      shown = performance.now();
    }
    if (stopped) throw new Stopped();
    done += 1;
    return runNetwork(inputs);
  };
  try {
    for (; made < count; made++) {
      const picture = await samplePicture(generator, runOnce, made, options);
      show(picture, made, labelOf(generator, made, label));
    }
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
  }
  const duration = performance.now() - started;
  if (made) await offer(made, options);
  else find("result").hidden = true;
  const each = made && `, ${(duration / made).toPrecision(3) * 1} ms each`;
  const name = made === 1 ? "1 picture" : `${made} pictures`;
  find("facts").textContent = `${name} of ${width}×${height} pixels from seed ${seed}${each}.`;
  say(made < count ? `Stopped: ${made} of ${count} pictures were made.` : "Done.");
}

// Lays the pictures out in one, to be saved: the grid.png of `tf-deconv sample`.
async function offer(count, { label, seed }) {
  const isByClass = label === null && classes > 1 && classes <= Math.min(MOST_SAVED_COLUMNS, count);
  const columns = isByClass ? classes : Math.ceil(Math.sqrt(count));
  const [high, wide] = [height + SAVED_GAP_PX, width + SAVED_GAP_PX];
  const sheet = document.createElement("canvas");
  sheet.width = (columns * wide + SAVED_GAP_PX) * SAVED_SCALE;
  sheet.height = (Math.ceil(count / columns) * high + SAVED_GAP_PX) * SAVED_SCALE;
  const context = sheet.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, sheet.width, sheet.height);
  context.scale(SAVED_SCALE, SAVED_SCALE);
  context.imageSmoothingEnabled = false;
  find("grid").querySelectorAll("canvas").forEach((canvas, i) => {
    const [left, top] = [(i % columns) * wide, Math.floor(i / columns) * high];
    context.drawImage(canvas, left + SAVED_GAP_PX, top + SAVED_GAP_PX);
  });
  const blob = await new Promise((done) => sheet.toBlob(done, "image/png"));
  if (!blob) throw new Error("The grid is too large for this browser: make fewer pictures.");
  URL.revokeObjectURL(find("download").href);
  find("download").href = URL.createObjectURL(blob);
  find("download").download = `${facts.title}-seed-${seed}.png`;
  find("download").hidden = false;
}

async function generate() {
  try {
    const options = readOptions();
    if (!model) throw new Fault("The network is still being loaded: try again in a moment.");
    [running, stopped] = [true, false];
    find("generate").textContent = "Stop";
    await makePictures(options);
  } catch (error) {
    if (!(error instanceof Fault)) console.error(error);
    find("result").hidden = true; // Or earlier pictures would look like these.
    say(error.message ?? String(error), true);
  } finally {
    running = false;
    find("generate").textContent = "Generate";
    find("progress").hidden = true;
  }
}

find("options").addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) stopped = true;
  else generate();
});
find("dice").addEventListener("click", () => {
  find("seed").value = crypto.getRandomValues(new Uint32Array(1))[0] >>> 1;
  find("seed").setAttribute("aria-invalid", false);
});
// Until then a click would be lost.
find("generate").disabled = true;
await begin((loaded) => {
  model = loaded;
  find("generate").disabled = false;
});
