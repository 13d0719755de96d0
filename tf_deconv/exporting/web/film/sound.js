// The sound of a film as WebM holds it: its packets as they are, or encoded anew as Opus.

import {
  AudioSampleSink, AudioSampleSource, canEncodeAudio, EncodedAudioPacketSource, EncodedPacketSink, Quality,
} from "./lib/mediabunny/index.js";

// What WebM holds is copied.
const KEPT = new Set(["opus", "vorbis"]);
const NAMES = { ac3: "AC-3", eac3: "E-AC-3", vorbis: "Vorbis", opus: "Opus" };
const BITS_PER_CHANNEL = 96_000; // Each second: no loss is heard.

/** Sound on its way into a film: `source` is what the film's writer takes. */
class Sound {
  note = "";
  #items;
  #next = null;

  constructor(source, items) {
    [this.source, this.#items] = [source, items];
  }

  /** Whether there is any. */
  async begin() {
    this.#next = await this.#items.next();
    return !this.#next.done;
  }

  /** Hands over what is heard up to a time, in seconds, and says when it was the last. */
  async upTo(time) {
    if (!this.source) return;
    try {
      while (!this.#next.done && this.#next.value.time <= time) {
        await this.#next.value.add();
        this.#next = await this.#items.next();
      }
    } catch (error) {
      console.warn(error);
      this.note = this.note ? `${this.note}, whose end cannot be decoded` : "its sound as far as it can be read";
      this.#next = { done: true };
    }
    if (!this.#next.done) return;
    this.source.close();
    this.source = null;
  }

  /** Lets go of what was not written. */
  async cancel() {
    this.#next?.value?.drop?.();
    await this.#items.return();
  }
}

async function* copied(packets, decoderConfig, shift, source) {
  for await (const packet of packets) {
    const time = packet.timestamp + shift;
    yield { time, add: () => source.add(packet.clone({ timestamp: time }), { decoderConfig }) };
  }
}

async function* encodedAnew(samples, shift, source) {
  for await (const sample of samples) {
    const time = sample.timestamp + shift;
    const drop = () => sample.close();
    // What an encoder lays before the beginning is not heard.
    if (time + sample.duration <= 0) {
      drop();
      continue;
    }
    sample.setTimestamp(Math.max(time, 0));
    yield { time, drop, add: () => source.add(sample).finally(drop) };
  }
}

// Of a file that is cut off the last packet is none.
async function* withoutLast(items) {
  let held = null;
  for await (const item of items) {
    if (held) yield held;
    held = item;
  }
}

/**
 * Makes a film's sound fit for WebM.
 *
 * @param {object} film As film-reader.js gives it.
 * @returns {Promise<[Sound | null, string]>} The sound, and what is said of what is not kept.
 */
export async function soundForWebm({ sound: track, sounds, shift, isCutOff }) {
  if (!track) return [null, ""];
  const codec = await track.getCodec();
  const name = await nameOf(track, codec);
  let sound = null;
  if (KEPT.has(codec)) {
    const source = new EncodedAudioPacketSource(codec);
    const packets = new EncodedPacketSink(track).packets();
    const config = await track.getDecoderConfig();
    sound = new Sound(source, copied(isCutOff ? withoutLast(packets) : packets, config, shift, source));
  } else if (await canBeEncoded(track)) {
    const quality = await qualityOf(track);
    const source = new AudioSampleSource({ codec: "opus", quality });
    sound = new Sound(source, encodedAnew(new AudioSampleSink(track).samples(), shift, source));
    sound.note = `its sound (${name}) encoded anew as Opus`;
  }
  try {
    if (await sound?.begin()) return [sound, sounds > 1 ? `one of its ${sounds} sounds alone` : ""];
  } catch (error) {
    console.warn(error);
  }
  return [null, `without its sound (${name})`];
}

async function nameOf(track, codec) {
  if (!codec) return String(await track.getInternalCodecId()).replace(/^A_/, "");
  return NAMES[codec] ?? (codec.startsWith("pcm-") ? "PCM" : codec.toUpperCase());
}

const qualityOf = async (track) =>
  new Quality({ bitrate: BITS_PER_CHANNEL * (await track.getNumberOfChannels()) });

async function canBeEncoded(track) {
  if (!("AudioDecoder" in globalThis && "AudioEncoder" in globalThis)) return false;
  const about = {
    numberOfChannels: await track.getNumberOfChannels(),
    sampleRate: await track.getSampleRate(),
    quality: await qualityOf(track),
  };
  return (await track.canDecode()) && (await canEncodeAudio("opus", about));
}
