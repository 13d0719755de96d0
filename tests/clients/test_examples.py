"""The example clients, run where importing tf_deconv fails: nothing but what they say they need."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

# Stands for a machine where this project is not installed.
RUN_ALONE = """
import runpy, sys
sys.modules["tf_deconv"] = None
{forbidden}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_alone(repository, example, *arguments, forbidden=()):
    code = RUN_ALONE.format(forbidden="\n".join(f"sys.modules[{n!r}] = None" for n in forbidden))
    command = [sys.executable, "-c", code, str(repository / "examples" / example)]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def read(path):
    with Image.open(path) as image:
        return np.asarray(image, int)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A smooth picture of an odd size; (width, height) is (333, 271)."""
    path = tmp_path_factory.mktemp("examples") / "picture.png"
    x, y = np.meshgrid(np.linspace(0, 1, 333), np.linspace(0, 1, 271))
    pixels = np.stack([x, y, (x + y) / 2], -1)
    Image.fromarray((255 * pixels).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def served(repository, exported, picture):
    """What the service's example left: its process, and where its picture should be."""
    target = picture.with_name("served.png")
    model = exported.folder / "1"
    return run_alone(repository, "serve_python.py", model, picture, target), target


def test_the_service_example_restores_a_picture_with_tensorflow_alone(served):
    done, target = served
    assert done.returncode == 0, done.stderr
    assert read(target).shape == (271, 333, 3)


def test_the_service_example_tells_why_a_file_was_refused(repository, exported, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    arguments = (exported.folder / "1", tmp_path / "bad.png", tmp_path / "out.png")
    done = run_alone(repository, "serve_python.py", *arguments)
    assert done.returncode == 1
    assert "neither PNG nor JPEG" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("variant", ["float32", "float16", "int8"])
def test_the_phone_example_restores_a_picture_without_tensorflow(
    repository, exported, picture, tmp_path, variant
):
    done = run_alone(
        repository,
        "run_tflite.py",
        exported.tflite(variant),
        picture,
        tmp_path / "out.png",
        forbidden=("tensorflow", "keras"),
    )
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "out.png").shape == (271, 333, 3)


def test_the_phone_example_takes_its_overlap_from_the_manifest(
    repository, exported, picture, tmp_path
):
    def restore(folder):
        model = folder / "tflite" / exported.tflite("float32").name
        done = run_alone(repository, "run_tflite.py", model, picture, tmp_path / "out.png")
        return done.stderr.strip(), (read(tmp_path / "out.png") if not done.returncode else None)

    error, expected = restore(exported.folder)
    assert expected is not None, error
    (tmp_path / "tflite").symlink_to(exported.folder / "tflite")
    # As far as the network sees, less than the 16 pixels that stand in for it, and too far.
    for overlap, fits in ((6, True), (None, True), (128, False), ("null", False)):
        manifest = tmp_path / "manifest.json"
        manifest.unlink(missing_ok=True)
        if overlap is not None:
            manifest.write_text(f'{{"tile_overlap": {overlap}}}')
        error, restored = restore(tmp_path)
        if fits:
            np.testing.assert_allclose(restored[16:-16, 16:-16], expected[16:-16, 16:-16], atol=1)
        else:
            assert error.endswith(
                "the network sees too far for tiles of (256, 256): give it a picture of that size"
            )


def test_both_examples_give_the_same_picture(repository, exported, served, picture, tmp_path):
    target, model = tmp_path / "phone.png", exported.tflite("float32")
    run_alone(repository, "run_tflite.py", model, picture, target)
    # Compared away from the border, where the tiles' mirror differs from the whole picture's zeros.
    pictures = [read(path)[16:-16, 16:-16] for path in (served[1], target)]
    # Pillow rounds luminance to 256 levels, the service does not.
    assert np.abs(pictures[0] - pictures[1]).max() <= 3
