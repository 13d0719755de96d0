"""Loads a model's versions, and takes up new ones while the old one answers."""

import contextlib
import re
import sys
import threading
import time

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from protocol import RequestError
from tensorflow.core.protobuf import saved_model_pb2


def log(text):
    """Writes a line to stderr."""
    print(text, file=sys.stderr, flush=True)


class Version:
    """One loaded version folder."""

    def __init__(self, folder):
        self.number = int(folder.name)
        self._loaded = tf.saved_model.load(str(folder))
        self.inputs = {
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

    def run(self, signature, inputs):
        """Runs a signature on arrays; RequestError if it refuses them."""
        tensors = {
            name: tf.constant(array, self.inputs[signature][name].dtype)
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
        for signature, specs in self.inputs.items():
            inputs = {
                name: np.full(
                    [size or 1 for size in spec.shape],
                    b"" if spec.dtype == tf.string else 0,
                    spec.dtype.as_numpy_dtype,
                )
                for name, spec in specs.items()
            }
            # No bytes are no picture; that too warms up.
            with contextlib.suppress(RequestError):
                self.run(signature, inputs)


def _cause(error):
    # TensorFlow tells the cause on the line before the node's name.
    text = getattr(error, "message", str(error)).split("\n\t [[")[0].strip()
    return text.splitlines()[-1] if text else type(error).__name__


class Versions:
    """Keeps the highest version of a model's folder loaded."""

    def __init__(self, folder, poll_s):
        self._folder, self._poll_s = folder, poll_s
        self._seen, self._failed = {}, {}
        self.current = None

    def start(self):
        """Loads what is there, and looks for newer versions from now on."""
        self.poll()
        time.sleep(min(self._poll_s, 0.5))
        self.poll()
        threading.Thread(target=self._poll_forever, daemon=True).start()

    def poll(self):
        """Takes up the highest version that lies still and loads; without one, keeps the old."""
        seen = {}
        for path in self._folder.iterdir():
            if re.fullmatch(r"[0-9]+", path.name) and (path / "saved_model.pb").is_file():
                files = sorted(file for file in path.rglob("*") if file.is_file())
                seen[path] = [
                    (file, file.stat().st_size, file.stat().st_mtime_ns) for file in files
                ]
        before, self._seen = self._seen, seen
        for path in sorted(seen, key=lambda path: int(path.name), reverse=True):
            if self.current and int(path.name) == self.current.number:
                return
            # A version that changed since the last look is being copied. One that was copied in
            # part does not load: TensorFlow checks the variables' checksums.
            if seen[path] != before.get(path) or seen[path] == self._failed.get(path):
                continue
            try:
                self.current = Version(path)
            except Exception as error:
                self._failed[path] = seen[path]
                log(f"version {path.name} was not loaded: {_cause(error)}")
                continue
            log(f"serving version {path.name}")
            return

    def _poll_forever(self):
        while True:
            time.sleep(self._poll_s)
            try:
                self.poll()
            except OSError as error:  # A file vanished in between: look again.
                log(f"{self._folder} was not read: {error}")
