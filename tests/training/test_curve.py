"""The learning curve: what is on it, whatever the training was like."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tf_deconv.training import curve
from tf_deconv.training.monitor import PSNR


def make_rows(count, loss=0.02):
    return [
        {
            "epoch": number + 1,
            "loss": loss / (number + 1),
            "val_loss": 1.2 * loss / (number + 1),
            "val_psnr": 20.0 + number % 5,
            "learning_rate": 3e-3 * (1 - (number + 1) / count),
        }
        for number in range(count)
    ]


def decode(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("count", [1, 2, 200])
def test_a_curve_is_a_picture_of_known_size(count):
    pixels = decode(curve.draw_curve(make_rows(count), 15.0))
    assert pixels.shape == (1000, 750, 3)
    # Its edges are paper: no label runs out of it.
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert np.all(edge == 255)


def test_a_curve_is_the_same_each_time():
    assert curve.draw_curve(make_rows(3), 15.0) == curve.draw_curve(make_rows(3), 15.0)


def test_each_figure_shows_on_the_curve():
    before = decode(curve.draw_curve(make_rows(6), 15.0))
    for name in ("loss", "val_loss", "val_psnr", "learning_rate"):
        rows = make_rows(6)
        rows[3][name] *= 0.5
        assert np.any(decode(curve.draw_curve(rows, 15.0)) != before), name
    assert np.any(decode(curve.draw_curve(make_rows(6), None)) != before)


def test_the_best_epoch_is_the_first_of_the_highest_psnr():
    # Only a higher PSNR replaces the model, so the star stands at the first of equal ones.
    rows = make_rows(4)
    for row, value in zip(rows, (20.0, 22.0, 22.0, 21.0)):
        row["val_psnr"] = value
    assert PSNR.best(rows)["epoch"] == 2


@pytest.mark.parametrize("loss", [0.0, 1e-9, 0.5, 1e6])
def test_a_loss_of_any_size_is_drawn(loss):
    assert decode(curve.draw_curve(make_rows(5, loss=loss))).shape == (1000, 750, 3)


def test_rows_of_an_older_version_have_no_learning_rate():
    rows = make_rows(4)
    for row in rows[:2]:
        del row["learning_rate"]
    assert decode(curve.draw_curve(rows)).shape == (1000, 750, 3)
    for row in rows[2:]:
        del row["learning_rate"]
    assert decode(curve.draw_curve(rows)).shape == (1000, 750, 3)


def test_no_epoch_is_refused():
    with pytest.raises(ValueError, match="at least one row"):
        curve.draw_curve([])


def test_settings_of_a_user_neither_show_nor_change():
    import matplotlib

    expected = curve.draw_curve(make_rows(3))
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        assert curve.draw_curve(make_rows(3)) == expected
        assert matplotlib.rcParams["font.size"] == 30


def test_matplotlib_is_loaded_only_to_draw_and_pyplot_never():
    code = (
        "import sys; import tf_deconv, tf_deconv.training.curve\n"
        "assert 'matplotlib' not in sys.modules\n"
        "row = dict(epoch=1, loss=1, val_loss=1, val_psnr=1, learning_rate=1)\n"
        "tf_deconv.training.curve.draw_curve([row])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
