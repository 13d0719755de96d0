// A film file through a network into another one: every frame, however long that takes.

import { readFilm } from "./film-reader.js";
import { FilmWriter } from "./film-writer.js";
import { Painter, Session } from "./frames.js";
import { Fault } from "./picture.js";
import { soundForWebm } from "./sound.js";

const MOST_WAITING = 8; // Frames that were decoded, which may take memory of the graphics processor.

// Frames of a film in the order in which they are shown, as they are asked for.
class Decoder {
  #packets;
  #decoder;
  #frames = [];
  #isFed = false;
  #isOver = false;
  #wake = () => {};

  constructor({ packets, codec, description }) {
    this.#packets = packets();
    this.#decoder = new VideoDecoder({
      output: (frame) => {
        this.#frames.push(frame);
        this.#wake();
      },
      error: (error) => this.#end(error),
    });
    this.#decoder.addEventListener("dequeue", () => this.#wake());
    this.#decoder.configure({ codec, description });
  }

  #end(fault = null) {
    if (fault) console.warn(fault);
    this.#isOver = true;
    this.#wake();
  }

  async #feed() {
    const decoder = this.#decoder;
    const hasRoom = () => decoder.decodeQueueSize < MOST_WAITING && this.#frames.length < MOST_WAITING;
    while (!this.#isOver && !this.#isFed && hasRoom()) {
      const { value: packet, done } = await this.#packets.next();
      if (this.#isOver) return;
      if (done) {
        this.#isFed = true;
        decoder.flush().then(() => this.#end(), (error) => this.#end(error));
        return;
      }
      const { time: timestamp, ...rest } = packet;
      decoder.decode(new EncodedVideoChunk({ timestamp, ...rest }));
    }
  }

  /** Returns the next frame, which must be closed; null after the last one. */
  async next() {
    for (;;) {
      try {
        await this.#feed();
      } catch (error) {
        this.#end(error);
      }
      if (this.#frames.length) return this.#frames.shift();
      if (this.#isOver) return null;
      await new Promise((go) => {
        this.#wake = go;
      });
    }
  }

  close() {
    for (const frame of this.#frames.splice(0)) frame.close();
    if (this.#decoder.state !== "closed") this.#decoder.close();
  }
}

async function checkDecoder({ codec, description, kind }) {
  const answer = await VideoDecoder.isConfigSupported({ codec, description }).catch(() => ({}));
  if (!answer.supported) throw new Fault(`This browser cannot decode films in ${kind}: it cannot be saved.`);
}

/**
 * Restores a film.
 *
 * @param {Blob} file The film.
 * @param {object} facts The model's.
 * @param {number} strength As of pictures.
 * @param {function} step As `open` of network.js returns it.
 * @param {function} told Receives after each frame { done, total, before, after }; awaited. What it throws
 *   ends the film.
 * @param {function} breathe Called within a frame, and awaited; likewise.
 * @returns {Promise<object>} { blob, done, total, codecName, note, isWhole }: the film, how many frames of
 *   how many it has, what was not kept, and whether all of the film is there.
 */
export async function restoreFilm(file, facts, strength, step, told, breathe) {
  const film = await readFilm(file);
  const { turn, shape, seconds, total, durations } = film.picture;
  let [decoder, sound, writer, size] = [null, null, null, null];
  try {
    await checkDecoder(film.picture);
    const notes = [];
    [sound, notes[0]] = await soundForWebm(film);
    decoder = new Decoder(film.picture);
    const [session, painter] = [new Session(facts), new Painter()];
    for (let frame = await decoder.next(); frame; frame = await decoder.next()) {
      const { timestamp, visibleRect } = frame;
      const sides = [visibleRect.width, visibleRect.height];
      if (turn % 180) sides.reverse();
      size ??= sides;
      const isOther = sides.some((side, i) => side !== size[i]);
      const before = isOther ? null : painter.read(frame, size, turn);
      frame.close();
      if (isOther) {
        notes.push(`as its frames are ${sides[0]} × ${sides[1]} from there on`);
        break;
      }
      const after = (await session.restore(before, step, breathe)).at(strength);
      writer ??= await FilmWriter.begin({
        width: after.width,
        height: after.height,
        framesPerSecond: total / seconds || 30,
        shape: turn % 180 ? 1 / shape : shape,
        sound,
      });
      await writer.add(after, timestamp, durations.get(timestamp) ?? 0);
      await told({ done: writer.count, total, before, after });
    }
    if (!writer) throw new Fault("The film is damaged: no frame can be decoded.");
    const { codecName, count: done } = writer;
    if (film.isCutOff) notes.push("as far as the file goes, which ends early");
    else if (done < total && notes.length === 1) notes.push("the others cannot be decoded");
    const blob = await writer.finish();
    const note = [sound?.note, ...notes].filter(Boolean).join(", ");
    return { blob, done, total, codecName, note, isWhole: done === total && !film.isCutOff };
  } finally {
    decoder?.close();
    writer?.cancel();
    await sound?.cancel();
    film.close();
  }
}
