"""The parts of an export in which networks that restore and generators differ.

`pipeline` finds the model, stages, publishes and reports; an `Exporter` knows what is written, and
what must come back from it.
"""

from __future__ import annotations

import abc
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import keras

from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.parity.gate import Report
from tf_deconv.exporting.variants import VARIANTS, parse_variants
from tf_deconv.inference.tflite_file import TfliteFile
from tf_deconv.utils.options import UserError

# Signature to input name to tensor or array: what warms a server up.
Requests = Mapping[str, Mapping[str, Any]]


class Exporter(abc.ABC):
    """One model on its way into files.

    Attributes:
      path: Its `.keras` file.
      description: What that tells of itself.
      config: The options.
      model: The Keras model, float32.
    """

    # Whether TensorFlow Serving can join requests.
    batching = True
    model: keras.Model

    def __init__(
        self,
        path: pathlib.Path,
        description: dict[str, Any],
        config: ExportConfig,
        report: Callable[[str], None],
    ):
        self.path, self.description, self.config, self.report = path, description, config, report

    @classmethod
    @abc.abstractmethod
    def check_options(cls, config: ExportConfig) -> None:
        """Refuses, before anything is loaded, options that such a model cannot be exported with.

        Raises:
          UserError: naming them.
        """

    @property
    @abc.abstractmethod
    def variants(self) -> tuple[str, ...]:
        """Names in `VARIANTS` of the TFLite files to make."""

    @abc.abstractmethod
    def write_saved_model(self, folder: pathlib.Path) -> Requests:
        """Writes the SavedModel into a folder that does not exist; returns requests to warm it."""

    @abc.abstractmethod
    def check_saved_model(self, folder: pathlib.Path, file: str) -> Report:
        """Compares the SavedModel with Keras; `file` is its name in the export."""

    @abc.abstractmethod
    def convert(self) -> dict[str, TfliteFile]:
        """Returns the TFLite file of each variant, not packed yet."""

    @abc.abstractmethod
    def check_tflite(
        self, path: pathlib.Path, unpacked: TfliteFile, variant: str, file: str
    ) -> Report:
        """Compares a `.tflite` file, and what it was packed from, with Keras."""

    def write_others(self, staging: pathlib.Path, name: str) -> list[Report]:
        """Writes and checks files of other formats."""
        return []

    @abc.abstractmethod
    def write_golden(self, folder: pathlib.Path) -> None:
        """Writes a known input and what Keras makes of it (`golden`)."""

    @abc.abstractmethod
    def contract(self) -> dict[str, Any]:
        """Returns what the manifest tells of inputs and outputs."""

    @abc.abstractmethod
    def make_card(self, manifest: dict[str, Any], lines: list[str], has_picture: bool) -> str:
        """Writes the model card, as `manifest.make_card` does."""

    @abc.abstractmethod
    def timed_signature(self, file: str) -> str:
        """Returns the signature of a file whose latency is shown."""

    @abc.abstractmethod
    def next_command(self, target: pathlib.Path, file: str) -> str:
        """Returns what to try next with a published file of the folder `target`."""


class FloatExporter(Exporter):
    """A model of which something that goes in or comes out must be float."""

    # Options that such a model cannot be exported with, and why.
    refused: tuple[str, ...]
    reason: str

    @classmethod
    def check_options(cls, config: ExportConfig) -> None:
        given = {name: getattr(config, name) for name in cls.refused}
        refused = [f"{name}={value!r}" for name, value in given.items() if value]
        full = [name for name in (config.variants or "").split() if VARIANTS[name].int8_pictures]
        refused += [f"variants={name!r}" for name in full]
        if refused:
            raise UserError(f"{', '.join(refused)}: the model {cls.reason}; leave it out")

    @property
    def variants(self) -> tuple[str, ...]:
        names = parse_variants(self.config.variants, self.config.profile)
        return tuple(name for name in names if not VARIANTS[name].int8_pictures)
