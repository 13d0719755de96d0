#!/usr/bin/env bash
# image-js, and Jimp by each named method, move a picture when they change its size.
#
# Expected: pixel centres keep their place: output pixel i of a change by s shows the input at (i + 0.5) / s - 0.5, as
#   Pillow, OpenCV, browsers' canvases (here @napi-rs/canvas) and Jimp itself without a method do. A reduction by
#   sharp is right too.
# Seen: image-js, bilinear and bicubic, shows i / s - 0.5: half an output pixel to the right and below, at
#   enlargements as at reductions. A half is one input pixel off, a quarter two. Jimp's BILINEAR shows i / s, to the
#   other side at enlargements; its BICUBIC, HERMITE and BEZIER are 0.15 to 0.3 input pixels off, enlarging, 0.5
#   halving. Both libraries' nearest pixel is right at enlargements, and the first of each block at reductions.
# Versions: image-js 1.7.0, Jimp 1.6.1, against @napi-rs/canvas 1.1.1 and sharp 0.35.5, on node.
# Consequence: thumbnails and network inputs lie beside those of every other language: boxes and masks found on them
#   are off by a pixel or two, and a PSNR against another library's is the shift's.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit --ignore-scripts image-js@1.7.0 jimp@1.6.1 sharp@0.35.5 @napi-rs/canvas@1.1.1
cat >resize.mjs <<'JS'
import assert from "node:assert";
import { readFileSync } from "node:fs";
import { createCanvas } from "@napi-rs/canvas";
import { Image } from "image-js";
import { Jimp, ResizeStrategy } from "jimp";
import sharp from "sharp";
const version = (name) => `${name} ${JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version}`;
console.log(["image-js", "jimp", "@napi-rs/canvas", "sharp"].map(version).join(", "));
const side = 24;
const slope = 10; // Levels per pixel: the result of any resizing is its position.

const ramp = Uint8ClampedArray.from({ length: 4 * side * side }, (_, i) =>
  i % 4 === 3 ? 255 : slope * ((i >> 2) % side));
const jimp = () => Jimp.fromBitmap({ data: Buffer.from(ramp), width: side, height: side });
const methods = {
  canvas: (size) => {
    const from = createCanvas(side, side), to = createCanvas(size, size);
    const data = from.getContext("2d").createImageData(side, side);
    data.data.set(ramp);
    from.getContext("2d").putImageData(data, 0, 0);
    to.getContext("2d").imageSmoothingQuality = "medium";
    to.getContext("2d").drawImage(from, 0, 0, size, size);
    return to.getContext("2d").getImageData(0, 0, size, size).data;
  },
  "Jimp, no method": (size) => jimp().resize({ w: size, h: size }).bitmap.data,
  "sharp cubic": (size) => sharp(Buffer.from(ramp), { raw: { width: side, height: side, channels: 4 } })
    .resize(size, size, { kernel: "cubic" }).raw().toBuffer(),
};
for (const name of ["BILINEAR", "BICUBIC", "HERMITE", "BEZIER", "NEAREST_NEIGHBOR"]) {
  methods[`Jimp ${name}`] = (size) => jimp().resize({ w: size, h: size, mode: ResizeStrategy[name] }).bitmap.data;
}
for (const name of ["bilinear", "bicubic", "nearest"]) {
  methods[`image-js ${name}`] = (size) =>
    new Image(side, side, { data: Uint8Array.from(ramp), colorModel: "RGBA" })
      .resize({ width: size, height: size, interpolationType: name, borderType: "replicate" }).getRawImage().data;
}

const sizes = [48, 72, 12, 6]; // Twice, three times, a half, a quarter.
/** How far, in input pixels, the middle of the picture shows what lies to the right of what it should. */
function offset(data, size) {
  const scale = size / side;
  let sum = 0, count = 0;
  for (let x = size / 3; x < 2 * size / 3; x++, count++) {
    sum += data[4 * (size * (size / 2) + x)] / slope - ((x + 0.5) / scale - 0.5);
  }
  return sum / count;
}
// To a tenth of a pixel, at twice, three times, a half and a quarter; sharp's enlargement is another script's matter.
const seen = {
  canvas: [0, 0, 0, 0], "Jimp, no method": [0, 0, 0, 0], "sharp cubic": [null, null, 0, 0],
  "image-js bilinear": [-0.25, -1 / 6, -1, -2], "image-js bicubic": [-0.25, -1 / 6, -1, -2],
  "image-js nearest": [0, 0, -0.5, -1.5],
  "Jimp BILINEAR": [0.25, 1 / 3, -0.5, -1.5], "Jimp BICUBIC": [-0.28, -0.2, -0.5, -0.5],
  "Jimp HERMITE": [-0.23, -0.15, -0.43, -0.45], "Jimp BEZIER": [-0.23, -0.15, -0.45, -0.45],
  "Jimp NEAREST_NEIGHBOR": [0, 0, -0.5, -1.5],
};
for (const [name, resize] of Object.entries(methods)) {
  const offsets = [];
  for (const size of sizes) offsets.push(offset(await resize(size), size));
  console.log(`${name}: off by ${offsets.map((value) => value.toFixed(2)).join(", ")} input pixels at 2, 3, 1/2, 1/4`);
  seen[name].forEach((value, i) =>
    value === null || assert(Math.abs(offsets[i] - value) < 0.09, `changed: ${name}, ${sizes[i]}`));
}
console.log("as described");
JS
node resize.mjs
