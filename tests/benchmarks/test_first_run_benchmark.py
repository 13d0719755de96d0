"""`benchmarks/first_run.py`: what its columns say of pictures whose answer is known."""

import runpy

import numpy as np
import pytest

from tf_deconv.degradations.tasks import find_task

TASK = find_task("old-photo", "noise:0.001")


@pytest.fixture(scope="module")
def program(request):
    return runpy.run_path(str(request.config.rootpath / "benchmarks" / "first_run.py"))


def test_a_grey_answer_has_no_colour_and_the_error_of_grey(program, rng):
    pictures = [rng.integers(60, 200, (20, 24, 3), np.uint8) for _ in range(2)]
    result = program["score"](lambda grey: np.repeat(grey, 3, axis=-1), pictures, TASK)
    assert result["loudness"] == pytest.approx(0, abs=1e-6)
    assert result["error"] == pytest.approx(result["grey"], rel=1e-6)
    assert result["after"] == pytest.approx(result["before"], abs=1e-3)


def test_twice_the_colours_are_twice_as_loud_and_as_wrong_as_grey(program):
    picture = np.full((20, 24, 3), 128, np.uint8)
    picture[:, :12] += np.array([30, 0, 0], np.uint8)

    def louder(grey):
        clean = picture / 255
        luminance = clean @ np.array([0.299, 0.587, 0.114])
        return luminance[..., None] + 2 * (clean - luminance[..., None])

    result = program["score"](louder, [picture], TASK)
    assert result["loudness"] == pytest.approx(2, rel=1e-5)
    assert result["error"] == pytest.approx(result["grey"], rel=1e-5)
