"""Exports of generators: a VAE's or a flow's signatures, and what is checked of them.

A file must give what Keras gives twice over: each signature on latents, pictures and noise, and
whole pictures that are sampled through it.
"""

from __future__ import annotations

import functools
import pathlib
import shlex
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_deconv.exporting import golden
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.exporter import FloatExporter, Requests
from tf_deconv.exporting.model_card import make_generator_card
from tf_deconv.exporting.parity import gate
from tf_deconv.exporting.parity.gate import Report
from tf_deconv.exporting.saved_model import generator
from tf_deconv.exporting.variants import PROFILES, VARIANTS
from tf_deconv.generation import noise, opening
from tf_deconv.generation.config import FLOW_GUIDANCE, FLOW_SOLVER, FLOW_STEPS
from tf_deconv.generation.generator import from_picture, labels_of, sample
from tf_deconv.generation.keras_generator import keras_generator
from tf_deconv.generation.spec import read_spec
from tf_deconv.inference import run_folder
from tf_deconv.inference.tflite_file import TfliteFile

# Latents, or pictures and times, that signatures are compared on; pictures that are sampled.
CASES, PICTURES = 16, 4
# Seeds of the noise of the latents, and of the sampled pictures.
CASES_SEED, PICTURES_SEED = 1, 7
TIMES = (0.0, 0.25, 0.5, 0.9)
# The largest difference allowed of sampled pictures, in files that compute with the weights as they
# are, and of an encoder's results as a share of the largest.
TOLERANCE = 1e-4
# Pictures lie in [0, 1], velocities between them and noise in about [-2, 2]: their errors count
# half, as they do in a picture.
_RANGES = {"image": 1.0, "velocity": 2.0}

Arrays = dict[str, np.ndarray]


class GeneratorExporter(FloatExporter):
    """A generator."""

    # `sample` takes scalars, which TensorFlow Serving does not join.
    batching = False
    refused = ("sizes", "qat", "onnx", "coreml")
    reason = (
        "generates pictures, of one size and from float noise, and is exported as a SavedModel and"
        " TFLite files with float results"
    )

    def __init__(
        self,
        path: pathlib.Path,
        description: dict[str, Any],
        config: ExportConfig,
        report: Callable[[str], None],
    ):
        super().__init__(path, description, config, report)
        self.facts = read_spec(description, str(path))
        self.model = run_folder.load_any_model(path)
        self.generator = keras_generator(self.model, self.facts)
        self.signature, self.result = opening.SIGNATURES[self.facts.kind]
        self.pictures, self.labels = self._held_out()

    def write_saved_model(self, folder: pathlib.Path) -> Requests:
        generator.write_saved_model(self.model, self.facts, folder)
        one = {key: array[:1] for key, array in self.inputs.items()}
        requests = {
            "serving_default": self._sample_inputs(1),
            "sample": self._sample_inputs(1),
            self.signature: one,
        }
        if self.facts.kind == "vae":
            requests["encode"] = {key: array[:1] for key, array in self._encode_inputs().items()}
        return requests

    def check_saved_model(self, folder: pathlib.Path, file: str) -> Report:
        report = gate.examine_saved_model(folder, file)
        cases, expected = self._batches(self.signature, self.inputs, {self.result: self.outputs})
        of_encoder: Arrays = {}
        if self.facts.kind == "vae":
            mean, log_variance = self.generator.encode(self.pictures, self.labels)
            results = {"mean": mean, "log_variance": log_variance}
            inputs, of_encoder = self._batches("encode", self._encode_inputs(), results)
            cases |= inputs
        # One picture last: its time is the one that is noted.
        for number, count in enumerate((PICTURES, 1)):
            inputs = self._sample_inputs(count)
            cases |= {f"sample|{number}|{name}": value for name, value in inputs.items()}
        results = gate.run_for(report, folder, cases)
        if not results:
            return report
        self._measure(report, results, expected)
        for key, wanted in of_encoder.items():
            worst = np.abs(results[key] - wanted).max() / max(1.0, np.abs(wanted).max())
            if not worst <= TOLERANCE:
                report.faults.append(f"{key}: {worst:.1e} from Keras, expected {TOLERANCE:g}")
        own = opening.saved_model_generator(folder, self.facts)
        by_steps = sample(own, PICTURES, PICTURES_SEED)
        made = [results[f"sample|{number}|image"] for number in (0, 1)]
        self._compare_pictures(report, [*made, by_steps], TOLERANCE)
        return report

    def convert(self) -> dict[str, TfliteFile]:
        profile = PROFILES[self.config.profile]
        return generator.convert(
            self.model,
            self.facts,
            self.variants,
            keep_relu=profile.keep_relu,
            phased=profile.phased,
        )

    def check_tflite(
        self, path: pathlib.Path, unpacked: TfliteFile, variant: str, file: str
    ) -> Report:
        network = generator.network_of(self.model, self.facts)
        report = gate.examine_tflite(unpacked, variant, network.count_params(), file)
        cases, expected = {}, {}
        for number in range(len(self.outputs)):
            key, one = f"{self.signature}|{number}", slice(number, number + 1)
            cases |= {f"{key}|{name}": array[one] for name, array in self.inputs.items()}
            expected[f"{key}|{self.result}"] = self.outputs[one]
        results = gate.run_for(report, path, cases)
        if not results:
            return report
        self._measure(report, results, expected)
        own = opening.tflite_generator(path, self.facts)
        # Rounded weights make other pictures, the more so the more steps: noted, not refused.
        tolerance = TOLERANCE if VARIANTS[variant].bytes_per_parameter == 4 else None
        self._compare_pictures(report, [sample(own, PICTURES, PICTURES_SEED)], tolerance)
        return report

    def write_golden(self, folder: pathlib.Path) -> None:
        inputs = {name: array[:1] for name, array in self.inputs.items()}
        golden.write_named(folder, self.signature, inputs, {self.result: self.outputs[:1]})

    def contract(self) -> dict[str, Any]:
        sampler = dict(
            steps=FLOW_STEPS,
            solver=FLOW_SOLVER,
            guidance=FLOW_GUIDANCE if self.facts.classes else None,
        )
        return {
            "generator": self.facts.to_json(),
            "noise": "threefry2x32, docs/noise.md",
            **({"sampler": sampler} if self.facts.kind == "flow" else {}),
            "tflite_signatures": [self.signature],
            "profile": self.config.profile,
            "parameters": self.model.count_params(),
        }

    def make_card(self, manifest: dict[str, Any], lines: list[str], has_picture: bool) -> str:
        return make_generator_card(manifest, lines, has_picture)

    def timed_signature(self, file: str) -> str:
        return self.signature

    def next_command(self, target: pathlib.Path, file: str) -> str:
        model = shlex.quote(str(target / file))
        return f"tf-deconv sample {model} --count 64 --seed 7 --out samples"

    @functools.cached_property
    def inputs(self) -> Arrays:
        """Inputs of `decode` or `step`, one batch."""
        if self.facts.kind == "vae":
            label = labels_of(self.facts, CASES)
            inputs = {"latent": noise.normal(CASES_SEED, CASES, self.facts.noise_size)}
        else:
            count, label = len(self.pictures), self.labels
            t = np.resize(np.array(TIMES, np.float32), count)
            start = noise.normal(CASES_SEED, count, self.facts.noise_size)
            share = t[:, None, None, None]
            x = share * from_picture(self.pictures)
            x += (1 - share) * start.reshape(self.pictures.shape)
            inputs = {"x": x.astype(np.float32), "t": t}
            if label is not None:
                # At each of the times, some pictures are asked for without a label.
                label = np.where(np.arange(count) % 5 == 4, self.facts.classes, label)
        return inputs if label is None else inputs | {"label": label.astype(np.int32)}

    @functools.cached_property
    def outputs(self) -> np.ndarray:
        """What Keras gives for `inputs`."""
        label = self.inputs.get("label")
        if self.facts.kind == "vae":
            return self.generator.decode(self.inputs["latent"], label)
        return self.generator.velocity(self.inputs["x"], self.inputs["t"], label)

    @functools.cached_property
    def sampled(self) -> np.ndarray:
        """Pictures that Keras makes, (PICTURES, H, W, C)."""
        return sample(self.generator, PICTURES, PICTURES_SEED)

    def _held_out(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns up to CASES pictures of the run; a lone `.keras` file makes its own."""
        beside = self.path.with_name(run_folder.SAMPLES_FILE)
        if beside.is_file():
            kept = run_folder.load_samples(beside)
            pictures = np.stack(kept.degraded[:CASES])
            fits = pictures.shape[1:] == self.facts.shape
            if fits and (not self.facts.classes or len(kept.labels) >= len(pictures)):
                labels = np.array(kept.labels[: len(pictures)], np.int32)
                return pictures, labels if self.facts.classes else None
        labels = labels_of(self.facts, CASES)
        return sample(self.generator, CASES, CASES_SEED, steps=4), labels

    def _encode_inputs(self) -> Arrays:
        label = {} if self.labels is None else {"label": self.labels}
        return {"image": self.pictures} | label

    def _sample_inputs(self, count: int) -> Arrays:
        inputs = {"count": np.int32(count), "seed": np.int32(PICTURES_SEED)}
        return inputs | ({"label": np.int32(-1)} if self.facts.classes else {})

    def _batches(self, signature: str, inputs: Arrays, outputs: Arrays) -> tuple[Arrays, Arrays]:
        """Returns cases and what shall come back: all at once, then the first alone."""
        cases, expected = {}, {}
        for number, count in enumerate((len(next(iter(inputs.values()))), 1)):
            for arrays, kept in ((inputs, cases), (outputs, expected)):
                for name, array in arrays.items():
                    kept[f"{signature}|{number}|{name}"] = array[:count]
        return cases, expected

    def _measure(self, report: Report, results: Arrays, expected: Arrays) -> None:
        pairs = [(key, results[key], wanted) for key, wanted in expected.items()]
        gate.measure(report, pairs, _RANGES[self.result])

    def _compare_pictures(
        self, report: Report, made: list[np.ndarray], tolerance: float | None
    ) -> None:
        worst = max(float(np.abs(each - self.sampled[: len(each)]).max()) for each in made)
        report.sample_difference = worst
        if tolerance is not None and not worst <= tolerance:
            report.faults.append(
                f"sampled pictures are {worst:.1e} from Keras's: expected at most {tolerance:g}"
            )
