"""A worker's side: a version of the model in a process of its own, and what a request may hold."""

import pathlib
import signal

import numpy as np
import tensorflow as tf
from errors import RequestError, as_json
from google.protobuf import json_format
from protocol import parse, read_inputs, write_outputs
from tensorflow.core.protobuf import saved_model_pb2

# What is answered in the lane of quick requests: a picture of 256x256, a tenth of a second.
QUICK_PIXELS = 256 * 256


def serve(connection, folder, limits):
    """Loads a version, says so, and answers requests until the server is gone.

    Args:
      connection: To the server; (is loaded, facts or cause) goes out first, then for each body that
        comes in (status, body), with None for a request that is for the other lane.
      folder: The version's.
      limits: `max_rows`, `max_pixels` and `max_values` of a request, and whether it `is_quick`.
    """
    # The server ends its workers: they finish what they do when the whole group is signalled.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        model = Model(pathlib.Path(folder), limits)
    except Exception as error:
        connection.send((False, _cause(error)))
        return
    connection.send((True, model.signature_def))
    try:
        while True:
            connection.send(model.answer(connection.recv_bytes()))
    except (EOFError, OSError):
        return


class Model:
    """A loaded version."""

    def __init__(self, folder, limits):
        self._limits = limits
        self._loaded = tf.saved_model.load(str(folder))
        self._inputs = {
            name: function.structured_input_signature[1]
            for name, function in self._loaded.signatures.items()
        }
        saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        self.signature_def = {
            name: json_format.MessageToDict(
                definition,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            for name, definition in saved.meta_graphs[0].signature_def.items()
        }
        self._warm_up()

    def answer(self, body):
        """Returns (status, body) for the body of a predict request."""
        try:
            request = parse(body, self._limits["max_values"])
            signature = request.get("signature_name", "serving_default")
            if signature not in self._inputs:
                expected = sorted(self._inputs)
                raise RequestError(400, f"signature_name {signature!r}: expected one of {expected}")
            inputs, is_row = read_inputs(request, self._inputs[signature])
            if not self._is_within(signature, inputs):
                return None, b""
            return 200, write_outputs(self._run(signature, inputs), is_row)
        except RequestError as error:
            return error.status, as_json(error)
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            return 400, as_json(f"malformed request: {error}")
        except MemoryError:
            return 503, as_json("out of memory: send fewer or smaller pictures")
        except Exception as error:
            return 500, as_json(f"{type(error).__name__}: {error}")

    def _is_within(self, signature, inputs):
        """Tells whether the request is for this lane; RequestError if it is for none."""
        rows, pixels = self._size(signature, inputs)
        for name, found in (("rows", rows), ("pixels", pixels)):
            limit = self._limits[f"max_{name}"]
            if found > limit:
                text = f"the request has {found} {name}, at most {limit} are taken: send fewer"
                raise RequestError(413, f"{text}, in several requests")
        return pixels <= QUICK_PIXELS or not self._limits["is_quick"]

    def _size(self, signature, inputs):
        """Returns (rows, pixels) of a request; of encoded pictures from their headers."""
        rows = pixels = 0
        for name, array in inputs.items():
            if array.dtype == object:
                count = array.size
                pixels += sum(count_pixels(data) for data in array.flat)
            elif name == "count" and not array.ndim:
                # A generator's pictures, which the request only counts.
                count = int(array)
                outputs = self._loaded.signatures[signature].structured_outputs
                sizes = [spec.shape[1:3] for spec in outputs.values() if spec.shape.rank == 4]
                pixels += max((count * size.num_elements() for size in sizes), default=0)
            else:
                count = len(array) if array.ndim else 1
                pixels += int(np.prod(array.shape[:3], dtype=float)) if array.ndim == 4 else 0
            rows = max(rows, count)
        return rows, pixels

    def _run(self, signature, inputs):
        tensors = {
            name: tf.constant(array, self._inputs[signature][name].dtype)
            for name, array in inputs.items()
        }
        try:
            outputs = self._loaded.signatures[signature](**tensors)
        except tf.errors.ResourceExhaustedError as error:
            raise RequestError(503, "out of memory: send fewer or smaller pictures") from error
        except (tf.errors.InvalidArgumentError, ValueError, TypeError) as error:
            raise RequestError(400, _cause(error)) from error
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    def _warm_up(self):
        """The first call sets up the graph; no client should wait for that."""
        for signature, specs in self._inputs.items():
            inputs = {
                name: np.full(
                    [size or 1 for size in spec.shape],
                    b"" if spec.dtype == tf.string else 0,
                    spec.dtype.as_numpy_dtype,
                )
                for name, spec in specs.items()
            }
            try:
                self._run(signature, inputs)
            except RequestError:
                continue  # No bytes are no picture; that too warms up.


def count_pixels(encoded):
    """Returns height * width that a PNG or JPEG file's header claims; 0 for any other bytes."""
    if encoded.startswith(b"\x89PNG\r\n\x1a\n"):
        return int.from_bytes(encoded[16:20], "big") * int.from_bytes(encoded[20:24], "big")
    if encoded.startswith(b"\xff\xd8\xff"):
        try:
            height, width, _ = tf.io.extract_jpeg_shape(encoded).numpy().tolist()
        except tf.errors.InvalidArgumentError:
            return 0  # The model refuses it.
        return height * width
    return 0


def _cause(error):
    # TensorFlow tells the cause on the line before the node's name.
    text = getattr(error, "message", str(error)).split("\n\t [[")[0].strip()
    return text.splitlines()[-1] if text else type(error).__name__
