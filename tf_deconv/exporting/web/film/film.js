// What a visitor does and sees of films. A worker restores one frame at a time; while it does, further
// ones are skipped, but for a film that is saved. Nothing is sent anywhere.

import { Counter } from "./counter.js";
import { askBeforeLeaving, find, note, say } from "./dom.js";
import { isFilm, listen, naming } from "./incoming.js";
import { Keeper } from "./keeping.js";
import { listModels, markModel } from "./models.js";
import { keepOffline } from "./offline.js";
import { isStill } from "./player.js";
import { closeSource, openCamera, openFile } from "./source.js";
import * as viewer from "./viewer.js";

const facts = await (await fetch("model.json")).json();
// What fills in needs to be told what is missing, which no film does.
const models = facts.models.filter(({ channels_in }) => channels_in < 4);
const options = new URLSearchParams(location.search);
const accelerator = options.get("accelerator") ?? "auto";
const video = find("film");
const worker = new Worker(new URL("./film-worker.js", import.meta.url));
let model = null;
let source = null; // { kind: "film" or "camera", name, file }
let windows = 1; // In which a frame goes through the network.
let lastNumber = 0;
let running = 0; // Number of the frame that is restored.
let runningTime = 0; // Of the frame that is restored, in the film.
let mixing = 0; // Number of a strength that is drawn, and the one that waits.
let mixAgain = false;
let waiting = null; // The newest frame that came meanwhile.
let forget = true; // Whether the next frame has no past.
let counter = new Counter();

const send = (message, handedOver = []) => {
  const number = ++lastNumber;
  worker.postMessage({ ...message, number, accelerator, facts: model }, handedOver);
  return number;
};
const keeper = new Keeper(worker, send, (isOver) => {
  refresh();
  if (isOver) again();
});
const strength = () => (hasStrength() ? Number(find("strength").value) : 1);
const hasStrength = () => model.scale === 1;

// ---- Models

function choose(chosen) {
  model = chosen;
  markModel(model);
  document.body.dataset.ready = "";
  giveUpFrames();
  say("Loading…");
  send({ kind: "open" });
  refresh();
  again();
}

// ---- Frames that are shown as they come

// Says which frame is restored, 0 for none; the document tells it to tests and other scripts.
function run(number) {
  running = number;
  document.body.dataset.running = number || "";
}

function giveUpFrames() {
  if (running) worker.postMessage({ kind: "stop", number: running });
  run(0);
  [waiting, forget] = [null, true];
}

function countAnew() {
  counter = new Counter();
  counter.show();
}

// Restores the frame that is there once more: the model or the size is another one.
function again() {
  countAnew();
  if (source && !keeper.saving && isStill()) take();
}

function listenToFrames() {
  video.requestVideoFrameCallback((now, metadata) => {
    listenToFrames();
    if (!source || keeper.saving) return;
    counter.see(metadata);
    if (running) {
      if (waiting) counter.skipped += 1;
      waiting = metadata;
    } else take(metadata.mediaTime);
    counter.show();
  });
}

async function take(time = video.currentTime) {
  waiting = null;
  const factor = Number(find("detail").value);
  const size = [video.videoWidth, video.videoHeight].map((side) => Math.max(1, Math.round(side * factor)));
  const number = ++lastNumber;
  run(number);
  runningTime = time;
  let bitmap = null;
  try {
    bitmap = await createImageBitmap(video);
  } catch (error) {
    console.warn(error); // It was closed meanwhile.
    if (running === number) run(0);
    return;
  }
  if (running !== number) {
    bitmap.close();
    return;
  }
  // A camera's own times stand still where it has none.
  const at = source.kind === "camera" ? performance.now() / 1000 : time;
  const frame = { kind: "frame", number, bitmap, size, forget, strength: strength(), time: at };
  worker.postMessage({ ...frame, accelerator, facts: model }, [bitmap]);
  forget = false;
}

// Of what comes out of the network, where a frame is not made smaller for it.
const fullSize = () => [video.videoWidth * model.scale, video.videoHeight * model.scale];

function restored({ number, before, after, duration, windows: used }) {
  if (number !== running || !source) {
    before.close();
    after.close();
    return;
  }
  run(0);
  counter.add(duration);
  viewer.cover("");
  viewer.showBoth(before, after, fullSize());
  if (used !== windows) {
    windows = used;
    refresh();
  }
  document.body.dataset.shown = `${number} ${model.name}`;
  document.body.dataset.time = runningTime;
  // A film that stands still shows the frame that it stands at; a film that runs goes on with the next.
  if (waiting && isStill()) take(waiting.mediaTime);
  else if (waiting) {
    counter.skipped += 1;
    waiting = null;
  }
  counter.show();
}

function mixSoon() {
  if (!source || keeper.saving || running || !isStill()) return; // The next frame has it.
  if (mixing) {
    mixAgain = true;
    return;
  }
  mixing = send({ kind: "mix", strength: strength() });
}

function mixed({ number, after }) {
  if (number !== mixing) return after?.close();
  mixing = 0;
  if (after && source && !keeper.saving) {
    viewer.showAfter(after, fullSize());
    document.body.dataset.shown = `${number} ${model.name} ${find("strength").value}`;
  } else after?.close();
  if (mixAgain) {
    mixAgain = false;
    mixSoon();
  }
  return undefined;
}

// ---- Where frames come from

async function begin(next, open) {
  close();
  source = next;
  document.body.classList.toggle("is-stream", next.kind === "camera");
  refresh();
  viewer.clear();
  viewer.cover("Loading…");
  say(next.kind === "camera" ? "Opening the camera…" : `Opening ${next.name}…`);
  try {
    await open();
    if (source !== next) return;
    viewer.cover("Restoring…");
    if (document.body.dataset.ready === "true") sayRunning();
    // Where the browser wants to be asked first, the button does it.
    await video.play().catch((error) => console.warn(error));
  } catch (error) {
    if (source !== next) return;
    close();
    say(next.kind === "camera" ? error.message : `${next.name}: ${error.message}`, true);
  }
  refresh();
}

const sayRunning = () => {
  const isCamera = source.kind === "camera";
  const rest = isCamera ? "Frames that come meanwhile are skipped." : "What is saved has every frame.";
  say(`Move the line to compare. ${rest}`);
};

function close(isAsked = false) {
  if (keeper.isRecording) keeper.endRecording(isAsked);
  giveUpFrames();
  countAnew();
  [source, windows] = [null, 1];
  closeSource(video);
  viewer.clear();
  viewer.cover("");
  document.body.dataset.shown = "";
  refresh();
}

function openFilm({ file }) {
  begin({ kind: "film", name: file.name, file }, () => openFile(video, file));
}

listen(["choose"], (found, fault) => {
  const films = found.filter(({ file }) => isFilm(file));
  // A single file is what it is taken for, or its fault could not be told.
  const [chosen] = films.length ? films : found.length === 1 ? found : [];
  if (!chosen) {
    note(found.length ? `There is no film among ${naming(found)}.` : fault, true);
    return;
  }
  if (keeper.refuses(`${chosen.name} was not opened`)) return;
  const further = films.slice(1);
  const strange = found.filter((each) => each !== chosen && !films.includes(each));
  const told = [
    fault,
    further.length ? `One film is opened at a time. Left out: ${naming(further)}.` : "",
    strange.length ? `Left out, as no film: ${naming(strange)}.` : "",
  ];
  note(told.filter(Boolean).join(" "));
  openFilm(chosen);
});
find("camera").addEventListener("click", () => {
  if (keeper.refuses("The camera was not opened")) return;
  note("");
  const camera = { kind: "camera", name: "camera" };
  const ended = () => {
    if (source !== camera) return;
    close();
    say("The camera went away.", true);
  };
  begin(camera, () => openCamera(video, ended));
});
find("close").addEventListener("click", () => {
  if (keeper.refuses("The film stays open")) return;
  close(true);
  say("Ready.");
  find("choose").focus();
});

// What is before a jump is no past of what comes after it.
video.addEventListener("seeking", () => {
  forget = true;
  counter.jump();
});
video.addEventListener("error", () => {
  // What is saved is read by itself.
  if (source?.kind !== "film" || !video.videoWidth || keeper.saving) return;
  const { name } = source;
  close();
  say(`${name}: the film is damaged, and cannot be played any further.`, true);
});

// ---- What is kept

find("save").addEventListener("click", () => {
  if (source.kind === "camera") {
    if (keeper.isRecording) keeper.endRecording(true);
    else keeper.record();
  } else if ("VideoDecoder" in globalThis && "VideoEncoder" in globalThis) {
    video.pause();
    giveUpFrames();
    keeper.save(source, strength());
  } else say("This browser cannot save films, as it has no WebCodecs: try another one.", true);
});
find("wait").addEventListener("click", () => keeper.pause());
find("cancel").addEventListener("click", () => keeper.cancel());
askBeforeLeaving(() => keeper.isBusy);

// ---- What is heard and shown

function refresh() {
  const { saving, isRecording } = keeper;
  document.body.classList.toggle("has-pictures", Boolean(source));
  document.body.classList.toggle("is-saving", Boolean(saving));
  find("view").hidden = find("settings").hidden = !source;
  find("going").hidden = !saving;
  find("wait").textContent = saving?.isPaused ? "Go on" : "Pause";
  find("mix").hidden = !model || !hasStrength();
  const isCamera = source?.kind === "camera";
  find("save").textContent = !isCamera ? "Save the film" : isRecording ? "Stop and save" : "Record";
  find("save").disabled = Boolean(saving);
  find("strength").disabled = Boolean(saving);
  // A film has one size.
  find("detail").disabled = Boolean(saving) || isRecording;
  for (const input of document.querySelectorAll("[name=model]")) input.disabled = find("detail").disabled;
  if (!source || saving || !video.videoWidth) return;
  const name = isCamera ? "Camera" : source.name;
  const size = (factor) => `${video.videoWidth * factor} × ${video.videoHeight * factor}`;
  const sizes = model.scale > 1 ? `${size(1)} → ${size(model.scale)}` : size(1);
  const how = windows > 1 ? ` · in ${windows} windows` : "";
  find("facts").textContent = `${name} · ${sizes} pixels${how}`;
}

function hear({ data }) {
  const { kind } = data;
  if (keeper.hear(data)) return;
  if (kind === "opened") {
    if (data.name !== model.name) return;
    document.body.dataset.ready = "true";
    keepOffline(data.used);
    find("how").textContent = `Computed by this device's ${data.how}.${data.note ? ` ${data.note}` : ""}`;
    if (data.note) say(`Ready. ${data.note}`);
    else if (source && video.videoWidth) sayRunning();
    else if (!source) say("Ready.");
  } else if (kind === "closed") say(data.text, true);
  else if (kind === "restored") restored(data);
  else if (kind === "mixed") mixed(data);
  else if (kind === "stopped" && data.number === mixing) mixing = 0;
  else if (kind === "fault") {
    if (data.of === "frame") {
      if (data.number !== running) return;
      // Or every frame would say the same again.
      run(0);
      video.pause();
      viewer.cover(data.text);
    }
    if (data.of === "mix") mixing = 0;
    say(data.text, true);
    refresh();
  }
}

worker.addEventListener("message", hear);
worker.addEventListener("error", (event) => {
  event.preventDefault();
  say(`The page's program did not start: ${event.message}`, true);
});
find("strength").addEventListener("input", () => {
  const percent = `${Math.round(100 * find("strength").value)} %`;
  find("amount").textContent = percent;
  find("strength").setAttribute("aria-valuetext", percent);
  mixSoon();
});
find("detail").addEventListener("change", () => {
  giveUpFrames();
  again();
});

// ---- Begin

if (!("requestVideoFrameCallback" in HTMLVideoElement.prototype)) {
  say("This browser is too old for films: please update it.", true);
} else {
  find("pages").hidden = facts.models.every(({ state }) => state);
  listModels(models, choose);
  listenToFrames();
  const wanted = models.find(({ name }) => name === options.get("model"));
  choose(wanted ?? models.find(({ state }) => state) ?? models[0]);
}
