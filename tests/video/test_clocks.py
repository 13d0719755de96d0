"""Films whose clock begins anew, as files that were joined byte by byte: one part after another."""

import itertools

import pytest

from tests.fixtures.films import make_frames, stamps, write_film
from tests.inference.test_films import restore
from tf_deconv.video import reading

av = pytest.importorskip("av")

CODECS = {
    ".ts": ("libx264", "aac", "mpegts", ".ts"),
    ".mpg": ("mpeg2video", "mp2", "vob", ".mkv"),
}


def joined(folder, suffix, parts=2):
    """Writes parts that each begin at the same time, as one file."""
    codec, sound, muxer, _ = CODECS[suffix]
    one = write_film(folder / f"one{suffix}", make_frames(25), codec, sound=sound, muxer=muxer)
    source = folder / f"in{suffix}"
    source.write_bytes(one.read_bytes() * parts)
    return one, source


@pytest.mark.parametrize("suffix", list(CODECS))
def test_parts_that_were_joined_follow_one_another(tmp_path, suffix):
    # Of a transport stream all frames of the second part were shown within a millisecond, and a
    # DVD's file was not restored at all.
    one, source = joined(tmp_path, suffix, 3)
    target = tmp_path / f"out{CODECS[suffix][3]}"
    told = restore(source, target)
    assert (told.frames, told.damage) == (75, None)
    assert told.notes == ("its clock begins anew 2 times: its parts follow one another now",)
    shown = stamps(target)
    steps = [float(later - earlier) for earlier, later in itertools.pairwise(shown)]
    assert steps == pytest.approx([0.04] * 74, abs=0.03)  # A part lasts as long as its sound.
    assert min(steps) > 0.03
    heard = stamps(target, "audio")
    assert heard == sorted(heard)
    assert len(heard) == 3 * len(stamps(one, "audio"))
    # Pictures and sound of each part are as far apart as in the part alone.
    of_part = len(heard) // 3
    apart = {round(float(shown[25 * n] - heard[of_part * n]), 2) for n in range(3)}
    assert len(apart) == 1


def test_a_time_in_a_later_part_is_found(tmp_path):
    _, source = joined(tmp_path, ".ts")
    found = list(reading.frames(source, start=1.5, duration=0.2))
    assert len(found) == 5
    assert float(found[0].time_s) == pytest.approx(1.5, abs=0.08)


def test_a_film_that_was_not_joined_has_one_clock(tmp_path):
    one, _ = joined(tmp_path, ".ts")
    with reading.open_film(one) as film:
        assert film.clock.jumps == ()
