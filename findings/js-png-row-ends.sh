#!/usr/bin/env bash
# image-js and UPNG forget that each row of a PNG begins with a new byte.
#
# Expected: where a pixel has less than 8 bits, the last byte of a row may hold fewer pixels than it could, and the next
#   row begins with the next byte (PNG, section 7.2). pngjs reads every width so.
# Seen: image-js takes the unused bits for pixels of palette pictures, and UPNG for those of grey ones: each row
#   begins a few pixels late, and the picture is torn into a slant. Right are the widths whose rows fill their bytes:
#   multiples of 8, 4 and 2 for 1, 2 and 4 bits. In grey of 1 bit image-js looks for the unused bits in a row's first
#   byte, and is right up to a width of 7. No error, no warning.
# Versions: image-js 1.7.0 with fast-png 8.0.0, UPNG (upng-js) 2.1.0, against pngjs 7.0.0, on node.
# Consequence: icons, masks, scanned pages and whatever a PNG optimiser made small come out torn.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit --ignore-scripts image-js@1.7.0 fast-png@8.0.0 upng-js@2.1.0 pngjs@7.0.0
cat >rows.mjs <<'JS'
import assert from "node:assert";
import { readFileSync } from "node:fs";
import { crc32, deflateSync } from "node:zlib";
import { decode } from "image-js";
import pngjs from "pngjs";
import UPNG from "upng-js";
const version = (name) => `${name} ${JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version}`;
console.log(["image-js", "fast-png", "upng-js", "pngjs"].map(version).join(", "));
const height = 6;

function chunk(kind, data) {
  const body = Buffer.concat([Buffer.from(kind), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length, 0);
  ends.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}

/** A PNG of `bits` bits a pixel, of grey or with a palette of greys, and its levels from 0 to 255. */
function png(width, bits, palette) {
  const count = 1 << bits;
  const head = Buffer.from([0, 0, 0, width, 0, 0, 0, height, bits, palette ? 3 : 0, 0, 0, 0]);
  const levels = [];
  const rows = [];
  for (let y = 0; y < height; y++) {
    const row = Buffer.alloc(1 + Math.ceil(width * bits / 8));
    for (let x = 0; x < width; x++) {
      const value = (x * x + 3 * y) % count;
      levels.push(value * 255 / (count - 1));
      row[1 + (x * bits >> 3)] |= value << 8 - bits - (x * bits & 7);
    }
    rows.push(row);
  }
  const colours = Buffer.from(Array.from({ length: 3 * count }, (_, i) => Math.floor(i / 3) * 255 / (count - 1)));
  const parts = [chunk("IHDR", head), ...(palette ? [chunk("PLTE", colours)] : []),
    chunk("IDAT", deflateSync(Buffer.concat(rows))), chunk("IEND", Buffer.alloc(0))];
  return { file: Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), ...parts]), levels };
}

const every = (data, step) => Array.from({ length: data.length / step }, (_, i) => data[step * i]);
const readers = {
  pngjs: (file) => every(pngjs.PNG.sync.read(file).data, 4),
  UPNG: (file) => every(new Uint8Array(UPNG.toRGBA8(UPNG.decode(Uint8Array.from(file).buffer))[0]), 4),
  "image-js": (file) => { const { data, channels } = decode(file).getRawImage(); return every(data, channels); },
};
const widths = Array.from({ length: 24 }, (_, i) => i + 1);
for (const [palette, broken] of [[true, "image-js"], [false, "UPNG"]]) {
  for (const bits of [1, 2, 4]) {
    for (const [name, read] of Object.entries(readers)) {
      if (!palette && bits > 1 && name === "image-js") continue; // An error: it reads no such grey.
      const right = widths.filter((width) => {
        const { file, levels } = png(width, bits, palette);
        const seen = read(file);
        return seen.length === levels.length && seen.every((level, i) => level === levels[i]);
      });
      console.log(`${palette ? "palette" : "grey"}, ${bits} bits: ${name} is right at ${right.length} of 24 widths`);
      const filled = widths.filter((width) => width * bits % 8 === 0);
      const short = widths.filter((width) => width < 8);
      const seen = { [broken]: filled, "image-js": palette ? filled : short }[name] ?? widths;
      assert.deepEqual(right, seen, `changed: ${name}`);
    }
  }
}
console.log("as described");
JS
node rows.mjs
