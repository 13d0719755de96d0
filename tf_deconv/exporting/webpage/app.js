// Restores pictures with the exported TFLite file, in the browser; nothing is sent anywhere.

import { Tensor, loadAndCompile, loadLiteRt } from "@litertjs/core";
import { restorePixels } from "./tiles.js";

const MAX_PIXELS = 40e6;
const find = (id) => document.getElementById(id);
const facts = await (await fetch("model.json")).json();
let model = null;
let busy = false;

find("title").textContent = facts.title;
find("summary").textContent = `${facts.summary} The picture stays on this device.`;
if ("serviceWorker" in navigator) {
  navigator.serviceWorker.register("sw.js").catch(() => {}); // Works without, but not offline.
}

function say(text, isFault = false) {
  find("status").textContent = text;
  find("status").classList.toggle("fault", isFault);
}

async function load() {
  await loadLiteRt("./lib/core/wasm/");
  const wanted = new URLSearchParams(location.search).get("accelerator") === "webgpu";
  if (wanted) {
    try {
      model = await loadAndCompile(facts.file, { accelerator: "webgpu" });
      return "Ready, on the GPU.";
    } catch (error) {
      console.warn(error);
    }
  }
  model = await loadAndCompile(facts.file, { accelerator: "wasm" });
  return wanted ? "Ready. WebGPU is not to be had here, so it runs on the CPU." : "Ready.";
}

async function runTile(pixels, [height, width]) {
  const input = new Tensor(pixels, [1, height, width, facts.channels_in]);
  try {
    const results = await model.run(`restore_${height}x${width}`, { image: input });
    const output = await results.restored.moveTo("wasm");
    const values = Float32Array.from(output.toTypedArray());
    output.delete();
    return values;
  } finally {
    if (!input.deleted) input.delete();
  }
}

function drawn(source, width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  if (source instanceof ImageData) context.putImageData(source, 0, 0);
  else context.drawImage(source, 0, 0, width, height);
  return context;
}

async function restoreImage(image) {
  const { width, height } = image;
  if (width * height > MAX_PIXELS) {
    const size = `${width}×${height}`;
    throw new Error(`The picture is ${size}: at most ${MAX_PIXELS / 1e6} megapixels, please.`);
  }
  const pixels = drawn(image, width, height).getImageData(0, 0, width, height);
  find("progress").hidden = false;
  const started = performance.now();
  const restored = await restorePixels(pixels.data, width, height, facts, runTile, async (done) => {
    find("progress").value = done;
    say(`Restoring, ${Math.round(100 * done)} %`);
    await new Promise((go) => setTimeout(go)); // Lets the page draw.
  });
  const duration = performance.now() - started;
  const [w, h] = [width * facts.scale, height * facts.scale];
  const result = new ImageData(restored, w, h);
  for (const [id, source] of [["after", result], ["before", null]]) {
    const canvas = find(id);
    [canvas.width, canvas.height] = [w, h];
    const context = canvas.getContext("2d");
    if (source) context.putImageData(source, 0, 0);
    else context.drawImage(image, 0, 0, w, h);
  }
  find("result").hidden = false;
  const sizes = facts.scale > 1 ? `${width}×${height} → ${w}×${h}` : `${width}×${height}`;
  find("facts").textContent = `${sizes} pixels, restored in ${Math.round(duration)} ms.`;
  const blob = await new Promise((done) => find("after").toBlob(done, "image/png"));
  URL.revokeObjectURL(find("download").href);
  find("download").href = URL.createObjectURL(blob);
  say("Done. Move the line to compare.");
}

async function handle(makeImage) {
  if (busy || !model) return;
  busy = true;
  try {
    say("Reading…");
    let image;
    try {
      image = await makeImage();
    } catch {
      throw new Error("This file is no picture that the browser can read: try a PNG or a JPEG.");
    }
    await restoreImage(image);
  } catch (error) {
    say(error.message, true);
  } finally {
    find("progress").hidden = true;
    busy = false;
  }
}

// Shapes and a gradient with noise, drawn here so that no picture has to be shipped.
function sampleImage() {
  const side = 320;
  const context = drawn(new ImageData(side, side), side, side);
  const sky = context.createLinearGradient(0, 0, 0, side);
  sky.addColorStop(0, "#5a8fd0");
  sky.addColorStop(1, "#f0d9a8");
  context.fillStyle = sky;
  context.fillRect(0, 0, side, side);
  context.fillStyle = "#f7e27a";
  context.arc(230, 80, 36, 0, 7);
  context.fill();
  for (const [color, left, top, size] of [["#3f5b46", -40, 190, 260], ["#6b4f3a", 120, 220, 260]]) {
    context.fillStyle = color;
    context.beginPath();
    context.moveTo(left, side);
    context.lineTo(left + size / 2, top);
    context.lineTo(left + size, side);
    context.fill();
  }
  const image = context.getImageData(0, 0, side, side);
  for (let i = 0; i < image.data.length; i += 4) {
    for (let c = 0; c < 3; c++) {
      const noise = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(7 * Math.random());
      image.data[i + c] += 25 * noise;
    }
  }
  return createImageBitmap(image);
}

const fromFile = (file) => handle(() => createImageBitmap(file));
for (const id of ["choose", "take"]) {
  find(id).addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) fromFile(file);
    event.target.value = ""; // The same file again is a change too.
  });
}
find("sample").addEventListener("click", () => handle(sampleImage));
const drop = find("drop");
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) fromFile(event.dataTransfer.files[0]);
  });
}
find("slider").addEventListener("input", (event) => {
  const share = event.target.value;
  find("before").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
  find("line").style.left = `${share}%`;
});

try {
  say(await load());
  document.body.dataset.ready = "true";
} catch (error) {
  console.error(error);
  say(`The network cannot be loaded: ${error.message}`, true);
}
