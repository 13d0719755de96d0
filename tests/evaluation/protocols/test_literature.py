"""The protocols against the figures that the literature prints.

Set5 and Set12 may not be passed on, so these tests run where the environment variables
TF_DECONV_SET5 and TF_DECONV_SET12 name folders that hold their pictures; BM3D needs the package
bm3d besides. What is compared with Pillow runs everywhere.
"""

import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_deconv.degradations import operators
from tf_deconv.evaluation.protocols import measure, published
from tf_deconv.evaluation.protocols.cases import make_case
from tf_deconv.images import arrays, reading

# Bicubic on Set5, as Kim et al. 2016 (VDSR) and most papers print it. SRCNN and those after it
# resize luminance; EDSR and those after it resize colour, and score luminance of the result.
BICUBIC_DB = published.FIGURES["sr"]["Set5"][0].psnr_db
BM3D_DB = published.FIGURES["awgn-grey"]["Set12"][0].psnr_db


def read_set(variable, count):
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{variable} does not name a folder with {count} pictures")
    pictures = [reading.read_rgb(path) for path in arrays.list_pictures(folder)]
    assert len(pictures) == count
    return pictures


@pytest.fixture(scope="module")
def set5():
    return read_set("TF_DECONV_SET5", 5)


@pytest.fixture(scope="module")
def set12():
    return read_set("TF_DECONV_SET12", 12)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3], ids=["luminance", "colour"])
def test_bicubic_on_set5_scores_what_the_literature_prints(set5, scale, channels):
    cases = [make_case("sr", picture, scale, channels) for picture in set5]
    mean = np.mean([case.psnr_db(case.baseline) for case in cases])
    assert mean == pytest.approx(BICUBIC_DB[scale], abs=0.02)


@pytest.mark.exhaustive
@pytest.mark.parametrize("sigma", [15, 25, 50])
def test_bm3d_on_set12_scores_what_the_literature_prints(set12, sigma):
    pytest.importorskip("bm3d")
    bm3d = measure.open_bm3d("awgn-grey")
    cases = [make_case("awgn-grey", picture, sigma, 1) for picture in set12]
    mean = np.mean([case.psnr_db(bm3d.restore(case, sigma, print)) for case in cases])
    assert mean == pytest.approx(BM3D_DB[sigma], abs=0.1)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("way", ["down", "up"])
def test_resampling_equals_pillow_away_from_the_edge(rng, scale, way):
    # Pillow's BICUBIC is the same kernel (a = -0.5), stretched when a picture becomes smaller; at
    # the edges it leaves out what lies beyond them, where we mirror.
    picture = rng.random((48, 36, 1), np.float32)
    resample = operators.downsample if way == "down" else operators.upsample
    resized = resample(tf.constant(picture), scale).numpy()[..., 0]
    expected = Image.fromarray(picture[..., 0]).resize(resized.T.shape, Image.Resampling.BICUBIC)
    edge = 2 if way == "down" else 2 * scale
    inner = (slice(edge, -edge), slice(edge, -edge))
    expected = np.clip(np.asarray(expected), 0, 1)
    np.testing.assert_allclose(resized[inner], expected[inner], atol=1e-5)
    assert np.abs(resized - expected).max() > 1e-3  # The edges do differ: nothing hides there.


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("way", ["down", "up"])
def test_resampling_mirrors_the_edge_as_matlab_does(rng, scale, way):
    # MATLAB's imresize repeats the edge pixel first ("symmetric"): what Pillow makes of a picture
    # that was padded so, less the padding, is the same at the edge as well.
    picture = rng.random((48, 36), np.float32)
    resample = operators.downsample if way == "down" else operators.upsample
    resized = resample(tf.constant(picture[..., np.newaxis]), scale).numpy()[..., 0]
    border = 4 * scale
    padded = np.pad(picture, border, mode="symmetric")
    factor = 1 / scale if way == "down" else scale
    sides = [round(side * factor) for side in reversed(padded.shape)]
    expected = np.asarray(Image.fromarray(padded).resize(sides, Image.Resampling.BICUBIC))
    cut = round(border * factor)
    expected = np.clip(expected[cut:-cut, cut:-cut], 0, 1)
    np.testing.assert_allclose(resized, expected, atol=1e-5)
