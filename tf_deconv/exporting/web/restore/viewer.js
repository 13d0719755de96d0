// Before and after in one place, under a line that moves; at the size of the screen, one to one, larger.

import { find } from "./dom.js";

const STEP = 1.5;
const [LEAST, MOST] = [1 / 16, 16]; // Pixels of the screen for each of the picture.
const SMALLEST_PX = 240; // To which a tiny picture grows.
const ACTUAL = () => 1 / devicePixelRatio; // One pixel of the screen for each of the picture.
let [width, height] = [0, 0];
let own = [0, 0]; // Of the picture itself, which a result may be larger than.
let zoom = 1;
let isFit = true;

const stage = find("stage");
const scroller = find("scroller");
const sheet = find("sheet");
const slider = find("slider");

function draw(id, bitmap) {
  const canvas = find(id);
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
}

/** Shows a picture, of which there is no result yet. */
export function show(before) {
  draw("before", before);
  sheet.hidden = false;
  own = [find("before").width, find("before").height];
  setAlone(true);
  [width, height] = own;
  fit();
}

/** Takes the result away, as another one is on its way. */
export function showAlone() {
  setAlone(true);
  if (width !== own[0]) {
    [width, height] = own;
    fit();
  } else placeLine();
}

/** Shows nothing: an earlier picture would look like this one. */
export function clear() {
  sheet.hidden = true;
  setAlone(true);
}

function setAlone(isAlone) {
  stage.classList.toggle("is-alone", isAlone);
  find("after").hidden = isAlone;
}

/** Shows another result of the same picture. */
export function showAfter(after, size) {
  draw("after", after);
  setAlone(false);
  const isLarger = size[0] !== width;
  [width, height] = size;
  if (isLarger) fit();
  else placeLine();
}

/**
 * Shows a frame of a film and what was made of it; the size on the screen stays.
 *
 * @param {ImageBitmap} before The frame.
 * @param {ImageBitmap} after The result.
 * @param {number[]} size [width, height] that the result has in full size.
 */
export function showBoth(before, after, size) {
  draw("before", before);
  draw("after", after);
  const isOther = sheet.hidden || size[0] !== width || size[1] !== height;
  sheet.hidden = false;
  setAlone(false);
  own = [width, height] = size;
  if (isOther) fit();
  else placeLine();
}

/** Says something over the picture; "" says nothing. */
export function cover(text) {
  find("cover").textContent = text;
  find("cover").hidden = !text;
}

function apply() {
  stage.style.setProperty("--ratio", width / height);
  sheet.style.width = `${width * zoom}px`;
  sheet.style.height = `${height * zoom}px`;
  sheet.classList.toggle("pixels", zoom * devicePixelRatio >= 2);
  stage.classList.toggle("is-fit", isFit);
  stage.classList.toggle("is-zoomed", !isFit);
  find("fit").setAttribute("aria-pressed", isFit);
  find("actual").setAttribute("aria-pressed", !isFit && Math.abs(zoom - ACTUAL()) < 1e-6);
  placeLine();
}

function fit() {
  isFit = true;
  const { clientWidth, clientHeight } = stage;
  const most = Math.max(1, SMALLEST_PX / Math.max(width, height));
  zoom = Math.min(clientWidth / width, clientHeight / height, most) || 1;
  apply();
}

// Sets the pixels of the screen for each of the picture's, around a place of the stage that stays.
function zoomTo(wanted, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const before = sheet.getBoundingClientRect();
  const corner = stage.getBoundingClientRect();
  const [u, v] = [(corner.left + x - before.left) / zoom, (corner.top + y - before.top) / zoom];
  zoom = Math.min(Math.max(wanted, LEAST), MOST);
  isFit = false;
  apply();
  const after = sheet.getBoundingClientRect();
  scroller.scrollLeft += after.left + u * zoom - corner.left - x;
  scroller.scrollTop += after.top + v * zoom - corner.top - y;
  placeLine();
}

// Returns the picture's left and right end within the stage, as far as it is seen.
function seen() {
  const [outer, inner] = [stage.getBoundingClientRect(), sheet.getBoundingClientRect()];
  const left = inner.left - outer.left - stage.clientLeft;
  return [Math.max(left, 0), Math.min(left + inner.width, stage.clientWidth), left];
}

function placeLine() {
  const [first, last, left] = seen();
  const x = first + (slider.value / 100) * (last - first);
  find("line").style.left = `${x}px`;
  const isAlone = stage.classList.contains("is-alone");
  const cut = isAlone ? 0 : Math.max(0, left + width * zoom - x);
  find("before").style.clipPath = `inset(0 ${cut}px 0 0)`;
  find("after").style.clipPath = `inset(0 0 0 ${Math.max(0, x - left)}px)`;
  slider.setAttribute("aria-valuetext", `${slider.value} percent before`);
}

function moveLine({ clientX }) {
  const [first, last] = seen();
  const x = clientX - stage.getBoundingClientRect().left - stage.clientLeft;
  slider.value = (100 * (x - first)) / (last - first);
  placeLine();
}

// Follows a pointer until it is let go.
function follow(target, move) {
  target.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const go = move(event);
    if (!go) return;
    target.setPointerCapture(event.pointerId);
    const stop = () => {
      target.removeEventListener("pointermove", go);
      for (const kind of ["pointerup", "pointercancel"]) target.removeEventListener(kind, stop);
    };
    target.addEventListener("pointermove", go);
    for (const kind of ["pointerup", "pointercancel"]) target.addEventListener(kind, stop);
  });
}

follow(find("line"), (event) => {
  event.preventDefault();
  return moveLine;
});
follow(scroller, (event) => {
  if (isFit) {
    moveLine(event);
    return moveLine;
  }
  if (event.pointerType !== "mouse") return null; // A finger scrolls by itself.
  event.preventDefault();
  const [x, y] = [event.clientX + scroller.scrollLeft, event.clientY + scroller.scrollTop];
  return (moved) => scroller.scrollTo(x - moved.clientX, y - moved.clientY);
});
scroller.addEventListener("scroll", placeLine);
scroller.addEventListener("dblclick", ({ clientX, clientY }) => {
  const corner = stage.getBoundingClientRect();
  if (isFit) zoomTo(ACTUAL(), clientX - corner.left, clientY - corner.top);
  else fit();
});
scroller.addEventListener(
  "wheel",
  (event) => {
    if (!event.ctrlKey) return; // Which is also two fingers on a touchpad.
    event.preventDefault();
    const corner = stage.getBoundingClientRect();
    zoomTo(zoom * Math.exp(-event.deltaY / 200), event.clientX - corner.left, event.clientY - corner.top);
  },
  { passive: false },
);
slider.addEventListener("input", placeLine);
find("fit").addEventListener("click", fit);
find("actual").addEventListener("click", () => zoomTo(ACTUAL()));
find("smaller").addEventListener("click", () => zoomTo(zoom / STEP));
find("larger").addEventListener("click", () => zoomTo(zoom * STEP));
stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = { "+": zoom * STEP, "=": zoom * STEP, "-": zoom / STEP, 1: ACTUAL() };
  if (event.key in keys) zoomTo(keys[event.key]);
  else if (event.key === "0") fit();
});
new ResizeObserver(() => {
  if (!width) return;
  if (isFit) fit();
  else placeLine();
}).observe(stage);
