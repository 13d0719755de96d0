"""What used to be lost on a film's way without a word: it is kept, or a line says so."""

import io
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.films import (
    make_frames,
    packet_bytes,
    stamps,
    tone_packets,
    write_film,
    write_half_transparent,
)
from tests.inference.test_films import Plain, restore
from tf_deconv.images.files import Job
from tf_deconv.inference import film_job
from tf_deconv.inference.film_sinks import FilmOptions
from tf_deconv.utils.options import UserError
from tf_deconv.video import codecs, companions, reading

av = pytest.importorskip("av")

TIME_CODE = "01:02:03:04"


def time_code(path):
    with av.open(str(path)) as film:
        said = [film.metadata, *(stream.metadata for stream in film.streams)]
    return {value for each in said for key, value in each.items() if key.lower() == "timecode"}


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv"])
@pytest.mark.parametrize("to", [".mov", ".mp4", ".mkv", ".avi"])
def test_a_time_code_is_kept(tmp_path, suffix, to):
    # A MOV with one was not restored at all; in MP4 and Matroska it was gone.
    source = write_film(tmp_path / f"in{suffix}", metadata={"timecode": TIME_CODE}, sound="aac")
    assert time_code(source) == {TIME_CODE}
    told = restore(source, tmp_path / f"out{to}")
    assert time_code(tmp_path / f"out{to}") == {TIME_CODE}
    assert not any("time code" in note or "data" in note for note in told.notes)


def test_a_time_code_that_cannot_be_kept_is_named(tmp_path):
    source = write_film(tmp_path / "in.mov", make_frames(50), metadata={"timecode": TIME_CODE})
    (note,) = restore(source, tmp_path / "out.ts").notes
    assert note == f"MPEG-TS does not hold the time code {TIME_CODE}: left out"
    (note,) = restore(source, tmp_path / "part.mov", start_s=1.0).notes
    assert note == f"the time code {TIME_CODE} is left out: the film begins later now"
    # Frames are dropped from the count of 29.97 in a second alone; a muxer gives up the film.
    source = write_film(tmp_path / "in.mkv", metadata={"timecode": "01:02:03;04"})
    (note,) = restore(source, tmp_path / "out.mov").notes
    assert note == "the time code 01:02:03;04 is left out: it is none of 25 frames/s"


def _with_cover(path):
    def prepare(film):
        data = io.BytesIO()
        Image.fromarray(make_frames(1)[0]).save(data, "JPEG")
        if path.suffix == ".mkv":
            film.add_attachment("front.jpg", "image/jpeg", data.getvalue())
            return []
        cover = film.add_stream("mjpeg", 25, width=64, height=48, pix_fmt="yuvj420p")
        cover.disposition = 1 << 10
        packet = av.Packet(data.getvalue())
        packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, Fraction(1, 25)
        return [packet]

    return write_film(path, prepare=prepare)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("to", [".mp4", ".mkv"])
def test_a_cover_stays_a_cover(tmp_path, suffix, to):
    # In Matroska it became a second stream of moving pictures, of one frame.
    source, target = _with_cover(tmp_path / f"in{suffix}"), tmp_path / f"out{to}"
    assert restore(source, target).notes == ()
    with av.open(str(source)) as one, av.open(str(target)) as other:
        covers = [next(s for s in f.streams if reading.is_cover(s)) for f in (one, other)]
        first, second = (bytes(next(f.demux(c))) for f, c in zip((one, other), covers))
        assert first == second
        assert len(other.streams.video) == 2
        if suffix == to == ".mkv":
            assert covers[1].metadata["filename"] == "front.jpg"


def _with_sound(path, sounds, codec="aac"):
    """Writes a film with streams of sound: (language, title, disposition) each."""

    def prepare(film):
        packets = []
        for language, title, disposition in sounds:
            tone = film.add_stream(codec, 48000)
            tone.metadata.update({"language": language, "title": title})
            tone.disposition = disposition
            packets += tone_packets(tone, 0.4)
        return packets

    return write_film(path, prepare=prepare)


def test_what_a_stream_is_for_is_kept_or_named(tmp_path):
    sounds = [("eng", "", 1), ("fra", "Commentaire", 1 << 3), ("deu", "", 1 << 8)]
    source = _with_sound(tmp_path / "in.mkv", sounds)
    assert restore(source, tmp_path / "out.mkv").notes == ()
    (note,) = restore(source, tmp_path / "out.avi").notes
    for part in (
        "the language of sound (aac, eng)",
        "the language of sound (aac, fra)",
        "the mark 'comment' of sound (aac, fra)",
        "the mark 'for the blind' of sound (aac, deu)",
    ):
        assert part in note
    (note,) = restore(source, tmp_path / "out.ts").notes
    assert "the title of sound (aac, fra), the mark 'comment'" in note


def test_streams_that_a_transport_stream_has_no_mark_for_are_named(tmp_path):
    # They were written, as data that nothing reads.
    source = _with_sound(tmp_path / "in.mkv", [("und", "", 1)], "flac")
    (note,) = restore(source, tmp_path / "out.ts").notes
    assert note == "MPEG-TS does not hold sound (flac): left out"
    with av.open(str(tmp_path / "out.ts")) as film:
        assert [stream.type for stream in film.streams] == ["video"]


@pytest.mark.parametrize("suffix", [".wmv", ".asf"])
def test_a_windows_media_film_keeps_its_sound(tmp_path, suffix):
    # It was written as Matroska, for which PyAV takes no WMA.
    def prepare(film):
        tone = film.add_stream("wmav2", 48000)
        tone.bit_rate = 128_000
        return list(tone_packets(tone, 0.4))

    source = tmp_path / f"in{suffix}"
    write_film(source, codec="wmv2", prepare=prepare, muxer="asf")
    target = tmp_path / f"out{suffix}"
    assert restore(source, target).notes == ()
    assert packet_bytes(target) == packet_bytes(source)
    assert stamps(target) == stamps(source)
    assert stamps(target, "audio") == stamps(source, "audio")


@pytest.mark.parametrize(
    ("codec", "pixel_format"), [("prores_ks", "yuva444p10le"), ("png", "rgba")]
)
def test_transparency_of_prores_is_kept(tmp_path, codec, pixel_format):
    # The profile of 4:2:2 was asked for, which leaves it out.
    source = tmp_path / "in.mov"
    options = {"profile": "4"} if codec == "prores_ks" else {}
    write_half_transparent(source, codec, pixel_format, options)
    notes = restore(source, tmp_path / "out.mov").notes
    assert not any("transparent" in note for note in notes)
    with reading.open_film(tmp_path / "out.mov") as film:
        assert film.pixels.channels == 4
        frame = next(film.decode())
        alpha = frame.to_ndarray(format="rgba")[..., 3]
    assert alpha[:, :24].min() > 250
    assert alpha[:, 40:].max() < 5


def test_the_field_that_comes_first_is_said_of_the_stream_too(tmp_path):
    # The head said the top one, and each frame the bottom one.
    source = tmp_path / "in.avi"
    frames = make_frames(3, 576, 720)
    write_film(source, frames, "dvvideo", stream_fields=[("field_order", 3)])
    told = restore(source, tmp_path / "out.mkv")
    assert "interlaced (bottom field first)" in told.notes[0]
    with av.open(str(tmp_path / "out.mkv")) as film:
        assert film.streams.video[0].codec_context.field_order == 3


def test_frames_that_are_interlaced_after_the_first_are_said(tmp_path):
    # The first frame decides; of the others nothing was said.
    woven = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    parts = [
        write_film(tmp_path / f"{number}.ts", make_frames(4, 64, 96), options=options)
        for number, options in enumerate(({}, woven))
    ]
    source = tmp_path / "in.ts"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    notes = restore(source, tmp_path / "out.ts").notes
    assert any(note.startswith("4 frames are interlaced, unlike the first one") for note in notes)


def test_frames_that_one_rate_moves_are_said(tmp_path):
    # 25 frames in a second of which some are missing lie at the ticks of one rate; others do not.
    source = write_film(tmp_path / "in.mkv", ticks=(0, 2, 3, 5, 6, 8, 9, 11))
    assert restore(source, tmp_path / "out.avi").notes == ()
    found = [frame.time_s for frame in reading.frames(tmp_path / "out.avi")]
    assert found == stamps(source)
    times = (0, 33, 80, 115, 160, 260, 275, 300)
    source = write_film(tmp_path / "varies.mkv", ticks=times, time_base=Fraction(1, 1000))
    for name, codec in (("out.avi", "h264"), ("out.mkv", "mpeg2")):
        (note,) = restore(source, tmp_path / f"{codec}{name}", codec=codec).notes
        assert f"{codec} in" in note
        assert "frames are up to" in note
        assert "ms from their times" in note


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_an_encoder_that_takes_no_small_frames_is_named_before(tmp_path, codec):
    source = write_film(tmp_path / "in.mp4", make_frames(2, 2, 2))
    job = Job(source, tmp_path / "out.mp4")
    with pytest.raises(UserError, match=f"{codec} does not take frames of 2x2 at 25 a second"):
        film_job.look_at(job, FilmOptions(codec=codec))


@pytest.mark.parametrize("name", list(codecs.CODECS))
def test_every_encoder_takes_what_is_planned_for_it(tmp_path, name):
    container = ".mov" if name == "prores" else ".mkv"
    source = write_film(tmp_path / "in.mkv", make_frames(2, 64, 96))
    assert "h264" in film_job.look_at(
        Job(source, tmp_path / f"out{container}"), FilmOptions(codec=name)
    )


def test_a_packet_without_bytes_leaves_the_frame_before(tmp_path):
    # Theora says so of a frame that is like the one before; the film ended there, and all seemed
    # well.
    source = write_film(tmp_path / "in.mkv", codec="ffv1")

    class Source:
        def __init__(self, source):
            self._source = source

        def __getattr__(self, name):
            return getattr(self._source, name)

        def demux(self, *streams):
            for number, packet in enumerate(self._source.demux(*streams)):
                if number == 3:
                    empty = av.Packet(b"")
                    empty.pts, empty.dts, empty.time_base = packet.pts, packet.dts, packet.time_base
                    empty.stream = packet.stream
                    yield empty
                else:
                    yield packet

    with reading.open_container(source) as (opened, container):
        film = reading.Film(Source(opened), container, reading.MAX_PIXELS, source)
        found = [frame.pts * film.time_base for frame in film.decode()]
    assert found == [Fraction(n, 25) for n in (0, 1, 2, 4, 5, 6, 7)]


def test_sound_whose_time_no_muxer_takes_is_left_out_and_said(tmp_path, monkeypatch):
    # One such packet was the end of the whole film.
    source, target = _with_sound(tmp_path / "in.mkv", [("deu", "", 1)]), tmp_path / "out.mp4"
    original, seen = companions.Companions.packets_until, []

    def packets_until(self, time_s):
        for packet in original(self, time_s):
            seen.append(packet)
            if len(seen) in (3, 4):
                packet.dts = packet.pts = -500
            yield packet

    monkeypatch.setattr(companions.Companions, "packets_until", packets_until)
    told = restore(source, target)
    assert told.damage == "1 packet of sound (aac, deu) without a right time left out"
    assert told.frames == len(stamps(target))
    assert len(packet_bytes(target)) == len(packet_bytes(source)) - 1


@pytest.mark.parametrize("frames_between", ["0", "2"])
def test_frames_of_h264_in_avi_are_shown_one_after_the_other(tmp_path, frames_between):
    # Its demuxer gives them times in the order of decoding, and a frame too late.
    options = {"bf": frames_between, "x264-params": "b-adapt=0:scenecut=0"}
    source = write_film(tmp_path / "in.avi", make_frames(20), options=options)
    found = [frame.time_s * 25 for frame in reading.frames(source)]
    first = 0 if frames_between == "0" else 1
    assert found == list(range(first, first + 20))


def test_a_folder_of_pictures_that_cannot_be_written_is_refused_before(tmp_path, monkeypatch):
    source = write_film(tmp_path / "in.mp4", make_frames(2))
    monkeypatch.setattr(film_job.os, "access", lambda path, mode: False)
    job = Job(source, tmp_path / "out.mp4")
    with pytest.raises(
        UserError, match=r"new/pictures' cannot be written: choose another --frames"
    ):
        film_job.look_at(job, FilmOptions(frames=tmp_path / "new" / "pictures"))
    assert not (tmp_path / "new").exists()


SCALES, TURNS_BY_30 = (131072, 0, 0, 0, 32768, 0), (56756, 32768, 0, -32768, 56756, 0)
TURNS_AND_SCALES = (0, 131072, 0, -131072, 0, 0)


@pytest.mark.parametrize("matrix", [SCALES, TURNS_AND_SCALES, TURNS_BY_30])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_what_a_display_matrix_does_besides_turning_is_kept_or_named(tmp_path, matrix, suffix):
    fields = [("display_matrix", (*matrix, 0, 0, 1 << 30))]
    source = write_film(tmp_path / "in.mp4", make_frames(2), stream_fields=fields)
    target = tmp_path / f"out{suffix}"
    notes = restore(source, target).notes
    told = [note for note in notes if "the scale or shear of its display matrix" in note]
    assert len(told) == (suffix != ".mp4" and matrix != TURNS_BY_30)
    if not told:
        with reading.open_film(target) as film:
            np.testing.assert_allclose(film.matrix[:5], matrix[:5], atol=65)


@pytest.mark.parametrize("matrix", [SCALES, TURNS_AND_SCALES, TURNS_BY_30])
def test_pictures_tell_of_a_display_matrix_that_is_no_quarter_turn(tmp_path, matrix):
    fields = [("display_matrix", (*matrix, 0, 0, 1 << 30))]
    source = write_film(tmp_path / "in.mp4", make_frames(2), stream_fields=fields)
    notes = restore(source, tmp_path / "out.mp4", frames=tmp_path / "pictures").notes
    assert any("is no plain quarter turn: what else it does is left out" in note for note in notes)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".avi"])
def test_h264_of_rgb_stays_rgb(tmp_path, suffix):
    # Screens are recorded so; it became luma and chroma without a word.
    source = write_film(tmp_path / "in.mkv", codec="libx264rgb", pixel_format="rgb24")
    target = tmp_path / f"out{suffix}"
    assert restore(source, target, crf=0).notes == ()
    with reading.open_film(target) as film:
        assert (film.codec, film.pixels.name, film.colour.matrix) == ("h264", "gbrp", 0)
    for one, other in zip(reading.frames(source), reading.frames(target)):
        np.testing.assert_array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize(("codec", "kept"), [("h264", False), ("vp9", True)])
def test_rgb_that_becomes_luma_and_chroma_is_named(tmp_path, codec, kept):
    source = write_film(tmp_path / "in.mkv", codec="ffv1", pixel_format="bgr0")
    notes = restore(source, tmp_path / "out.mkv", codec=codec).notes
    told = "its red, green and blue became luma and chroma of 8 bits, as h264 is written"
    assert [told in note for note in notes] == ([] if kept else [True])


def test_h264_of_rgb_in_parts_is_that_of_one_run(tmp_path):
    source = write_film(tmp_path / "in.mkv", codec="libx264rgb", pixel_format="rgb24")
    restore(source, tmp_path / "parts.mp4", resume=True)
    restore(source, tmp_path / "whole.mp4")
    for name in ("parts", "whole"):
        with reading.open_film(tmp_path / f"{name}.mp4") as film:
            assert film.pixels.is_rgb
    assert stamps(tmp_path / "parts.mp4") == stamps(source)


def _with_captions(path):
    """Writes H.264 in a transport stream whose frames have closed captions, as broadcasts do."""
    said = b"\xb5\x00\x31GA94\x03\xc1\xff\xfc\x94\x2c\xff"
    message = b"\0\0\0\1\x06\x04" + bytes([len(said)]) + said + b"\x80"
    plain = write_film(path.with_name("plain.ts"), make_frames(8))
    with av.open(str(plain)) as film, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(film.streams.video[0])
        for packet in film.demux(video=0):
            if packet.size:
                content = bytes(packet)
                first = 6 if content[4] == 9 else 0  # Behind the mark of a frame's beginning.
                new = av.Packet(content[:first] + message + content[first:])
                new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
                new.is_keyframe, new.stream = packet.is_keyframe, stream
                out.mux(new)
    return path


def _captions(path):
    with av.open(str(path)) as film:
        return [
            bytes(each)
            for frame in film.decode(video=0)
            for each in frame.side_data
            if each.type.name == "A53_CC"
        ]


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg2"])
@pytest.mark.parametrize("scale", [1, 2])
def test_closed_captions_stay(tmp_path, codec, scale):
    # HEVC left them out without a word, and so did a model that enlarges.
    source, target = _with_captions(tmp_path / "in.ts"), tmp_path / "out.mkv"
    restore(source, target, Plain(scale), codec=codec)
    assert _captions(target) == _captions(source)
    assert len(_captions(target)) == 8
    found = [frame.pixels.astype(int) for frame in reading.frames(target)]
    enlarged = [frame.pixels.repeat(scale, 0).repeat(scale, 1) for frame in reading.frames(source)]
    assert np.abs(np.stack(found) - np.stack(enlarged)).mean() < 6


@pytest.mark.parametrize("options", [{"codec": "vp9"}, {"frames": "pictures"}])
def test_closed_captions_that_are_left_out_are_named(tmp_path, options):
    source = _with_captions(tmp_path / "in.ts")
    if "frames" in options:
        options = {"frames": tmp_path / "pictures"}
    notes = restore(source, tmp_path / "out.mkv", **options).notes
    why = "pictures have" if "frames" in options else "the encoder writes"
    assert f"its closed captions are left out: {why} none" in notes


def test_what_is_said_of_the_pictures_is_kept_or_named(tmp_path):
    words = {"title": "Left camera", "COMMENT": "second take", "language": "deu", "BPS-eng": "9"}
    source = write_film(tmp_path / "in.mkv", stream_fields=[("metadata", words)])
    assert restore(source, tmp_path / "out.mkv").notes == ()
    with av.open(str(tmp_path / "out.mkv")) as film:
        said = film.streams.video[0].metadata
        assert [said.get(key) for key in words] == [*list(words.values())[:3], None]
    (note,) = restore(source, tmp_path / "out.mp4").notes
    assert note == "MP4 does not hold the comment of pictures (h264, deu): left out"
    (note,) = restore(source, tmp_path / "out.ts").notes
    assert "the title of pictures (h264, deu), the comment of pictures (h264, deu)" in note
