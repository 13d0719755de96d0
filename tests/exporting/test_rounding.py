"""Floats become 8 bits by rounding to the nearest grey level, in graphs too."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_deconv.degradations import operators
from tf_deconv.exporting.parity import gate
from tf_deconv.exporting.saved_model import restorer as saved_restorer
from tf_deconv.images import arrays, reading
from tf_deconv.inference import restorer
from tf_deconv.inference.run_folder import Samples
from tf_deconv.networks.article import build_article


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(3)
    return build_article(None, None, 3, 3)


@pytest.fixture(scope="module")
def service(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rounding") / "1"
    saved_restorer.write_saved_model(network, folder, divisor=2, scale=1, max_pixels=2**20, reach=6)
    return folder


@pytest.fixture
def reference(network):
    return gate.Reference(network, 2, 1, Samples(np.zeros(0), (), (), ()), ((28, 28),))


def as_bytes(pixels):
    return np.frombuffer(arrays.encode_png(pixels), np.uint8)


def test_halves_are_rounded_up_and_what_lies_outside_is_clipped():
    levels = np.array([-3, 0, 0.49, 0.5, 1.5, 127.49, 127.51, 254.4, 254.6, 255, 300], np.float32)
    received = operators.to_uint8(tf.constant(levels / np.float32(255)))
    assert received.dtype == tf.uint8
    assert received.numpy().tolist() == [0, 0, 0, 1, 2, 127, 128, 254, 255, 255, 255]


def test_an_encoded_picture_comes_back_as_the_networks_floats_rounded(network, service, rng):
    # x * 255.5 was cut off instead: 0.28 grey levels too dark on average, 28 % of values off by 1.
    pixels = arrays.to_uint8(rng.random((45, 61, 3)) * 0.5 + np.linspace(0, 0.5, 61)[:, None])
    floats = 255 * restorer.restore_picture(network, arrays.to_float(pixels), 2)
    signature = tf.saved_model.load(str(service)).signatures["serve_bytes"]
    encoded = signature(image_bytes=tf.constant([arrays.encode_png(pixels)]))["restored_bytes"]
    received = np.asarray(Image.open(io.BytesIO(encoded.numpy()[0])), np.float64)
    inside = (floats > 0) & (floats < 255)
    difference = (received - floats)[inside]
    assert np.abs(difference).max() <= 0.5 + 1e-3
    assert abs(difference.mean()) < 0.05


def test_jpeg_compresses_the_nearest_grey_levels(rng):
    # The operator cut off too: what tf_deconv trained on was darker than any file of the picture.
    image = rng.random((40, 56, 3), np.float32)
    rounded = arrays.to_float(arrays.to_uint8(image))
    for quality in (20, 90):
        received, expected = (
            operators.jpeg(tf.constant(each), quality, None) for each in (image, rounded)
        )
        np.testing.assert_array_equal(received, expected)


def test_the_gate_refuses_one_value_that_is_not_the_nearest(reference, rng):
    pixels = arrays.to_uint8(rng.random((45, 31, 3)))
    right = arrays.to_uint8(reference.restore(arrays.to_float(pixels)[np.newaxis])[0])
    case = as_bytes(pixels)
    assert gate._check_bytes("serve_bytes|png", case, as_bytes(right), reference) == []
    wrong = right.copy()
    wrong[7, 9, 1] = wrong[7, 9, 1] + 1 if wrong[7, 9, 1] < 128 else wrong[7, 9, 1] - 1
    (fault,) = gate._check_bytes("serve_bytes|png", case, as_bytes(wrong), reference)
    assert fault.startswith("serve_bytes|png: 1 of 4185 values are not Keras's rounded")


def test_the_gate_sends_a_picture_rounded(rng):
    picture = rng.random((45, 31, 3), np.float32)
    sent = reading.read_rgb(gate.encode_pictures(picture)["png"].tobytes())
    np.testing.assert_array_equal(sent, arrays.to_uint8(picture))


def test_the_gate_sends_a_jpeg_on_its_side(reference, rng):
    case = gate.encode_pictures(rng.random((45, 31, 3), np.float32))["jpeg"]
    upright = reading.read_rgb(case.tobytes())
    assert upright.shape == (31, 45, 3)
    on_its_side = arrays.to_uint8(reference.restore(arrays.to_float(upright)[np.newaxis])[0])
    on_its_side = on_its_side.swapaxes(0, 1)
    (fault,) = gate._check_bytes("serve_bytes|jpeg", case, as_bytes(on_its_side), reference)
    assert fault == "serve_bytes|jpeg: gives (45, 31, 3), expected (31, 45, 3)"


def test_no_picture_counts_with_more_than_rounding_leaves(rng):
    # What was not damaged comes back with 64 dB or is equal: such dB decided a mean over pictures.
    clean = rng.random((64, 64, 3))
    rounded = np.rint(255 * clean) / 255
    assert gate.seen_psnr_db(rounded, clean) == pytest.approx(gate.SEEN_DB, abs=0.1)
    assert gate.seen_psnr_db(clean, clean) == gate.seen_psnr_db(clean + 1e-4, clean) == gate.SEEN_DB
    assert gate.seen_psnr_db(clean + 0.1, clean) == pytest.approx(20.0, abs=1)
