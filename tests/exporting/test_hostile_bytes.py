"""`serve_bytes` under hostile files: a picture or InvalidArgument, never a crash, a hang or a leak.

`TF_DECONV_HOSTILE_FILES=100000 pytest tests/exporting/test_hostile_bytes.py -m slow` tries more
files. File number N is always the same, `hostile_file(N)`.
"""

import io
import json
import os
import pathlib
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.fixtures import reader_pictures

MANY_FILES = int(os.environ.get("TF_DECONV_HOSTILE_FILES", "10000"))
FEW_FILES = 400
MAX_PIXELS = 4096
# After the first 1,000 files allocators and caches are warm: growth from there on is a leak.
# TensorFlow 2.21 itself keeps 1 to 2 KB of each error, also of a function that only asserts.
SETTLED_AFTER, MAX_GROWTH_MB, MAX_KEPT_PER_REFUSAL_KB, MAX_PEAK_MB = 1000, 24, 4, 128
MAX_CALL_S = 5.0

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# Adam7: (first row, first column, row step, column step) of each pass.
PASSES = [
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)
]  # fmt: skip


# ---- Files that are pictures -------------------------------------------------------------------


def png(*chunks):
    """A PNG file of (type, data) chunks, with their right checksums."""
    return PNG_MAGIC + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def raw_png(pixels, *, is_interlaced=False):
    """A PNG of (H, W, 3) uint8 or uint16, which Pillow cannot write interlaced or in 16 bits."""
    height, width, _ = pixels.shape
    depth = 8 * pixels.dtype.itemsize
    big_endian = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = b""
    for top, left, down, right in PASSES if is_interlaced else [(0, 0, 1, 1)]:
        part = big_endian[top::down, left::right]
        rows += b"".join(b"\0" + row.tobytes() for row in part if row.size)
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, is_interlaced)
    return png((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def smooth_picture(height=20, width=26):
    y, x = np.mgrid[:height, :width]
    return np.stack([9 * x, 11 * y, 255 - 4 * (x + y)], -1).astype(np.uint8)


def pictures():
    """{name: file}, one of each kind of PNG and JPEG that a camera, scanner or browser makes."""
    pixels = smooth_picture()
    image = Image.fromarray(pixels)

    def save(image, kind, **options):
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        return stream.getvalue()

    alpha = Image.fromarray(np.dstack([pixels, pixels[..., 0]]))
    palette = image.quantize(60)
    # Two pixels to a byte, each row after the number of its filter, 0.
    nibbles = np.insert((pixels[:, ::2, 0] & 0xF0) | (pixels[:, 1::2, 0] >> 4), 0, 0, axis=1)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 4, 0, 0, 0, 0)
    grey4 = (b"IHDR", header), (b"IDAT", zlib.compress(nibbles.tobytes())), (b"IEND", b"")
    grey16 = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    return {
        "png": save(image, "PNG"),
        "png grey": save(image.convert("L"), "PNG"),
        "png 1 bit": save(image.convert("1"), "PNG"),
        "png 4 bit grey": png(*grey4),
        "png grey and alpha": save(alpha.convert("LA"), "PNG"),
        "png alpha": save(alpha, "PNG"),
        "png palette": save(palette, "PNG"),
        "png palette of 16": save(image.quantize(16), "PNG"),
        "png palette of 4": save(image.quantize(4), "PNG"),
        "png transparent palette": save(palette, "PNG", transparency=3),
        "png transparent palette of 4": save(image.quantize(4), "PNG", transparency=1),
        "png 16 bit grey": save(grey16, "PNG"),
        "png 16 bit": raw_png(pixels.astype(np.uint16) * 257),
        "png interlaced": raw_png(pixels, is_interlaced=True),
        "png animated": save(image, "PNG", save_all=True, append_images=[image.rotate(90)]),
        "jpeg": save(image, "JPEG", quality=90),
        "jpeg 4:4:4": save(image, "JPEG", quality=95, subsampling=0),
        "jpeg grey": save(image.convert("L"), "JPEG"),
        "jpeg progressive": save(image, "JPEG", progressive=True),
        "jpeg CMYK": save(image.convert("CMYK"), "JPEG", quality=95),
        "jpeg restart": save(image, "JPEG", restart_marker_blocks=1),
        "jpeg comment": save(image, "JPEG", comment=b"c" * 300),
        "jpeg on its side": reader_pictures.jpeg(image, reader_pictures.exif(6, ">", extra=3)),
        "png on its side": save(image, "PNG", exif=reader_pictures.exif(8, "<", "LONG", extra=3)),
    }


# ---- Hostile ones ------------------------------------------------------------------------------

SEEDS = list(pictures().values())
# Unpacks to 20 million zero bytes, 5,000 times what MAX_PIXELS need.
BOMB = zlib.compress(bytes(20_000_000))
SIZES = [0, 1, 2, 63, 64, 65, 4096, 4097, 65535, 65536, 10**6, 2**31 - 1, 2**31, 2**32 - 1]


def hostile_file(number):
    """File `number`: a picture after one to three mutations."""
    random = np.random.default_rng([2026, number])
    data = SEEDS[random.integers(len(SEEDS))]
    for _ in range(random.integers(1, 4)):
        in_format = mutate_png if data.startswith(PNG_MAGIC) else mutate_jpeg
        mutate = (mutate_bytes, in_format, in_format, in_format)[random.integers(4)]
        data = mutate(data, random)
    return data


def mutate_bytes(data, random):
    """Changes bytes without regard to what they mean."""
    data = bytearray(data)
    at = int(random.integers(len(data) + 1))
    kind = random.integers(6)
    if kind == 0 and data:
        for place in random.integers(len(data), size=random.integers(1, 9)):
            data[place] ^= 1 << random.integers(8)
    elif kind == 1:
        data[at : at + 4] = random.bytes(min(4, len(data) - at))
    elif kind == 2:
        del data[at:]
    elif kind == 3:
        data[at:at] = random.bytes(random.integers(1, 40))
    elif kind == 4:
        del data[at : at + int(random.integers(1, 40))]
    else:
        other = SEEDS[random.integers(len(SEEDS))]
        data[at:] = other[int(random.integers(len(other))) :]
    return bytes(data)


def read_chunks(data):
    chunks, at = [], len(PNG_MAGIC)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def mutate_png(data, random):
    """Changes a PNG's chunks and writes right checksums, so that decoders read on."""
    chunks = read_chunks(data)
    if not chunks:
        return data
    at = int(random.integers(len(chunks)))
    kind, content = chunks[at]
    mutation = random.integers(9)
    if mutation <= 1:
        header = bytearray(chunks[0][1].ljust(13, b"\0"))
        field = random.integers(7)
        if field < 2:
            size = SIZES[random.integers(len(SIZES))]
            header[4 * field : 4 * field + 4] = struct.pack(">I", size)
        else:
            header[6 + field] = (0, 1, 2, 3, 4, 6, 8, 16, 255)[random.integers(9)]
        chunks[0] = (chunks[0][0], bytes(header))
    elif mutation == 2:
        chunks.insert(int(random.integers(len(chunks) + 1)), chunks[at])
    elif mutation == 3:
        del chunks[at]
    elif mutation == 4:
        other = int(random.integers(len(chunks)))
        chunks[at], chunks[other] = chunks[other], chunks[at]
    elif mutation == 5:
        chunks[at] = (kind, mutate_bytes(content, random))
    elif mutation == 6:
        # Pixel data of any length, right for zlib.
        pixels = [BOMB, zlib.compress(random.bytes(random.integers(3000))), zlib.compress(b"")]
        new = pixels[random.integers(3)]
        chunks = [(k, new if k == b"IDAT" else c) for k, c in chunks]
    elif mutation == 7:
        extra = [
            (b"zTXt", b"key\0\0" + BOMB),
            (b"iCCP", b"key\0\0" + BOMB),
            (b"PLTE", random.bytes(3 * random.integers(300))),
            (b"tRNS", random.bytes(random.integers(300))),
            (b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)),
            (random.bytes(4), random.bytes(random.integers(300))),
        ]
        chunks.insert(int(random.integers(len(chunks) + 1)), extra[random.integers(6)])
    else:
        # A chunk that claims another length than it has.
        place = data.find(kind) - 4
        length = struct.pack(">I", SIZES[random.integers(len(SIZES))])
        return data[:place] + length + data[place + 4 :] if place >= 0 else data
    return png(*chunks)


def read_segments(data):
    """Splits a JPEG into (marker, content) before the first scan, and the rest."""
    segments, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + max(length, 2)
    return segments, data[at:]


def mutate_jpeg(data, random):
    """Changes a JPEG's segments: frame sizes, tables, order, lengths, and data between markers."""
    segments, rest = read_segments(data)
    if not segments:
        return data
    frames = [i for i, (marker, _) in enumerate(segments) if 0xC0 <= marker <= 0xC2]
    at = int(random.integers(len(segments)))
    marker, content = segments[at]
    mutation = random.integers(8)
    if mutation <= 1 and frames:
        at = frames[0]
        marker, content = segments[at]
        content = bytearray(content.ljust(15, b"\0"))
        place = random.integers(4)
        if place < 2:
            size = SIZES[random.integers(len(SIZES))] & 0xFFFF
            content[1 + 2 * place : 3 + 2 * place] = struct.pack(">H", size)
        elif place == 2:
            # Precision, the number of components, their sampling factors and tables.
            content[random.integers(len(content))] = random.integers(256)
        else:
            marker = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCA)[random.integers(7)]
        segments[at] = (marker, bytes(content))
    elif mutation == 2:
        segments.insert(int(random.integers(len(segments) + 1)), segments[at])
    elif mutation == 3:
        del segments[at]
    elif mutation == 4:
        segments[at] = (marker, mutate_bytes(content, random)[:60000])
    elif mutation == 5:
        extra = [
            (0xDD, random.bytes(2)),
            (0xEE, b"Adobe" + random.bytes(7)),
            (0xC4, random.bytes(random.integers(60))),
            (int(random.integers(1, 256)), random.bytes(random.integers(60))),
        ]
        segments.insert(int(random.integers(len(segments) + 1)), extra[random.integers(4)])
    elif mutation == 6:
        # The scans again and again: a progressive decoder goes over the picture for each.
        rest = rest[:-2] * int(random.integers(2, 30)) + rest[-2:]
    else:
        rest = mutate_bytes(rest, random)
    return b"\xff\xd8" + b"".join(
        bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
        for marker, content in segments
    ) + rest  # fmt: skip


# ---- The process that takes them ---------------------------------------------------------------


def memory_mb(name):
    status = pathlib.Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith(name)]
    return int(line.split()[1]) / 1024


def serve(folder, count, settled_after, progress, report):
    """Sends files one after another; `progress` always holds the number of the one in work."""
    serve_bytes = tf.saved_model.load(folder).signatures["serve_bytes"]
    restored, refused, wrong, slowest_s, settled_mb = 0, 0, [], 0.0, None
    number_file = os.open(progress, os.O_WRONLY | os.O_CREAT)
    for number in range(count):
        if number == settled_after:
            settled_mb = memory_mb("VmRSS")
        data = hostile_file(number)
        os.pwrite(number_file, b"%-20d" % number, 0)
        before = time.perf_counter()
        try:
            answer = serve_bytes(image_bytes=tf.constant([data]))["restored_bytes"].numpy()[0]
        except tf.errors.InvalidArgumentError:
            refused += 1
        except Exception as error:
            wrong.append(f"file {number}: {type(error).__name__}: {str(error)[:300]}")
        else:
            restored += 1
            width, height = Image.open(io.BytesIO(answer)).size
            if width * height > MAX_PIXELS:
                wrong.append(f"file {number}: {width}x{height} was restored")
        slowest_s = max(slowest_s, time.perf_counter() - before)
    results = dict(
        restored=restored,
        refused=refused,
        wrong=wrong,
        slowest_s=slowest_s,
        growth_mb=memory_mb("VmRSS") - settled_mb,
        peak_mb=memory_mb("VmHWM") - settled_mb,
    )
    pathlib.Path(report).write_text(json.dumps(results))


# ---- Tests -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_service(tmp_path_factory):
    """An untrained network's SavedModel that refuses more than MAX_PIXELS pixels."""
    from tf_deconv.exporting.saved_model import restorer
    from tf_deconv.networks.article import build_article

    folder = tmp_path_factory.mktemp("hostile") / "1"
    restorer.write_saved_model(
        build_article(None, None), folder, divisor=2, scale=1, max_pixels=MAX_PIXELS
    )
    return folder


def send(folder, tmp_path, count, settled_after):
    progress, report = tmp_path / "progress", tmp_path / "report.json"
    module = "tests.exporting.test_hostile_bytes"
    command = [sys.executable, "-m", module, folder, count, settled_after, progress, report]
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=60 + count / 50,
        cwd=pathlib.Path(__file__).parents[2],
    )
    assert done.returncode == 0, (
        f"the process ended with {done.returncode} at file {progress.read_text()}: {done.stderr}"
    )
    results = json.loads(report.read_text())
    print(results)
    assert results["wrong"] == []
    # Both ways are taken, or the mutations are too wild or too tame.
    assert min(results["restored"], results["refused"]) > count / 20
    assert results["slowest_s"] < MAX_CALL_S
    assert results["peak_mb"] - max(results["growth_mb"], 0) < MAX_PEAK_MB
    return results


def test_hostile_files_give_a_picture_or_invalid_argument(small_service, tmp_path):
    send(small_service, tmp_path, FEW_FILES, FEW_FILES // 2)


@pytest.mark.exhaustive
def test_many_hostile_files_leave_no_memory_behind(small_service, tmp_path):
    results = send(small_service, tmp_path, MANY_FILES, SETTLED_AFTER)
    kept_by_errors_mb = results["refused"] * MAX_KEPT_PER_REFUSAL_KB / 1024
    assert results["growth_mb"] < MAX_GROWTH_MB + kept_by_errors_mb


def test_a_hostile_file_is_the_same_each_time():
    assert [hostile_file(number) for number in range(50)] == [hostile_file(n) for n in range(50)]
    assert len({hostile_file(number) for number in range(200)}) > 190


@pytest.fixture(scope="module")
def decode(tmp_path_factory):
    """`serve_bytes` of a model that changes nothing: what comes back is what was decoded."""
    import keras

    from tf_deconv.exporting.saved_model import restorer

    image = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(3, 1, use_bias=False)
    model = keras.Model(image, layer(image))
    layer.set_weights([np.eye(3, dtype=np.float32)[None, None]])
    folder = tmp_path_factory.mktemp("identity") / "1"
    restorer.write_saved_model(model, folder, divisor=1, scale=1, max_pixels=MAX_PIXELS)
    loaded = tf.saved_model.load(str(folder))

    def run(data):
        answer = loaded.signatures["serve_bytes"](image_bytes=tf.constant([data]))
        return np.asarray(Image.open(io.BytesIO(answer["restored_bytes"].numpy()[0])), int)

    return run


# PNGs of fewer than 8 bits came out almost white: decode_png fills their alpha with 1, 3 or 15.
@pytest.mark.parametrize("name", pictures())
def test_each_kind_of_picture_is_decoded_as_in_training(decode, name):
    from tf_deconv.images import reading

    data = pictures()[name]
    np.testing.assert_allclose(decode(data), reading.read_rgb(data).astype(int), atol=1)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_a_chunk_longer_than_the_file_is_refused_before_memory_is_taken(decode, kind):
    # Sixty bytes made libpng take 2 GB, and some seconds.
    chunk = struct.pack(">I", 2**31 - 1) + kind + b"key\0"
    data = png((b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))) + chunk
    with pytest.raises(tf.errors.InvalidArgumentError, match="chunk longer than the file"):
        decode(data)


def test_very_many_chunks_are_refused_in_time(decode):
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))] + [(b"abCd", b"")] * 70_000
    before = time.perf_counter()
    with pytest.raises(tf.errors.InvalidArgumentError, match="or too many"):
        decode(png(*chunks))
    assert time.perf_counter() - before < 30


def test_very_many_scans_are_refused(decode):
    # Each empty scan of a progressive JPEG is 10 bytes and costs a pass over the whole picture.
    data = pictures()["jpeg progressive"]
    scan = data[data.rindex(b"\xff\xda") :][:10]
    decode(data[:-2] + 100 * scan + data[-2:])
    with pytest.raises(tf.errors.InvalidArgumentError, match="too many scans"):
        decode(data[:-2] + 1000 * scan + data[-2:])


def test_what_follows_the_end_of_a_png_is_not_read(decode):
    # Phones append their own data to pictures; read as a chunk, it would be too long.
    data = pictures()["png"]
    np.testing.assert_array_equal(decode(data + b"\xff" * 50), decode(data))


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
