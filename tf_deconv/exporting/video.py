"""Exports of networks for moving pictures: frame and state in, restored frame and next state out.

What is checked is a film: each file streams a clip of a hundred frames and more, and each frame
must be Keras's, the last as well as the first, so that nothing adds up.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_deconv.exporting import golden, onnx_file, publish
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.exporter import FloatExporter, Requests
from tf_deconv.exporting.model_card import make_video_card
from tf_deconv.exporting.parity import gate
from tf_deconv.exporting.parity.gate import Report
from tf_deconv.exporting.restoration import signature_sizes
from tf_deconv.exporting.saved_model import video as saved_video
from tf_deconv.exporting.tflite import convert as tflite_convert
from tf_deconv.exporting.tflite import polyphase
from tf_deconv.exporting.variants import PROFILES
from tf_deconv.images import metrics
from tf_deconv.inference import run_folder
from tf_deconv.inference.artifacts import to_float32
from tf_deconv.inference.streaming import keras_cell, restore_clip
from tf_deconv.inference.tflite_file import TfliteFile
from tf_deconv.networks import complexity, receptive_field
from tf_deconv.networks.table import STATE, STATE_STRIDE

# Frames of the clip that files stream, and its sides in the files of any size. They are small: a
# hundred frames of 256x256 would take minutes.
GATE_FRAMES, GATE_SIDES_PX = 100, (40, 44)
# A side that no divisor divides, and frames of a short batch.
ODD_SIDES_PX, ODD_FRAMES = (37, 53), 3
# Frames streamed in a signature that is larger than those of the long clip.
LARGE_FRAMES = 4
# Frames after which an edge of a window has done what it does to the picture within.
REACH_FRAMES, REACH_FILMS = 8, 3
# Of the requests that warm a server up: they are kept beside the model, and a state is large.
WARMUP_SIZE = (8, 8)
CASE = "stream"


class VideoExporter(FloatExporter):
    """A network that restores frames in their order, with a state between them."""

    # A state belongs to one film; joined requests of several would have to come in step.
    batching = False
    # An int8 state would be rounded a hundred times over.
    refused = ("qat", "coreml")
    reason = (
        "restores frames with a state between them, which is float, and is exported as a"
        " SavedModel, TFLite files and with --onnx an ONNX file"
    )

    def __init__(
        self,
        path: pathlib.Path,
        description: dict[str, Any],
        config: ExportConfig,
        report: Callable[[str], None],
    ):
        super().__init__(path, description, config, report)
        self.model = to_float32(run_folder.load_cell(path))
        self.divisor = description["divisor"]
        self.channels, self.state_channels = (each.shape[-1] for each in self.model.inputs)
        self.sizes = signature_sizes(config, description, self.divisor)
        self.clips, self.clean = self._held_out()

    @classmethod
    def check_options(cls, config: ExportConfig) -> None:
        super().check_options(config)
        if config.onnx:
            onnx_file.check_packages()

    def write_saved_model(self, folder: pathlib.Path) -> Requests:
        saved_video.write_saved_model(self.model, folder, divisor=self.divisor)
        frame, state = self._film(1, WARMUP_SIZE), self._zero_state(*WARMUP_SIZE)
        return {
            "serving_default": {"clip": frame[np.newaxis]},
            "stream": {"frame": frame, "state": state},
            "initial_state": {
                "count": np.int32(1),
                "height": np.int32(WARMUP_SIZE[0]),
                "width": np.int32(WARMUP_SIZE[1]),
            },
        }

    def check_saved_model(self, folder: pathlib.Path, file: str) -> Report:
        report = gate.examine_saved_model(folder, file)
        long = self._film(GATE_FRAMES, GATE_SIDES_PX)
        odd = self._film(ODD_FRAMES, ODD_SIDES_PX)
        pair = np.stack([odd, odd[::-1]])
        cases = {
            f"{CASE}|golden|film": self.golden,
            f"{CASE}|odd|film": odd,
            f"{CASE}|long|film": long,
            "serving_default|odd|clip": pair,
            "serving_default|one|clip": odd[np.newaxis, :1, :1, :1],
        }
        results = gate.run_for(report, folder, cases)
        if not results:
            return report
        expected = {
            f"{CASE}|odd|restored": self.restore(odd),
            f"{CASE}|long|restored": self.restore(long),
            "serving_default|odd|restored": np.stack([self.restore(clip) for clip in pair]),
            "serving_default|one|restored": self.restore(odd[:1, :1, :1])[np.newaxis],
        }
        self._measure(report, results, expected)
        self._score(report, results[f"{CASE}|long|restored"])
        return report

    def convert(self) -> dict[str, TfliteFile]:
        profile = PROFILES[self.config.profile]

        def write(folder: pathlib.Path, in_phases: bool) -> None:
            network = polyphase.by_phases(self.model) if in_phases else self.model
            constant = tflite_convert.with_constants(network)

            def stream(frame: tf.Tensor, state: tf.Tensor) -> dict[str, tf.Tensor]:
                restored, following = saved_video.restore_tensors(
                    constant, frame, state, self.divisor
                )
                return {"restored": restored, "next_state": following}

            signatures = {
                stream_name(size): tf.function(stream).get_concrete_function(
                    tf.TensorSpec((1, *size, self.channels), tf.float32, name="frame"),
                    tf.TensorSpec(self._zero_state(*size).shape, tf.float32, name="state"),
                )
                for size in self.sizes
            }
            tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)

        return tflite_convert.convert_graphs(
            write,
            self.variants,
            [stream_name(size) for size in self.sizes],
            keep_relu=profile.keep_relu,
            phased=profile.phased,
        )

    def check_tflite(
        self, path: pathlib.Path, unpacked: TfliteFile, variant: str, file: str
    ) -> Report:
        report = gate.examine_tflite(unpacked, variant, self.model.count_params(), file)
        cases, expected = {}, {}
        smallest = min(self.sizes, key=np.prod)
        for size in self.sizes:
            name = stream_name(size)
            film = self._film(GATE_FRAMES if size == smallest else LARGE_FRAMES, size)
            if size == self.golden.shape[1:3]:
                cases[f"{name}|golden|film"] = self.golden
            cases[f"{name}|film|film"] = film
            expected[f"{name}|film|restored"] = self.restore(film)
        results = gate.run_for(report, path, cases)
        if results:
            self._measure(report, results, expected)
            self._score(report, results[f"{stream_name(smallest)}|film|restored"])
        return report

    def write_others(self, staging: pathlib.Path, name: str) -> list[Report]:
        if not self.config.onnx:
            return []
        self.report("writing and checking ONNX")
        folder = staging / publish.ONNX_FOLDER
        folder.mkdir()
        path = folder / f"{name}.onnx"
        onnx_file.write_stream_onnx(self.model, path, divisor=self.divisor)
        report = gate.examine_onnx(
            path, f"{publish.ONNX_FOLDER}/{path.name}", self.model.count_params()
        )
        long, odd = self._film(GATE_FRAMES, GATE_SIDES_PX), self._film(ODD_FRAMES, ODD_SIDES_PX)
        cases = {f"{CASE}|golden|film": self.golden, f"{CASE}|odd|film": odd}
        results = gate.run_for(report, path, cases | {f"{CASE}|long|film": long})
        if results:
            expected = {
                f"{CASE}|odd|restored": self.restore(odd),
                f"{CASE}|long|restored": self.restore(long),
            }
            self._measure(report, results, expected)
        return [report]

    def write_golden(self, folder: pathlib.Path) -> None:
        golden.write_clip(folder, self.golden, self.restore(self.golden))

    def contract(self) -> dict[str, Any]:
        margin = self.reach + -self.reach % self.divisor
        return {
            "channels_in": self.channels,
            "channels_out": self.channels,
            "divisor": self.divisor,
            "scale": 1,
            "state": STATE | {"channels": self.state_channels},
            "receptive_field": 2 * self.reach + 1,
            "tile_overlap": margin,
            "effective_reach": self.effective_reach,
            "tflite_sizes": [list(size) for size in self.sizes],
            "tflite_signatures": [stream_name(size) for size in self.sizes],
            "profile": self.config.profile,
            "parameters": self.model.count_params(),
            "multiply_adds_per_pixel": complexity.multiply_adds_per_pixel(self.model),
        }

    def make_card(self, manifest: dict[str, Any], lines: list[str], has_picture: bool) -> str:
        return make_video_card(manifest, lines, has_picture)

    def timed_signature(self, file: str) -> str:
        return stream_name(self.sizes[-1]) if file.endswith(".tflite") else CASE

    def next_command(self, target: pathlib.Path, file: str) -> str:
        return f"tf-deconv restore {target} FILM.mp4 --out restored"

    def restore(self, film: np.ndarray) -> np.ndarray:
        """Restores (T, H, W, C) with Keras, each film once: every file gets the same ones."""
        key = film.shape, film.tobytes()
        if key not in self._restored:
            self._restored[key] = restore_clip(self.cell, film)
        return self._restored[key]

    @functools.cached_property
    def _restored(self) -> dict[Any, np.ndarray]:
        return {}

    @functools.cached_property
    def cell(self) -> Any:
        return keras_cell(self.model, self.divisor, self.reach)

    @functools.cached_property
    def reach(self) -> int:
        """How far the network sees within a frame, in pixels."""
        return receptive_field.compute_reach(self.model, self.divisor, 1)

    @functools.cached_property
    def effective_reach(self) -> int:
        """How much of the reach matters in 8 bits, of films of `REACH_FRAMES`."""

        def step(*frame_and_state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            # As it is: each of many sizes would have to be compiled for a few frames.
            restored, state = self.model(frame_and_state, training=False)
            return np.asarray(restored), np.asarray(state)

        def run(batch: np.ndarray) -> np.ndarray:
            film = np.stack(np.split(batch[0], batch.shape[-1] // self.channels, -1))
            return np.concatenate(restore_clip(cell, film), -1)[np.newaxis]

        cell = dataclasses.replace(self.cell, step=step)

        side = 4 * (self.reach + -self.reach % self.divisor)
        # A film is measured as one picture of as many channels.
        films = [
            np.concatenate(self._film(REACH_FRAMES, (side, side), first=first), -1)
            for first in range(min(REACH_FILMS, len(self.clips)))
        ]
        return receptive_field.measure_effective_reach(run, films, self.reach, self.divisor, 1)

    @functools.cached_property
    def golden(self) -> np.ndarray:
        """The known clip, (T, H, W, C): the known picture, which moves by a pixel a frame."""
        return golden.clip(golden.sizes(self.sizes, self.divisor, 1)[0], self.channels)

    def _film(
        self, frames: int, size: tuple[int, int], *, clean: bool = False, first: int = 0
    ) -> np.ndarray:
        """Returns held-out frames of a size, (frames, H, W, C): to and fro, from clip to clip."""
        clips = (self.clean if clean else self.clips)[first:]
        there_and_back = [frame for clip in clips for frame in (*clip, *clip[-2:0:-1])]
        return np.stack(
            [
                tflite_convert.fit(there_and_back[number % len(there_and_back)], size)
                for number in range(frames)
            ]
        )

    def _zero_state(self, height: int, width: int) -> np.ndarray:
        sides = (saved_video.padded(side, self.divisor) // STATE_STRIDE for side in (height, width))
        return np.zeros((1, *sides, self.state_channels), np.float32)

    def _score(self, report: Report, film: np.ndarray) -> None:
        """Fills in PSNR against the clean film, and what that is less than Keras's."""
        frames, size = len(film), film.shape[1:3]
        clean = self._film(frames, size, clean=True)
        keras_film = self.restore(self._film(frames, size))
        theirs, own = (
            float(np.mean([gate.seen_psnr_db(a, b) for a, b in zip(each, clean)]))
            for each in (keras_film, film)
        )
        report.task_psnr_db, report.task_loss_db = own, theirs - own

    def _held_out(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the run's clips, and the same as they should be.

        A lone `.keras` file is checked on the known picture, with noise.
        """
        beside = self.path.with_name(run_folder.SAMPLES_FILE)
        if beside.is_file():
            samples = run_folder.load_samples(beside)
            return list(samples.degraded), list(samples.clean)
        random = np.random.default_rng(0)
        still = golden.picture(128, 128, self.channels)
        clip = np.stack(
            [np.roll(still, 2 * number, axis=1) for number in range(golden.CLIP_FRAMES)]
        )
        noisy = clip + random.normal(0, 25 / 255, clip.shape)
        return [np.clip(noisy, 0, 1).astype(np.float32)], [clip]

    def _measure(
        self, report: Report, results: dict[str, np.ndarray], expected: dict[str, np.ndarray]
    ) -> None:
        """Compares films with Keras's as a whole, and of each its last frames alone."""
        gate.measure(report, [(key, results[key], wanted) for key, wanted in expected.items()])
        for key, wanted in expected.items():
            if wanted.ndim != 4 or results[key].shape != wanted.shape or report.faults:
                continue
            worst = min(metrics.psnr_db(*pair) for pair in zip(results[key], wanted))
            if worst < report.floor_db:
                report.faults.append(
                    f"{key}: a frame of {len(wanted)} is {worst:.1f} dB from Keras, below the floor"
                    f" of {report.floor_db:.0f}: the state drifts"
                )
        known = [name for name in results if "|golden|restored" in name]
        if known:
            report.golden_db = metrics.psnr_db(results[known[0]], self.restore(self.golden))


def stream_name(size: tuple[int, int]) -> str:
    """Returns the signature of a size (height, width): "stream_256x256"."""
    return f"stream_{size[0]}x{size[1]}"
