// What the browser's decoders call a codec, from the bytes that set it up (RFC 6381 and its sisters).

const hex = (value) => value.toString(16).padStart(2, "0");
const two = (value) => String(value).padStart(2, "0");

/** H.264, from avcC: profile, constraints and level. */
export const avcCodec = (setup) => `avc1.${hex(setup[1])}${hex(setup[2])}${hex(setup[3])}`;

/** HEVC, from hvcC (ISO 14496-15, annex E). */
export function hevcCodec(setup) {
  const view = new DataView(setup.buffer, setup.byteOffset);
  const space = ["", "A", "B", "C"][setup[1] >> 6];
  const tier = setup[1] & 0x20 ? "H" : "L";
  let [flags, compatible] = [view.getUint32(2), 0];
  for (let i = 0; i < 32; i++, flags >>>= 1) compatible = ((compatible << 1) | (flags & 1)) >>> 0;
  const constraints = [...setup.subarray(6, 12)].map((value) => value.toString(16));
  while (constraints.length && constraints.at(-1) === "0") constraints.pop();
  const parts = [space + (setup[1] & 0x1f), compatible.toString(16), tier + setup[12], ...constraints];
  return `hvc1.${parts.join(".")}`;
}

/** AV1, from av1C. */
export function av1Codec(setup) {
  if (!setup) return "av01.0.08M.08";
  const [profile, level] = [setup[1] >> 5, setup[1] & 0x1f];
  const [tier, high, twelve] = [setup[2] >> 7, (setup[2] >> 6) & 1, (setup[2] >> 5) & 1];
  return `av01.${profile}.${two(level)}${tier ? "H" : "M"}.${two(high ? (twelve ? 12 : 10) : 8)}`;
}

/** VP9, from the fields that Matroska has of it, each with a number and a length; they may be missing. */
export function vp9Codec(setup) {
  const fields = { 1: 0, 2: 10, 3: 8 };
  for (let i = 0; setup && i + 2 < setup.length; i += 2 + setup[i + 1]) fields[setup[i]] = setup[i + 2];
  return `vp09.${two(fields[1])}.${two(fields[2])}.${two(fields[3])}`;
}

/** VP9, from vpcC of MP4. */
export const vp9BoxCodec = (setup) => `vp09.${two(setup[4])}.${two(setup[5])}.${two(setup[6] >> 4)}`;

/** AAC, from its AudioSpecificConfig: which kind of it. */
export const aacCodec = (setup) => `mp4a.40.${setup[0] >> 3}`;
