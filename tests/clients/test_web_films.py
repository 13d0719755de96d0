"""The page that restores films, in a real browser: its frames are those of tf_deconv."""

import base64
import dataclasses
import io
import json
import re
import shutil
import subprocess
import time
import types
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

import tf_deconv
from tests.fixtures import gates
from tests.fixtures.browsers import (
    CAMERA_FLAGS,
    as_a_phone,
    asks_before_leaving,
    drop,
    faults_of_access,
    fits_in_width,
    in_the_dark,
    is_kept,
    need_browser,
    open_page,
    save_screenshot,
    saved_files,
    serve,
    start_browser,
    tab_stops,
    text_of,
    wait_for,
    wait_until_kept,
    wait_until_ready,
)
from tests.fixtures.films import (
    VARYING,
    make_frames,
    packet_bytes,
    stamps,
    tone_packets,
    write_film,
)
from tf_deconv.exporting.web import build
from tf_deconv.images import metrics
from tf_deconv.inference import artifacts, run_folder, shipped
from tf_deconv.inference import restorer as restorers
from tf_deconv.inference.streaming import StreamRestorer
from tf_deconv.networks.video import build_video
from tf_deconv.video.reading import frames as frames_of

pytestmark = pytest.mark.clients

av = pytest.importorskip("av")
TIMES = "\N{MULTIPLICATION SIGN}"
AXE = "axe-core@4.10.3"
# A network of pictures, and one of films for frames of one size, (height, width).
# As large as the browser's camera, of which the network sees 47 pixels to each side.
PICTURES, FILMS, SIZE = "photo-small", "moving", (120, 160)
QUARTER_TURN = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
# What browsers and PyAV take for the same colours.
BT709 = tuple((name, 1) for name in ("colorspace", "color_range", "color_primaries", "color_trc"))


def write_moving_model(folder):
    """Writes a network of films that nobody trained, whose state counts; returns its export."""
    import keras

    keras.utils.set_random_seed(5)
    model = build_video(size="tiny")
    random = np.random.default_rng(3)
    past, last = (w for w in model.weights if not np.any(w.numpy()))  # Which begin as zeros.
    past.assign(random.normal(0, 0.02, past.shape))
    # The same for all colours: what it adds is grey, so that chroma of half the size holds it.
    last.assign(np.broadcast_to(random.normal(0, 0.003, (2, 2, 1, last.shape[-1])), last.shape))
    known = {"task": "denoise", "network": "video", "divisor": 4, "scale": 1}
    run_folder.save_model(model, folder / "model.keras", known | {"state": {"stride": 2}})
    sizes = f"{SIZE[0]}x{SIZE[1]}"
    options = dict(name=FILMS, out=str(folder), sizes=sizes, variants="float32")
    with gates.in_this_process():
        tf_deconv.export(str(folder / "model.keras"), **options, report=lambda _: None)
    return folder / FILMS


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of both networks and one of the second alone; the browser's profile, axe-core."""
    need_browser()
    folder = tmp_path_factory.mktemp("films")
    command = ["npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
    packages = [*build.PACKAGES, AXE]
    subprocess.run([*command, "--prefix", str(folder), *packages], check=True, capture_output=True)
    model = write_moving_model(folder)
    options = dict(web_library=str(folder / "node_modules" / "@litertjs"), report=lambda _: None)
    tf_deconv.export(PICTURES, also=[str(model)], web=str(folder / "page"), **options)
    tf_deconv.export(str(model), web=str(folder / "alone"), **options)
    axe = (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    return types.SimpleNamespace(folder=folder, axe=axe, model=model)


@pytest.fixture
def server(page):
    with serve(page.folder / "page") as served:
        yield served


@pytest.fixture(scope="module")
def browser(page):
    with start_browser(page.folder / "profile", *CAMERA_FLAGS) as driver:
        yield driver


@pytest.fixture
def saved(page):
    """Presses the button and returns the film that was saved, and what was said of it."""
    folder = saved_files(page.folder / "profile")

    def get(browser, button="save"):
        shutil.rmtree(folder, ignore_errors=True)
        browser.find_element("id", button).click()
        wait_for(
            browser, "return /^Saved|\\.$/.test(document.getElementById('status').textContent)"
        )
        wait_for(
            browser, "return document.getElementById('status').textContent.startsWith('Saved')"
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            new = list(folder.iterdir()) if folder.is_dir() else []
            if len(new) == 1 and new[0].suffix == ".webm" and new[0].stat().st_size:
                return new[0], status(browser)
            time.sleep(0.1)
        return pytest.fail("nothing was saved")

    return get


def status(browser):
    return text_of(browser, "status")


def noisy(count, height=SIZE[0], width=SIZE[1]):
    """Frames of little colour: what chroma of half the size loses is little too."""
    frames = make_frames(count, height, width).mean(-1, keepdims=True)
    tinted = frames * (0.9, 1, 0.8) + (10, 0, 20)
    noise = np.random.default_rng(4).normal(0, 12, (count, height, width, 1))
    return np.clip(tinted + noise, 0, 255).astype(np.uint8)


def panned(count, height, width, down_px, right_px):
    """Frames of one grey picture, which moves by so much from frame to frame; a little noise."""
    random = np.random.default_rng(6)
    rows, columns = np.mgrid[:height, :width].astype(float)
    frames = np.full((count, height, width, 1), 128.0)
    for frequency in np.geomspace(0.02, 0.5, 30):
        turn, phase = random.uniform(0, 2 * np.pi, 2)
        for number, frame in enumerate(frames):
            along = np.cos(turn) * (rows - number * down_px)
            along += np.sin(turn) * (columns - number * right_px)
            frame[..., 0] += 40 * (0.02 / frequency) ** 0.5 * np.sin(frequency * along + phase)
    frames = np.repeat(frames + random.normal(0, 4, frames.shape), 3, -1)
    return np.clip(frames, 0, 255).astype(np.uint8)


def write(path, frames=None, **options):
    frames = noisy(10) if frames is None else frames
    if path.suffix == ".webm":
        options = dict(codec="libvpx-vp9", options={"crf": "12", "b": "0"}) | options
    return write_film(path, frames, **options)


# Every pair that is shown, in order, as PNG would have it: before and after, of one frame.
COLLECT_JS = """
window.pairs = [];
const bytesOf = (id) => {
  const canvas = document.getElementById(id);
  const { width, height } = canvas;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  let text = "";
  for (const value of data) text += String.fromCharCode(value);
  return [width, height, btoa(text)];
};
let last = "";
new MutationObserver(() => {
  const { shown } = document.body.dataset;
  if (!shown || shown === last) return;
  last = shown;
  window.pairs.push([bytesOf("before"), bytesOf("after")]);
}).observe(document.body, { attributes: true, attributeFilter: ["data-shown"] });
"""


def collect(browser):
    """Lets the page collect what it shows from now on."""
    browser.execute_script(COLLECT_JS)


def pairs(browser):
    """Returns what was shown, [(before, after), ...], (H, W, 3) uint8."""

    def pixels(one):
        width, height, data = one
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3]

    return [tuple(map(pixels, pair)) for pair in browser.execute_script("return window.pairs")]


# Lets a film go on only when its frame was restored, so that there are several on any machine.
SLOWLY_JS = """
const film = document.getElementById("film");
film.defaultPlaybackRate = 0.25;
const stop = () => {
  if (film.ended) return;
  film.pause();
  film.requestVideoFrameCallback(stop);
};
film.requestVideoFrameCallback(stop);
const goOn = new MutationObserver(() => {
  if (film.ended) goOn.disconnect();
  else if (document.body.dataset.shown) film.play();
});
goOn.observe(document.body, { attributes: true, attributeFilter: ["data-shown"] });
film.addEventListener("ended", () => goOn.disconnect(), { once: true });
"""


def put_in(browser, path, slowly=False):
    """Plays a film to its end, or one frame after the other."""
    if slowly:
        browser.execute_script(SLOWLY_JS)
    browser.find_element("id", "choose").send_keys(str(path))
    wait_for(
        browser,
        "const film = document.getElementById('film');"
        "return film.ended && Boolean(document.body.dataset.shown)",
    )


def still(browser, frame, rate=25):
    """Goes to a frame of a film that is paused, and waits until it is restored."""
    # One that was on its way before would be taken for it: it may be the same frame, with a past.
    wait_for(browser, "return !document.body.dataset.running")
    browser.execute_script(
        "document.body.dataset.time = '';"
        "const film = document.getElementById('film'); film.pause();"
        "film.currentTime = arguments[0]",
        (frame + 0.5) / rate,
    )
    # Its own time, or the middle that was asked for: not the time of a neighbour.
    least, most = (frame - 0.25) / rate, (frame + 0.75) / rate
    wait_for(
        browser,
        "const { running, time } = document.body.dataset;"
        f"return !running && time && {least} < time && time < {most}",
    )


def assert_near(received, expected):
    assert received.shape == expected.shape
    assert np.abs(received.astype(int) - expected).max() <= 1


@pytest.fixture(scope="module")
def moving(page):
    """The network of films in Python, for the one size that the page runs."""
    path = page.model / "tflite" / f"{FILMS}-float32.tflite"
    return dataclasses.replace(tf_deconv.load_video(path).artifact, sizes=(SIZE,))


def streamed(moving, frames):
    return list(StreamRestorer(moving).restore(frames))


# --- What is shown as it goes.


def test_a_film_runs_through_the_network_and_says_how_fast(server, browser, tmp_path):
    path = write(tmp_path / "clip.webm")
    open_page(browser, server, f"film.html?model={PICTURES}")
    collect(browser)
    put_in(browser, path)
    rate = browser.find_element("id", "rate").text
    number, _, counts = rate.partition(" frames/s \N{MIDDLE DOT} ")
    assert float(number) > 0
    restored, skipped = counts.split(", ")
    assert skipped.endswith(" skipped")
    assert 1 <= int(restored.split()[0]) + int(skipped.split()[0]) <= 10
    assert (
        f"clip.webm \N{MIDDLE DOT} {SIZE[1]} {TIMES} {SIZE[0]} pixels"
        in browser.find_element("id", "facts").text
    )
    save_screenshot(browser, "film")
    artifact = artifacts.open_artifact(
        shipped.find(PICTURES) / "tflite" / f"{PICTURES}-float16.tflite"
    )
    # The one window that the page has: the frame is mirrored up to it.
    restorer = restorers.Restorer(dataclasses.replace(artifact, sizes=((256, 256),)))
    found = pairs(browser)
    assert found
    for before, after in found:
        assert_near(after, restorer.restore(before))
        assert np.abs(after.astype(int) - before).max() > 5


def test_a_state_is_kept_from_frame_to_frame(server, browser, tmp_path, moving):
    path = write(tmp_path / "clip.webm")
    open_page(browser, server, f"film.html?model={FILMS}")
    collect(browser)
    put_in(browser, path, slowly=True)
    before, after = zip(*pairs(browser))
    assert len(before) >= 3
    for received, expected in zip(after, streamed(moving, before)):
        assert_near(received, expected)
    alone = streamed(moving, before[-1:])[0]
    assert np.abs(after[-1].astype(int) - alone).max() > 2  # The state counts.


def test_windows_of_a_large_frame_share_one_state(server, browser, tmp_path, moving):
    # Each had its own: what is beyond a window's edge reached further inwards with every frame.
    path = write(tmp_path / "clip.webm", noisy(4, 126, 174))
    open_page(browser, server, f"film.html?model={FILMS}")
    collect(browser)
    put_in(browser, path, slowly=True)
    told = browser.find_element("id", "facts").text
    assert int(re.search(r"pixels \N{MIDDLE DOT} in (\d+) windows$", told).group(1)) >= 4
    before, after = zip(*pairs(browser))
    assert len(before) >= 2
    # Python lays its windows otherwise.
    for received, expected in zip(after, streamed(moving, before)):
        assert_near(received, expected)


@pytest.mark.parametrize("size", [SIZE, (126, 174)], ids=["one window", "several"])
def test_the_state_goes_along_with_a_camera_that_pans(server, browser, tmp_path, moving, size):
    path = write(tmp_path / "clip.webm", panned(6, *size, 5.3, 7.6))
    open_page(browser, server, f"film.html?model={FILMS}")
    collect(browser)
    put_in(browser, path, slowly=True)
    before, after = zip(*pairs(browser))
    assert len(before) >= 3
    for received, expected in zip(after, streamed(moving, before)):
        assert_near(received, expected)
    staying = list(StreamRestorer(moving, follow=False).restore(before))[-1]
    assert np.abs(after[-1].astype(int) - staying).max() > 2  # It counts.


def test_a_jump_begins_without_a_past(server, browser, tmp_path, moving):
    path = write(tmp_path / "clip.webm")
    open_page(browser, server, f"film.html?model={FILMS}")
    collect(browser)
    put_in(browser, path, slowly=True)
    played = len(pairs(browser))
    for frame in (7, 2):
        still(browser, frame)
    before, after = zip(*pairs(browser)[played:])
    source = [frame.pixels for frame in frames_of(path)]
    for number, received, shown in zip((7, 2), after, before):
        # It is the frame that was asked for.
        assert metrics.psnr_db(shown / 255, source[number] / 255) > 30
        assert_near(received, streamed(moving, [shown])[0])


def test_the_strength_moves_while_the_film_stands_still(server, browser, tmp_path, moving):
    path = write(tmp_path / "clip.webm", noisy(3))
    open_page(browser, server, f"film.html?model={FILMS}")
    collect(browser)
    put_in(browser, path)
    still(browser, 1)
    before, after = pairs(browser)[-1]
    for strength in (0, 0.5):
        browser.execute_script(
            "const s = document.getElementById('strength'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('input'))",
            strength,
        )
        wait_for(browser, f"return document.body.dataset.shown.endsWith(' {strength}')")
        mixed = pairs(browser)[-1][1]
        assert_near(mixed, next(iter(StreamRestorer(moving, strength=strength).restore([before]))))
    assert np.abs(after.astype(int) - before).max() > 5


def open_camera(browser):
    """Opens the camera, and has its frames restored small."""
    browser.find_element("id", "camera").click()
    # A whole frame takes hundreds of windows: it is given up.
    browser.find_element("css selector", "#detail [value='0.25']").click()
    collect(browser)
    wait_for(browser, "return window.pairs.length > 1")


def see_more(browser, count=3):
    """Waits until some further frames were restored."""
    now = len(pairs(browser))
    wait_for(browser, f"return window.pairs.length >= {now + count}")


def test_the_camera_is_restored_and_recorded(server, browser, saved, moving):
    open_page(browser, server, f"film.html?model={FILMS}")
    open_camera(browser)
    assert "frames/s" in browser.find_element("id", "rate").text
    assert (
        f"Camera \N{MIDDLE DOT} 640 {TIMES} 480 pixels" in browser.find_element("id", "facts").text
    )
    assert not browser.find_element("id", "seek").is_displayed()
    save_screenshot(browser, "camera")
    browser.find_element("id", "save").click()
    see_more(browser)
    path, said = saved(browser)
    assert said.startswith("Saved camera.webm: ")
    shape = {frame.pixels.shape for frame in frames_of(path)}
    assert shape == {(120, 160, 3)}
    found = pairs(browser)
    before, after = found[0]
    assert metrics.psnr_db(after / 255, streamed(moving, [before])[0] / 255) > 45
    # The camera goes off.
    browser.find_element("id", "close").click()
    assert browser.execute_script("return document.getElementById('film').srcObject") is None


# What ends a recording that nobody asked to be ended, and what the page says of itself then.
UNPLUG_JS = """
const [track] = document.getElementById("film").srcObject.getVideoTracks();
track.dispatchEvent(new Event("ended"));
"""
ENDS = {
    "the camera goes away": (
        lambda browser, film: browser.execute_script(UNPLUG_JS),
        "The camera went away.",
    ),
    "a film is dropped": (drop, "Move the line to compare."),
    "the camera is opened anew": (
        lambda browser, film: browser.find_element("id", "camera").click(),
        "Move the line to compare.",
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_recording_is_kept_whatever_ends_it(page, server, browser, tmp_path, end):
    # It was dropped in silence.
    film = write(tmp_path / "clip.webm", noisy(2))
    folder = saved_files(page.folder / "profile")
    shutil.rmtree(folder, ignore_errors=True)
    open_page(browser, server, f"film.html?model={FILMS}")
    open_camera(browser)
    browser.find_element("id", "save").click()
    assert asks_before_leaving(browser)
    see_more(browser)
    act, said = ENDS[end]
    act(browser, film)
    wait_for(browser, "return document.getElementById('kept').textContent")
    kept, link = text_of(browser, "kept").rsplit(" frames, VP9, without sound. ", 1)
    start, count = kept.rsplit(" ", 1)
    assert (start, link) == ("The recording was ended. Saved camera.webm:", "Save it again")
    wait_for(browser, f"return document.getElementById('status').textContent.startsWith('{said}')")
    assert not asks_before_leaving(browser)
    save_screenshot(browser, f"recording-{end.replace(' ', '-')}")
    # Whoever missed it takes it once more.
    wait_until_saved(folder / "camera.webm")
    shutil.rmtree(folder)
    browser.find_element("link text", link).click()
    wait_until_saved(folder / "camera.webm")
    assert len(list(frames_of(folder / "camera.webm"))) == int(count) >= 1


def wait_until_saved(path):
    """Waits until a file was saved whole."""
    deadline = time.monotonic() + 20
    while not (path.is_file() and path.stat().st_size):
        assert time.monotonic() < deadline, "nothing was saved"
        time.sleep(0.1)


# Ends a recording and begins another one while a frame is on its way.
AGAIN_JS = """
const button = document.getElementById("save");
document.getElementById("film").requestVideoFrameCallback(() => setTimeout(() => {
  button.click();
  button.click();
}, 20));
"""


def test_a_second_recording_leaves_the_first_one_alone(server, browser):
    # Begun before the first one was written, it took its place.
    open_page(browser, server, f"film.html?model={FILMS}")
    open_camera(browser)
    browser.find_element("id", "save").click()
    see_more(browser, 4)  # The first of them may have been on its way.
    browser.execute_script(AGAIN_JS)
    wait_for(browser, "return document.getElementById('kept').textContent")
    assert int(re.fullmatch(r"Saved camera\.webm: (\d+) frames, .*", status(browser))[1]) >= 3
    link = "document.querySelector('#kept a').href"
    first = browser.execute_script(f"return {link}")
    see_more(browser)
    browser.find_element("id", "save").click()
    wait_for(browser, f"return {link} !== '{first}'")
    assert status(browser).startswith("Saved camera.webm: ")


CONSTRAIN_JS = """
const [size, done] = arguments;
const [track] = document.getElementById("film").srcObject.getVideoTracks();
track.applyConstraints(size).then(() => done(""), (error) => done(error.message));
"""


def test_a_camera_that_is_turned_is_recorded_on(server, browser, saved):
    # What came after that was left out in silence.
    open_page(browser, server, f"film.html?model={FILMS}")
    open_camera(browser)
    browser.find_element("id", "save").click()
    see_more(browser)
    assert browser.execute_async_script(CONSTRAIN_JS, {"width": 320, "height": 480}) == ""
    wait_for(browser, "return document.getElementById('film').videoWidth === 320")
    see_more(browser)
    path, _ = saved(browser)
    first, *_, last = [frame.pixels for frame in frames_of(path)]
    assert first.shape == last.shape == (120, 160, 3)
    # Upright within the first ones' size, between black.
    assert first[:, :35].mean() > 40
    assert last[:, :35].max() < 40
    assert last[:, 45:115].mean() > 40


# --- What is saved.

KINDS = {
    "clip.webm": dict(sound="libopus"),
    "varying.webm": dict(codec="libvpx", ticks=VARYING, frames=noisy(len(VARYING)), options={}),
    "clip.mp4": dict(sound="aac", options={"bf": "2", "g": "5"}),
    "fragments.mp4": dict(muxer_options={"movflags": "frag_keyframe+empty_moov"}),
    "ntsc.mov": dict(rate=Fraction(30000, 1001)),
    "clip.mkv": dict(),
    "opus.mp4": dict(sound="libopus"),
    "lossless.mkv": dict(sound="flac"),
}
# What is told of sound that WebM does not hold.
ENCODED = {
    "aac": ", its sound (AAC) encoded anew as Opus",
    "flac": ", its sound (FLAC) encoded anew as Opus",
}


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_is_saved_at_its_time(server, browser, saved, tmp_path, moving, name):
    options = dict(KINDS[name])
    path = write(tmp_path / name, options.pop("frames", None), stream_fields=BT709, **options)
    open_page(browser, server, f"film.html?model={FILMS}")
    browser.find_element("id", "choose").send_keys(str(path))
    wait_for(browser, "return Boolean(document.body.dataset.shown)")
    film, said = saved(browser)
    source = [frame.pixels for frame in frames_of(path)]
    sound = ENCODED.get(options.get("sound"), "")
    assert said == f"Saved {path.stem}-restored.webm: {len(source)} frames, VP9{sound}."
    made = [frame.pixels for frame in frames_of(film)]
    assert len(made) == len(source)
    times = [float(stamp) for stamp in stamps(path)]
    # WebM counts in milliseconds.
    np.testing.assert_allclose(
        [float(stamp) for stamp in stamps(film)], np.subtract(times, min(0, times[0])), atol=0.0011
    )
    for received, expected in zip(made, streamed(moving, source)):
        assert metrics.psnr_db(received / 255, expected / 255) > 28
    if options.get("sound") == "libopus":
        assert packet_bytes(film) == packet_bytes(path)
    elif sound:
        given, received = (stamps(each, "audio") for each in (path, film))
        assert float(received[0]) == pytest.approx(float(given[0]), abs=0.03)
        assert float(received[-1]) == pytest.approx(float(given[-1]), abs=0.05)


def test_a_film_is_saved_after_a_pause_and_not_when_it_is_cancelled(
    server, browser, saved, tmp_path
):
    path = write(tmp_path / "clip.webm")
    open_page(browser, server, f"film.html?model={PICTURES}")
    browser.find_element("id", "choose").send_keys(str(path))
    wait_for(browser, "return Boolean(document.body.dataset.shown)")
    browser.find_element("id", "save").click()
    wait_for(browser, "return Number(document.body.dataset.progress) >= 1")
    browser.find_element("id", "wait").click()
    assert status(browser) == "Paused."
    assert browser.find_element("id", "wait").text == "Go on"
    browser.find_element("id", "cancel").click()
    assert status(browser) == "Cancelled: nothing was saved."
    browser.find_element("id", "save").click()
    browser.find_element("id", "wait").click()
    film, _ = saved(browser, "wait")
    assert len(list(frames_of(film))) == 10


def test_sounds_beside_the_first_one_are_not_left_out_in_silence(server, browser, saved, tmp_path):
    def second(film):
        return list(tone_packets(film.add_stream("libopus", 48000), 0.2))

    path = write(tmp_path / "two.webm", noisy(2), sound="libopus", prepare=second)
    open_page(browser, server, f"film.html?model={FILMS}")
    browser.find_element("id", "choose").send_keys(str(path))
    wait_for(browser, "return Boolean(document.body.dataset.shown)")
    film, said = saved(browser)
    assert said == "Saved two-restored.webm: 2 frames, VP9, one of its 2 sounds alone."
    with av.open(str(film)) as made:
        assert [stream.type for stream in made.streams] == ["video", "audio"]


def test_a_film_that_is_saved_is_not_given_up_for_another_one(server, browser, saved, tmp_path):
    # It was cancelled in silence, hours of work.
    path, other = (write(tmp_path / name) for name in ("clip.webm", "other.webm"))
    open_page(browser, server, f"film.html?model={PICTURES}")
    drop(browser, path)
    wait_for(browser, "return Boolean(document.body.dataset.shown)")
    assert not asks_before_leaving(browser)
    browser.find_element("id", "save").click()
    wait_for(browser, "return Number(document.body.dataset.progress) >= 1")
    browser.find_element("id", "wait").click()
    assert asks_before_leaving(browser)
    for act, refused in (
        (lambda: drop(browser, other), "other.webm was not opened"),
        (
            lambda: browser.find_element("id", "choose").send_keys(str(other)),
            "other.webm was not opened",
        ),
        (browser.find_element("id", "camera").click, "The camera was not opened"),
        (browser.find_element("id", "close").click, "The film stays open"),
    ):
        browser.execute_script("document.getElementById('note').textContent = ''")
        act()
        wait_for(browser, "return document.getElementById('note').textContent")
        assert text_of(browser, "note") == (
            f"{refused}, as clip.webm is being saved: wait for it, or cancel it first."
        )
        assert status(browser) == "Paused."
    save_screenshot(browser, "film-refused")
    film, _ = saved(browser, "wait")
    assert len(list(frames_of(film))) == 10
    assert text_of(browser, "note") == ""
    assert not asks_before_leaving(browser)
    # The second time the bar begins anew, where it stood at the end.
    progress = "const bar = document.getElementById('progress');"
    assert browser.execute_script(f"{progress} return bar.value") == 1
    begin = "document.getElementById('save').click();"
    assert browser.execute_script(f"{progress} {begin} return bar.value") == 0
    browser.find_element("id", "cancel").click()
    assert not asks_before_leaving(browser)


def test_a_phones_film_stands_upright(server, browser, saved, tmp_path, moving):
    frames = noisy(3, SIZE[1], SIZE[0])
    path = write(
        tmp_path / "phone.mp4", frames, stream_fields=[("display_matrix", QUARTER_TURN), *BT709]
    )
    upright = next(frames_of(path)).pixels
    assert upright.shape[:2] == SIZE
    open_page(browser, server, f"film.html?model={FILMS}")
    browser.find_element("id", "choose").send_keys(str(path))
    wait_for(browser, "return Boolean(document.body.dataset.shown)")
    film, _ = saved(browser)
    expected = streamed(moving, [upright])[0]
    assert metrics.psnr_db(next(frames_of(film)).pixels / 255, expected / 255) > 28


def test_the_shape_of_pixels_is_kept(server, browser, saved, tmp_path):
    shape = Fraction(5, 4)  # Of whole pixels once they are square.
    path = write(tmp_path / "wide.mp4", noisy(2), stream_fields=[("sample_aspect_ratio", shape)])
    open_page(browser, server, f"film.html?model={FILMS}")
    browser.find_element("id", "choose").send_keys(str(path))
    wait_for(browser, "return Boolean(document.body.dataset.shown)")
    film, _ = saved(browser)
    with av.open(str(film)) as made:
        (stream,) = made.streams
        assert stream.sample_aspect_ratio == shape
        assert (stream.height, stream.width) == SIZE


# --- What cannot be done.


def picture(path):
    Image.fromarray(noisy(1)[0]).save(path)


def sound_alone(path):
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libopus", 48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.float32), "flt", "mono")
        frame.sample_rate = 48000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            film.mux(packet)


BAD = {
    "text.mp4": (lambda path: path.write_text("no film"), "not a film that this browser can play"),
    "empty.webm": (lambda path: path.write_bytes(b""), "not a film that this browser can play"),
    "picture.png": (picture, "a picture, and this page restores films"),
    "sound.webm": (sound_alone, "has no moving pictures"),
    "old.avi": (
        lambda path: write_film(path, noisy(2), codec="mpeg4"),
        "not a film that this browser can play",
    ),
}


def test_what_is_no_film_is_told_and_the_page_goes_on(server, browser, tmp_path):
    open_page(browser, server, f"film.html?model={FILMS}")
    for name, (make, message) in BAD.items():
        make(tmp_path / name)
        browser.find_element("id", "choose").send_keys(str(tmp_path / name))
        wait_for(browser, "return document.getElementById('status').className === 'fault'")
        assert status(browser).startswith(f"{name}: ")
        assert message in status(browser)
        assert not browser.find_element("id", "view").is_displayed()
        browser.execute_script("document.getElementById('status').className = ''")
    put_in(browser, write(tmp_path / "clip.webm", noisy(2)))
    assert browser.find_element("id", "sheet").is_displayed()


def test_what_is_dropped_and_not_taken_is_named(server, browser, tmp_path):
    # All but the first file was left out in silence, and what is no file altogether.
    first = write(tmp_path / "first.webm", noisy(2))
    others = [shutil.copyfile(first, tmp_path / f"{n}.webm") for n in range(2)]
    text = tmp_path / "letter.txt"
    text.write_text("dear", encoding="utf-8")
    open_page(browser, server, f"film.html?model={FILMS}")

    def told():
        wait_for(browser, "return document.getElementById('note').textContent")
        said = text_of(browser, "note")
        browser.execute_script("document.getElementById('note').textContent = ''")
        return said

    def name():
        wait_for(browser, "return Boolean(document.body.dataset.shown)")
        return browser.find_element("id", "facts").text.split(" ")[0]

    drop(browser, text, first, *others)
    assert told() == (
        "One film is opened at a time. Left out: 0.webm and 1.webm."
        " Left out, as no film: letter.txt."
    )
    assert name() == "first.webm"
    save_screenshot(browser, "film-dropped")
    # Of a folder what is in it.
    folder = tmp_path / "folder" / "inner"
    folder.mkdir(parents=True)
    drop(browser, tmp_path / "folder")
    assert told() == "There is no file in that folder."
    shutil.copyfile(text, folder / "letter.txt")
    shutil.copyfile(first, folder / "inside.webm")
    drop(browser, tmp_path / "folder")
    assert told() == "Left out, as no film: folder/inner/letter.txt."
    wait_for(browser, "return document.getElementById('facts').textContent.startsWith('inside')")
    for number in range(4):
        shutil.copyfile(text, folder / f"{number}.txt")
    (folder / "inside.webm").unlink()
    drop(browser, tmp_path / "folder")
    said = told()
    assert said.startswith("There is no film among folder/inner/")
    assert said.endswith(".txt and 2 more.")
    # What is open stays open.
    assert name() == "inside.webm"
    drop(browser, text="a letter")
    assert told().startswith("What was dropped is no file, but text or an address: ")


def test_a_film_that_breaks_off_is_saved_as_far_as_it_goes(server, browser, saved, tmp_path):
    whole = write(tmp_path / "whole.webm")
    short = tmp_path / "short.webm"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 5])
    open_page(browser, server, f"film.html?model={FILMS}")
    browser.find_element("id", "choose").send_keys(str(short))
    wait_for(browser, "return Boolean(document.body.dataset.shown)")
    film, said = saved(browser)
    assert "as far as the file goes, which ends early" in said
    assert browser.find_element("id", "status").get_attribute("class") == "fault"
    assert 1 <= len(list(frames_of(film))) < 10


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("fail('NotAllowedError')", "The camera was not allowed: allow it for this page"),
        ("fail('NotFoundError')", "This device has no camera."),
        ("fail('NotReadableError')", "The camera cannot be read: does another program use it?"),
        ("put('mediaDevices', undefined)", "The camera needs a page that comes over HTTPS."),
    ],
)
def test_without_a_camera_it_says_why(server, browser, script, message):
    open_page(browser, server, f"film.html?model={FILMS}")
    browser.execute_script(
        "const put = (name, value) => Object.defineProperty(navigator, name, { value });"
        "const fail = (name) => { navigator.mediaDevices.getUserMedia ="
        f"  async () => {{ throw new DOMException('', name); }}; }}; {script}"
    )
    browser.find_element("id", "camera").click()
    wait_for(browser, "return document.getElementById('status').className === 'fault'")
    assert status(browser).startswith(message)
    assert not browser.find_element("id", "view").is_displayed()


def test_each_page_names_the_other_one(server, browser, tmp_path):
    path = write(tmp_path / "clip.webm", noisy(2))
    open_page(browser, server)
    models = browser.find_elements("css selector", "[name=model]")
    assert [model.get_attribute("value") for model in models] == [PICTURES]
    browser.find_element("id", "choose").send_keys(str(path))
    wait_for(browser, "return document.getElementById('note').className === 'fault'")
    assert text_of(browser, "note").startswith("Left out, as no picture: clip.webm. ")
    assert text_of(browser, "note").endswith(", above, restores films.")
    browser.find_element("link text", "Films and camera").click()
    wait_until_ready(browser)
    models = browser.find_elements("css selector", "[name=model]")
    assert [model.get_attribute("value") for model in models] == [PICTURES, FILMS]
    # The one that remembers frames comes first to mind.
    assert models[1].is_selected()


def test_a_model_of_films_alone_has_their_page_first(page, browser, tmp_path):
    facts = json.loads((page.folder / "alone" / "model.json").read_text())
    assert facts["models"][0]["state"] == {
        "channels": facts["models"][0]["state"]["channels"],
        "stride": 2,
        "start": 0.0,
        "latency_frames": 0,
    }
    path = write(tmp_path / "clip.webm", noisy(2))
    with serve(page.folder / "alone") as server:
        open_page(browser, server)
        assert not browser.find_element("id", "pages").is_displayed()
        put_in(browser, path)
        assert browser.find_element("id", "sheet").is_displayed()


# --- Everybody, everywhere.


def test_without_a_connection_films_go_on(server, browser, tmp_path, moving):
    path = write(tmp_path / "clip.webm", noisy(3))
    open_page(browser, server, f"film.html?model={FILMS}")
    put_in(browser, path)
    wait_until_kept(browser)
    assert is_kept(browser, f"{FILMS}-float32.tflite")
    server.shutdown()
    server.server_close()
    browser.refresh()
    wait_until_ready(browser)
    assert browser.execute_script("return self.crossOriginIsolated")
    collect(browser)
    put_in(browser, path)
    assert "threads" in browser.find_element("id", "how").get_attribute("textContent")
    before, after = pairs(browser)[0]
    assert_near(after, streamed(moving, [before])[0])


def test_everybody_gets_in(page, server, browser, tmp_path):
    path = write(tmp_path / "clip.webm", noisy(2))
    open_page(browser, server, f"film.html?model={FILMS}")
    assert faults_of_access(browser, page.axe) == []
    put_in(browser, path)
    browser.find_element("css selector", "footer summary").click()
    assert faults_of_access(browser, page.axe) == []
    with in_the_dark(browser):
        save_screenshot(browser, "film-dark")
        assert faults_of_access(browser, page.axe) == []
    with as_a_phone(browser):
        assert faults_of_access(browser, page.axe) == []


def test_the_keyboard_reaches_everything_and_shows_where_it_is(server, browser, tmp_path):
    from selenium.webdriver import Keys

    open_page(browser, server, f"film.html?model={FILMS}")
    put_in(browser, write(tmp_path / "clip.webm", noisy(2)))
    reached = tab_stops(browser)
    wanted = [
        "./",
        "film.html",
        "model",
        "choose",
        "camera",
        "fit",
        "actual",
        "smaller",
        "larger",
        "close",
    ]
    wanted += ["scroller", "slider", "play", "seek", "sound", "strength", "detail", "save"]
    assert [name for name in reached if name in wanted] == wanted
    # A key of the slider of places is a jump.
    shown = browser.execute_script("return document.body.dataset.shown")
    browser.find_element("id", "seek").send_keys(Keys.HOME)
    wait_for(browser, f"return document.body.dataset.shown !== '{shown}'")


def test_it_fits_a_phones_screen(server, browser, tmp_path):
    path = write(tmp_path / "clip.webm", noisy(2))
    with as_a_phone(browser):
        open_page(browser, server, f"film.html?model={FILMS}")
        save_screenshot(browser, "film-phone-empty")
        assert fits_in_width(browser)
        for selector in ("label[for=choose]", "#camera"):
            assert browser.find_element("css selector", selector).size["height"] >= 44
        put_in(browser, path)
        save_screenshot(browser, "film-phone")
        assert fits_in_width(browser)
        image = Image.open(io.BytesIO(browser.get_screenshot_as_png()))
        assert image.width == 2 * 390
