// Films in MP4 and QuickTime files as packets, with their times (ISO 14496-12), whole or in fragments.

import { aacCodec, avcCodec, av1Codec, hevcCodec, vp9BoxCodec } from "./codecs.js";

// Bytes before the boxes within.
const OPENED = {
  moov: 0, trak: 0, mdia: 0, minf: 0, stbl: 0, edts: 0, mvex: 0, moof: 0, traf: 0, stsd: 8,
};
// A sample's entry has its fields before the boxes that set the codec up.
const [ENTRY_BYTES, SOUND_ENTRY_BYTES] = [86, 36];
const SETUPS = {
  avcC: ["H.264", avcCodec, true],
  hvcC: ["HEVC", hevcCodec, true],
  av1C: ["AV1", av1Codec, false],
  vpcC: ["VP9", vp9BoxCodec, false],
};
const IS_NO_KEY = 0x10000;
const US = 1e6;

const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const textAt = (bytes, at) => String.fromCharCode(...bytes.subarray(at, at + 4));

// Yields [type, first byte after its head, end, first byte] of the boxes in a part of a file.
function* boxes(bytes, from, to) {
  const view = viewOf(bytes);
  for (let at = from; at + 8 <= to; ) {
    let [size, head] = [view.getUint32(at), 8];
    if (size === 1) [size, head] = [Number(view.getBigUint64(at + 8)), 16];
    if (size === 0) size = to - at;
    if (size < head) return;
    yield [textAt(bytes, at + 4), at + head, Math.min(at + size, to), at];
    at += size;
  }
}

/** Whether bytes begin as such a file does. */
export const isMp4 = (bytes) => ["ftyp", "moov", "mdat", "wide", "free", "skip"].includes(textAt(bytes, 4));

/**
 * Takes a file apart.
 *
 * @param {Uint8Array} bytes The file.
 * @returns {object} The film, as film-reader.js describes it.
 */
export function readMp4(bytes) {
  const found = { tracks: [], movieScale: 1000, fragments: [], bytes };
  walk(bytes, 0, bytes.length, found, {});
  for (const track of found.tracks) {
    track.packets = track.sizes?.length ? tabled(bytes, track) : [];
  }
  for (const fragment of found.fragments) {
    const track = found.tracks.find(({ id }) => id === fragment.id);
    if (track) addFragment(bytes, track, fragment);
  }
  const picture = found.tracks.find(({ handler }) => handler === "vide");
  const sound = found.tracks.find(({ handler }) => handler === "soun");
  const isCutOff = found.tracks.some(({ isShort }) => isShort);
  return { picture: picture && describe(picture, found.movieScale), sound: sound && describeSound(sound, found.movieScale), isCutOff };
}

function walk(bytes, from, to, found, within) {
  const view = viewOf(bytes);
  for (const [type, at, end, start] of boxes(bytes, from, to)) {
    const track = found.tracks.at(-1);
    const isWide = bytes[at] === 1; // Of a box that has versions.
    const list = (width, read) => {
      const count = Math.min(view.getUint32(at + 4), Math.floor((end - at - 8) / width));
      return Array.from({ length: count }, (_, i) => read(at + 8 + i * width));
    };
    if (type === "trak") found.tracks.push({ turn: 0, edits: [] });
    if (type === "moof") within = { moof: start };
    if (type === "traf") {
      within = { ...within, id: 0, runs: [] };
      found.fragments.push(within);
    }
    if (type in OPENED) walk(bytes, at + OPENED[type], end, found, within);
    else if (type === "mvhd") found.movieScale = view.getUint32(at + (isWide ? 20 : 12));
    else if (type === "tkhd") {
      track.id = view.getUint32(at + (isWide ? 20 : 12));
      const matrix = at + (isWide ? 52 : 40);
      const [a, b] = [view.getInt32(matrix), view.getInt32(matrix + 4)];
      track.turn = (Math.round(Math.atan2(b, a) / (Math.PI / 2)) * 90 + 360) % 360;
    } else if (type === "mdhd") track.scale = view.getUint32(at + (isWide ? 20 : 12));
    else if (type === "hdlr") track.handler ??= textAt(bytes, at + 8);
    else if (type === "elst") {
      track.edits = list(isWide ? 20 : 12, (i) =>
        isWide
          ? [Number(view.getBigUint64(i)), Number(view.getBigInt64(i + 8))]
          : [view.getUint32(i), view.getInt32(i + 4)],
      );
    } else if (type === "stts") track.durations = list(8, (i) => [view.getUint32(i), view.getUint32(i + 4)]);
    else if (type === "ctts") track.offsets = list(8, (i) => [view.getUint32(i), view.getInt32(i + 4)]);
    else if (type === "stsc") track.chunking = list(12, (i) => [view.getUint32(i), view.getUint32(i + 4)]);
    else if (type === "stco") track.chunks = list(4, (i) => view.getUint32(i));
    else if (type === "co64") track.chunks = list(8, (i) => Number(view.getBigUint64(i)));
    else if (type === "stss") track.keys = new Set(list(4, (i) => view.getUint32(i)));
    else if (type === "stsz") {
      const [size, count] = [view.getUint32(at + 4), view.getUint32(at + 8)];
      const known = Math.min(count, Math.floor((end - at - 12) / 4));
      track.sizes = size
        ? new Array(count).fill(size)
        : Array.from({ length: known }, (_, i) => view.getUint32(at + 12 + 4 * i));
    } else if (type === "trex") {
      const owner = found.tracks.find(({ id }) => id === view.getUint32(at + 4));
      if (owner) owner.usual = [view.getUint32(at + 12), view.getUint32(at + 16), view.getUint32(at + 20)];
    } else if (type === "tfhd") readFragmentHead(view, at, within);
    else if (type === "tfdt") within.time = isWide ? Number(view.getBigUint64(at + 4)) : view.getUint32(at + 4);
    else if (type === "trun") within.runs.push([at, end]);
    else if (found.tracks.length && !track.entry && start === from && isEntry(bytes, from)) {
      readEntry(bytes, track, type, at - 8, end);
    }
  }
}

// A sample's entry is the first box after the eight bytes of stsd.
const isEntry = (bytes, from) => from >= 16 && textAt(bytes, from - 12) === "stsd";

function readEntry(bytes, track, type, start, end) {
  track.entry = type;
  const view = viewOf(bytes);
  if (track.handler === "soun") {
    // QuickTime's second kind of entry, and its third, have further fields.
    const more = [0, 16, 36][view.getUint16(start + 16)] ?? 0;
    track.channels = view.getUint16(start + 24);
    track.rate = view.getUint16(start + 32);
    readSound(bytes, track, start + SOUND_ENTRY_BYTES + more, end);
  }
  if (track.handler !== "vide") return;
  track.pixels = [view.getUint16(start + 32), view.getUint16(start + 34)];
  track.shape = 1;
  for (const [name, at, last] of boxes(bytes, start + ENTRY_BYTES, end)) {
    if (name in SETUPS) track.setup = [name, bytes.slice(at, last)];
    if (name === "pasp") track.shape = view.getUint32(at) / view.getUint32(at + 4) || 1;
  }
}

function readSound(bytes, track, from, to) {
  for (const [name, at, last] of boxes(bytes, from, to)) {
    if (name === "wave") readSound(bytes, track, at, last); // QuickTime lays it around esds.
    if (name === "esds") track.soundSetup ??= specificConfig(bytes.subarray(at + 4, last));
  }
}

// Returns what sets AAC up, the innermost of the descriptors of esds (ISO 14496-1): each has a number,
// a length in bytes of seven bits, and before the next one fields of its own.
function specificConfig(bytes) {
  const fields = { 3: 3, 4: 13 };
  for (let at = 0; at + 2 < bytes.length; ) {
    const kind = bytes[at++];
    let size = 0;
    while (bytes[at] & 0x80) size = size * 128 + (bytes[at++] & 0x7f);
    size = size * 128 + bytes[at++];
    if (kind === 5) return bytes.slice(at, at + size);
    if (!(kind in fields)) return null;
    at += fields[kind];
  }
  return null;
}

// Returns the packets of a track whose tables stand in front.
function tabled(bytes, track) {
  const { sizes, chunks = [], chunking = [] } = track;
  const packets = [];
  const durations = counted(track.durations ?? []);
  const offsets = track.offsets ? counted(track.offsets) : null;
  let [time, number] = [0, 0];
  for (const [chunk, place] of chunks.entries()) {
    const many = chunking.findLast(([first]) => first <= chunk + 1)?.[1] ?? 0;
    let at = place;
    for (let i = 0; i < many && number < sizes.length; i++, number++) {
      const size = sizes[number];
      const duration = durations.next().value ?? 0;
      const shown = time + (offsets?.next().value ?? 0);
      const isKey = !track.keys || track.keys.has(number + 1);
      if (at + size <= bytes.length) {
        packets.push({ data: bytes.subarray(at, at + size), ticks: shown, duration, isKey });
      } else track.isShort = true;
      at += size;
      time += duration;
    }
  }
  return packets;
}

function* counted(pairs) {
  for (const [count, value] of pairs) for (let i = 0; i < count; i++) yield value;
}

function readFragmentHead(view, at, within) {
  const flags = view.getUint32(at) & 0xffffff;
  within.id = view.getUint32(at + 4);
  let next = at + 8;
  const take = () => view.getUint32((next += 4) - 4);
  within.base = within.moof;
  if (flags & 0x1) [within.base, next] = [Number(view.getBigUint64(next)), next + 8];
  if (flags & 0x2) take();
  within.usual = [flags & 0x8 ? take() : null, flags & 0x10 ? take() : null, flags & 0x20 ? take() : null];
}

function addFragment(bytes, track, { runs, base, time = 0, usual = [] }) {
  const view = viewOf(bytes);
  const [duration, size, flag] = [0, 1, 2].map((i) => usual[i] ?? track.usual?.[i] ?? 0);
  let at = base;
  for (const [start] of runs) {
    const flags = view.getUint32(start) & 0xffffff;
    let next = start + 8;
    const take = () => view.getUint32((next += 4) - 4);
    if (flags & 0x1) at = base + view.getInt32((next += 4) - 4);
    const first = flags & 0x4 ? take() : null;
    for (let i = 0; i < view.getUint32(start + 4); i++) {
      const long = flags & 0x100 ? take() : duration;
      const bytesOf = flags & 0x200 ? take() : size;
      const own = flags & 0x400 ? take() : flag;
      const later = flags & 0x800 ? view.getInt32((next += 4) - 4) : 0;
      const isKey = !((i === 0 && first !== null ? first : own) & IS_NO_KEY);
      if (at + bytesOf <= bytes.length) {
        const data = bytes.subarray(at, at + bytesOf);
        track.packets.push({ data, ticks: time + later, duration: long, isKey });
      } else track.isShort = true;
      at += bytesOf;
      time += long;
    }
  }
}

// Gives packets their times in microseconds.
function setTimes({ packets, scale, edits }, movieScale) {
  // The first edit that shows something says where the film begins; one before it waits.
  const shown = edits.findIndex(([, first]) => first >= 0);
  const wait = edits.slice(0, Math.max(shown, 0)).reduce((all, [long]) => all + long, 0);
  const first = shown < 0 ? 0 : edits[shown][1];
  for (const packet of packets) {
    packet.time = ((packet.ticks - first) / scale + wait / movieScale) * US;
    packet.duration = (packet.duration / scale) * US;
  }
}

function describe(track, movieScale) {
  const { packets, turn, shape = 1 } = track;
  const [kind, codecOf, isDescribed] = SETUPS[track.setup?.[0]] ?? [track.entry ?? "", null, false];
  setTimes(track, movieScale);
  return {
    kind,
    codec: codecOf ? codecOf(track.setup[1]) : null,
    description: isDescribed ? track.setup[1] : undefined,
    shape,
    turn,
    frameDuration: 0,
    packets,
  };
}

const SOUNDS = { mp4a: "AAC", Opus: "Opus", "ac-3": "AC-3", "ec-3": "E-AC-3", alac: "ALAC", ".mp3": "MP3" };

function describeSound(track, movieScale) {
  const { entry, soundSetup: setup, packets, rate, channels } = track;
  setTimes(track, movieScale);
  const about = { kind: SOUNDS[entry] ?? entry, packets, rate, channels };
  return entry === "mp4a" && setup ? { ...about, codec: aacCodec(setup), description: setup } : about;
}
