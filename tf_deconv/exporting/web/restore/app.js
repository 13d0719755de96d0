// Restores pictures with the exported TFLite file, in the browser; nothing is sent anywhere.

import { begin, facts, find, run, say } from "./page.js";
import { decode, drawn } from "./picture.js";
import { restorePixels } from "./tiles.js";

const MAX_PIXELS = 40e6;
let model = null;
let latest = 0; // Number of the picture that was put in last; earlier ones give way.
let shownPair = null; // What the strength mixes: the picture and what the network made of it.

find("title").textContent = facts.title;
find("mix").hidden = facts.scale !== 1 || facts.channels_in > 3;
find("summary").textContent = `${facts.summary} The picture stays on this device.`;

function runTile(pixels, [height, width]) {
  const image = [pixels, [1, height, width, facts.channels_in]];
  return run(model, `restore_${height}x${width}`, { image }, "restored");
}

async function restoreImage(image, number) {
  const { width, height } = image;
  const [w, h] = [width * facts.scale, height * facts.scale];
  if (w * h > MAX_PIXELS) {
    const most = Math.floor(MAX_PIXELS / facts.scale ** 2 / 1e5) / 10;
    throw new Error(`The picture is ${width}×${height}: at most ${most} megapixels, please.`);
  }
  const pixels = drawn(image, width, height).getImageData(0, 0, width, height);
  say("Restoring…");
  find("progress").value = 0;
  find("progress").hidden = false;
  const started = performance.now();
  let shown = started;
  const restored = await restorePixels(pixels.data, width, height, facts, runTile, async (done) => {
    // A pause after each tile would cost more than a small tile does.
    if (performance.now() - shown < 50) return;
    find("progress").value = done;
    await new Promise((go) => setTimeout(go)); // Lets the page draw, and take another picture.
    shown = performance.now();
    if (number !== latest) throw new Overtaken();
  });
  const duration = performance.now() - started;
  for (const id of ["after", "before"]) [find(id).width, find(id).height] = [w, h];
  find("before").getContext("2d").drawImage(image, 0, 0, w, h);
  shownPair = { given: pixels.data, restored };
  drawMixed();
  await offerDownload();
  find("result").hidden = false;
  const sizes = facts.scale > 1 ? `${width}×${height} → ${w}×${h}` : `${width}×${height}`;
  find("facts").textContent = `${sizes} pixels, restored in ${Math.round(duration)} ms.`;
  say("Done. Move the line to compare.");
}

// Returns given + strength * (restored - given), RGBA. Of the restored picture as it is shown, in
// bytes: moving the slider then needs no second run, and what `restore --strength` gives is near.
function mix({ given, restored }, strength) {
  if (strength === 1) return restored;
  const mixed = new Uint8ClampedArray(restored);
  for (let i = 0; i < mixed.length; i += 4) {
    const [alpha, paper] = [given[i + 3] / 255, 255 - given[i + 3]];
    const grey = 0.299 * given[i] + 0.587 * given[i + 1] + 0.114 * given[i + 2];
    for (let c = 0; c < 3; c++) {
      const before = (facts.channels_out === 1 ? grey : given[i + c]) * alpha + paper;
      mixed[i + c] = before + strength * (restored[i + c] - before);
    }
  }
  return mixed;
}

function drawMixed() {
  const strength = find("mix").hidden ? 1 : Number(find("strength").value);
  find("amount").textContent = strength;
  const { width, height } = find("after");
  const result = new ImageData(mix(shownPair, strength), width, height);
  find("after").getContext("2d").putImageData(result, 0, 0);
}

async function offerDownload() {
  const blob = await new Promise((done) => find("after").toBlob(done, "image/png"));
  if (!blob) throw new Error("The picture is too large for this browser: try a smaller one.");
  URL.revokeObjectURL(find("download").href);
  find("download").href = URL.createObjectURL(blob);
}

class Overtaken extends Error {}

async function show(makeImage, number) {
  if (!model || number !== latest) return;
  let image = null;
  try {
    say("Reading…");
    image = await makeImage().catch(() => {
      throw new Error("This file is not a picture that the browser can read: try a PNG or a JPEG.");
    });
    await restoreImage(image, number);
  } catch (error) {
    if (error instanceof Overtaken) return;
    console.error(error);
    find("result").hidden = true; // Or an earlier picture would look like this one's.
    say(error.message ?? String(error), true);
  } finally {
    image?.close();
    find("progress").hidden = true;
  }
}

// One picture at a time; the first waits for the network.
function handle(makeImage) {
  const number = ++latest;
  turn = turn.then(() => show(makeImage, number));
}

// Shapes and a gradient with what the network is there to undo: grey and with noise, or with holes.
// Drawn here, so that no picture has to be shipped.
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
  if (facts.channels_in === 4) {
    for (let i = 0; i < 40; i++) {
      context.clearRect(Math.random() * side, Math.random() * side, 6, 24);
    }
    return createImageBitmap(context.canvas);
  }
  const image = context.getImageData(0, 0, side, side);
  const normal = () =>
    Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  for (let i = 0; i < image.data.length; i += 4) {
    const [red, green, blue] = image.data.slice(i, i + 3);
    if (facts.channels_in === 1) {
      image.data.fill(0.299 * red + 0.587 * green + 0.114 * blue + 25 * normal(), i, i + 3);
    } else {
      for (let c = 0; c < 3; c++) image.data[i + c] += 25 * normal();
    }
  }
  return createImageBitmap(image);
}

const fromFile = (file) => handle(() => decode(file));
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

find("strength").addEventListener("input", drawMixed);
find("strength").addEventListener("change", offerDownload);

let turn = begin((loaded) => {
  model = loaded;
});
