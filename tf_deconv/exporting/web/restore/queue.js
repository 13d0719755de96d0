// The pictures, and the worker that restores one after the other.

/** Where a picture is on its way. */
export const STATES = { waiting: "waiting", running: "…", done: "done", stopped: "stopped" };

let lastId = 0;

/** A picture: what was made of it is kept for each model, so that going back to one costs nothing. */
class Item {
  constructor(file, name) {
    Object.assign(this, { id: ++lastId, file, name, state: "waiting", part: 0, fault: "" });
    this.results = new Map(); // Model's name to { made, width, height, duration }.
  }
}

/** Restores all pictures by the chosen model, the one that is looked at first. */
export class Queue {
  items = [];
  selected = null;
  model = null;
  #accelerator;
  #worker = new Worker(new URL("./network-worker.js", import.meta.url));
  #running = null; // { item, model, number }
  #number = 0;
  #told;

  /**
   * @param {function} told Called after every change, with what happened.
   * @param {string} accelerator "auto", "webgpu" or "wasm".
   */
  constructor(told, accelerator) {
    [this.#told, this.#accelerator] = [told, accelerator];
    this.#worker.addEventListener("message", ({ data }) => this.#hear(data));
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#told({ kind: "closed", text: `The page's program did not start: ${event.message}` });
    });
  }

  /** Takes a model for all pictures. */
  choose(model) {
    this.model = model;
    this.#stopRunning();
    for (const item of this.items) {
      item.fault = "";
      item.state = item.results.has(model.name) ? "done" : "waiting";
    }
    this.#worker.postMessage({ kind: "open", facts: model, accelerator: this.#accelerator });
    this.#told({ kind: "chosen" });
    this.#next();
  }

  add(found) {
    const items = found.map(({ file, name }) => new Item(file, name));
    this.items.push(...items);
    if (items.length) this.selected = items[0];
    this.#told({ kind: "added", items });
    this.#next();
  }

  select(item) {
    this.selected = item;
    this.#told({ kind: "selected" });
  }

  remove(item) {
    if (this.#running?.item === item) this.#stopRunning();
    const at = this.items.indexOf(item);
    this.items.splice(at, 1);
    if (this.selected === item) this.selected = this.items[Math.min(at, this.items.length - 1)] ?? null;
    this.#told({ kind: "removed", item });
    this.#next();
  }

  stop() {
    this.#stopRunning();
    for (const item of this.items) if (item.state === "waiting") item.state = "stopped";
    this.#told({ kind: "stopped" });
  }

  goOn() {
    for (const item of this.items) if (item.state === "stopped") item.state = "waiting";
    this.#told({ kind: "going" });
    this.#next();
  }

  /** What is restored of a picture by the chosen model. */
  resultOf(item) {
    return item.results.get(this.model.name);
  }

  get isBusy() {
    return this.items.some(({ state }) => state === "waiting" || state === "running");
  }

  #stopRunning() {
    if (!this.#running) return;
    this.#worker.postMessage({ kind: "stop", number: this.#running.number });
    this.#running.item.state = "stopped";
    this.#running = null;
  }

  #next() {
    if (this.#running) return;
    const waiting = this.items.filter(({ state }) => state === "waiting");
    const item = waiting.find((each) => each === this.selected) ?? waiting[0];
    if (!item) return;
    Object.assign(item, { state: "running", part: 0 });
    this.#running = { item, model: this.model, number: ++this.#number };
    const { file } = item;
    const message = { kind: "restore", number: this.#number, file, facts: this.model };
    this.#worker.postMessage({ ...message, accelerator: this.#accelerator });
    this.#told({ kind: "begun", item });
  }

  #hear(data) {
    if (data.kind === "opened" || data.kind === "closed") return this.#told(data);
    // What comes of a job that was stopped is late.
    if (this.#running?.number !== data.number) return undefined;
    const { item, model } = this.#running;
    if (data.kind === "progress") {
      item.part = data.part;
      return this.#told({ kind: "progress", item });
    }
    this.#running = null;
    if (data.kind === "restored") {
      item.results.set(model.name, data);
      item.state = "done";
    } else {
      item.state = data.kind === "fault" ? "fault" : "stopped";
      item.fault = data.text ?? "";
    }
    this.#told({ kind: data.kind, item, how: data.how, note: data.note });
    return this.#next();
  }
}
