// Shows, mixes and saves pictures away from the page; the network has a worker of its own, so that
// moving the strength never waits for it.

import { Change } from "./change.js";
import { EXTENSIONS, Fault, decode, readPicture, shownAs, writePicture } from "./picture.js";
import { Archive } from "./zip.js";

const THUMB_PX = 112;
let open = { id: null, change: null };
let turn = Promise.resolve();

// What is restored of a file, at hand again.
async function changeOf({ id, file, facts, made }) {
  if (open.id === id) return open.change;
  open = { id: null, change: null }; // Lets go of the one before.
  const picture = await readPicture(file);
  open = { id, change: new Change(picture, facts, await made.arrayBuffer()) };
  return open.change;
}

// Returns the file of a result: in the type asked for, or as close as this browser comes.
async function fileOf(message) {
  const result = (await changeOf(message)).at(message.strength);
  const own = result.type || "image/png";
  const blob = await writePicture(result, message.type === "same" ? own : message.type);
  const stem = message.name.replace(/\.[^./]*$/, "");
  return { blob, name: `${stem}-restored.${EXTENSIONS[blob.type] ?? "png"}` };
}

// Two pictures of a folder may differ by their type alone.
function unused(name, taken) {
  const [, stem, end] = name.match(/^(.*?)(\.[^.]*)$/);
  let free = name;
  for (let n = 2; taken.has(free); n++) free = `${stem}-${n}${end}`;
  taken.add(free);
  return free;
}

const TASKS = {
  async look({ file }) {
    const bitmap = await decode(file).catch(() => {
      throw new Fault("Not a picture.");
    });
    return { bitmap };
  },

  async thumb({ file }) {
    const bitmap = await decode(file);
    const factor = Math.min(1, THUMB_PX / Math.min(bitmap.width, bitmap.height));
    const [width, height] = [bitmap.width, bitmap.height].map((side) =>
      Math.max(1, Math.round(side * factor)),
    );
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0, width, height);
    bitmap.close();
    return { bitmap: canvas.transferToImageBitmap() };
  },

  async mix(message) {
    return { bitmap: shownAs((await changeOf(message)).at(message.strength)) };
  },

  async save(message) {
    return fileOf(message);
  },

  async zip({ pictures, type, strength }, progress) {
    const [archive, taken] = [new Archive(), new Set()];
    for (const [number, picture] of pictures.entries()) {
      const { blob, name } = await fileOf({ ...picture, type, strength });
      await archive.add(unused(name, taken), blob);
      progress((number + 1) / pictures.length);
    }
    return { blob: archive.finish(), name: "restored.zip" };
  },
};

async function handle({ number, kind, ...message }) {
  const progress = (part) => self.postMessage({ number, part });
  try {
    const answer = await TASKS[kind](message, progress);
    self.postMessage({ number, answer }, answer.bitmap ? [answer.bitmap] : []);
  } catch (error) {
    console.error(error);
    self.postMessage({ number, fault: error.message ?? String(error) });
  }
}

self.addEventListener("message", ({ data }) => {
  turn = turn.then(() => handle(data));
});
