"""Configuration for TensorFlow Serving beside an export: which model, and how to batch requests."""

from __future__ import annotations

import pathlib

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
