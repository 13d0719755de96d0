"""Generation: pictures from noise, by a VAE or a rectified flow."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_deconv.data import generation_batches
from tf_deconv.data.sources import Source, load_source
from tf_deconv.data.store import PictureStore
from tf_deconv.generation.generator import Generator, sample
from tf_deconv.generation.keras_generator import keras_generator
from tf_deconv.generation.spec import GeneratorSpec
from tf_deconv.images import arrays, sheets
from tf_deconv.inference import run_folder
from tf_deconv.networks.likelihoods import make_likelihood
from tf_deconv.networks.table import NETWORKS, parse_levels
from tf_deconv.networks.vae import LATENT
from tf_deconv.training import compilation
from tf_deconv.training.config import TrainConfig
from tf_deconv.training.monitor import monitor_of
from tf_deconv.training.objective import Objective
from tf_deconv.training.vae import VaeTrainer
from tf_deconv.utils.devices import Device
from tf_deconv.utils.options import UserError

VALIDATION_PICTURES = 2048
SAMPLE_PICTURES = 16
CALIBRATION_PICTURES = 64
# Larger pictures are cut to this unless --patch-size asks for another size.
LARGEST_SIDE_PX = 64
# Rows and columns of the preview, and the steps that a flow takes for it.
PREVIEW_ROWS, PREVIEW_COLUMNS = 6, 10
PREVIEW_STEPS, FINAL_STEPS = 8, 25
PREVIEW_SEED = 0


def make_generation(config: TrainConfig, device: Device) -> Generation:
    """Returns the objective of a network that generates."""
    return {"vae": VaeGeneration, "flow": FlowGeneration}[config.network](config, device)


class Generation(Objective):
    """What both kinds of generators share: the pictures, the labels and the preview."""

    examples = "pictures"

    def __init__(self, config: TrainConfig, device: Device):
        """Reads the pictures.

        Raises:
          UserError: if there are none, their size or labels do not fit, or there are too few.
        """
        self._wrapped: Generator | None = None
        divisor = NETWORKS[config.network].divisor
        source = load_source(
            config.data,
            config.patch_size or 1,
            config.validation_fraction,
            max_pixels=config.max_pixels,
            value_range=config.range,
            part="train",
            labels=config.conditional,
        )
        side = config.patch_size or _side_px(source, divisor, config.data)
        config = dataclasses.replace(config, patch_size=side)
        grey = source.training.grey and source.validation.grey
        self.facts = self.make_facts(config, side, 1 if grey else 3, _classes(config, source))
        colour = "grey" if grey else "colour"
        classes = f", {self.facts.classes} classes" if self.facts.classes else ""
        notes = [f"pictures: {side}x{side}, {colour}{classes}"]
        if source.training.pixels.dtype != np.uint8:
            notes.append(
                "note: the pictures were rounded to 8 bits, which is what a generator makes"
            )
        held_out = self._pictures(source.validation)
        indices = np.arange(min(SAMPLE_PICTURES, len(held_out.store)))
        pictures = arrays.to_float(held_out.cut(indices, None))
        training = self._pictures(source.training)
        first = np.arange(min(CALIBRATION_PICTURES, len(training.store)))
        samples = run_folder.Samples(
            calibration=arrays.to_float(training.cut(first, None)),
            degraded=tuple(pictures),
            clean=tuple(pictures),
            names=tuple(held_out.store.names[index] for index in indices),
            labels=tuple(map(int, held_out.labels(indices))) if self.facts.classes else (),
        )
        super().__init__(config, device, source, samples, notes)

    @staticmethod
    @abc.abstractmethod
    def make_facts(config: TrainConfig, side_px: int, channels: int, classes: int) -> GeneratorSpec:
        """Describes the generator that will be trained."""

    @abc.abstractmethod
    def make_batch(self) -> generation_batches.MakeBatch:
        """Returns what makes a batch of pictures, labels and a seed."""

    def build_network(self, precision: str) -> keras.Model:
        facts, network = self.facts, NETWORKS[self.config.network]
        options = dict(channels=facts.channels, classes=facts.classes)
        if self.config.filters is not None:
            levels = network.levels[""]
            options["filters"] = parse_levels("filters", self.config.filters, levels)
        if facts.kind == "vae":
            options["latent"] = facts.latent
            options["parameters"] = make_likelihood(facts.likelihood).parameters
        with compilation.dtype_policy(precision):
            return network.build(height=facts.height, width=facts.width, **options)

    def build(self) -> keras.Model:
        return self.build_network(self.device.precision)

    def build_saved(self) -> keras.Model:
        return self.build_network("float32")

    def compile(self, model: keras.Model) -> None:
        compilation.compile_model(model, self.config, self.device, metrics=[])

    def description(self) -> dict[str, Any]:
        return {
            "divisor": NETWORKS[self.config.network].divisor,
            "scale": 1,
            "generator": self.facts.to_json(),
        }

    def saved_weights(self, model, weights, saved):
        return weights

    def training_batches(self, first_epoch: int, part: int = 0, parts: int = 1) -> tf.data.Dataset:
        config = self.config
        return generation_batches.training_batches(
            self._pictures(self.source.training),
            self.make_batch(),
            batch_size=config.batch_size,
            steps_per_epoch=config.steps_per_epoch,
            seed=config.seed,
            first_epoch=first_epoch,
            part=part,
            parts=parts,
        )

    def validation_batches(self) -> tf.data.Dataset:
        return generation_batches.validation_batches(
            self._pictures(self.source.validation),
            self.make_batch(),
            batch_size=self.config.batch_size,
            count=VALIDATION_PICTURES,
            seed=self.config.seed,
        )

    def baseline(self, validation: tf.data.Dataset) -> float | None:
        return None

    def preview(self, saved: keras.Model, *, final: bool) -> np.ndarray:
        generator = self._generator(saved)
        count = PREVIEW_ROWS * PREVIEW_COLUMNS
        steps = FINAL_STEPS if final else PREVIEW_STEPS
        pictures = sample(generator, count, PREVIEW_SEED, steps=steps, solver="euler")
        return sheets.grid(pictures, PREVIEW_COLUMNS)

    def scores(self, saved: keras.Model) -> dict[str, Any]:
        return {}

    def score_lines(self, result: dict[str, Any]) -> list[str]:
        best = result[f"best_{self.monitor.name}"]
        return [
            f"best {self.monitor.label}: {self.monitor.text(best)}, on"
            f" {result['held_out_pictures']} held-out pictures"
        ]

    def _generator(self, saved: keras.Model) -> Generator:
        # One for all epochs, whose weights it follows: compiling it takes seconds.
        if self._wrapped is None or self._wrapped.model is not saved:
            self._wrapped = keras_generator(saved, self.facts)
        return self._wrapped

    def _pictures(self, store: PictureStore) -> generation_batches.Pictures:
        facts = self.facts
        return generation_batches.Pictures(store, facts.height, facts.channels, facts.classes)


class VaeGeneration(Generation):
    """A VAE, trained on its evidence lower bound."""

    monitor = monitor_of("vae")

    @staticmethod
    def make_facts(config: TrainConfig, side_px: int, channels: int, classes: int) -> GeneratorSpec:
        latent = config.latent or LATENT
        return GeneratorSpec("vae", side_px, side_px, channels, classes, latent, config.likelihood)

    def make_batch(self) -> generation_batches.MakeBatch:
        return generation_batches.vae_batch(self.facts.latent, bool(self.facts.classes))

    def build(self) -> keras.Model:
        config = self.config
        warmup = math.ceil(config.kl_warmup * config.epochs * config.steps_per_epoch)
        likelihood = make_likelihood(self.facts.likelihood)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return VaeTrainer(super().build(), likelihood, config.free_bits, warmup, replicas)

    def preview(self, saved: keras.Model, *, final: bool) -> np.ndarray:
        """Shows held-out pictures, under each what comes back of it, and new pictures."""
        generator = self._generator(saved)
        kept = np.stack(self.samples.degraded[:PREVIEW_COLUMNS])
        labels = self.samples.labels[:PREVIEW_COLUMNS]
        labels = np.array(labels, np.int32) if labels else None
        mean, _ = generator.encode(kept, labels)
        back = generator.decode(mean, labels)
        fill = np.ones((PREVIEW_COLUMNS - len(kept), *self.facts.shape), np.float32)
        new = sample(generator, (PREVIEW_ROWS - 2) * PREVIEW_COLUMNS, PREVIEW_SEED)
        return sheets.grid(np.concatenate([kept, fill, back, fill, new]), PREVIEW_COLUMNS)


class FlowGeneration(Generation):
    """A rectified flow, trained on the velocity from noise to picture."""

    monitor = monitor_of("flow")

    @staticmethod
    def make_facts(config: TrainConfig, side_px: int, channels: int, classes: int) -> GeneratorSpec:
        return GeneratorSpec("flow", side_px, side_px, channels, classes)

    def make_batch(self) -> generation_batches.MakeBatch:
        return generation_batches.flow_batch(self.facts.classes)


def _side_px(source: Source, divisor: int, data: str) -> int:
    """Decides the size of generated pictures from the source's."""
    stores = (source.training, source.validation)
    sizes = {
        size for store in stores for size in zip(store.heights.tolist(), store.widths.tolist())
    }
    shortest = min(min(size) for size in sizes)
    side = min(shortest, LARGEST_SIDE_PX) // divisor * divisor
    if len(sizes) == 1 and shortest <= LARGEST_SIDE_PX:
        (height, width) = sizes.pop()
        if (height, width) != (side, side):
            advice = f"--patch-size {side} would do, and cuts them" if side else "use larger ones"
            raise UserError(
                f"the pictures of {data!r} are {width}x{height}: expected a square of a multiple"
                f" of {divisor}; {advice}"
            )
    if not side:
        raise UserError(
            f"the smallest picture of {data!r} has a side of {shortest} pixels: expected at least"
            f" {divisor}"
        )
    return side


def _classes(config: TrainConfig, source: Source) -> int:
    """Returns how many classes a conditional generator has; 0 for any other."""
    if not config.conditional:
        return 0
    training, validation = source.training.labels, source.validation.labels
    if training is None:
        raise UserError(
            f"conditional=True with data={config.data!r}, which has no labels: expected IDX"
            " files of labels beside the pictures, a .npz with y_train, keras:NAME, or one"
            " folder for each class"
        )
    return int(max(training.max(), validation.max())) + 1
