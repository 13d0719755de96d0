// Play and pause, the place in a film, and its sound.

import { find } from "./dom.js";

const video = find("film");

/** Whether the film stands still. */
export const isStill = () => video.paused || video.ended;

const clock = (seconds) => {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
};

function showPlace() {
  const { currentTime, duration } = video;
  const isKnown = Number.isFinite(duration) && duration > 0;
  find("seek").disabled = !isKnown;
  if (document.activeElement !== find("seek") || !isStill()) {
    find("seek").value = isKnown ? (1000 * currentTime) / duration : 0;
  }
  const place = isKnown ? `${clock(currentTime)} / ${clock(duration)}` : clock(currentTime);
  find("clock").textContent = place;
  find("seek").setAttribute("aria-valuetext", place);
}

find("play").addEventListener("click", () => (isStill() ? video.play() : video.pause()));
find("seek").addEventListener("input", () => {
  video.currentTime = (find("seek").value / 1000) * video.duration;
});
find("sound").addEventListener("click", () => {
  video.muted = !video.muted;
  find("sound").setAttribute("aria-pressed", !video.muted);
});
for (const kind of ["play", "pause", "ended", "timeupdate", "durationchange", "loadeddata"]) {
  video.addEventListener(kind, () => {
    find("play").textContent = isStill() ? "Play" : "Pause";
    showPlace();
  });
}
