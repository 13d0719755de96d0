"""The shipped models look right: no colour shift, no grid, no seams; every file is whole."""

import json

import numpy as np
import pytest

import tf_deconv
from tf_deconv.data import patches
from tf_deconv.degradations import baseline
from tf_deconv.degradations.tasks import find_task
from tf_deconv.images import arrays, metrics
from tf_deconv.inference import shipped

NAMES = sorted(name for name in shipped.available() if not shipped.MODELS[name].moves)
# What each must gain on photographs that nobody trained on, in dB: a broken one gains far less.
GAINS_DB = {
    "denoise-grey": 7.0,
    "denoise-color": 8.0,
    "denoise-color-small": 7.5,
    "super-resolve-x2": 1.0,
    "super-resolve-x4": 0.5,
    "deblock": 0.8,
    "photo": 5.0,
    "photo-small": 4.5,
    "photo-x2": 0.5,
}
LEVELS = {
    "photo": "noise:15 jpeg:85",
    "photo-small": "noise:15 jpeg:85",
    "photo-x2": "jpeg:75",
    "denoise": "awgn:25",
    "denoise-grey": "awgn:25",
    "deblock": "jpeg:10",
}
# How many dB each may lie behind `denoise-grey` on grey noise.
GREY_BEHIND_DB = {
    "denoise-color": 0.3,
    "denoise-color-small": 0.7,
    "photo": 0.8,
    "photo-small": 1.2,
}
GREY_LEVEL = 1 / 255
WINDOW_MEAN = 0.25  # Hann's, of rows and columns.

pytestmark = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def models():
    return {name: tf_deconv.load(name) for name in NAMES}


@pytest.fixture(scope="module")
def cases(unseen):
    """Name to pairs (degraded, clean) of the middle of two photographs."""
    made = {}
    for name in NAMES:
        task = task_of(name)
        middles = [arrays.middle(unseen[photo], (256, 256)) for photo in ("chelsea", "coffee")]
        made[name] = [
            patches.degrade_picture(np.ascontiguousarray(middle), task, seed)
            for seed, middle in enumerate(middles)
        ]
    return made


def manifest_of(name):
    return json.loads((shipped.find(name) / "manifest.json").read_text())


def task_of(name):
    task = manifest_of(name)["training"]["task"]
    return find_task(task, LEVELS.get(name, LEVELS.get(task)))


def test_it_makes_pictures_better(name, models, cases):
    gains = []
    for degraded, clean in cases[name]:
        before = baseline.do_nothing(degraded, task_of(name))
        gains.append(
            metrics.psnr_db(np.clip(models[name](degraded), 0, 1), clean)
            - metrics.psnr_db(np.clip(before, 0, 1), clean)
        )
    assert np.mean(gains) >= GAINS_DB[name]


def test_grey_noise_is_taken_off_as_by_the_model_for_grey(name, models, unseen):
    # Of a grey picture the noise is alike in all colours. The models for Gaussian noise of colour
    # once had seen none such, and left nearly all of it.
    if name not in ("denoise-color", "denoise-color-small", "photo", "photo-small"):
        pytest.skip("another task")
    task, behind = find_task("denoise-grey", "noise:20"), []
    for seed, photo in enumerate(("chelsea", "coffee")):
        middle = np.ascontiguousarray(arrays.middle(unseen[photo], (256, 256)))
        degraded, clean = patches.degrade_picture(middle, task, seed)
        own = models[name](np.repeat(degraded, 3, -1))[..., :1]
        behind.append(metrics.psnr_db(models["denoise-grey"](degraded), clean))
        behind[-1] -= metrics.psnr_db(np.clip(own, 0, 1), clean)
    assert max(behind) < GREY_BEHIND_DB[name]


def test_it_keeps_the_mean_colour(name, models, cases, request):
    if name in ("photo", "photo-small"):
        # Red of `coffee` ends 0.9 and 1.6 grey levels below the clean picture's: docs/models.md.
        request.applymarker(pytest.mark.xfail(strict=True, reason="0.9 grey levels of red"))
    shifts = []
    for degraded, clean in cases[name]:
        # Noise that a file clips makes dark places brighter, blue by 1.6 grey levels here, and JPEG
        # makes blue of `coffee` brighter by 0.9; undoing that is right.
        before = {"photo": [clean], "photo-small": [clean], "deblock": [degraded, clean]}
        ends = [end.mean((0, 1)) for end in before.get(name, [degraded])]
        mean = models[name](degraded).mean((0, 1))
        shifts.append(mean - np.clip(mean, np.min(ends, 0), np.max(ends, 0)))
    assert np.abs(shifts).max() <= 0.5 * GREY_LEVEL
    if name == "deblock":
        # What all pictures share is a tint: green once had 0.36 grey levels.
        assert np.abs(np.mean(shifts, 0)).max() <= 0.25 * GREY_LEVEL


def test_it_leaves_no_grid(name, models, cases):
    # What alternates from pixel to pixel, or in squares of 4x4, is where the uneven overlap of a
    # transposed convolution shows: there the error must not be above that of the input, or else be
    # less than rounding to 8 bits hides. (An enlarged input has next to nothing there.)
    errors = [error_spectrum(models[name](degraded), clean) for degraded, clean in cases[name]]
    allowed = [
        error_spectrum(baseline.do_nothing(degraded, task_of(name)), clean)
        for degraded, clean in cases[name]
    ]
    for period in (2, 4):
        hidden = (0.5 * GREY_LEVEL * WINDOW_MEAN) ** 2
        assert at_grid(sum(errors), period, 0) <= max(at_grid(sum(allowed), period, 8), hidden)


def error_spectrum(image, clean):
    """Returns the power of what is wrong at each frequency, (H, W)."""
    # Without a window what ends at the border has all frequencies.
    window = np.outer(*map(np.hanning, clean.shape[:2]))[..., np.newaxis]
    spectrum = np.fft.fft2((image - clean) * window, axes=(0, 1)) / np.prod(clean.shape[:2])
    return (np.abs(spectrum) ** 2).mean(-1)


def at_grid(power, period, around):
    """Returns the power at 1 / `period` along rows, columns and both; the mean of some around."""
    row, column = (size // period for size in power.shape)
    offsets = np.arange(-around, around + 1)
    places = [(row, 0), (0, column), (row, column)]
    return sum(
        power[np.ix_((y + offsets) % power.shape[0], (x + offsets) % power.shape[1])].mean()
        for y, x in places
    )


def test_a_grey_picture_stays_exactly_grey(name, models, cases):
    (degraded, _), *_ = cases[name]
    if degraded.shape[-1] == 1:
        pytest.skip("a grey model")
    grey = arrays.to_uint8(arrays.luminance(degraded)[:64, :64])
    for stored in (grey, grey.repeat(3, -1)):
        restored = models[name](stored)
        np.testing.assert_array_equal(restored, restored[..., :1].repeat(3, -1))


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
def test_a_flat_picture_stays_flat(name, level, models):
    channels = manifest_of(name)["channels_in"]
    restored = models[name](np.full((96, 96, channels), level, np.float32))
    # Up to the edge, which is mirrored.
    assert np.abs(restored - level).max() <= 0.5 * GREY_LEVEL


def test_tiles_leave_no_seam(name, cases):
    (degraded, _), *_ = cases[name]
    whole = tf_deconv.load(name)(degraded)
    tiled = tf_deconv.load(name, tile_size=160)(degraded)
    assert np.abs(whole - tiled).max() <= 0.01 * GREY_LEVEL


def test_every_file_gives_the_same_picture(name, cases, models):
    manifest, folder = manifest_of(name), shipped.find(name)
    assert manifest["license"].startswith("of the weights: CC0-1.0")
    files = {entry["file"]: entry for entry in manifest["files"]}
    kinds = {"float32": 100.0, "float16": 80.0, "int8": 40.0}
    assert set(files) == {"1/", *(f"tflite/{name}-{kind}.tflite" for kind in kinds)}
    (degraded, _), *_ = cases[name]
    expected = models[name](degraded)
    for kind, floor_db in kinds.items():
        file = tf_deconv.load(folder / "tflite" / f"{name}-{kind}.tflite")
        assert metrics.psnr_db(file(degraded), expected) >= floor_db
    # What int8 loses of the task's PSNR on held-out pictures.
    assert files[f"tflite/{name}-int8.tflite"]["task_loss_db"] <= 0.1
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size < 10e6
