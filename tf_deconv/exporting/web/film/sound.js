// The sound of a film as WebM holds it: its packets as they are, or encoded anew as Opus.

// What WebM holds is copied.
const KEPT = new Set(["A_OPUS", "A_VORBIS"]);
const BITS_PER_CHANNEL = 96_000; // Each second: no loss is heard.
const PREROLL_NS = 80e6; // What a decoder of Opus needs before a place that is jumped to (RFC 7845).
const RATE = 48_000;
const MOST_WAITING = 64;

const named = ({ kind }) => kind.replace(/^A_/, "");

/**
 * Makes a film's sound fit for WebM.
 *
 * @param {object} sound As film-reader.js gives it, or nothing.
 * @param {function} breathe Called now and then, and awaited; what it throws ends it.
 * @returns {Promise<[object, string]>} The sound, as `WebmWriter` takes it with its packets, or null; and
 *   what is said of what is not as it was.
 */
export async function soundForWebm(sound, breathe) {
  if (!sound) return [null, ""];
  const leftOut = [null, `without its sound (${named(sound)})`];
  if (sound.isLaced || sound.isPacked || !sound.packets.length) return leftOut;
  if (KEPT.has(sound.kind)) return [sound, ""];
  if (!sound.codec || !("AudioDecoder" in globalThis && "AudioEncoder" in globalThis)) return leftOut;
  const { codec, description, rate, channels } = sound;
  const given = { codec, description, sampleRate: rate, numberOfChannels: channels };
  const bitrate = BITS_PER_CHANNEL * channels;
  const made = { codec: "opus", sampleRate: rate, numberOfChannels: channels, bitrate };
  try {
    const answers = [AudioDecoder.isConfigSupported(given), AudioEncoder.isConfigSupported(made)];
    if (!(await Promise.all(answers)).every(({ supported }) => supported)) return leftOut;
  } catch {
    return leftOut;
  }
  const encoded = await encodeAnew(sound.packets, given, made, breathe);
  return encoded ? [encoded, `its sound (${named(sound)}) encoded anew as Opus`] : leftOut;
}

// Returns the sound in Opus; null where the browser cannot make all of it.
async function encodeAnew(packets, given, made, breathe) {
  let [fault, setup] = [null, null];
  const found = [];
  const error = (reason) => {
    fault ??= reason;
  };
  const encoder = new AudioEncoder({
    output: (chunk, metadata) => {
      const data = new Uint8Array(chunk.byteLength);
      chunk.copyTo(data);
      found.push({ data, time: Math.max(chunk.timestamp, 0) });
      const { description } = metadata?.decoderConfig ?? {};
      if (description) setup ??= new Uint8Array(description.buffer ?? description).slice();
    },
    error,
  });
  const decoder = new AudioDecoder({
    output: (data) => {
      // What an encoder lays before the beginning is not heard.
      const isHeard = data.timestamp + data.duration > 0;
      if (isHeard && encoder.state === "configured") encoder.encode(data);
      data.close();
    },
    error,
  });
  try {
    decoder.configure(given);
    encoder.configure(made);
    for (const { data, time, duration } of packets) {
      if (fault) break;
      decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: time, duration, data }));
      if (decoder.decodeQueueSize + encoder.encodeQueueSize > MOST_WAITING) {
        await new Promise((go) => setTimeout(go));
        await breathe();
      }
    }
    await decoder.flush();
    await encoder.flush();
  } catch (reason) {
    if (!(reason instanceof DOMException)) throw reason; // It was cancelled.
    error(reason);
  } finally {
    for (const each of [decoder, encoder]) if (each.state !== "closed") each.close();
  }
  if (fault || !setup || !found.length) {
    console.warn(fault);
    return null;
  }
  // Its samples before the first one that is heard (RFC 7845).
  const delay = Math.round(((setup[10] | (setup[11] << 8)) * 1e9) / RATE);
  const channels = made.numberOfChannels;
  return { kind: "A_OPUS", setup, rate: RATE, channels, delay, preroll: PREROLL_NS, packets: found };
}
