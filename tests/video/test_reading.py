"""Films decoded: every frame at its time, colours as H.273 has them, and nothing else opened."""

import gc
from fractions import Fraction

import numpy as np
import pytest

from tests.fixtures.films import HEIGHT, VARYING, WIDTH, make_frames, write_film
from tf_deconv.utils.options import UserError
from tf_deconv.video import reading

av = pytest.importorskip("av")

QUARTER_TURN = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)


def test_every_frame_is_decoded_at_its_time(tmp_path):
    film = write_film(tmp_path / "x.mp4", ticks=VARYING, sound="aac")
    found = list(reading.frames(film))
    assert [frame.time_s for frame in found] == [Fraction(tick, 25) for tick in VARYING]
    assert {frame.pixels.shape for frame in found} == {(HEIGHT, WIDTH, 3)}
    assert found[0].pixels.dtype == np.uint8
    assert found[0].pts * found[0].time_base == found[0].time_s


@pytest.mark.parametrize(
    ("codec", "pixel_format", "options"),
    [
        ("ffv1", "yuv444p", {}),
        ("libx264", "yuv444p", {"crf": "1"}),
        ("ffv1", "yuv420p", {}),
        ("ffv1", "gbrp10le", {}),
        ("ffv1", "yuv444p10le", {}),
        ("ffv1", "yuv422p16le", {}),
    ],
)
@pytest.mark.parametrize(("matrix", "weights"), [(1, (0.2126, 0.0722)), (5, (0.299, 0.114))])
@pytest.mark.parametrize("full", [False, True])
def test_colours_are_those_of_the_standards(
    tmp_path, codec, pixel_format, options, matrix, weights, full
):
    """The values of a uniform frame are worked out by the formulas of BT.601 and BT.709."""
    if "gbrp" in pixel_format and (matrix != 1 or not full):
        pytest.skip("RGB has no matrix")
    bits = 10 if "10" in pixel_format else 16 if "16" in pixel_format else 8
    red, green, blue = 0.8, 0.3, 0.15
    luma = weights[0] * red + (1 - sum(weights)) * green + weights[1] * blue
    chroma_blue = (blue - luma) / (2 * (1 - weights[1]))
    chroma_red = (red - luma) / (2 * (1 - weights[0]))
    top = 2**bits - 1
    unit = 2 ** (bits - 8)
    if full:
        values = [luma * top, chroma_blue * top + 128 * unit, chroma_red * top + 128 * unit]
    else:
        values = [
            (16 + 219 * luma) * unit,
            (128 + 224 * chroma_blue) * unit,
            (128 + 224 * chroma_red) * unit,
        ]
    if "gbrp" in pixel_format:
        values = [green * top, blue * top, red * top]
    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, 25, options, width=64, height=48)
        stream.pix_fmt = pixel_format
        stream.codec_context.color_range = 2 if full else 1
        stream.codec_context.colorspace = 0 if "gbrp" in pixel_format else matrix
        frame = av.VideoFrame(64, 48, pixel_format)
        for plane, value in zip(frame.planes, values):
            dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
            count = plane.buffer_size // dtype.itemsize
            plane.update(np.full(count, round(value), dtype).tobytes())
        frame.pts = 0
        film.mux(stream.encode(frame))
        film.mux(stream.encode())
    (found,) = reading.frames(path)
    assert found.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
    shown = found.pixels.reshape(-1, 3) / np.iinfo(found.pixels.dtype).max
    # FFmpeg's 16 bits of a limited range end at 65283 of 65535.
    expected = np.broadcast_to((red, green, blue), shown.shape)
    np.testing.assert_allclose(shown, expected, atol=0.012 if bits == 8 else 0.004)


def test_start_and_duration_are_exact_and_need_no_key_frame(tmp_path):
    film = write_film(tmp_path / "x.mp4", make_frames(60), options={"g": "50"})
    found = [frame.time_s for frame in reading.frames(film, start=1.0, duration=0.4)]
    assert found == [Fraction(25 + n, 25) for n in range(10)]
    alike = [frame.pixels for frame in reading.frames(film)][25]
    np.testing.assert_array_equal(next(reading.frames(film, start=1.0)).pixels, alike)
    late = [frame.time_s for frame in reading.frames(film, start=2.0)]
    assert late == [Fraction(50 + n, 25) for n in range(10)]


def test_a_phones_turn_is_undone(tmp_path):
    film = write_film(
        tmp_path / "x.mp4", options={"crf": "1"}, stream_fields=[("display_matrix", QUARTER_TURN)]
    )
    frame = next(reading.frames(film)).pixels
    assert frame.shape == (WIDTH, HEIGHT, 3)
    clockwise = np.rot90(make_frames()[0], -1)
    assert np.abs(frame.astype(int) - clockwise).mean() < 6


def test_more_than_8_bits_stay_more(tmp_path):
    frames = make_frames(3, dtype=np.uint16)
    film = write_film(tmp_path / "x.mkv", frames, codec="ffv1", pixel_format="yuv444p10le")
    found = [frame.pixels for frame in reading.frames(film)]
    assert found[0].dtype == np.uint16
    assert np.abs(np.stack(found).astype(int) - frames).max() < 3 * 64


def test_a_playlist_is_no_film_and_what_it_names_is_not_opened(tmp_path):
    inner = write_film(tmp_path / "inner.ts", make_frames(2))
    for name, text in {
        "x.m3u8": f"#EXTM3U\n#EXTINF:1,\n{inner}\n#EXT-X-ENDLIST\n",
        "x.mp4": f"ffconcat version 1.0\nfile '{inner.name}'\n",
        "x.sdp": "v=0\nm=video 9 RTP/AVP 96\n",
    }.items():
        path = tmp_path / name
        path.write_text(text)
        assert not reading.is_film(path)
        with pytest.raises(UserError, match="is no film"):
            list(reading.frames(path))


def test_a_file_named_like_a_protocol_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    film = write_film(tmp_path / "x.mp4", make_frames(2))
    odd = tmp_path / "concat:x.mp4|y"
    film.rename(odd)
    assert len(list(reading.frames("concat:x.mp4|y"))) == 2


def test_what_cannot_be_decoded_is_told_in_one_line(tmp_path):
    film = write_film(tmp_path / "x.mp4", make_frames(4))
    for content, told in (
        (b"", "is empty"),
        (film.read_bytes()[:200], "cannot be opened as MP4"),
        (b"words", "is no film"),
    ):
        damaged = tmp_path / "damaged.mp4"
        damaged.write_bytes(content)
        with pytest.raises(UserError, match=told) as caught:
            list(reading.frames(damaged))
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="--max-pixels 100"):
        list(reading.frames(film, max_pixels=100))


def test_sound_alone_is_no_film(tmp_path):
    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("flac", 48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), "s16", "stereo")
        frame.sample_rate, frame.pts = 48000, 0
        film.mux(stream.encode(frame))
        film.mux(stream.encode())
    with pytest.raises(UserError, match="has no moving pictures: it holds audio"):
        list(reading.frames(path))


def test_a_film_that_breaks_off_gives_what_can_be_decoded(tmp_path):
    film = write_film(tmp_path / "x.mkv", make_frames(20), options={"g": "5", "bf": "0"})
    content = film.read_bytes()
    film.write_bytes(content[: len(content) * 2 // 3])
    found = list(reading.frames(film))
    assert 5 < len(found) < 20


def test_pyav_is_not_imported_before_a_film_comes(run_python):
    code = (
        "import sys; import tf_deconv.video.reading as r; r.is_film(sys.argv[1]);"
        "print('av' in sys.modules)"
    )
    assert run_python(code, __file__) == "False"


def test_without_pyav_it_is_told_how_to_install_it(tmp_path, run_python):
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from tf_deconv.video import reading\n"
        "try: list(reading.frames(sys.argv[1]))\n"
        "except Exception as error: print(error)"
    )
    film = write_film(tmp_path / "x.mp4", make_frames(2))
    assert run_python(code, film) == (
        "films need PyAV, which is not installed: pip install 'av>=18,<19'"
    )


def test_a_frame_is_free_when_nobody_has_it_any_more(tmp_path):
    # Without the garbage collector, which may come a hundred frames later.
    path = write_film(tmp_path / "a.mp4", frames=make_frames(60))
    gc.collect()
    gc.disable()
    try:
        most = 0
        with reading.open_film(path, 10**6) as film:
            for frame in film.decode(None, None):
                alive = [each for each in gc.get_objects() if isinstance(each, av.VideoFrame)]
                most = max(most, sum(each.width == frame.width for each in alive))
                del alive
    finally:
        gc.enable()
    assert most < 20
