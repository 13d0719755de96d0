// Pictures that come in: chosen, dropped, pasted, taken, or drawn as an example.

import { find } from "./dom.js";

const PICTURE_NAME = /\.(jpe?g|jfif|png|apng|webp|gif|bmp|avif|heic|heif|jxl|tiff?|svg)$/i;

const isPicture = ({ type, name }) => type.startsWith("image/") || PICTURE_NAME.test(name);

// Returns all files of a dropped folder, with their paths.
async function filesIn(entry, path = "") {
  if (entry.isFile) {
    const file = await new Promise((done, fail) => entry.file(done, fail));
    return [{ file, name: path + file.name }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // A reader gives a hundred at a time.
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!some.length) return found;
    for (const inner of some) found.push(...(await filesIn(inner, `${path}${entry.name}/`)));
  }
}

async function filesOf({ files, items }) {
  // Asked for at once: afterwards the browser has taken the items away.
  const entries = [...(items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) {
    return [...files].map((file) => ({ file, name: file.name }));
  }
  return (await Promise.all(entries.map((entry) => filesIn(entry)))).flat();
}

/**
 * Listens for pictures.
 *
 * @param {function} take Receives [{ file, name }], and how many files were none; name is a path
 *   below the folder that was chosen.
 */
export function listen(take) {
  const give = (found) => {
    // A single file is what it is taken for, or its fault could not be told.
    const pictures = found.length === 1 ? found : found.filter(({ file }) => isPicture(file));
    take(pictures, found.length - pictures.length);
  };
  for (const id of ["choose", "folder", "take"]) {
    find(id).addEventListener("change", (event) => {
      const files = [...event.target.files];
      give(files.map((file) => ({ file, name: file.webkitRelativePath || file.name })));
      event.target.value = ""; // The same file again is a change too.
    });
  }
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, async (event) => {
      event.preventDefault();
      find("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop") give(await filesOf(event.dataTransfer));
    });
  }
  document.addEventListener("paste", ({ clipboardData }) => {
    const files = [...(clipboardData?.files ?? [])];
    if (files.length) give(files.map((file) => ({ file, name: file.name || "pasted.png" })));
  });
}

const normal = () =>
  Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

function scene(side) {
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d");
  context.scale(side / 640, side / 640);
  const sky = context.createLinearGradient(0, 0, 0, 460);
  for (const [at, colour] of [[0, "#37628f"], [0.6, "#c99a7c"], [1, "#f0d2a4"]]) {
    sky.addColorStop(at, colour);
  }
  context.fillStyle = sky;
  context.fillRect(0, 0, 640, 640);
  context.fillStyle = "#fbeec4";
  context.beginPath();
  context.arc(452, 250, 44, 0, 7);
  context.fill();
  const ridges = [["#6d7f93", 300, 70, 0.9], ["#4b6275", 360, 60, 2.2], ["#2f4450", 430, 46, 4.1]];
  for (const [colour, base, height, phase] of ridges) {
    context.fillStyle = colour;
    context.beginPath();
    context.moveTo(0, 640);
    for (let x = 0; x <= 640; x += 4) {
      const wave = Math.sin(x / 71 + phase) + 0.5 * Math.sin(x / 29 + 2 * phase);
      context.lineTo(x, base - height * wave);
    }
    context.lineTo(640, 640);
    context.fill();
  }
  context.fillStyle = "#1b2a2b";
  for (let i = 0; i < 46; i++) {
    const [x, height] = [i * 14.5 - 6, 44 + 38 * Math.abs(Math.sin(i * 2.3))];
    const foot = 640;
    for (let part = 0; part < 3; part++) {
      const top = foot - height - 60 + part * 22;
      context.beginPath();
      context.moveTo(x, top);
      context.lineTo(x + 11 + 3 * part, top + 42);
      context.lineTo(x - 11 - 3 * part, top + 42);
      context.fill();
    }
    context.fillRect(x - 9, foot - height - 8, 18, height + 8);
  }
  return context;
}

/**
 * Draws a picture with what a model is there to undo, so that none has to be shipped.
 *
 * @param {object} facts The model's.
 * @returns {Promise<File>} The picture.
 */
export async function example(facts) {
  const isLarge = facts.scale === 1;
  const side = isLarge ? 640 : 160;
  const context = scene(side);
  if (facts.channels_in === 4) {
    for (let i = 0; i < 60; i++) {
      context.clearRect(Math.random() * 640, Math.random() * 640, 8, 36);
    }
  } else if (isLarge && facts.task !== "deblock") {
    const image = context.getImageData(0, 0, side, side);
    for (let i = 0; i < image.data.length; i += 4) {
      const grey = 0.3 * image.data[i] + 0.59 * image.data[i + 1] + 0.11 * image.data[i + 2];
      const one = 20 * normal();
      for (let c = 0; c < 3; c++) {
        const isGrey = facts.channels_in === 1;
        image.data[i + c] = (isGrey ? grey : image.data[i + c]) + (isGrey ? one : 20 * normal());
      }
    }
    context.putImageData(image, 0, 0);
  }
  const kinds = { deblock: ["image/jpeg", 0.1] };
  const [type, quality] = kinds[facts.task] ?? ["image/png", 1];
  const blob = await context.canvas.convertToBlob({ type, quality });
  return new File([blob], `example.${type === "image/png" ? "png" : "jpg"}`, { type });
}
