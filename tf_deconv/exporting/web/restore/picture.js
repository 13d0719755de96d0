// A picture file as pixels: upright, in sRGB, with its transparency.

/** Returns a canvas's context with an image or ImageData drawn on it. */
export function drawn(source, width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  if (source instanceof ImageData) context.putImageData(source, 0, 0);
  else context.drawImage(source, 0, 0, width, height);
  return context;
}

/**
 * Decodes a picture file.
 *
 * @param {Blob} file What the browser can decode.
 * @returns {Promise<ImageBitmap>} Turned as its EXIF data tells.
 */
export function decode(file) {
  // Browsers before 2023 know the option by another name for the same, and refuse this one.
  return createImageBitmap(file, { imageOrientation: "from-image" }).catch(() =>
    createImageBitmap(file),
  );
}
