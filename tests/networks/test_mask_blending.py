"""Networks that fill in: known pixels come back untouched."""

import numpy as np
import pytest

from tf_deconv.networks.article import build_article
from tf_deconv.networks.mask_blending import keep_known


@pytest.fixture(scope="module")
def model():
    return keep_known(build_article(None, None, channels_in=4, channels_out=3))


def test_known_pixels_come_back_untouched_and_missing_ones_from_the_network(model, rng):
    image = rng.random((2, 12, 10, 4), np.float32)
    image[..., 3] = image[..., 3] > 0.5
    restored = np.asarray(model(image))
    plain = build_article(None, None, channels_in=4, channels_out=3)
    plain.set_weights(model.get_weights())
    filled = np.asarray(plain(image))
    known = image[..., 3] == 1
    np.testing.assert_array_equal(restored[known], image[..., :3][known])
    np.testing.assert_allclose(restored[~known], filled[~known], atol=1e-6)


def test_it_loads_where_this_project_is_not_installed(model, run_python, tmp_path):
    model.save(tmp_path / "model.keras")
    code = (
        "import sys; sys.modules['tf_deconv'] = None\n"
        "import keras; print(keras.models.load_model(sys.argv[1]).output_shape)"
    )
    assert run_python(code, tmp_path / "model.keras") == "(None, None, None, 3)"


def test_channel_counts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected one more in than out"):
        keep_known(build_article(None, None, channels_in=3, channels_out=3))
