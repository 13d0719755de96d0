// What is kept on the disk: a film, of which every frame is restored, and what is recorded of the camera.
// Neither is given up but by whoever says so.

import { download, find, make, note, say } from "./dom.js";
import * as viewer from "./viewer.js";

const plural = (count, noun) => (count === 1 ? `1 ${noun}` : `${count} ${noun}s`);
let offered = null; // URL of the file that is at hand.

// Saves a file that cannot be made again in a moment, and leaves it at hand: a browser may not have kept it.
function keep(file, text = `Is ${file.name} not among your downloads?`) {
  if (offered) URL.revokeObjectURL(offered);
  offered = URL.createObjectURL(file.blob);
  const link = make("a", { href: offered, download: file.name, textContent: "Save it again" });
  find("kept").replaceChildren(`${text} `, link);
  download(file);
}

/** The film that is saved, and the recording. */
export class Keeper {
  saving = null; // { number, name, isPaused, started } of a film.
  isRecording = false;
  #ended = []; // Of recordings that are not written yet: whether each of them was ended by its button.
  #worker;
  #send;
  #changed;

  /**
   * @param {Worker} worker What restores, which gives up the jobs that have a number alone.
   * @param {function} send Sends it such a job with the model and returns the number.
   * @param {function} changed Called when something began or ended, with whether it was a film that ended.
   */
  constructor(worker, send, changed) {
    [this.#worker, this.#send, this.#changed] = [worker, send, changed];
  }

  /** Whether leaving the page would lose something. */
  get isBusy() {
    return Boolean(this.saving) || this.isRecording || this.#ended.length > 0;
  }

  /** Saves a film, { file, name }. */
  save({ file, name }, strength) {
    const number = this.#send({ kind: "save", file, strength });
    this.saving = { number, name, isPaused: false, started: performance.now() };
    find("progress").value = 0;
    document.body.dataset.progress = 0;
    find("facts").textContent = name;
    note("");
    this.#sayRestoring();
    this.#changed();
  }

  #sayRestoring() {
    say(`Restoring every frame of ${this.saving.name}…`);
  }

  /** Says why something cannot be done now, and returns whether that is so. */
  refuses(text) {
    if (!this.saving) return false;
    note(`${text}, as ${this.saving.name} is being saved: wait for it, or cancel it first.`, true);
    return true;
  }

  pause() {
    const isPaused = !this.saving.isPaused;
    this.saving.isPaused = isPaused;
    this.#worker.postMessage({ kind: "pause", isPaused });
    if (isPaused) say("Paused.");
    else this.#sayRestoring();
    this.#changed();
  }

  cancel() {
    this.#worker.postMessage({ kind: "stop", number: this.saving.number });
    say("Cancelled: nothing was saved.");
    this.#end();
  }

  #end() {
    this.saving = null;
    note("");
    this.#changed(true);
  }

  record() {
    this.isRecording = true;
    this.#worker.postMessage({ kind: "record" });
    say("Recording what is shown.");
    this.#changed();
  }

  /** Ends the recording, of which all is kept, whether that was asked for or something else came in between. */
  endRecording(isAsked) {
    this.isRecording = false;
    this.#ended.push(isAsked);
    this.#worker.postMessage({ kind: "endRecording" });
    this.#changed();
  }

  /** Hears the worker; returns whether it was about what is kept. */
  hear(data) {
    const { kind, of, number } = data;
    if (kind === "progress") this.#progress(data);
    else if (kind === "saved") this.#saved(data);
    else if (kind === "recorded") this.#recorded(data);
    else if (kind === "fault" && of === "endRecording") this.#notRecorded(data.text);
    else if (kind === "fault" && of === "save") {
      if (this.saving?.number !== number) return true;
      say(data.text, true);
      this.#end();
    } else return false;
    return true;
  }

  #progress({ number, done, total, before, after }) {
    if (this.saving?.number !== number) {
      before?.close();
      after?.close();
      return;
    }
    const { name, started } = this.saving;
    find("progress").value = done / total;
    if (before) {
      viewer.cover("");
      viewer.showBoth(before, after, [after.width, after.height]);
    }
    const rate = (1000 * done) / (performance.now() - started);
    find("facts").textContent = `${name} · frame ${done} of ${total} · ${rate.toFixed(1)} frames/s`;
    document.body.dataset.progress = done;
  }

  #saved({ number, blob, done, total, codecName, note: rest, isWhole }) {
    if (this.saving?.number !== number) return;
    const name = `${this.saving.name.replace(/\.[^./]*$/, "")}-restored.webm`;
    const frames = done < total ? `${done} of ${plural(total, "frame")}` : plural(done, "frame");
    say(`Saved ${name}: ${frames}, ${codecName}${rest ? `, ${rest}` : ""}.`, !isWhole);
    keep({ blob, name });
    this.#end();
  }

  #recorded({ blob, done, codecName }) {
    const name = "camera.webm";
    const text = `Saved ${name}: ${plural(done, "frame")}, ${codecName}, without sound.`;
    const isAsked = this.#ended.shift();
    if (isAsked) say(text);
    // What came in the camera's place has that line.
    keep({ blob, name }, isAsked ? undefined : `The recording was ended. ${text}`);
  }

  #notRecorded(text) {
    if (this.#ended.shift()) say(text, true);
    else find("kept").textContent = `The recording was ended. ${text}`;
  }
}
