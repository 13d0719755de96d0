"""The SavedModel as a service meets it: any request gets a picture or InvalidArgument."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from tf_deconv.images import arrays, reading
from tf_deconv.inference import restorer


@pytest.fixture(scope="module")
def service(exported):
    return tf.saved_model.load(str(exported.folder / "1"))


@pytest.fixture
def restore(service):
    return lambda image: service.signatures["serving_default"](image=image)["restored"].numpy()


@pytest.fixture
def restore_bytes(service):
    return lambda *encoded: service.signatures["serve_bytes"](
        image_bytes=tf.constant(list(encoded), tf.string)
    )["restored_bytes"].numpy()


def encoded(pixels, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def png_header(width, height):
    """A PNG that claims a size and ends after its header."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )


# Those of the article's network that TensorFlow.js 4.22 and coremltools 9.0 ran.
PORTABLE_OPERATORS = {
    "AddV2",
    "BiasAdd",
    "Const",
    "Conv2D",
    "Conv2DBackpropInput",
    "FloorDiv",
    "FloorMod",
    "GatherV2",
    "Identity",
    "MaxPool",
    "Minimum",
    "Mul",
    "Pack",
    "Range",
    "ReadVariableOp",
    "Relu",
    "Reshape",
    "Shape",
    "Sigmoid",
    "Squeeze",
    "StridedSlice",
    "Sub",
}
COLOUR = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 28, 28, 1), (1, 37, 53, 1), (3, 2, 5, 1)])
def test_any_size_and_batch_equals_keras(exported, restore, shape):
    image = np.random.default_rng(1).random(shape, np.float32)
    expected = [restorer.restore_picture(exported.model, picture, 2) for picture in image]
    np.testing.assert_allclose(restore(image), np.stack(expected), atol=2e-6)


@pytest.mark.parametrize(
    "shape",
    [
        (),
        (28,),
        (28, 28),
        (28, 28, 1),
        (1, 1, 28, 28, 1),
        (1, 28, 28, 1, 1),
        (28, 28, 28),
        (1, 28, 28, 3),
        (1, 0, 0, 1),
        (0, 8, 8, 1),
    ],
)
def test_a_wrong_shape_is_invalid_argument(restore, shape):
    # TensorFlow 2.21 aborts the process on a wrong rank where the graph does not check it.
    with pytest.raises(tf.errors.InvalidArgumentError):
        restore(tf.zeros(shape))


def test_what_is_left_without_assertions_runs_in_other_runtimes(exported):
    # TensorFlow.js 4.22 failed on EnsureShape when run, coremltools 9.0 refused it. Both take
    # assertions out, with what only they need.
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((exported.folder / "1" / "saved_model.pb").read_bytes())
    function = next(
        each
        for each in saved.meta_graphs[0].graph_def.library.function
        if each.signature.name.startswith("__inference_serving_default")
        and any(node.op == "Conv2D" for node in each.node_def)
    )
    nodes = {node.name: node for node in function.node_def}
    left, needed = [name.split(":")[0] for name in function.ret.values()], set()
    while left:
        name = left.pop()
        if name in nodes and name not in needed:
            needed.add(name)
            left += [i.split(":")[0] for i in nodes[name].input if not i.startswith("^")]
    assert {node.op for node in nodes.values()} >= {"Assert", "Where"}
    assert {nodes[name].op for name in needed} <= PORTABLE_OPERATORS


@pytest.mark.parametrize("dtype", [tf.uint8, tf.float64, tf.string])
def test_a_wrong_dtype_is_invalid_argument(restore, dtype):
    with pytest.raises(tf.errors.InvalidArgumentError):
        restore(tf.zeros((1, 28, 28, 1), dtype))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(33, 47), (1, 1)])
def test_encoded_pictures_are_keras_floats_rounded(exported, restore_bytes, kind, size):
    data = encoded(COLOUR[: size[0], : size[1]], kind)
    grey = arrays.luminance(arrays.to_float(reading.read_rgb(data))).astype(np.float32)
    expected = 255 * np.clip(restorer.restore_picture(exported.model, grey, 2), 0, 1)
    received = np.asarray(Image.open(io.BytesIO(restore_bytes(data)[0])))
    assert received.shape == (*size, 3)
    assert np.abs(received - expected).max() <= 0.5 + 1e-3


def test_transparency_is_laid_over_white_as_in_training(restore_bytes):
    pixels = np.dstack([COLOUR, np.random.default_rng(2).integers(0, 256, (33, 47), np.uint8)])
    white = arrays.encode_png(reading.read_rgb(encoded(pixels)))
    decoded = [
        np.asarray(Image.open(io.BytesIO(b)), int) for b in restore_bytes(encoded(pixels), white)
    ]
    # Laying over white in floats and in bytes differs by a level of the input.
    assert np.abs(decoded[0] - decoded[1]).max() <= 3


def test_pictures_of_one_request_may_differ_in_size(restore_bytes):
    answers = restore_bytes(encoded(COLOUR), encoded(COLOUR[:9], "JPEG"), encoded(COLOUR[..., 0]))
    sizes = [Image.open(io.BytesIO(answer)).size for answer in answers]
    assert sizes == [(47, 33), (47, 9), (47, 33)]


NO_PICTURES = {
    "nothing": b"",
    "magic of PNG": b"\x89PNG\r\n\x1a\n",
    "magic of JPEG": b"\xff\xd8\xff",
    "text": b"a text that is not a picture at all",
    "GIF": encoded(COLOUR, "GIF"),
    "BMP": encoded(COLOUR, "BMP"),
    "PNG cut short": encoded(COLOUR)[:500],
    "JPEG cut short": encoded(COLOUR, "JPEG")[:400],
    "PNG of 0x0": png_header(0, 0),
    "PNG without pixels": png_header(8, 8),
}


@pytest.mark.parametrize("data", NO_PICTURES.values(), ids=NO_PICTURES)
def test_bytes_that_are_no_picture_are_invalid_argument(restore_bytes, data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        restore_bytes(data)


@pytest.mark.parametrize(
    "size", [(100_000, 100_000), (2**31 - 1, 2**31 - 1), (2**32 - 1, 2**32 - 1)]
)
def test_a_huge_picture_is_refused_from_its_header(restore_bytes, size):
    with pytest.raises(tf.errors.InvalidArgumentError, match="larger than"):
        restore_bytes(png_header(*size))


@pytest.mark.parametrize(
    "request_bytes", [tf.constant(b"x"), tf.constant([[b"x"]]), tf.constant([1])]
)
def test_encoded_pictures_of_a_wrong_rank_or_dtype_are_invalid_argument(service, request_bytes):
    with pytest.raises(tf.errors.InvalidArgumentError):
        service.signatures["serve_bytes"](image_bytes=request_bytes)


def test_the_service_still_answers_after_bad_requests(restore, restore_bytes):
    for bad in (b"x", png_header(10**5, 10**5)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            restore_bytes(bad)
    assert restore(np.zeros((1, 4, 4, 1), np.float32)).shape == (1, 4, 4, 3)


@pytest.mark.parametrize("size", [(449, 450), (907, 31), (460, 901)])
def test_a_picture_of_several_tiles_equals_the_whole(exported, restore_bytes, size):
    # More than one tile, a last one that moves inwards, and sides that the divisor does not divide.
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    grey = arrays.luminance(arrays.to_float(pixels)).astype(np.float32)
    expected = 255 * np.clip(restorer.restore_picture(exported.model, grey, 2), 0, 1)
    received = np.asarray(Image.open(io.BytesIO(restore_bytes(encoded(pixels))[0])))
    assert received.shape == (*size, 3)
    assert np.abs(received - expected).max() <= 0.5 + 1e-3


def test_jpeg_comes_back_where_it_is_asked_for(service, restore_bytes):
    answer = service.signatures["serve_jpeg"](image_bytes=tf.constant([encoded(COLOUR)]))
    received = Image.open(io.BytesIO(answer["restored_bytes"].numpy()[0]))
    assert received.format == "JPEG"
    expected = np.asarray(Image.open(io.BytesIO(restore_bytes(encoded(COLOUR))[0])), int)
    assert np.abs(np.asarray(received, int) - expected).mean() < 4
