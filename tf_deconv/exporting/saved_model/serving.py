"""Configuration for TensorFlow Serving beside an export: which model, and how to batch requests."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_MODELS = """\
# tensorflow_model_server --model_config_file=FILE. base_path is where the folder that holds the
# versions lies for the server; the newest version is served, and a new one without a restart.
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""

_BATCHING = """\
# tensorflow_model_server --enable_batching --batching_parameters_file=FILE. Requests are joined
# along the first axis: only switch it on where all pictures of serving_default have one size. A
# batch of different sizes fails as a whole, and pad_variable_length_inputs would change pictures.
# serve_bytes takes different sizes and restores them one by one; a bad one fails its batch.
max_batch_size { value: 8 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 100 }
num_batch_threads { value: 2 }
"""


def write_configs(folder: pathlib.Path, name: str, *, batching: bool = True) -> None:
    """Writes the configuration of a model of this name into a new folder.

    Args:
      folder: Receives `models.config` and, with `batching`, `batching.config`.
      name: Of the model.
      batching: Whether requests can be joined; those that hold scalars cannot.
    """
    folder.mkdir()
    (folder / "models.config").write_text(_MODELS.format(name=name), encoding="utf-8")
    if batching:
        (folder / "batching.config").write_text(_BATCHING, encoding="utf-8")


WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


def write_warmup(
    saved_model_folder: pathlib.Path, name: str, requests: Mapping[str, Mapping[str, Any]]
) -> pathlib.Path:
    """Writes one record per signature.

    Args:
      saved_model_folder: The version's folder, of `saved_model.pb`; a file there is replaced.
      name: The model's name in TensorFlow Serving.
      requests: Signature to input name to tensor, array or nested list, bytes for strings.
    Returns:
      The file's path.
    Raises:
      ValueError: if there is no request, or one without inputs.
    """
    empty = [signature for signature, inputs in requests.items() if not inputs]
    if empty or not requests:
        raise ValueError(f"requests: expected inputs for each signature, none for {empty or 'any'}")
    path = saved_model_folder / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests.items():
            log = PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = name
            request.model_spec.signature_name = signature
            for key, value in inputs.items():
                request.inputs[key] = tf.make_tensor_proto(value).SerializeToString(True)
            writer.write(log.SerializeToString(deterministic=True))
    return path


def _prediction_log() -> type:
    """Builds the messages of tensorflow/serving's apis/*.proto, the fields that are written here.

    The package tensorflow-serving-api would bring them, and gRPC with them. They are kept out of
    protobuf's default pool, where that package's messages have the same names.
    """
    field = descriptor_pb2.FieldDescriptorProto
    package = "tensorflow.serving"
    file = descriptor_pb2.FileDescriptorProto(
        name="tf_deconv/warmup.proto", package=package, syntax="proto3"
    )

    def add(messages: Any, message: str, **fields: tuple[int, int | str]) -> Any:
        added = messages.add(name=message)
        for name, (number, kind) in fields.items():
            described = added.field.add(name=name, number=number, label=field.LABEL_OPTIONAL)
            if isinstance(kind, str):
                described.type, described.type_name = field.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                described.type = kind
        return added

    messages = file.message_type
    add(messages, "ModelSpec", name=(1, field.TYPE_STRING), signature_name=(3, field.TYPE_STRING))
    predict = add(
        messages,
        "PredictRequest",
        model_spec=(1, "ModelSpec"),
        inputs=(2, "PredictRequest.InputsEntry"),
    )
    predict.field[1].label = field.LABEL_REPEATED
    # A TensorProto in truth; on the wire a message and its bytes are the same.
    entry = add(
        predict.nested_type, "InputsEntry", key=(1, field.TYPE_STRING), value=(2, field.TYPE_BYTES)
    )
    entry.options.map_entry = True
    add(messages, "PredictLog", request=(1, "PredictRequest"))
    add(messages, "PredictionLog", predict_log=(6, "PredictLog"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.PredictionLog"))


PredictionLog = _prediction_log()
