"""Films whose parts do not follow one another: FFmpeg's demuxers pass over it without a word."""

import numpy as np
import pytest

from tests.fixtures.films import make_frames, write_film
from tests.inference.test_films import restore
from tf_deconv.video import layouts, reading, wholeness

av = pytest.importorskip("av")

FILMS = {
    ".flv": dict(codec="flv", sound=None, muxer="flv"),
    ".mpg": dict(codec="mpeg2video", sound="mp2", muxer="mpeg"),
    ".vob": dict(codec="mpeg2video", sound="mp2", muxer="vob"),
    ".wmv": dict(codec="wmv2", muxer="asf"),
    ".mp4": dict(
        codec="mpeg4", sound="aac", muxer_options={"movflags": "frag_keyframe+empty_moov"}
    ),
}
WRITTEN_AS = {".flv": ".mp4", ".mpg": ".mkv", ".vob": ".mkv"}


def film(folder, suffix):
    options = {"g": "10"}
    frames = np.random.default_rng(0).integers(0, 256, (50, 48, 64, 3), np.uint8)
    frames = (frames // 8 + make_frames(50) // 2).astype(np.uint8)
    return write_film(folder / f"in{suffix}", frames, options=options, **FILMS[suffix])


def damage_of(source):
    suffix = WRITTEN_AS.get(source.suffix, source.suffix)
    return restore(source, source.with_name(f"out{suffix}")).damage


@pytest.mark.parametrize("suffix", list(FILMS))
def test_a_whole_film_is_found_whole(tmp_path, suffix):
    assert damage_of(film(tmp_path, suffix)) is None


@pytest.mark.parametrize("suffix", list(FILMS))
def test_a_film_that_is_cut_off_is_told(tmp_path, suffix):
    source = film(tmp_path, suffix)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) * 6 // 10 + 1])
    assert "it breaks off at" in damage_of(source)


@pytest.mark.parametrize("suffix", [".flv", ".mpg", ".vob", ".wmv"])
def test_damage_in_the_middle_of_a_film_is_told(tmp_path, suffix):
    source = film(tmp_path, suffix)
    content = bytearray(source.read_bytes())
    at = len(content) // 2
    content[at : at + 7000] = np.random.default_rng(1).bytes(7000)
    source.write_bytes(content)
    # Of Flash the demuxer does not go on behind it.
    expected = "it breaks off at" if suffix == ".flv" else "it is damaged at byte"
    assert expected in damage_of(source)


def page(serial, number, flags, body, checksum=None):
    """Returns a page of Ogg."""
    parts = [255] * (len(body) // 255) + [len(body) % 255]
    head = b"OggS\0" + bytes([flags]) + bytes(8) + serial + number.to_bytes(4, "little")
    tail = bytes([len(parts)]) + bytes(parts) + body
    value = layouts._checksum(head + bytes(4) + tail) if checksum is None else checksum
    return head + value.to_bytes(4, "little") + tail


@pytest.mark.parametrize(
    ("pages", "at"),
    [
        ([(0, 2, b"a" * 300), (1, 0, b"b" * 700), (2, 4, b"c")], None),
        ([(0, 2, b"a" * 300), (1, 0, b"b" * 700)], (1059, True)),  # No end.
        ([(0, 2, b"a" * 300), (2, 4, b"c")], (329, False)),  # One is missing.
        ([(0, 2, b"a" * 300), (1, 4, b"c", 7)], (329, False)),  # A wrong checksum.
    ],
)
def test_pages_of_ogg_are_counted_and_summed_up(tmp_path, pages, at):
    path = tmp_path / "x.ogv"
    path.write_bytes(b"".join(page(b"0001", number, *rest) for number, *rest in pages))
    with open(path, "rb") as stream:
        found = layouts.fault_of_ogg(stream)
    assert found == at


def test_the_checksum_is_that_of_the_standard():
    # Worked out bit by bit: the polynomial 0x04c11db7, from the highest bit on, begun with zeros.
    def slowly(data):
        value = 0
        for byte in data:
            value ^= byte << 24
            for _ in range(8):
                value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
        return value

    for data in (b"", b"OggS", bytes(range(256))):
        assert layouts._checksum(data) == slowly(data)


def test_what_follows_a_film_is_no_damage(tmp_path):
    for suffix in (".mp4", ".wmv", ".vob", ".flv"):
        source = film(tmp_path, suffix)
        with open(source, "ab") as stream:
            stream.write(bytes(5000))
        with reading.open_film(source) as opened:
            assert wholeness.fault_of(source, opened, None) is None, suffix
