"""Films through a model: frames in are frames out, at their times, with all that goes with them.

Most tests take a film through a model that changes nothing or little, so that what they compare is
reading, the three threads and writing.
"""

from fractions import Fraction

import numpy as np
import pytest

from tests.fixtures.films import (
    HEIGHT,
    VARYING,
    WIDTH,
    make_frames,
    packet_bytes,
    stamps,
    write_film,
    write_half_transparent,
)
from tf_deconv.images.files import Job
from tf_deconv.inference import film_job, film_sinks
from tf_deconv.inference.film_sinks import FilmOptions
from tf_deconv.utils.options import UserError
from tf_deconv.video import reading, segments

av = pytest.importorskip("av")

QUARTER_TURN = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
PQ = dict(color_primaries=9, color_trc=16, colorspace=9, color_range=1)


class Plain:
    """A model that makes every frame a little darker, or larger, or looks ahead."""

    def __init__(self, scale=1, ahead=0, warm_up=0, stop_at=None):
        self.scale, self.ahead, self.warm_up, self.stop_at = scale, ahead, warm_up, stop_at
        self.seen = self.begun = 0
        self.shapes = []

    def begin(self, height, width):
        self.begun += 1
        self.shapes.append((height, width))
        return _Session(self)


class _Session:
    def __init__(self, model):
        self.model, self.waiting = model, []

    def restore(self, frame):
        model = self.model
        model.seen += 1
        if model.stop_at is not None and model.seen > model.stop_at:
            raise KeyboardInterrupt
        self.waiting.append(frame.repeat(model.scale, 0).repeat(model.scale, 1))
        return self.waiting.pop(0) if len(self.waiting) > model.ahead else None

    def end(self):
        return self.waiting


def restore(source, target, model=None, **options):
    return film_job.restore_film(
        model or Plain(),
        model.scale if model else 1,
        Job(source, target),
        FilmOptions(threads=1, **options),
    )


def facts(path):
    """Returns what the stream of pictures says of itself."""
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        context = stream.codec_context
        return {
            "codec": context.codec.canonical_name,
            "pixels": context.pix_fmt,
            "colours": (
                # Not said means limited.
                context.color_range or 1,
                context.colorspace,
                context.color_primaries,
                context.color_trc,
            ),
            "aspect": stream.sample_aspect_ratio or 1,
            "size": (context.width, context.height),
            "language": film.streams.audio[0].language if film.streams.audio else None,
        }


CASES = [
    (".mp4", "libx264", "yuv420p", "aac"),
    (".mp4", "libx264", "yuv444p", "libmp3lame"),
    (".mp4", "libx265", "yuv420p10le", "aac"),
    (".mp4", "libsvtav1", "yuv420p", "libopus"),
    (".m4v", "libx264", "yuv420p", "aac"),
    (".mov", "libx264", "yuv422p10le", "pcm_s16le"),
    (".mov", "prores_ks", "yuv422p10le", "aac"),
    (".3gp", "mpeg4", "yuv420p", "aac"),
    (".mkv", "libx264", "yuv420p", "flac"),
    (".mkv", "ffv1", "yuv444p", "libopus"),
    (".webm", "libvpx-vp9", "yuv420p", "libopus"),
    (".webm", "libvpx", "yuv420p", "libopus"),
    (".avi", "mjpeg", "yuvj420p", "pcm_s16le"),
    (".avi", "mpeg4", "yuv420p", "libmp3lame"),
    (".ts", "libx264", "yuv420p", "aac"),
]


@pytest.mark.parametrize(("suffix", "codec", "pixel_format", "sound"), CASES)
def test_frames_times_and_sound_are_those_of_the_source(
    tmp_path, suffix, codec, pixel_format, sound
):
    varies = suffix != ".avi"
    source = write_film(
        tmp_path / f"in{suffix}",
        codec=codec,
        pixel_format=pixel_format,
        sound=sound,
        ticks=VARYING if varies else None,
        stream_fields=[("color_primaries", 1), ("color_trc", 1), ("colorspace", 1)],
    )
    target = tmp_path / "out" / f"out{suffix}"
    told = restore(source, target)
    assert (told.frames, told.damage) == (len(VARYING), None)
    assert told.notes == ()
    assert stamps(target) == stamps(source)
    assert stamps(target, "audio") == stamps(source, "audio")
    assert packet_bytes(target) == packet_bytes(source)
    assert facts(target) == facts(source)
    with reading.open_film(source) as one, reading.open_film(target) as other:
        assert one.time_base == other.time_base
        assert one.container == other.container
    before = np.stack([frame.pixels for frame in reading.frames(source)])
    after = np.stack([frame.pixels for frame in reading.frames(target)])
    assert before.dtype == after.dtype
    error = (before.astype(float) - after) / np.iinfo(before.dtype).max
    assert -20 * np.log10(np.sqrt((error**2).mean()) + 1e-9) > 34


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_how_long_the_last_frame_is_shown_is_kept(tmp_path, suffix):
    source = write_film(tmp_path / f"in{suffix}", ticks=VARYING)
    restore(source, tmp_path / f"out{suffix}")
    lasts = []
    for path in (source, tmp_path / f"out{suffix}"):
        *_, last = reading.frames(path)
        lasts.append(last.duration_s)
    assert lasts[0] == lasts[1]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_phones_turn_and_the_shape_of_pixels_are_kept(tmp_path, suffix):
    source = write_film(
        tmp_path / f"in{suffix}",
        stream_fields=[
            ("display_matrix", QUARTER_TURN),
            ("sample_aspect_ratio", Fraction(16, 15)),
        ],
    )
    target = tmp_path / f"out{suffix}"
    assert restore(source, target).notes == ()
    for path in (source, target):
        with reading.open_film(path) as film:
            assert film.orientation == 3
            assert film.aspect == Fraction(16, 15)


def test_what_a_container_cannot_hold_is_named(tmp_path):
    source = write_film(
        tmp_path / "in.mp4",
        sound="aac",
        metadata={"title": "Title"},
        stream_fields=[("display_matrix", QUARTER_TURN)],
        chapters=[_chapter(0, 100, "One")],
    )
    notes = restore(source, tmp_path / "out.webm").notes
    assert any("WebM does not hold sound (aac, deu)" in note for note in notes)
    notes = restore(source, tmp_path / "out.avi").notes
    assert any("AVI does not hold chapters" in note for note in notes)
    assert any("holds no turn" in note for note in notes)


def _chapter(start, end, title):
    return {
        "id": start,
        "start": start,
        "end": end,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }


def _subtitles(out):
    """Adds subtitles, a font and a cover to an open Matroska file."""
    stream = out.add_mux_stream("subrip", time_base=Fraction(1, 1000))
    stream.metadata["language"] = "fra"
    out.add_attachment("font.ttf", "font/ttf", b"not much of a font")
    packets = []
    for start, text in ((40, b"Hello"), (200, b"World")):
        packet = av.Packet(text)
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = start
        packet.duration = 90
        packets.append(packet)
    return packets


def test_subtitles_chapters_attachments_and_words_are_kept(tmp_path):
    source = write_film(
        tmp_path / "in.mkv",
        sound="flac",
        metadata={"title": "A film", "ARTIST": "Somebody"},
        chapters=[_chapter(0, 160, "One"), _chapter(160, 320, "Two")],
        prepare=_subtitles,
    )
    target = tmp_path / "out.mkv"
    assert restore(source, target).notes == ()
    assert packet_bytes(target, "subtitle") == [b"Hello", b"World"]
    assert stamps(target, "subtitle") == [Fraction(1, 25), Fraction(1, 5)]
    with av.open(str(source)) as one, av.open(str(target)) as other:
        assert [each["metadata"] for each in other.chapters()] == [
            {"title": "One"},
            {"title": "Two"},
        ]
        assert [each["start"] for each in other.chapters()] == [
            each["start"] for each in one.chapters()
        ]
        assert other.metadata["title"] == "A film"
        assert other.metadata["ARTIST"] == "Somebody"
        assert other.streams.subtitles[0].language == "fra"
        (font,) = other.streams.attachments
        assert (font.name, font.data) == ("font.ttf", b"not much of a font")
        assert [int(s.disposition) for s in one.streams] == [
            int(s.disposition) for s in other.streams
        ]


def test_hdr_stays_in_its_transfer_with_its_screen(tmp_path):
    screen = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    source = write_film(
        tmp_path / "in.mp4",
        make_frames(4, 64, 96, np.uint16),
        codec="libx265",
        pixel_format="yuv420p10le",
        options={"x265-params": f"log-level=none:master-display={screen}:max-cll=1000,400"},
        stream_fields=PQ.items(),
    )
    told = restore(source, tmp_path / "out.mp4")
    assert "HDR (PQ): it stays so" in told.notes[0]
    assert facts(tmp_path / "out.mp4") == facts(source)
    with reading.open_film(source) as one, reading.open_film(tmp_path / "out.mp4") as other:
        assert one.colour.hdr == other.colour.hdr == "PQ"
        assert one.mastering == other.mastering
        assert one.mastering.luminance == (0.005, 1000)
        assert one.mastering.light == (1000, 400)
    for codec in ("av1",):
        restore(source, tmp_path / f"{codec}.mp4", codec=codec)
        with reading.open_film(tmp_path / f"{codec}.mp4") as other:
            np.testing.assert_allclose(
                other.mastering.primaries, one.mastering.primaries, atol=1e-4
            )
            assert other.mastering.light == (1000, 400)
    with pytest.raises(UserError, match=r"is HDR \(PQ\), which needs 10 bits: vp9 stores 8"):
        restore(source, tmp_path / "x.mp4", codec="vp9")


def test_an_interlaced_film_is_restored_field_by_field_and_stays_interlaced(tmp_path):
    frames = make_frames(4, 64, 96)
    frames[:, 1::2] = make_frames(4, 64, 96, seed=1)[:, 1::2]
    source = write_film(
        tmp_path / "in.mkv",
        frames,
        options={"flags": "+ildct+ilme", "x264-params": "tff=1", "crf": "4"},
    )
    model = Plain()
    told = restore(source, tmp_path / "out.mkv", model)
    assert model.shapes == [(32, 96), (32, 96)]
    assert "interlaced (top field first)" in told.notes[0]
    with reading.open_film(tmp_path / "out.mkv") as film:
        assert film.fields == "top"
    found = np.stack([frame.pixels for frame in reading.frames(tmp_path / "out.mkv")])
    shown = np.stack([frame.pixels for frame in reading.frames(source)])
    assert np.abs(found.astype(int) - shown).mean() < 4


def test_a_larger_film_keeps_times_and_the_shape_of_pixels(tmp_path):
    source = write_film(
        tmp_path / "in.mp4", sound="aac", stream_fields=[("sample_aspect_ratio", Fraction(4, 3))]
    )
    restore(source, tmp_path / "out.mp4", Plain(scale=2))
    assert facts(tmp_path / "out.mp4")["size"] == (2 * WIDTH, 2 * HEIGHT)
    assert facts(tmp_path / "out.mp4")["aspect"] == Fraction(4, 3)
    assert stamps(tmp_path / "out.mp4") == stamps(source)


def test_a_model_that_looks_ahead_gives_every_frame_its_own_time(tmp_path):
    source = write_film(tmp_path / "in.mp4", ticks=VARYING, options={"crf": "1"})
    told = restore(source, tmp_path / "out.mp4", Plain(ahead=3))
    assert told.frames == len(VARYING)
    assert stamps(tmp_path / "out.mp4") == stamps(source)
    for one, other in zip(reading.frames(source), reading.frames(tmp_path / "out.mp4")):
        assert np.abs(one.pixels.astype(int) - other.pixels).mean() < 3


def test_transparency_is_kept_or_laid_over_white(tmp_path):
    source = tmp_path / "in.webm"
    options, fields = {"auto-alt-ref": "0"}, {"alpha_mode": "1"}
    write_half_transparent(source, "libvpx-vp9", "yuva420p", options, fields)
    assert restore(source, tmp_path / "out.webm").notes == ()
    with reading.open_film(tmp_path / "out.webm") as film:
        assert film.pixels.name == "yuva420p"
    told = restore(source, tmp_path / "out.mp4", codec="h264")
    assert "transparent parts lie over white now: the codec holds none" in told.notes
    found = next(reading.frames(tmp_path / "out.mp4")).pixels
    assert found[:, :24, 0].mean() > 180
    assert found[:, :24, 1].mean() < 20
    assert found[:, 40:].min() > 240


def test_an_odd_size_is_kept_or_said(tmp_path):
    source = write_film(tmp_path / "in.webm", make_frames(3, 47, 63), codec="libvpx-vp9")
    assert restore(source, tmp_path / "out.webm").notes == ()
    assert facts(tmp_path / "out.webm")["size"] == (63, 47)
    told = restore(source, tmp_path / "out.mp4", codec="h264")
    assert "63x47 became 64x48" in told.notes[0]
    assert facts(tmp_path / "out.mp4")["size"] == (64, 48)


def test_a_part_of_a_film_begins_at_zero_with_its_sound_in_step(tmp_path):
    source = write_film(
        tmp_path / "in.mkv",
        make_frames(50),
        sound="flac",
        options={"g": "30"},
        chapters=[_chapter(0, 1000, "One"), _chapter(1000, 2000, "Two")],
    )
    told = restore(source, tmp_path / "out.mkv", start_s=0.8, duration_s=0.6)
    assert told.frames == 15
    assert stamps(tmp_path / "out.mkv") == [Fraction(n, 25) for n in range(15)]
    kept = packet_bytes(tmp_path / "out.mkv")
    everything = packet_bytes(source)
    first = everything.index(kept[0])
    assert everything[first : first + len(kept)] == kept
    shift = Fraction(4, 5)
    assert stamps(tmp_path / "out.mkv", "audio")[0] == stamps(source, "audio")[first] - shift
    assert 0 <= stamps(tmp_path / "out.mkv", "audio")[0] < Fraction(1, 10)
    with av.open(str(tmp_path / "out.mkv")) as film:
        assert [
            (each["start"] * each["time_base"], each["metadata"]["title"])
            for each in film.chapters()
        ] == [(0, "One"), (Fraction(1, 5), "Two")]
    with pytest.raises(UserError, match="--start 7 is behind its end"):
        restore(source, tmp_path / "x.mkv", start_s=7.0)


@pytest.fixture
def short_parts(monkeypatch):
    monkeypatch.setattr(film_sinks, "PART_FRAMES", 5)


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "libx264"), (".mkv", "libx264"), (".webm", "libvpx-vp9")]
)
def test_a_film_that_was_stopped_goes_on_and_comes_out_the_same(
    tmp_path, short_parts, suffix, codec
):
    sound = "libopus" if suffix == ".webm" else "aac"
    ticks = [n + n // 3 for n in range(23)]  # Its rate varies, where one part meets the next too.
    source = write_film(
        tmp_path / f"in{suffix}", make_frames(23), codec=codec, sound=sound, ticks=ticks
    )
    stopped, whole = tmp_path / f"stopped{suffix}", tmp_path / f"whole{suffix}"
    with pytest.raises(KeyboardInterrupt):
        restore(source, stopped, Plain(stop_at=13), resume=True)
    assert not stopped.exists()
    folder = segments.folder_of(stopped)
    assert len(list(folder.glob("*.json"))) >= 2
    again = Plain()
    told = restore(source, stopped, again, resume=True)
    assert told.before >= 5
    assert told.before + told.frames == 23
    assert again.seen == told.frames
    assert not folder.exists()
    restore(source, whole, resume=True)
    assert packet_bytes(stopped, "video") == packet_bytes(whole, "video")
    assert stamps(stopped) == stamps(source)
    assert packet_bytes(stopped) == packet_bytes(source)
    with av.open(str(stopped)) as film:
        packets = [packet for packet in film.demux(film.streams.video[0]) if packet.size]
    decoding = [packet.dts for packet in packets if packet.dts is not None]
    assert decoding == sorted(set(decoding))


def test_a_model_with_a_state_is_warmed_up_where_it_goes_on(tmp_path, short_parts):
    source = write_film(tmp_path / "in.mp4", make_frames(23))
    with pytest.raises(KeyboardInterrupt):
        restore(source, tmp_path / "out.mp4", Plain(stop_at=13), resume=True)
    model = Plain(warm_up=4)
    told = restore(source, tmp_path / "out.mp4", model, resume=True)
    assert model.seen == told.frames + 4
    assert stamps(tmp_path / "out.mp4") == stamps(source)


def test_parts_of_other_options_are_not_joined(tmp_path, short_parts):
    source = write_film(tmp_path / "in.mp4", make_frames(12))
    with pytest.raises(KeyboardInterrupt):
        restore(source, tmp_path / "out.mp4", Plain(stop_at=8), resume=True)
    with pytest.raises(UserError, match="parts that were made with another quality"):
        restore(source, tmp_path / "out.mp4", resume=True, crf=30)


def test_a_stop_leaves_nothing_half_made(tmp_path):
    source = write_film(tmp_path / "in.mp4", make_frames(12))
    with pytest.raises(KeyboardInterrupt):
        restore(source, tmp_path / "out" / "out.mp4", Plain(stop_at=8))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_leaves_nothing_half_made(tmp_path, monkeypatch):
    source = write_film(tmp_path / "in.mp4", make_frames(12))

    def full(self, frame):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(film_sinks.FilmWriter, "encode", full)
    with pytest.raises(OSError, match="No space left"):
        restore(source, tmp_path / "out" / "out.mp4")
    assert list((tmp_path / "out").iterdir()) == []


def test_mpeg2_in_avi_is_in_step_with_its_sound(tmp_path):
    # AVI has no time stamps: an encoder's delay, of frames out of order, made all a frame late.
    source = write_film(
        tmp_path / "in.avi", codec="mjpeg", pixel_format="yuvj420p", sound="pcm_s16le"
    )
    restore(source, tmp_path / "out.avi", codec="mpeg2")
    for kind in ("video", "audio"):
        assert stamps(tmp_path / "out.avi", kind) == stamps(source, kind)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_of_a_film_that_breaks_off_what_can_be_decoded_is_restored(tmp_path, suffix):
    codec = "mjpeg" if suffix == ".avi" else "libx264"
    source = write_film(
        tmp_path / f"in{suffix}",
        make_frames(50),
        codec=codec,
        pixel_format="yuvj420p" if suffix == ".avi" else "yuv420p",
        options={"g": "5", "bf": "0"},
        muxer_options={"movflags": "faststart"} if suffix == ".mp4" else None,
    )
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    told = restore(source, tmp_path / f"out{suffix}")
    assert "breaks off at" in told.damage
    assert 10 < told.frames < 40
    assert len(list(reading.frames(tmp_path / f"out{suffix}"))) == told.frames


def test_a_film_whose_size_changes_is_restored_up_to_there(tmp_path):
    one = write_film(tmp_path / "1.ts", make_frames(10))
    other = write_film(tmp_path / "2.ts", make_frames(10, 96, 128))
    source = tmp_path / "in.ts"
    source.write_bytes(one.read_bytes() + other.read_bytes())
    told = restore(source, tmp_path / "out.ts")
    assert "change from 64x48 yuv420p to 128x96 yuv420p" in told.damage
    assert 8 <= told.frames <= 10


def test_a_film_of_one_frame_is_a_film(tmp_path):
    source = write_film(tmp_path / "in.mp4", make_frames(1))
    assert restore(source, tmp_path / "out.mp4").frames == 1
    assert len(list(reading.frames(tmp_path / "out.mp4"))) == 1


def test_pictures_instead_of_a_film_are_upright_and_say_when(tmp_path):
    from PIL import Image

    source = write_film(
        tmp_path / "in.mp4",
        ticks=VARYING,
        sound="aac",
        options={"crf": "1"},
        stream_fields=[("display_matrix", QUARTER_TURN)],
    )
    told = restore(source, tmp_path / "out.mp4", frames=tmp_path / "pictures")
    assert told.notes == ("pictures have no sound and no subtitles: they are left out",)
    assert not (tmp_path / "out.mp4").exists()
    names = sorted(path.name for path in (tmp_path / "pictures").glob("*.png"))
    assert names == [f"{n:06d}.png" for n in range(1, 9)]
    table = (tmp_path / "pictures" / "frames.csv").read_text().splitlines()
    assert table[:3] == [
        "file,time_s,duration_s",
        "000001.png,0.000000,0.040000",
        "000002.png,0.040000,0.040000",
    ]
    with Image.open(tmp_path / "pictures" / "000001.png") as picture:
        found = np.asarray(picture)
    np.testing.assert_array_equal(found, next(reading.frames(source)).pixels)


def test_no_more_than_a_few_frames_wait(tmp_path):
    """A model that is slow finds the reader waiting for it, not a queue that grows."""
    import time

    source = write_film(tmp_path / "in.mp4", make_frames(40))
    decoded = []
    model = Plain()

    class Counting(reading.Film):
        def decode(self, *arguments):
            for frame in super().decode(*arguments):
                decoded.append(frame.pts)
                yield frame

    ahead = []

    def progress(done, total):
        time.sleep(0.005)
        ahead.append(len(decoded) - done)

    original = reading.Film
    reading.Film = Counting
    try:
        film_job.restore_film(
            model, 1, Job(source, tmp_path / "out.mp4"), FilmOptions(threads=1), progress
        )
    finally:
        reading.Film = original
    assert len(decoded) == 40
    assert max(ahead) <= film_job.WAITING + 2


def test_memory_does_not_grow_with_the_length_of_a_film(tmp_path, run_python):
    source = write_film(
        tmp_path / "in.mp4",
        np.tile(make_frames(50), (40, 1, 1, 1)),
        options={"preset": "ultrafast"},
    )
    code = """
import pathlib, resource, sys
from tf_deconv.images.files import Job
from tf_deconv.inference import film_job
from tf_deconv.inference.film_sinks import FilmOptions

class Same:
    warm_up = 0
    def begin(self, height, width): return self
    def restore(self, frame): return frame
    def end(self): return ()

def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
early = []
def progress(done, total):
    if done == 300: early.append(peak())
source, target = map(pathlib.Path, sys.argv[1:])
told = film_job.restore_film(Same(), 1, Job(source, target), FilmOptions(threads=1), progress)
print(told.frames, peak() - early[0])
"""
    frames, grown_kb = map(int, run_python(code, source, tmp_path / "out.mp4").split())
    assert frames == 2000
    assert grown_kb < 12_000
