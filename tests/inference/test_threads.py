"""Opened models are safe from many threads, whatever their format."""

import concurrent.futures
import threading

import keras
import numpy as np
import pytest

from tests.fixtures import tiny_generators
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.pipeline import export
from tf_deconv.exporting.saved_model import restorer as saved_restorer
from tf_deconv.exporting.tflite import convert
from tf_deconv.generation.generator import sample
from tf_deconv.generation.opening import open_generator
from tf_deconv.inference import artifacts, run_folder
from tf_deconv.inference.restorer import Artifact, Restorer
from tf_deconv.networks.article import build_article

THREADS, CALLS = 4, 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One small network as a `.keras` file, a SavedModel and a `.tflite` file of two sizes."""
    folder = tmp_path_factory.mktemp("formats")
    keras.utils.set_random_seed(3)
    model = build_article(None, None, 1, 1)
    run_folder.save_model(model, folder / "model.keras", dict(divisor=2, scale=1))
    how = dict(divisor=2, scale=1)
    saved_restorer.write_saved_model(model, folder / "saved", max_pixels=2**20, **how)
    calibration = np.random.default_rng(0).random((1, 8, 8, 1), np.float32)
    content = convert.convert(model, ["float32"], [(28, 28), (40, 40)], calibration, **how)
    (folder / "model.tflite").write_bytes(content["float32"])
    return folder


@pytest.fixture
def watched(monkeypatch):
    """Calls of LiteRT that overlapped, which it does not survive.

    What overlaps waits nevertheless: a test must fail, not crash the process.
    """
    import ai_edge_litert.interpreter as litert

    overlapped, busy = [], threading.Lock()

    class Watched(litert.Interpreter):
        def get_signature_runner(self, *arguments):
            return WatchedRunner(super().get_signature_runner(*arguments))

    class WatchedRunner:
        def __init__(self, runner):
            self.runner = runner

        def __getattr__(self, name):
            return getattr(self.runner, name)

        def __call__(self, **inputs):
            if not busy.acquire(blocking=False):
                overlapped.append(threading.get_ident())
                busy.acquire()
            try:
                return self.runner(**inputs)
            finally:
                busy.release()

    monkeypatch.setattr(litert, "Interpreter", Watched)
    return overlapped


def in_threads(function, items):
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


@pytest.mark.parametrize("name", ["model.keras", "saved", "model.tflite"])
def test_one_restorer_gives_many_threads_what_it_gives_one(folder, watched, rng, name):
    # Two threads in one TFLite interpreter mixed up their pictures, or crashed the process.
    restorer = artifacts.load(folder / name)
    sizes = [(28, 28), (40, 40), (61, 47)]
    pictures = [rng.random((*sizes[i % 3], 1), np.float32) for i in range(CALLS)]
    expected = [restorer(picture) for picture in pictures]
    received = in_threads(restorer, pictures)
    assert not watched
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["flow.keras", "1", "tflite/flow-float32.tflite"])
def test_one_generator_gives_many_threads_what_it_gives_one(generators, watched, name):
    generator = open_generator(generators / name)
    expected = [sample(generator, 2, seed, steps=2) for seed in range(8)]
    received = in_threads(lambda seed: sample(generator, 2, seed, steps=2), range(8))
    assert not watched
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def generators(tmp_path_factory):
    """A flow as a `.keras` file, and the export of it."""
    out = tmp_path_factory.mktemp("generators")
    tiny_generators.write(out / "model.keras", "flow")
    config = ExportConfig(
        model=str(out / "model.keras"), out=str(out), name="flow", variants="float32"
    )
    assert not export(config, report=lambda line: None).failures
    (out / "model.keras").rename(out / "flow" / "flow.keras")
    return out / "flow"


def test_memory_that_runs_out_in_one_thread_leaves_the_tiles_of_another_whole(rng):
    # The sizes of tiles that were left changed between two turns of one tile.
    first = []

    def run(batch):
        if batch.shape[1] == 40:
            if not first:
                first.append(True)
                restorer.restore(picture[::-1])  # What another thread does meanwhile.
            elif len(first) == 1:
                first.append(True)
                raise MemoryError
        return batch

    restorer = Restorer(Artifact(run, 1, 1, 2, 1, 4, ((28, 28), (40, 40))), self_ensemble=True)
    picture = rng.random((61, 47, 1), np.float32)
    np.testing.assert_allclose(restorer.restore(picture), picture, atol=1e-6)
    assert len(first) == 2
