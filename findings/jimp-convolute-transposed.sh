#!/usr/bin/env bash
# Jimp's convolute takes the rows of its kernel for columns; convolution, beside it, does not.
#
# Expected: a matrix written as rows weighs the pixels where its numbers stand, as in Jimp's own `convolution` and in
#   sharp's `convolve` (libvips): a kernel of ones in its last column sums the pixels to the right. The documentation
#   of both methods shows the same matrix.
# Seen: `convolute` sums those below. Sobel's kernel for vertical edges finds the horizontal ones, and nothing on a
#   vertical edge. Alpha goes through the kernel too, so that a kernel of sum 0 leaves a transparent picture.
#   Kernels that equal their transpose (blur, sharpen, emboss, the documentation's example) do not show it.
# Versions: Jimp 1.6.1 on node, against sharp 0.35.5.
# Consequence: edges, motion blurs and derivatives point the wrong way, and change direction when a program
#   goes from one of two methods of one library to the other.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit --ignore-scripts jimp@1.6.1 sharp@0.35.5
cat >edges.mjs <<'JS'
import assert from "node:assert";
import { readFileSync } from "node:fs";
import { Jimp } from "jimp";
import sharp from "sharp";
const version = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version;
console.log("Jimp", version("jimp"), "sharp", version("sharp"));
const side = 9;

function picture(level) {
  const made = new Jimp({ width: side, height: side });
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      made.bitmap.data.set([level(x, y), 0, 0, 255], 4 * (y * side + x));
    }
  }
  return made;
}

function red(made) {
  return Array.from({ length: side * side }, (_, i) => made.bitmap.data[4 * i]);
}

async function bySharp(made, kernel) {
  const raw = { width: side, height: side, channels: 1 };
  const options = { width: 3, height: 3, kernel: kernel.flat(), scale: 1 };
  const { data, info } = await sharp(Uint8Array.from(red(made)), { raw }).convolve(options).raw()
    .toBuffer({ resolveWithObject: true });
  return Array.from({ length: side * side }, (_, i) => data[i * info.channels]);
}

// A point, and kernels of a single one: where the point goes tells which neighbour is read.
const at = (values) => { const i = values.indexOf(100); return [i % side, Math.floor(i / side)]; };
const point = picture((x, y) => (x === 4 && y === 4 ? 100 : 0));
for (const [name, kernel, right, seen] of [
  ["right", [[0, 0, 0], [0, 0, 1], [0, 0, 0]], [3, 4], [4, 3]],
  ["below", [[0, 0, 0], [0, 0, 0], [0, 1, 0]], [4, 3], [3, 4]],
]) {
  const one = at(red(point.clone().convolute(kernel)));
  const other = at(red(point.clone().convolution({ kernel })));
  const third = at(await bySharp(point, kernel));
  console.log(`neighbour ${name}: the point (4, 4) goes to (${right}); convolution (${other}), sharp (${third}), convolute (${one})`);
  assert.deepEqual(other, right, "changed: convolution");
  assert.deepEqual(third, right, "changed: sharp");
  assert.deepEqual(one, seen, "changed: convolute");
}

// A vertical edge and Sobel's two kernels.
const edge = picture((x) => (x < 4 ? 0 : 50));
const vertical = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]];
const horizontal = [[-1, -2, -1], [0, 0, 0], [1, 2, 1]];
const strongest = (values) => Math.max(...values);
for (const [name, kernel, right, seen] of [["vertical", vertical, 200, 0], ["horizontal", horizontal, 0, 200]]) {
  const made = edge.clone().convolute(kernel);
  const other = strongest(red(edge.clone().convolution({ kernel })));
  const one = strongest(red(made));
  console.log(`a vertical edge by Sobel's kernel for ${name} ones: convolution ${other}, convolute ${one}, its alpha ${made.bitmap.data[3]}`);
  assert.equal(other, right, "changed: convolution");
  assert.equal(one, seen, "changed: convolute");
  assert.equal(made.bitmap.data[3], 0, "changed: alpha");
}
console.log("as described");
JS
node edges.mjs
