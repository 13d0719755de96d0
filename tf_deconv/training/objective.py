"""The interface between `trainer.Trainer` and what a run trains for."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_deconv.data.sources import Source
from tf_deconv.images.value_range import Levels
from tf_deconv.inference.run_folder import Samples
from tf_deconv.training.config import TrainConfig
from tf_deconv.training.monitor import Monitor
from tf_deconv.utils.devices import Device


class Objective(abc.ABC):
    """What a run trains for, with its pictures: whole once it is constructed.

    Attributes:
      config: The options, with what the pictures decide filled in.
      device: Where to train.
      source: The pictures.
      samples: What the run keeps for its export.
      notes: Lines for the user about the pictures.
      monitor: The figure that tells which epoch was the best.
      examples: What a batch holds, for messages: "patches" or "pictures".
    """

    monitor: Monitor
    examples = "patches"

    def __init__(
        self,
        config: TrainConfig,
        device: Device,
        source: Source,
        samples: Samples,
        notes: Sequence[str] = (),
    ):
        self.config, self.device = config, device
        self.source, self.samples, self.notes = source, samples, tuple(notes)

    @abc.abstractmethod
    def build(self) -> keras.Model:
        """Returns the model to train; called where its variables are to lie."""

    @property
    def ranges(self) -> Mapping[str, Levels]:
        """Which values of the pictures' files are black and white."""
        return self.source.training.ranges

    def network_in(self, model: keras.Model) -> keras.Model:
        """Returns the network itself, whose layers --init fills, in what `build` made."""
        return model

    @abc.abstractmethod
    def build_saved(self) -> keras.Model:
        """Returns the float32 model that is saved, scored and exported."""

    @abc.abstractmethod
    def compile(self, model: keras.Model) -> None:
        """Compiles the model to train, its optimizer built."""

    @abc.abstractmethod
    def description(self) -> dict[str, Any]:
        """Returns what a model file tells of the network besides its options."""

    @abc.abstractmethod
    def saved_weights(
        self, model: keras.Model, weights: list[np.ndarray], saved: keras.Model
    ) -> list[np.ndarray]:
        """Turns weights of the trained model, or averages of them, into those of the saved one."""

    @abc.abstractmethod
    def training_batches(self, first_epoch: int, part: int = 0, parts: int = 1) -> tf.data.Dataset:
        """Endless batches, as a function of (seed, epoch, step); of each the rows of one part."""

    @abc.abstractmethod
    def validation_batches(self) -> tf.data.Dataset:
        """The same batches each time."""

    @abc.abstractmethod
    def baseline(self, validation: tf.data.Dataset) -> float | None:
        """Returns what is monitored for doing nothing; None where that means nothing."""

    @abc.abstractmethod
    def preview(self, saved: keras.Model, *, final: bool) -> np.ndarray:
        """Draws what the network now makes, (H, W, 3) uint8; larger at the end."""

    @abc.abstractmethod
    def scores(self, saved: keras.Model) -> dict[str, Any]:
        """Returns what goes into metrics.json besides the figures of training."""

    @abc.abstractmethod
    def score_lines(self, result: dict[str, Any]) -> list[str]:
        """Lays out for people what `scores` returned."""

    def advice(self) -> list[str]:
        """Returns what to tell at the very end."""
        return []
