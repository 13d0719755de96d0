// Matroska files that end early. The library gives a cluster whole or not at all, and a film may be one cluster.

const [EBML, SEGMENT] = [0x1a45dfa3, 0x18538067];
const HEAD_BYTES = 4096;
const ID_BYTES = 4; // Of these two elements.
const MOST_PADDED = 32 * 2 ** 20; // More than a cluster has.

// Returns how long an element is, and where its content begins; null for its length where it does not tell.
function sizeAt(view, at) {
  const length = Math.clz32(view.getUint8(at)) - 23;
  let [size, most] = [view.getUint8(at) & (0xff >> length), 2 ** (7 * length) - 1];
  for (let i = 1; i < length; i++) size = size * 256 + view.getUint8(at + i);
  return [size === most ? null : size, at + length];
}

function endOf(view) {
  const [head, from] = sizeAt(view, ID_BYTES);
  const segment = from + head;
  if (view.getUint32(segment) !== SEGMENT) return null;
  const [size, start] = sizeAt(view, segment + ID_BYTES);
  return size === null ? null : start + size;
}

/**
 * Returns a file that can be taken apart to its last whole packet.
 *
 * @param {Blob} file Of any kind.
 * @returns {Promise<object>} { blob, isCutOff }: zeros stand for what is missing of a Matroska file that ends
 *   early, so that the last packet of each track is none.
 */
export async function wholeOf(file) {
  const view = new DataView(await file.slice(0, HEAD_BYTES).arrayBuffer());
  if (view.byteLength < ID_BYTES || view.getUint32(0) !== EBML) return { blob: file, isCutOff: false };
  let end = null;
  try {
    end = endOf(view);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // The library says what is wrong.
  }
  const missing = (end ?? 0) - file.size;
  if (missing <= 0) return { blob: file, isCutOff: false };
  return { blob: new Blob([file, new Uint8Array(Math.min(missing, MOST_PADDED))]), isCutOff: true };
}
