#!/usr/bin/env bash
# The npm package tiff, and image-js by it, read a tiled TIFF's colours as a red third, and its differences across tiles.
#
# Expected: a tile holds the samples of its pixels side by side as a strip does, and horizontal differences begin
#   anew in each tile's rows (TIFF 6.0, sections 14 and 15). geotiff and sharp (libvips) read all of these files.
#   The package says that it decodes grey and RGB of 8 and 16 bits, with alpha, and it reads grey tiles.
# Seen: of RGB and RGBA tiles it takes the first third or quarter of the samples, puts them into red, and leaves
#   the other channels 0. Of grey tiles with differences only the first column of tiles is right. No error.
# Versions: tiff 7.1.3 and image-js 1.7.0, against geotiff 3.0.5 and sharp 0.35.5, on node.
# Consequence: microscopes, maps and slides, which are tiled, give red rubbish in the right size, or grey with steps.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit --ignore-scripts tiff@7.1.3 image-js@1.7.0 geotiff@3.0.5 sharp@0.35.5
cat >tiles.mjs <<'JS'
import assert from "node:assert";
import { readFileSync } from "node:fs";
import { deflateSync } from "node:zlib";
import { fromArrayBuffer } from "geotiff";
import { decode as imageJs } from "image-js";
import sharp from "sharp";
import { decode as tiff } from "tiff";
const version = (name) => `${name} ${JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version}`;
console.log(["tiff", "image-js", "geotiff", "sharp"].map(version).join(", "));
const width = 40, height = 24, side = 16, across = 3, down = 2;

/** A little-endian TIFF of 8 bits in tiles of 16 by 16, compressed by deflate, and its samples. */
function tiled(channels, differences) {
  const samples = new Uint8Array(width * height * channels);
  const at = (x, y, c) => (5 * x + 3 * y + 70 * c) % 256;
  samples.forEach((_, i) => {
    const pixel = Math.floor(i / channels);
    samples[i] = at(pixel % width, Math.floor(pixel / width), i % channels);
  });
  const tiles = [];
  for (let tile = 0; tile < across * down; tile++) {
    const data = new Uint8Array(side * side * channels);
    for (let y = 0; y < side; y++) {
      for (let x = side - 1; x >= 0; x--) {
        for (let c = 0; c < channels; c++) {
          const [left, top] = [side * (tile % across), side * Math.floor(tile / across)];
          const before = differences && x > 0 ? at(left + x - 1, top + y, c) : 0;
          data[(y * side + x) * channels + c] = at(left + x, top + y, c) - before;
        }
      }
    }
    tiles.push(deflateSync(data));
  }
  const tags = [
    [256, [width]], [257, [height]], [258, Array(channels).fill(8)], [259, [8]], [262, [channels > 1 ? 2 : 1]],
    [277, [channels]], [317, [differences ? 2 : 1]], [322, [side]], [323, [side]],
    [324, tiles.map(() => 0)], [325, tiles.map((data) => data.length)],
    ...(channels === 4 ? [[338, [2]]] : []),
  ];
  // Header, directory, the values that do not fit into it, tiles; values of four bytes but for the tags 258 and 338.
  let free = 8 + 2 + 12 * tags.length + 4;
  const places = tags.map(([tag, values]) => {
    const size = values.length * (tag === 258 || tag === 338 ? 2 : 4);
    const place = free;
    free += size > 4 ? size : 0;
    return place;
  });
  tags.find(([tag]) => tag === 324)[1] = tiles.map((data) => { free += data.length; return free - data.length; });
  const file = Buffer.alloc(free);
  file.write("II*\0\x08\0\0\0", "latin1");
  file.writeUInt16LE(tags.length, 8);
  tags.forEach(([tag, values], i) => {
    const short = tag === 258 || tag === 338;
    const entry = 10 + 12 * i;
    file.writeUInt16LE(tag, entry);
    file.writeUInt16LE(short ? 3 : 4, entry + 2);
    file.writeUInt32LE(values.length, entry + 4);
    const fits = values.length * (short ? 2 : 4) <= 4;
    if (!fits) file.writeUInt32LE(places[i], entry + 8);
    values.forEach((value, j) => {
      const place = fits ? entry + 8 : places[i];
      if (short) file.writeUInt16LE(value, place + 2 * j);
      else file.writeUInt32LE(value, place + 4 * j);
    });
  });
  const offsets = tags.find(([tag]) => tag === 324)[1];
  tiles.forEach((data, i) => data.copy(file, offsets[i]));
  return { file, samples };
}

const share = (data, samples, wanted = () => true) => {
  const asked = [...samples.keys()].filter(wanted);
  return asked.filter((i) => data[i] === samples[i]).length / asked.length;
};
for (const [channels, differences] of [[1, false], [1, true], [3, false], [3, true], [4, false]]) {
  const { file, samples } = tiled(channels, differences);
  const buffer = Uint8Array.from(file).buffer;
  const others = {
    geotiff: await (await (await fromArrayBuffer(buffer)).getImage()).readRasters({ interleave: true }),
    sharp: await sharp(file).raw().toBuffer(),
  };
  for (const [name, data] of Object.entries(others)) {
    // sharp hands out grey as three equal channels, or one.
    const step = data.length / samples.length;
    assert.equal(share(samples.map((_, i) => data[i * step]), samples), 1, `changed: ${name}`);
  }
  const seen = { tiff: tiff(file)[0].data, "image-js": imageJs(file).getRawImage().data };
  for (const [name, data] of Object.entries(seen)) {
    assert.equal(data.length, samples.length);
    console.log(`${["", "grey", "", "RGB", "RGBA"][channels]}${differences ? " with differences" : ""}: ${name} ` +
      `has ${Math.round(100 * share(data, samples))}% of the samples right, geotiff and sharp 100%`);
    if (channels > 1) {
      if (!differences) {
        assert(data.every((value, i) => i % channels === 0 || value === 0), `changed: ${name}`);
      }
      assert(share(data, samples) < 0.1, `changed: ${name}`);
    } else if (differences) {
      assert.equal(share(data, samples, (i) => i % width < side), 1, `changed: ${name}`);
      assert(share(data, samples, (i) => i % width >= side) < 0.1, `changed: ${name}`);
    } else {
      assert.equal(share(data, samples), 1, `changed: ${name}`);
    }
  }
}
console.log("as described");
JS
node tiles.mjs
