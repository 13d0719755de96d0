// Films in WebM and Matroska files as packets, with their times (RFC 9559).

import { aacCodec, avcCodec, av1Codec, hevcCodec, vp9Codec } from "./codecs.js";

const ID = {
  segment: 0x18538067,
  info: 0x1549a966,
  scale: 0x2ad7b1,
  tracks: 0x1654ae6b,
  track: 0xae,
  number: 0xd7,
  type: 0x83,
  codec: 0x86,
  setup: 0x63a2, // CodecPrivate.
  encodings: 0x6d80,
  frameDuration: 0x23e383,
  delay: 0x56aa,
  preroll: 0x56bb,
  picture: 0xe0,
  shownWidth: 0x54b0,
  shownHeight: 0x54ba,
  width: 0xb0,
  height: 0xba,
  sound: 0xe1,
  rate: 0xb5,
  channels: 0x9f,
  cluster: 0x1f43b675,
  time: 0xe7,
  simple: 0xa3,
  group: 0xa0,
  block: 0xa1,
  reference: 0xfb,
};
// What is looked into. A live recording gives these no length, so all of them are taken as open
// until something else begins.
const OPENED = new Set([
  ID.segment, ID.info, ID.tracks, ID.track, ID.picture, ID.sound, ID.cluster, ID.group,
]);
const CODECS = {
  V_VP8: () => "vp8",
  V_VP9: (setup) => vp9Codec(setup),
  V_AV1: (setup) => av1Codec(setup),
  "V_MPEG4/ISO/AVC": (setup) => avcCodec(setup),
  "V_MPEGH/ISO/HEVC": (setup) => hevcCodec(setup),
};
const DESCRIBED = new Set(["V_MPEG4/ISO/AVC", "V_MPEGH/ISO/HEVC"]);
const [MOVING_PICTURES, SOUND] = [1, 2];
const LACED = 0x06;
const KEY = 0x80;

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }

  get isOver() {
    return this.at >= this.bytes.length;
  }

  /** A number whose first byte tells how many more there are; null where it means "not known". */
  variable(keepsMark) {
    const first = this.bytes[this.at];
    const length = Math.clz32(first) - 23;
    if (!first || this.at + length > this.bytes.length) throw new RangeError("cut off");
    let value = keepsMark ? first : first & (0xff >> length);
    let isUnknown = value === 0xff >> length;
    for (let i = 1; i < length; i++) {
      isUnknown &&= this.bytes[this.at + i] === 0xff;
      value = value * 256 + this.bytes[this.at + i];
    }
    this.at += length;
    return !keepsMark && isUnknown ? null : value;
  }

  unsigned(size) {
    let value = 0;
    for (let i = 0; i < size; i++) value = value * 256 + this.bytes[this.at + i];
    return value;
  }

  real(size) {
    return size === 4 ? this.view.getFloat32(this.at) : this.view.getFloat64(this.at);
  }

  text(size) {
    const letters = this.bytes.subarray(this.at, this.at + size);
    return new TextDecoder().decode(letters).replace(/\0+$/, "");
  }
}

/** Whether bytes begin as such a file does. */
export const isWebm = (bytes) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) === 0x1a45dfa3;

/**
 * Takes a file apart.
 *
 * @param {Uint8Array} bytes The file.
 * @returns {object} The film, as film-reader.js describes it.
 */
export function readWebm(bytes) {
  const reader = new Reader(bytes);
  const tracks = [];
  let scale = 1e6; // Nanoseconds of a tick.
  let clusterTime = 0;
  let last = null;
  let isCutOff = false;
  while (!reader.isOver) {
    let [id, size] = [0, 0];
    try {
      id = reader.variable(true);
      size = reader.variable(false);
    } catch {
      isCutOff = true;
      break;
    }
    if (OPENED.has(id)) {
      if (id === ID.track) tracks.push({ packets: [], frameDuration: 0 });
      continue;
    }
    if (size === null || reader.at + size > bytes.length) {
      isCutOff = true;
      break;
    }
    const track = tracks.at(-1);
    if (id === ID.scale) scale = reader.unsigned(size);
    else if (id === ID.number) track.number = reader.unsigned(size);
    else if (id === ID.type) track.type = reader.unsigned(size);
    else if (id === ID.codec) track.codec = reader.text(size);
    else if (id === ID.setup) track.setup = bytes.slice(reader.at, reader.at + size);
    else if (id === ID.encodings) track.isPacked = true;
    else if (id === ID.frameDuration) track.frameDuration = reader.unsigned(size) / 1000;
    else if (id === ID.delay) track.delay = reader.unsigned(size);
    else if (id === ID.preroll) track.preroll = reader.unsigned(size);
    else if (id === ID.width) track.width = reader.unsigned(size);
    else if (id === ID.height) track.height = reader.unsigned(size);
    else if (id === ID.shownWidth) track.shownWidth = reader.unsigned(size);
    else if (id === ID.shownHeight) track.shownHeight = reader.unsigned(size);
    else if (id === ID.rate) track.rate = reader.real(size);
    else if (id === ID.channels) track.channels = reader.unsigned(size);
    else if (id === ID.time) clusterTime = reader.unsigned(size);
    else if (id === ID.simple || id === ID.block) {
      last = readBlock(reader, size, tracks, clusterTime, scale, id === ID.simple);
    } else if (id === ID.reference && last) last.isKey = false;
    reader.at += size;
  }
  const picture = tracks.find(({ type }) => type === MOVING_PICTURES);
  const sound = tracks.find(({ type }) => type === SOUND);
  return { picture: picture && describe(picture), sound: sound && describeSound(sound), isCutOff };
}

function describeSound({ codec: kind, setup, ...track }) {
  const isAac = kind === "A_AAC" && setup;
  return { ...track, kind, setup, ...(isAac && { codec: aacCodec(setup), description: setup }) };
}

function readBlock(reader, size, tracks, clusterTime, scale, isSimple) {
  const from = reader.at;
  const number = reader.variable(false);
  const time = clusterTime + reader.view.getInt16(reader.at);
  const flags = reader.bytes[reader.at + 2];
  const data = reader.bytes.subarray(reader.at + 3, from + size);
  reader.at = from;
  const track = tracks.find((each) => each.number === number);
  if (!track) return null;
  if (flags & LACED) track.isLaced = true;
  const isKey = isSimple ? Boolean(flags & KEY) : true;
  const packet = { data, time: (time * scale) / 1000, isKey };
  track.packets.push(packet);
  return packet;
}

function describe(track) {
  const { codec: kind, setup, packets, frameDuration, width, height } = track;
  return {
    kind: kind.replace(/^V_/, ""),
    codec: track.isPacked ? null : CODECS[kind]?.(setup) ?? null,
    description: DESCRIBED.has(kind) ? setup : undefined,
    shape: (((track.shownWidth ?? width) / (track.shownHeight ?? height)) * height) / width,
    turn: 0,
    frameDuration,
    packets,
  };
}
