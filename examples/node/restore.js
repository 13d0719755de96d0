// Restores a picture of any size with onnxruntime in node:
//
//     node restore.js saved_models/NAME/onnx/NAME.onnx noisy.jpg restored.png
//
// The picture is grey or in colour, as the network is; a transparent one is laid on white.

import ort from "onnxruntime-node";
import sharp from "sharp";

async function restore(file, source, target) {
  const session = await ort.InferenceSession.create(file);
  const channels = session.inputMetadata[0].shape.at(-1);
  if (channels !== 1 && channels !== 3) {
    throw new Error(`${file} takes no grey or colour picture of any size, as NAME.onnx does`);
  }
  const { data, info } = await sharp(source)
    .autoOrient()
    .flatten({ background: "white" })
    .toColourspace("srgb")
    .raw()
    .toBuffer({ resolveWithObject: true });
  let pixels = Float32Array.from(data, (byte) => byte / 255);
  if (channels === 1) {
    const grey = (_, i) => 0.299 * pixels[3 * i] + 0.587 * pixels[3 * i + 1] + 0.114 * pixels[3 * i + 2];
    pixels = Float32Array.from({ length: info.width * info.height }, grey);
  }
  const image = new ort.Tensor("float32", pixels, [1, info.height, info.width, channels]);
  const { restored } = await session.run({ image });
  const bytes = Uint8ClampedArray.from(restored.data, (level) => 255 * level); // Rounds and clips.
  const [, height, width, given] = restored.dims;
  await sharp(bytes, { raw: { width, height, channels: given } }).toFile(target);
}

if (process.argv.length !== 5) {
  console.error("usage: node restore.js NAME/onnx/NAME.onnx PICTURE RESTORED.png");
  process.exit(2);
}
restore(...process.argv.slice(2)).catch((error) => {
  console.error(`restore: ${error.message.split("\n")[0]}`);
  process.exit(1);
});
