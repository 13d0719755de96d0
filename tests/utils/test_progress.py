"""What a terminal shows of long work."""

import os
import sys

import pytest

from tf_deconv.training import callbacks
from tf_deconv.utils import progress


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (84, "1 min 24 s"),
        (3599.6, "1 h"),
        (2 * 3600 + 5 * 60 + 59, "2 h 5 min"),
        (86400, "1 d"),
        (3 * 86400 + 4 * 3600 + 59 * 60, "3 d 4 h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds, text):
    assert progress.duration_text(seconds) == text


def test_the_first_epoch_counts_only_while_it_is_alone():
    assert callbacks.epoch_duration_s([30.0]) == 30.0
    assert callbacks.epoch_duration_s([30.0, 10.0]) == 10.0
    assert callbacks.epoch_duration_s([30.0, 10.0, 12.0]) == 11.0


def test_a_machine_that_slows_is_followed():
    assert callbacks.epoch_duration_s([30.0, *[10.0] * 50, *[20.0] * 5]) == 20.0


def rows(*psnrs_db, first=1):
    return [
        {"epoch": number, "loss": 0.0061551, "val_psnr": psnr_db}
        for number, psnr_db in enumerate(psnrs_db, start=first)
    ]


def test_an_epoch_is_one_line_with_the_time_left_for_all():
    assert callbacks.epoch_line(rows(19.0, 20.794, 19.27), 10, [30.0, 11.0, 13.0]) == (
        "epoch  3/10  loss 0.00616  val_psnr 19.27 dB  best 20.79 (epoch 2)"
        "  12 s/epoch, 1 min 24 s left"
    )


def test_after_a_resume_only_what_is_left_counts():
    # Four epochs long ago, one in this process: five more of its length.
    line = callbacks.epoch_line(rows(20.0, 20.0, 20.0, 20.0, 21.0), 10, [60.0])
    assert line.endswith("best 21.00 (epoch 5)  1 min/epoch, 5 min left")


def test_after_the_last_epoch_no_time_is_left():
    line = callbacks.epoch_line(rows(20.0, 20.0), 2, [3.0, 1.25])
    assert line == "epoch 2/2  loss 0.00616  val_psnr 20.00 dB  best 20.00 (epoch 1)  1.2 s/epoch"


def test_a_terminal_sees_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    bar = progress.Bar()
    bar.draw("[1/1] x.png", 0.5)
    bar.clear()
    bar.clear()
    assert capsys.readouterr().out == (
        "\r\033[K[1/1] x.png ###############...............  50%\r\033[K"
    )


def test_a_bar_never_wraps(capsys, monkeypatch):
    # The second line of a wrapped bar would stay on the screen.
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda **how: os.terminal_size((40, 24)))
    progress.Bar().draw("[1/1] a picture with a long name.png", 0.5, "1 min left")
    assert len(capsys.readouterr().out) == len("\r\033[K") + 39


def test_a_file_sees_no_bar(capsys):
    bar = progress.Bar()
    bar.draw("[1/1] x.png", 0.5)
    bar.clear()
    assert capsys.readouterr().out == ""
