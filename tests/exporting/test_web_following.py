"""The film page's following.js finds and moves what `tf_deconv.inference.following` does."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from tf_deconv.inference.following import Follower, Motion, follow

pytestmark = pytest.mark.clients

PAN_JS = """
const { height, width, frames } = given;
const follower = new Follower();
const found = frames.map((rgb) => {
  const data = Uint8ClampedArray.from({ length: height * width * 4 }, (_, i) =>
    i % 4 === 3 ? 255 : rgb[3 * Math.floor(i / 4) + (i % 4)]);
  const { down, right, gain, still } = follower.to({ data, width, height });
  return [down, right, gain, ...(still ? [still.high, still.wide, ...still.values] : [0, 0])];
});
"""
FOLLOW_JS = """
const { state, shape, motion, channels } = given;
const into = new Float32Array(state.length).fill(7);
follow(Float32Array.from(state), shape, motion, channels, into);
const found = [...into];
"""


@pytest.fixture
def run_javascript(repository, tmp_path):
    """Runs code on `given`; returns what it `found`."""
    # No failure where clients are required: browsers run it, and no document asks for node.
    if not shutil.which("node"):
        pytest.skip("not installed: node")
    module = repository / "tf_deconv" / "exporting" / "web" / "film" / "following.js"

    def run(code, given):
        path = tmp_path / "given.json"
        path.write_text(json.dumps(given))
        code = (
            f"import {{ Follower, follow }} from {module.as_uri()!r};\n"
            "import fs from 'node:fs';\n"
            f"const given = JSON.parse(fs.readFileSync({str(path)!r}, 'utf8'));\n"
            f"{code}\nconsole.log(JSON.stringify(found));"
        )
        command = ["node", "--input-type=module", "-e", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def picture(height, width, down_px=0.0, right_px=0.0, noise=0.0, seed=0):
    """A frame of smooth waves in all directions, moved, with noise of its own; uint8."""
    random = np.random.default_rng(1)
    rows, columns = np.mgrid[:height, :width].astype(float)
    rows, columns = rows - down_px, columns - right_px
    frame = np.full((height, width, 3), 128.0)
    for frequency in np.geomspace(0.02, 0.6, 30):
        turn, phase = random.uniform(0, 2 * np.pi, 2)
        wave = np.sin(frequency * (np.cos(turn) * rows + np.sin(turn) * columns) + phase)
        frame += 40 * (0.02 / frequency) ** 0.7 * wave[..., None] * random.uniform(0.3, 1, 3)
    frame += np.random.default_rng(seed).normal(0, noise, frame.shape)
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8)


def titled(frame):
    frame[90:100, 40:120:4] = 255
    return frame


# Pairs of frames, and how far the second one has moved.
PAIRS = {
    "panned": (picture(120, 160), picture(120, 160, 5.3, -7.6), (5.3, -7.6)),
    "less than a pixel": (picture(126, 175), picture(126, 175, 0.4, 0.3), (0.4, 0.3)),
    "panned and noisy": (
        picture(180, 320, noise=25, seed=1),
        picture(180, 320, -9.1, 23.7, noise=25, seed=2),
        (-9.1, 23.7),
    ),
    "longer than the most cells": (picture(40, 1100), picture(40, 1100, 2.2, 9.0), (2.2, 9.0)),
    "still": (picture(120, 160), picture(120, 160), (0, 0)),
    "still and noisy": (
        picture(120, 160, noise=25, seed=1),
        picture(120, 160, noise=25, seed=2),
        (0, 0),
    ),
    "blank": (np.full((64, 96, 3), 90, np.uint8), np.full((64, 96, 3), 97, np.uint8), (0, 0)),
    "lighter": (picture(120, 160), np.uint8(0.8 * picture(120, 160, 0.6, -1.7)), (0.6, -1.7)),
    "halves that go different ways": (
        np.concatenate([picture(60, 160), picture(60, 160, 9, 9)]),
        np.concatenate([picture(60, 160), picture(60, 160, 12, 4)]),
        (0, 0),
    ),
    "a title before a pan": (
        titled(picture(120, 160)),
        titled(picture(120, 160, 0.7, 2.4)),
        (0.7, 2.4),
    ),
    "lines": (
        picture(120, 160)[:1].repeat(120, 0),
        np.roll(picture(120, 160), 9, 1)[:1].repeat(120, 0),
        (0, 0),
    ),
    "too small": (picture(15, 40), picture(15, 40, 4, 4), (0, 0)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_javascript_finds_how_far_the_picture_has_moved_as_python_does(run_javascript, name):
    *frames, moved = PAIRS[name]
    follower = Follower()
    _, expected = [follower.to(frame) for frame in frames]
    np.testing.assert_allclose((expected.down_px, expected.right_px), moved, atol=0.5)
    height, width = frames[0].shape[:2]
    given = {"height": height, "width": width, "frames": [f.ravel().tolist() for f in frames]}
    found = run_javascript(PAN_JS, given)[1]
    numbers, size, still = found[:3], found[3:5], found[5:]
    told = (expected.down_px, expected.right_px, expected.gain)
    np.testing.assert_allclose(numbers, told, rtol=0, atol=1e-6)
    if expected.still is None:
        assert not any(size)
    else:
        np.testing.assert_array_equal(np.reshape(still, np.int64(size)), expected.still)


@pytest.mark.parametrize(("channels", "gain"), [(1, 1.0), (3, 1.07)])
@pytest.mark.parametrize("by", [(5.3, -7.6), (-1.0, 1.0), (0.0, 2.4), (-3.7, 0.0), (90.0, 0.2)])
def test_javascript_moves_a_state_as_python_does(run_javascript, by, channels, gain):
    state = np.random.default_rng(2).random((12, 18, 1 + 4 * channels + 5), np.float32)
    state[:5, :7, 0] = 0  # Where there is no past.
    expected = np.empty_like(state)
    still = np.random.default_rng(3).random((11, 20)) > 0.8 if gain != 1 else None
    follow(state, Motion(*by, gain, still), channels, expected)
    motion = {"down": by[0], "right": by[1], "gain": gain, "still": None}
    if still is not None:
        motion["still"] = {"high": 11, "wide": 20, "values": np.int64(still).ravel().tolist()}
    given = {"state": state.ravel().tolist(), "shape": state.shape, "motion": motion}
    given["channels"] = channels
    found = np.reshape(run_javascript(FOLLOW_JS, given), state.shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
