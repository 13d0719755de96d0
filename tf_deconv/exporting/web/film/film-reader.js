// Film files as packets that the browser's decoders take, whatever container they came in.

import {
  BlobSource, EncodedPacketSink, Input, MATROSKA, MP4, QTFF, UnsupportedInputFormatError, WEBM,
} from "./lib/mediabunny/index.js";
import { wholeOf } from "./cut-off.js";
import { Fault } from "./picture.js";

// Not all that the library knows: a playlist of films would be fetched from other hosts.
const FORMATS = [MP4, QTFF, MATROSKA, WEBM];
const NAMES = { avc: "H.264", hevc: "HEVC", vp8: "VP8", vp9: "VP9", av1: "AV1", prores: "ProRes" };
const US = 1e6;
const USUAL_GAP_US = 40_000;

/**
 * Opens a film file; what is read of it later is read from the disk, and never all of it kept.
 *
 * @param {Blob} file The film.
 * @returns {Promise<object>} `picture` is { kind, codec, description, shape, turn, seconds, durations, packets }:
 *   its codec in a person's words and in a decoder's, the shape of a pixel (width : height), by how many
 *   degrees the frames are turned to the right, how long it is, how long each frame is shown by its time, in
 *   microseconds, and `packets()`, which yields { data, time, duration, type } of each in the order of the
 *   file. `sound` is the library's track of `sounds`, or null; its times count from `shift` seconds before the film's.
 *   `isCutOff`: the file ends early; of some files that is known after the last packet alone. `close()` lets go of the file.
 * @throws {Fault} Where it is no film, or one that cannot be taken apart.
 */
export async function readFilm(file) {
  let input = null;
  try {
    const { blob, isCutOff } = await wholeOf(file);
    input = new Input({ formats: FORMATS, source: new BlobSource(blob, { handleUnhandledError: console.warn }) });
    return await describe(input, isCutOff);
  } catch (error) {
    input?.dispose();
    throw faultOf(error);
  }
}

function faultOf(error) {
  if (error instanceof Fault) return error;
  if (error instanceof UnsupportedInputFormatError) {
    return new Fault("Films are saved from MP4, MOV, WebM and Matroska files alone.");
  }
  if (error.name === "NotReadableError" || error.name === "NotFoundError") {
    return new Fault("The file cannot be read any more: choose it again.");
  }
  console.warn(error);
  return new Fault("The file is damaged: it cannot be taken apart.");
}

async function describe(input, isCutOff) {
  const track = await input.getPrimaryVideoTrack();
  const found = track ? await packetTimes(track) : [];
  // Its end was not there.
  if (isCutOff) found.pop();
  if (!found.length) throw new Fault("The file has no moving pictures.");
  const kind = NAMES[await track.getCodec()] ?? String(await track.getInternalCodecId()).replace(/^V_/, "");
  const config = await track.getDecoderConfig();
  if (!config) throw new Fault(`The codec ${kind} cannot be taken apart here.`);
  const { num, den } = await track.getPixelAspectRatio();
  const shown = found.map(({ timestamp }) => timestamp).sort((a, b) => a - b);
  // A decoder takes whole microseconds, and no film begins before it begins.
  const shift = Math.max(0, -shown[0]);
  const times = shown.map((timestamp) => Math.round((timestamp + shift) * US));
  const gap = times.length > 1 ? (times.at(-1) - times[0]) / (times.length - 1) : USUAL_GAP_US;
  const last = found.find(({ timestamp }) => timestamp === shown.at(-1)).duration * US || gap;
  const durations = new Map(times.map((time, i) => [time, Math.round((times[i + 1] ?? time + last) - time)]));
  const film = {
    picture: {
      kind,
      codec: config.codec,
      description: config.description,
      shape: num / den,
      turn: await track.getRotation(),
      seconds: (times.at(-1) + last - times[0]) / US,
      total: times.length,
      durations,
      packets,
    },
    sound: await input.getPrimaryAudioTrack(),
    sounds: (await input.getAudioTracks()).length,
    shift,
    isCutOff,
    close: () => input.dispose(),
  };
  async function* packets() {
    let count = 0;
    let isBegun = false;
    for await (const { data, timestamp, type } of new EncodedPacketSink(track).packets()) {
      if (count === film.picture.total) break;
      count += 1;
      isBegun ||= type === "key"; // A decoder begins at a key frame.
      const time = Math.round((timestamp + shift) * US);
      if (isBegun) yield { data, time, duration: durations.get(time), type };
    }
    // Tables in front tell of more than there is.
    if (count < film.picture.total) film.isCutOff = true;
  }
  return film;
}

async function packetTimes(track) {
  const found = [];
  const packets = new EncodedPacketSink(track).packets(undefined, undefined, { metadataOnly: true });
  for await (const { timestamp, duration } of packets) found.push({ timestamp, duration });
  return found;
}
