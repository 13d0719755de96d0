// Picture files as pixels, upright and in sRGB, and pixels as picture files. Colours are never
// multiplied by their opacity, as a canvas has them, so that those of PNG come back as they were.

import { hasTransparency, isGrey } from "./pixels.js";
import { encodePng } from "./png.js";

// What goes through WebGL at once.
const BLOCK_PX = 4096;
// With loss, but none that shows.
const QUALITY = 0.95;
export const EXTENSIONS = { "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp" };

/** A picture: `data` is RGBA, row by row; `type` is the file's, "" where it is none of ours. */
export class Picture {
  constructor(data, width, height, type = "") {
    Object.assign(this, { data, width, height, type });
  }
}

/** What is wrong with a file, in words for whoever chose it. */
export class Fault extends Error {}

// Returns what the first bytes say, for names may lie.
async function typeOf(file) {
  const bytes = new Uint8Array(await file.slice(0, 12).arrayBuffer());
  const text = String.fromCharCode(...bytes);
  if (text.startsWith("\x89PNG")) return "image/png";
  if (text.startsWith("\xff\xd8")) return "image/jpeg";
  if (text.startsWith("RIFF") && text.endsWith("WEBP")) return "image/webp";
  return "";
}

/** Decodes a file for display: turned as its EXIF data tells. */
export async function decode(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    // Browsers before 2023 know the option by another name for the same.
    return createImageBitmap(file);
  }
}

// Returns the pixels of a bitmap, whose colours were multiplied by their opacity on the way.
function drawn(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height).data;
}

// Returns the pixels with their true colours, which WebGL gives, or null where there is none.
async function trueColours(file, width, height) {
  const canvas = new OffscreenCanvas(1, 1);
  const gl = canvas.getContext("webgl2") ?? canvas.getContext("webgl");
  if (!gl) return null;
  try {
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
    const side = Math.min(gl.getParameter(gl.MAX_TEXTURE_SIZE), BLOCK_PX);
    const data = new Uint8ClampedArray(width * height * 4);
    const how = { premultiplyAlpha: "none", imageOrientation: "from-image" };
    for (let top = 0; top < height; top += side) {
      for (let left = 0; left < width; left += side) {
        const [w, h] = [Math.min(side, width - left), Math.min(side, height - top)];
        const block = await createImageBitmap(file, left, top, w, h, how);
        gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, block);
        block.close();
        const bound = gl.getParameter(gl.TEXTURE_BINDING_2D);
        gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, bound, 0);
        const pixels = new Uint8Array(w * h * 4);
        gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
        for (let y = 0; y < h; y++) {
          data.set(pixels.subarray(4 * w * y, 4 * w * (y + 1)), 4 * ((top + y) * width + left));
        }
      }
    }
    return gl.getError() ? null : data;
  } catch (error) {
    console.warn(error);
    return null;
  } finally {
    gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

// Whether two ways to the pixels tell the same, as far as a canvas can.
function agree(shown, exact) {
  for (let i = 0; i < shown.length; i += 4) {
    if (shown[i + 3] !== exact[i + 3]) return false;
    if (shown[i + 3] < 255) continue;
    for (let c = 0; c < 3; c++) if (Math.abs(shown[i + c] - exact[i + c]) > 1) return false;
  }
  return true;
}

/**
 * Reads a picture file.
 *
 * @param {Blob} file What the browser can decode.
 * @param {number} most Pixels that it may have at most.
 * @returns {Promise<Picture>} Upright, in sRGB.
 */
export async function readPicture(file, most = Infinity) {
  const type = await typeOf(file).catch(() => {
    throw new Fault("The file cannot be read any more: choose it again.");
  });
  let bitmap = null;
  try {
    bitmap = await decode(file);
  } catch {
    throw new Fault("Not a picture that this browser can read: try a JPEG, PNG or WebP file.");
  }
  const { width, height } = bitmap;
  try {
    if (width * height > most) {
      const megapixels = Math.floor(most / 1e5) / 10;
      throw new Fault(`${width} × ${height} pixels are too many: at most ${megapixels} megapixels.`);
    }
    let data = drawn(bitmap);
    if (hasTransparency({ data })) {
      const exact = await trueColours(file, width, height);
      if (exact && agree(data, exact)) data = exact;
    }
    return new Picture(data, width, height, type);
  } finally {
    bitmap.close();
  }
}

// Returns a canvas with the pixels, over white where the type knows no opacity.
function painted({ data, width, height }, isOverWhite) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { colorSpace: "srgb" });
  context.putImageData(new ImageData(data, width, height), 0, 0);
  if (isOverWhite) {
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
  }
  return canvas;
}

/**
 * Writes a picture file.
 *
 * @param {Picture} picture The pixels.
 * @param {string} type "image/png", "image/jpeg" or "image/webp".
 * @returns {Promise<Blob>} The file; a PNG where the browser cannot write the type.
 */
export async function writePicture(picture, type) {
  // A canvas loses nothing of the others.
  if (type === "image/png" && (hasTransparency(picture) || isGrey(picture))) {
    return encodePng(picture);
  }
  const canvas = painted(picture, type === "image/jpeg");
  return canvas.convertToBlob({ type, quality: QUALITY });
}

/** Returns a picture for the screen. */
export const shownAs = (picture) => painted(picture, false).transferToImageBitmap();
