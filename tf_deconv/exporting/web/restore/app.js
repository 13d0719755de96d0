// What a visitor does and sees. Pictures are restored in one worker (queue.js), and shown and saved by
// another one; nothing is sent anywhere.

import { askBeforeLeaving, download, find, make, note, say } from "./dom.js";
import { example } from "./example.js";
import { isFilm, isPicture, listen, naming } from "./incoming.js";
import { listModels, markModel } from "./models.js";
import { keepOffline } from "./offline.js";
import { Queue, STATES } from "./queue.js";
import * as viewer from "./viewer.js";

const facts = await (await fetch("model.json")).json();
// Those with a state restore films alone, on a page of their own.
const models = facts.models.filter(({ state }) => !state);
const options = new URLSearchParams(location.search);
const pictures = new Worker(new URL("./picture-worker.js", import.meta.url), { type: "module" });
const asked = new Map(); // Number of a question to what hears its answer.
let lastNumber = 0;
let shown = { item: null, result: null }; // What the viewer has.
let strengthAsked = null; // A strength that waits for the one before to be drawn.
const safe = new WeakSet(); // Results that were saved, and files of examples.
let writing = 0; // Files that are on their way to the disk.
let thumbs = Promise.resolve(); // One after the other, or a folder would keep the viewer waiting.

// Asks the worker of the pictures; `progress` hears the part that is done.
function ask(message, progress = () => {}) {
  const number = ++lastNumber;
  pictures.postMessage({ ...message, number });
  return new Promise((done, fail) => asked.set(number, { done, fail, progress }));
}

pictures.addEventListener("message", ({ data: { number, answer, fault, part } }) => {
  const { done, fail, progress } = asked.get(number);
  if (part !== undefined) return progress(part);
  asked.delete(number);
  return fault === undefined ? done(answer) : fail(new Error(fault));
});

const queue = new Queue(hear, options.get("accelerator") ?? "auto");

// ---- Models

const hasStrength = () => queue.model.scale === 1 && queue.model.channels_in < 4;

function choose(model) {
  markModel(model);
  document.body.dataset.ready = "";
  say("Loading…");
  queue.choose(model);
}

// ---- What is heard of the pictures

function counted() {
  const { items } = queue;
  const of = (state) => items.filter((item) => item.state === state).length;
  return { all: items.length, done: of("done"), faults: of("fault"), stopped: of("stopped") };
}

const plural = (count, noun) => (count === 1 ? `1 ${noun}` : `${count} ${noun}s`);

function sayHowItStands() {
  const { all, done, faults, stopped } = counted();
  if (!all || queue.isBusy) return;
  if (all === 1 && faults) return say(`${queue.items[0].name}: ${queue.items[0].fault}`, true);
  if (stopped) return say(`Cancelled: ${done} of ${plural(all, "picture")} restored.`);
  const failed = queue.items.find(({ state }) => state === "fault");
  if (failed) {
    const rest = faults > 1 ? `; and ${faults - 1} more` : "";
    return say(`${done} of ${all} restored. ${failed.name}: ${failed.fault}${rest}`, true);
  }
  return say(all === 1 ? "Done. Move the line to compare." : `Done: ${plural(all, "picture")} restored.`);
}

function hear({ kind, item, items, how, note, text, used }) {
  if (kind === "opened") {
    document.body.dataset.ready = "true";
    keepOffline(used);
    if (!queue.items.length) say("Ready.");
  }
  if (kind === "closed") say(text, true);
  if (how) find("how").textContent = `Computed by this device's ${how}.${note ? ` ${note}` : ""}`;
  if (kind === "added") for (const each of items) addToStrip(each);
  if (kind === "removed") find(`picture-${item.id}`).remove();
  // Not every percent: a screen reader would never be silent.
  if (kind === "begun") {
    const number = queue.items.indexOf(item) + 1;
    const of = queue.items.length > 1 ? ` ${number} of ${queue.items.length}` : "";
    say(`Restoring${of}: ${item.name}…`);
  }
  if (kind !== "progress") sayHowItStands();
  if (kind === "opened" && note) say(`Ready. ${note}`);
  refresh();
  if (kind !== "progress") look();
  else if (item === queue.selected) sayOnCover();
}

function refresh() {
  const { items, selected } = queue;
  const hasPictures = items.length > 0;
  document.body.classList.toggle("has-pictures", hasPictures);
  document.body.classList.toggle("has-many", items.length > 1);
  find("view").hidden = find("settings").hidden = !hasPictures;
  find("strip").hidden = items.length < 2;
  for (const item of items) {
    const button = find(`picture-${item.id}`).firstChild;
    const percent = `${Math.round(100 * item.part)} %`;
    const state = item.state === "running" ? percent : item.fault ? "failed" : STATES[item.state];
    button.querySelector(".state").textContent = state;
    button.classList.toggle("fault", Boolean(item.fault));
    if (item === selected) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  const { all, done, faults, stopped } = counted();
  const running = items.find(({ state }) => state === "running");
  find("going").hidden = !(queue.isBusy || (stopped && !queue.isBusy));
  find("cancel").textContent = queue.isBusy ? "Cancel" : "Go on";
  find("progress").value = all ? (done + faults + (running?.part ?? 0)) / all : 0;
  find("mix").hidden = !queue.model || !hasStrength();
  find("save").disabled = !selected || !queue.resultOf(selected);
  find("save-all").hidden = done < 2;
  find("save-all").textContent = `Save all ${done} (ZIP)`;
}

function addToStrip(item) {
  const canvas = make("canvas", { width: 1, height: 1 });
  const name = make("span", { className: "name", textContent: item.name.split("/").at(-1) });
  const state = make("span", { className: "state" });
  const button = make("button", { type: "button", title: item.name }, canvas, name, state);
  button.addEventListener("click", () => queue.select(item));
  find("strip").append(make("li", { id: `picture-${item.id}` }, button));
  thumbs = thumbs
    .then(() => ask({ kind: "thumb", file: item.file }))
    .then(({ bitmap }) => {
      [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
      canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
    })
    .catch(() => {}); // What is no picture is told when its turn comes.
}

// ---- The picture that is looked at

const strength = () => (hasStrength() ? Number(find("strength").value) : 1);

function describe(item, result) {
  const { scale } = queue.model;
  const size = (factor) => `${result.width * factor} × ${result.height * factor}`;
  const sizes = scale > 1 ? `${size(1)} → ${size(scale)}` : size(1);
  const seconds = (result.duration / 1000).toPrecision(2) * 1;
  return `${item.name} · ${sizes} pixels · ${seconds} s`;
}

// What the worker of the pictures must know of a result.
function resultMessage(item, result) {
  const { file, name } = item;
  const id = `${item.id} ${queue.model.name}`;
  return { id, file, name, facts: queue.model, made: result.made };
}

function sayOnCover() {
  const item = queue.selected;
  const running = item.part ? `Restoring… ${Math.round(100 * item.part)} %` : "Restoring…";
  const texts = { waiting: "Waiting…", running, stopped: "Cancelled.", fault: item.fault };
  viewer.cover(queue.resultOf(item) ? "" : texts[item.state]);
}

async function look() {
  const item = queue.selected;
  if (!item) return;
  const result = queue.resultOf(item);
  sayOnCover();
  if (shown.item === item && shown.result === result) return;
  const wasShown = shown.item;
  shown = { item, result };
  document.body.dataset.shown = "";
  find("facts").textContent = result ? describe(item, result) : item.name;
  try {
    if (wasShown !== item) {
      const { bitmap } = await ask({ kind: "look", file: item.file });
      if (shown.item !== item) return bitmap.close();
      viewer.show(bitmap);
    } else if (!result) viewer.showAlone();
    if (result && shown.result === result) await drawMixed();
  } catch (error) {
    if (shown.item !== item) return undefined;
    viewer.clear();
    if (item.state === "done") say(`${item.name}: ${error.message}`, true);
  }
  return undefined;
}

// One at a time: while a strength is drawn, the slider is three further ones ahead.
async function drawMixed() {
  const { item, result } = shown;
  if (!result) return;
  const wanted = strength();
  const message = { ...resultMessage(item, result), kind: "mix", strength: wanted };
  const { bitmap } = await ask(message);
  if (shown.item !== item || shown.result !== result) return bitmap.close();
  viewer.showAfter(bitmap, [bitmap.width, bitmap.height]);
  document.body.dataset.shown = `${item.id} ${queue.model.name} ${wanted}`;
  return undefined;
}

async function mixSoon() {
  if (strengthAsked) return;
  do {
    strengthAsked = strength();
    await drawMixed().catch((error) => say(error.message, true));
  } while (strengthAsked !== strength());
  strengthAsked = null;
}

find("strength").addEventListener("input", () => {
  const percent = `${Math.round(100 * find("strength").value)} %`;
  find("amount").textContent = percent;
  find("strength").setAttribute("aria-valuetext", percent);
  mixSoon();
});

// ---- Saving

async function save(items, message) {
  const progress = (part) => say(`Packing… ${Math.round(100 * part)} %`);
  say("Saving…");
  writing += 1;
  const results = items.map((item) => queue.resultOf(item));
  try {
    const file = await ask({ ...message, type: find("type").value, strength: strength() }, progress);
    download(file);
    for (const result of results) safe.add(result);
    const wanted = find("type").value;
    const isOther = message.kind === "save" && wanted !== "same" && file.blob.type !== wanted;
    say(isOther ? `Saved ${file.name}: this browser cannot write the other type.` : `Saved ${file.name}.`);
  } catch (error) {
    say(`It could not be saved: ${error.message}`, true);
  }
  writing -= 1;
}

find("save").addEventListener("click", () => {
  const item = queue.selected;
  save([item], { ...resultMessage(item, queue.resultOf(item)), kind: "save" });
});
find("save-all").addEventListener("click", () => {
  const done = queue.items.filter((item) => item.state === "done");
  const all = done.map((item) => resultMessage(item, queue.resultOf(item)));
  save(done, { kind: "zip", pictures: all });
});
askBeforeLeaving(() => {
  const isUnsaved = (item) => item.state === "done" && !safe.has(item.file) && !safe.has(queue.resultOf(item));
  return queue.isBusy || writing > 0 || queue.items.some(isUnsaved);
});
find("remove").addEventListener("click", () => {
  queue.remove(queue.selected);
  if (!queue.items.length) {
    shown = { item: null, result: null };
    say("Ready.");
    find("choose").focus();
  }
});
find("cancel").addEventListener("click", () => (queue.isBusy ? queue.stop() : queue.goOn()));

// ---- Begin

find("pages").hidden = facts.models.every(({ channels_in }) => channels_in === 4);
listModels(models, choose);
find("sample").addEventListener("click", async () => {
  const file = await example(queue.model);
  safe.add(file);
  queue.add([{ file, name: "example.png" }]);
});
listen(["choose", "folder", "take"], (found, fault) => {
  const hasFilm = found.some(({ file }) => isFilm(file));
  // A single file is what it is taken for, or its fault could not be told.
  const taken = found.length === 1 && !hasFilm ? found : found.filter(({ file }) => isPicture(file));
  const rest = found.filter((each) => !taken.includes(each));
  const told = [
    fault,
    rest.length ? `Left out, as no picture: ${naming(rest)}.` : "",
    hasFilm && !find("pages").hidden ? "“Films and camera”, above, restores films." : "",
  ];
  note(told.filter(Boolean).join(" "), !taken.length);
  if (taken.length) queue.add(taken);
});
choose(models.find(({ name }) => name === options.get("model")) ?? models[0]);
