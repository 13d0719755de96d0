"""The warmup records: what TensorFlow Serving will replay is what the signatures answer."""

import importlib.util
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from tf_deconv.exporting.saved_model import serving
from tf_deconv.images import arrays

NAME = "old-photo-article"


@pytest.fixture(scope="module")
def requests():
    pixels = np.random.default_rng(3).integers(0, 256, (5, 7, 3), np.uint8)
    return {
        "serving_default": {"image": np.random.default_rng(4).random((2, 6, 8, 1), np.float32)},
        "serve_bytes": {"image_bytes": [arrays.encode_png(pixels), arrays.encode_png(pixels[:2])]},
    }


@pytest.fixture(scope="module")
def version(exported, requests, tmp_path_factory):
    folder = tmp_path_factory.mktemp("warmup") / "1"
    shutil.copytree(exported.folder / "1", folder)
    serving.write_warmup(folder, NAME, requests)
    return folder


@pytest.fixture(scope="module")
def records(version):
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    return [record.numpy() for record in tf.data.TFRecordDataset(str(path))]


def test_each_record_is_answered_by_its_signature(version, records, requests):
    loaded = tf.saved_model.load(str(version))
    replayed = {}
    for record in records:
        request = serving.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.name == NAME
        inputs = {
            name: tf.constant(tf.make_ndarray(tensor_pb2.TensorProto.FromString(tensor)))
            for name, tensor in request.inputs.items()
        }
        signature = request.model_spec.signature_name
        replayed[signature] = loaded.signatures[signature](**inputs)
    assert replayed["serving_default"]["restored"].shape == (2, 6, 8, 3)
    png = replayed["serve_bytes"]["restored_bytes"].numpy()
    assert [tf.io.decode_png(picture).shape for picture in png] == [(5, 7, 3), (2, 7, 3)]
    expected = loaded.signatures["serving_default"](
        image=tf.constant(requests["serving_default"]["image"])
    )
    np.testing.assert_array_equal(replayed["serving_default"]["restored"], expected["restored"])


def test_records_written_twice_are_the_same_bytes(version, requests, records):
    path = serving.write_warmup(version, NAME, requests)
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(path))] == records


@pytest.mark.parametrize("requests", [{}, {"serve_bytes": {}}])
def test_a_request_without_inputs_is_refused(tmp_path, requests):
    with pytest.raises(ValueError, match="expected inputs for each signature"):
        serving.write_warmup(tmp_path, NAME, requests)


@pytest.mark.clients
def test_records_parse_as_the_real_prediction_log(records, requests):
    if importlib.util.find_spec("tensorflow_serving") is None:
        if os.environ.get("TF_DECONV_REQUIRE_CLIENTS") == "1":
            pytest.fail("tensorflow-serving-api is not installed")
        pytest.skip("tensorflow-serving-api is not installed")
    from tensorflow_serving.apis import prediction_log_pb2

    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    assert [log.WhichOneof("log_type") for log in logs] == ["predict_log"] * len(requests)
    for log, (signature, inputs) in zip(logs, requests.items()):
        request = log.predict_log.request
        assert request.model_spec.name == NAME
        assert request.model_spec.signature_name == signature
        assert set(request.inputs) == set(inputs)
        for name, tensor in inputs.items():
            np.testing.assert_array_equal(tf.make_ndarray(request.inputs[name]), tensor)
        # Equal to what is built from these fields alone: nothing landed in unknown ones.
        rebuilt = prediction_log_pb2.PredictionLog()
        rebuilt.predict_log.request.model_spec.CopyFrom(request.model_spec)
        for name in inputs:
            rebuilt.predict_log.request.inputs[name].CopyFrom(request.inputs[name])
        assert rebuilt == log
