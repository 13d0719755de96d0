// Where frames come from: a film file, or the camera.

import { isPicture } from "./incoming.js";
import { Fault } from "./picture.js";

const once = (target, good, bad) =>
  new Promise((done, fail) => {
    target.addEventListener(good, done, { once: true });
    target.addEventListener(bad, fail, { once: true });
  });

/** Lets go of what a video shows. */
export function closeSource(video) {
  video.pause();
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  if (video.src) URL.revokeObjectURL(video.src);
  video.srcObject = null;
  video.removeAttribute("src");
  video.load();
}

/**
 * Opens a film file.
 *
 * @param {HTMLVideoElement} video What plays it.
 * @param {File} file The film.
 * @throws {Fault} Where the browser cannot play it.
 */
export async function openFile(video, file) {
  if (isPicture(file)) {
    throw new Fault("a picture, and this page restores films: one of pictures takes it.");
  }
  const ready = once(video, "loadeddata", "error");
  video.src = URL.createObjectURL(file);
  try {
    await ready;
  } catch {
    throw new Fault("not a film that this browser can play: try an MP4 or WebM file.");
  }
  if (!video.videoWidth) throw new Fault("has no moving pictures.");
}

const REFUSED = {
  NotAllowedError: "The camera was not allowed: allow it for this page in the browser's settings.",
  NotFoundError: "This device has no camera.",
  OverconstrainedError: "This device has no camera.",
  NotReadableError: "The camera cannot be read: does another program use it?",
};

/**
 * Opens the camera.
 *
 * @param {HTMLVideoElement} video What shows it.
 * @param {function} ended Called when the camera goes away.
 * @throws {Fault} Where there is none, or it is not allowed.
 */
export async function openCamera(video, ended) {
  if (!navigator.mediaDevices) throw new Fault("The camera needs a page that comes over HTTPS.");
  const size = { width: { ideal: 640 }, height: { ideal: 480 } };
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({
      video: { ...size, facingMode: "environment" },
    });
    video.srcObject.getVideoTracks()[0].addEventListener("ended", ended);
    await video.play();
  } catch (error) {
    console.warn(error);
    throw new Fault(REFUSED[error.name] ?? `The camera cannot be opened: ${error.message ?? error}.`);
  }
}
