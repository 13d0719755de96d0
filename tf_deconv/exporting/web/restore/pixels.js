// What pixels have: `data` is RGBA, row by row.

/** Whether a pixel may be seen through. */
export function hasTransparency({ data }) {
  for (let i = 3; i < data.length; i += 4) if (data[i] < 255) return true;
  return false;
}

/** Whether every pixel is grey. */
export function isGrey({ data }) {
  for (let i = 0; i < data.length; i += 4) {
    if (data[i] !== data[i + 1] || data[i + 1] !== data[i + 2]) return false;
  }
  return true;
}
