"""Films that are not whole, or not to be decoded: what is missing is said, by what it is."""

import re
import struct

import numpy as np
import pytest

from tests.fixtures.commands import call, refuses
from tests.fixtures.films import make_frames, tone_packets, write_film
from tests.inference import test_films
from tf_deconv.inference import film_sinks
from tf_deconv.utils.options import UserError
from tf_deconv.video import reading, wholeness
from tf_deconv.video.containers import CONTAINERS

av = pytest.importorskip("av")

KEY = "00112233445566778899aabbccddeeff"
CODECS = {
    ".mp4": ("libx264", "yuv420p", "aac"),
    ".mkv": ("libx264", "yuv420p", "aac"),
    ".webm": ("libvpx-vp9", "yuv420p", "libopus"),
    ".avi": ("mpeg4", "yuv420p", "libmp3lame"),
    ".ts": ("libx264", "yuv420p", "aac"),
}


def film(path, count=40, sound=True, **options):
    codec, pixel_format, tone = CODECS[path.suffix]
    return write_film(
        path,
        make_frames(count),
        codec,
        pixel_format,
        sound=tone if sound else None,
        options={"g": "10"},
        **options,
    )


def restore(capsys, source, *options):
    """Restores with the command; returns its exit code and all that it said."""
    target = source.parent / "out"
    code, out, err = call(capsys, "restore", "photo-small", source, "--out", target, *options)
    return code, out + err


# --- What is not decoded at all.


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_an_encrypted_film_is_named_as_such(capsys, tmp_path, suffix):
    source = tmp_path / f"in{suffix}"
    scheme = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": KEY, "encryption_kid": KEY}
    write_film(source, make_frames(4), sound="aac", muxer_options=scheme)
    line = refuses(capsys, "restore", "photo-small", source, "--out", tmp_path / "out")
    assert "is encrypted (DRM): expected a film that plays without a key" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("suffix", "known", "unknown", "name"),
    [
        (".mp4", b"avc1", b"qqqq", "qqqq"),
        (".avi", b"FMP4", b"QQQQ", "QQQQ"),
        (".mkv", b"V_MPEG4/ISO/AVC", b"V_QQQQQ/ISO/AVC", "V_QQQQQ/ISO/AVC"),
        (".webm", b"V_VP9", b"V_QQ9", "V_QQ9"),
    ],
)
def test_a_codec_that_nothing_decodes_is_named(capsys, tmp_path, suffix, known, unknown, name):
    source = film(tmp_path / f"in{suffix}", 4)
    content = source.read_bytes()
    assert known in content
    source.write_bytes(content.replace(known, unknown))
    line = refuses(capsys, "restore", "photo-small", source, "--out", tmp_path / "out")
    assert f"in the codec {name}, which FFmpeg's libraries do not decode here" in line
    assert "convert it to H.264 first" in line


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_the_name_of_a_known_codec_is_found_where_there_is_sound_too(tmp_path, suffix):
    # Each of them names its sound's codec in the same form.
    names = {".mp4": ("MP4", "avc1"), ".avi": ("AVI", "FMP4"), ".mkv": ("Matroska", "V_MPEG4")}
    container, name = names[suffix]
    path = film(tmp_path / f"x{suffix}", 4)
    assert wholeness.codec_name(path, CONTAINERS[container]).startswith(name)


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_a_film_without_a_frame_is_told(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    with av.open(str(path), "w") as out:
        out.add_stream("mpeg4", 25, width=64, height=48).pix_fmt = "yuv420p"
        out.start_encoding()
    with pytest.raises(UserError, match=r"without any frame|has no moving pictures"):
        list(reading.frames(path))


# --- What is damaged or cut off.


@pytest.mark.parametrize("suffix", list(CODECS))
def test_a_whole_film_is_found_whole(capsys, tmp_path, suffix):
    code, said = restore(capsys, film(tmp_path / f"in{suffix}"))
    assert code == 0
    assert "DAMAGED" not in said


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", ".ts"])
def test_frames_that_a_demuxer_leaves_out_are_told(capsys, tmp_path, suffix):
    # Of WebM 11 of 60 frames were left out so, and the command ended with 0.
    source = film(tmp_path / f"in{suffix}", sound=False)
    content = bytearray(source.read_bytes())
    at = len(content) // 2
    if suffix == ".avi":  # Within a frame a decoder conceals damage, and says nothing.
        at = content.index(b"00dc", at)
    content[at : at + 400] = np.random.default_rng(1).bytes(400)
    source.write_bytes(content)
    code, said = restore(capsys, source)
    assert code == 1
    assert "DAMAGED: " in said
    assert "what could be decoded is restored" in said
    (target,) = (tmp_path / "out").iterdir()
    assert len(list(reading.frames(target))) > 10


@pytest.mark.parametrize("suffix", list(CODECS))
@pytest.mark.parametrize("to_pictures", [False, True])
def test_a_film_that_is_cut_off_is_told(capsys, tmp_path, suffix, to_pictures):
    # With --frames nothing was said, nor of a transport stream.
    options = {"muxer_options": {"movflags": "faststart"}} if suffix == ".mp4" else {}
    source = film(tmp_path / f"in{suffix}", **options)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) * 6 // 10])
    options = ("--frames", tmp_path / "frames") if to_pictures else ()
    code, said = restore(capsys, source, *options)
    assert code == 1, said
    assert "it breaks off" in said


def test_what_was_asked_for_may_be_whole_in_a_film_that_breaks_off(capsys, tmp_path):
    source = film(tmp_path / "in.mkv", 60)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) * 6 // 10])
    code, said = restore(capsys, source, "--duration", "0.5")
    assert (code, "breaks off" in said) == (0, False)
    for options in (("--start", "1"), ("--start", "0.5", "--duration", "9")):
        code, said = restore(capsys, source, "--overwrite", *options)
        assert (code, "breaks off" in said) == (1, True)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
@pytest.mark.parametrize("options", [("--frames", "p"), ("--frames", "p", "--duration", "2")])
def test_pictures_of_a_film_whose_sound_lasts_longer_are_whole(
    capsys, tmp_path, monkeypatch, suffix, options
):
    # Their sound is not copied, so that the film seemed to break off where the pictures end.
    monkeypatch.chdir(tmp_path)
    code, said = restore(capsys, _with_long_sound(tmp_path / f"in{suffix}"), *options)
    assert (code, "DAMAGED" in said) == (0, False), said


def test_a_film_that_leaves_its_longer_sound_out_is_whole(capsys, tmp_path):
    source, target = _with_long_sound(tmp_path / "in.mkv"), tmp_path / "out.webm"
    code, out, err = call(capsys, "restore", "photo-small", source, "--out", target)
    assert "WebM does not hold sound (aac): left out" in out + err
    assert (code, "DAMAGED" in out + err) == (0, False), out + err


def _with_long_sound(path, seconds=2):
    """Writes a film whose sound goes on after the pictures."""
    codec, pixel_format, tone = CODECS[path.suffix]

    def prepare(out):
        return list(tone_packets(out.add_stream(tone, 48000), seconds))

    return write_film(path, make_frames(10), codec, pixel_format, prepare=prepare)


def test_dropped_frames_of_an_avi_are_no_damage(capsys, tmp_path):
    # Recorders write a chunk without bytes for a frame that they had no time for.
    source = film(tmp_path / "in.avi", sound=False)
    source.write_bytes(_without_frames(source.read_bytes(), {10, 11, 30}))
    code, said = restore(capsys, source)
    assert code == 0, said
    assert "DAMAGED" not in said


def _without_frames(content, numbers):
    """Empties chunks of frames in an AVI, in its index too."""

    def chunks(data, at):
        while at + 8 <= len(data):
            (size,) = struct.unpack("<I", data[at + 4 : at + 8])
            yield data[at : at + 4], data[at + 8 : at + 8 + size]
            at += 8 + size + size % 2

    def joined(parts):
        return b"".join(
            name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
            for name, data in parts
        )

    parts, index = [], b""
    for name, data in chunks(content, 12):
        if name == b"LIST" and data[:4] == b"movi":
            frames = [
                (kind, b"" if number in numbers else frame)
                for number, (kind, frame) in enumerate(chunks(data, 4))
            ]
            at = 4
            for kind, frame in frames:
                index += kind + struct.pack("<III", 16, at, len(frame))
                at += 8 + len(frame) + len(frame) % 2
            data = b"movi" + joined(frames)
        parts.append((name, index if name == b"idx1" else data))
    body = b"AVI " + joined(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_a_matroska_of_unknown_sizes_is_whole(capsys, tmp_path):
    # As browsers record: no size is known when a cluster begins, and none is filled in.
    source = film(tmp_path / "in.webm", muxer_options={"live": "1"})
    code, said = restore(capsys, source)
    assert code == 0, said


def test_what_follows_a_segment_of_matroska_is_no_damage(tmp_path):
    source = film(tmp_path / "in.mkv")
    with open(source, "ab") as stream:
        stream.write(bytes(1000))
    with reading.open_film(source) as opened:
        assert wholeness.fault_of(source, opened, None) is None


NULL_PACKET = b"\x47\x1f\xff\x10" + b"\xff" * 184


@pytest.mark.parametrize(
    "filling", [NULL_PACKET * 20, bytes(188 * 20), bytes(1000), b"\xff" * 5000], ids=str
)
def test_a_transport_stream_that_is_filled_up_is_whole(capsys, tmp_path, filling):
    # Recorders fill a file up to the size of a block, and it was called damaged.
    source = film(tmp_path / "in.ts")
    with open(source, "ab") as stream:
        stream.write(filling)
    code, said = restore(capsys, source)
    assert (code, "DAMAGED" in said) == (0, False), said


def test_zeros_from_within_a_packet_on_are_a_download_that_was_stopped(capsys, tmp_path):
    source = film(tmp_path / "in.ts", sound=False)
    content = source.read_bytes()
    kept = len(content) // 2 // 188 * 188 + 100
    source.write_bytes(content[:kept] + bytes(len(content) - kept))
    code, said = restore(capsys, source)
    assert (code, "DAMAGED" in said) == (1, True), said


def _gif(path, count=6):
    """Writes an animation; returns where each of its pictures ends."""
    from PIL import Image

    frames = [Image.fromarray(frame) for frame in make_frames(count)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)
    content, ends = path.read_bytes(), []

    def table(flags):
        return 3 << ((flags & 7) + 1) if flags & 0x80 else 0

    place = 13 + table(content[10])
    while content[place] != 0x3B:
        picture = content[place] == 0x2C
        place += 11 + table(content[place + 9]) if picture else 2
        while content[place]:
            place += content[place] + 1
        place += 1
        ends += [place] * picture
    return ends


@pytest.mark.parametrize("pictures", [1, 4])
def test_a_gif_that_is_cut_off_between_two_pictures_is_told(capsys, tmp_path, pictures):
    # Pictures that are all whole made a shorter film, without a word.
    source = tmp_path / "in.gif"
    ends = _gif(source)
    source.write_bytes(source.read_bytes()[: ends[pictures - 1]])
    target = tmp_path / "out.mp4"
    code, out, err = call(capsys, "restore", "photo-small", source, "--out", target)
    assert (code, "DAMAGED: it breaks off at" in out + err) == (1, True), out + err
    assert len(list(reading.frames(target))) == pictures
    code, said = restore(capsys, source)
    assert code == 0
    assert "breaks off: more pictures may have followed" in said


def test_a_whole_gif_is_whole(capsys, tmp_path):
    source = tmp_path / "in.gif"
    _gif(source)
    target = tmp_path / "out.mp4"
    code, out, err = call(capsys, "restore", "photo-small", source, "--out", target)
    assert (code, "DAMAGED" in out + err) == (0, False), out + err
    assert "breaks off" not in restore(capsys, source)[1]


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_a_film_that_begins_late_is_whole(capsys, tmp_path, suffix):
    # Matroska says when a film ends, not how long it lasts: 5 s seemed to be missing.
    codec, pixel_format, _ = CODECS[suffix]
    ticks = range(125, 135)
    source = write_film(tmp_path / f"in{suffix}", make_frames(10), codec, pixel_format, ticks=ticks)
    code, said = restore(capsys, source)
    assert (code, "DAMAGED" in said) == (0, False), said


@pytest.mark.parametrize("suffix", [".avi", ".ts"])
def test_damage_is_told_alike_by_a_run_that_goes_on(tmp_path, monkeypatch, suffix):
    # Of what a stopped run had decoded, the next one knew nothing: its numbers were others.
    monkeypatch.setattr(film_sinks, "PART_FRAMES", 5)
    codec, pixel_format = ("mjpeg", "yuvj420p") if suffix == ".avi" else ("libx264", "yuv420p")
    source = write_film(
        tmp_path / f"in{suffix}", make_frames(90), codec, pixel_format, options={"g": "10"}
    )
    content = bytearray(source.read_bytes())
    if suffix == ".avi":
        places = [found.start() + 8 for found in re.finditer(b"00dc", content)]
        for number in (3, 4, 80):
            content[places[number] : places[number] + 600] = bytes(600)
    else:
        content[len(content) // 8 :][:400] = bytes(400)
        content[3000:3400] = bytes(400)
    source.write_bytes(content)
    whole = test_films.restore(source, tmp_path / f"whole{suffix}")
    target = tmp_path / f"out{suffix}"
    with pytest.raises(KeyboardInterrupt):
        test_films.restore(source, target, test_films.Plain(stop_at=70), resume=True)
    told = test_films.restore(source, target, resume=True)
    assert told.before > 40
    assert told.before + told.frames == whole.frames
    assert told.damage == whole.damage
    assert told.damage is not None


def test_frames_that_an_avi_lost_in_its_middle_do_not_break_it_off(tmp_path):
    # Its frames have no times: what is missing anywhere makes it shorter.
    source = write_film(tmp_path / "in.avi", make_frames(40), "mpeg4", options={"g": "10"})
    content = bytearray(source.read_bytes())
    places = [found.start() for found in re.finditer(b"00dc", content)]
    content[places[3] : places[4] + 100] = bytes(places[4] + 100 - places[3])
    source.write_bytes(content)
    told = test_films.restore(source, tmp_path / "out.avi")
    assert told.damage is not None
    assert "of its index could not be found" in told.damage
