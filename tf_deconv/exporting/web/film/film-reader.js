// Film files as packets that the browser's decoders take, whatever container they came in.

import { Fault } from "./picture.js";
import { isMp4, readMp4 } from "./mp4-reader.js";
import { isWebm, readWebm } from "./webm-reader.js";

const MOST_MB = 1000;

/**
 * Takes a film file apart.
 *
 * @param {Blob} file The film.
 * @returns {Promise<object>} `picture` is { kind, codec, description, shape, turn, packets }: its
 *   codec in a person's words and in a decoder's, the shape of a pixel (width : height), by how many
 *   degrees the frames are turned to the right, and { data, time, duration, isKey } of each packet in the order of
 *   the file, in microseconds. `sound` has a `kind`, `packets`, and where it can be decoded `codec`,
 *   `description`, `rate` and `channels`. `isCutOff`: the file ends early.
 * @throws {Fault} Where it is no film, or one that cannot be taken apart.
 */
export async function readFilm(file) {
  if (file.size > MOST_MB * 1e6) {
    throw new Fault(`A film of ${Math.round(file.size / 1e6)} MB is too large to be saved here: at most ${MOST_MB} MB.`);
  }
  let bytes = null;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new Fault("The file cannot be read any more: choose it again.");
  }
  const read = bytes.length < 16 ? null : isWebm(bytes) ? readWebm : isMp4(bytes) ? readMp4 : null;
  if (!read) throw new Fault("Films are saved from MP4, MOV, WebM and Matroska files alone.");
  let film = null;
  try {
    film = read(bytes);
  } catch (error) {
    console.warn(error);
    throw new Fault("The file is damaged: it cannot be taken apart.");
  }
  const { picture } = film;
  if (!picture?.packets.length) throw new Fault("The file has no moving pictures.");
  if (!picture.codec) throw new Fault(`The codec ${picture.kind || "of the film"} cannot be taken apart here.`);
  const shown = picture.packets.map(({ time }) => time).sort((a, b) => a - b);
  // A decoder takes whole microseconds, and no film begins before it begins.
  const shift = Math.max(0, -shown[0]);
  const gap = shown.length > 1 ? (shown.at(-1) - shown[0]) / (shown.length - 1) : 40_000;
  const last = picture.frameDuration || gap;
  const next = new Map(shown.map((time, i) => [time, (shown[i + 1] ?? time + last) - time]));
  for (const packet of picture.packets) {
    packet.duration ||= next.get(packet.time);
    packet.time = Math.round(packet.time + shift);
  }
  for (const packet of film.sound?.packets ?? []) packet.time = Math.round(packet.time + shift);
  return film;
}
