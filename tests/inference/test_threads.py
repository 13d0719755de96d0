"""Threads: models of every format, and settings of the whole process."""

import concurrent.futures
import contextlib
import os
import pathlib
import threading
import time
import types
import warnings

import keras
import numpy as np
import pytest
from PIL import Image

from tests.fixtures import gates, tiny_generators
from tests.fixtures.tflite_files import converted
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.pipeline import export
from tf_deconv.exporting.saved_model import restorer as saved_restorer
from tf_deconv.generation.generator import sample
from tf_deconv.generation.opening import open_generator
from tf_deconv.images import arrays, reading
from tf_deconv.inference import artifacts, run_folder
from tf_deconv.inference.restorer import Artifact, Restorer
from tf_deconv.networks.article import build_article
from tf_deconv.utils import files

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
    content = converted(model, ["float32"], [(28, 28), (40, 40)], calibration, **how)
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

        def resize_tensor_input(self, *arguments):
            return alone(super().resize_tensor_input, *arguments)

        def invoke(self):
            return alone(super().invoke)

    class WatchedRunner:
        def __init__(self, runner):
            self.runner = runner

        def __getattr__(self, name):
            return getattr(self.runner, name)

        def __call__(self, **inputs):
            return alone(self.runner, **inputs)

    def alone(function, *arguments, **inputs):
        if not busy.acquire(blocking=False):
            overlapped.append(threading.get_ident())
            busy.acquire()
        try:
            return function(*arguments, **inputs)
        finally:
            busy.release()

    monkeypatch.setattr(litert, "Interpreter", Watched)
    return overlapped


def in_threads(function, items):
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


@pytest.mark.parametrize("name", ["model.keras", "saved", "model.tflite", "denoise-color-small"])
def test_one_restorer_gives_many_threads_what_it_gives_one(folder, watched, rng, name):
    # Two threads in one TFLite interpreter mixed up their pictures, or crashed the process. A
    # shipped model's file is resized from picture to picture, and opens another one for floats.
    path = folder / name
    restorer = artifacts.load(path if path.exists() else name)
    channels = restorer.artifact.channels_in
    sizes = [(28, 28), (40, 40), (61, 47)]
    pictures = [rng.random((*sizes[i % 3], channels), np.float32) for i in range(CALLS)]
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
    with gates.in_this_process():
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


def overlapping(block, within=lambda number: None):
    """Enters a block in two threads, and leaves it first where it was entered first.

    Args:
      block: Makes the block.
      within: What each of the threads does inside, while both are there.
    """
    events = [threading.Event() for _ in range(3)]

    def first():
        with block():
            events[0].set()
            assert events[1].wait(60)
            within(0)
        events[2].set()

    def second():
        assert events[0].wait(60)
        with block():
            events[1].set()
            assert events[2].wait(60)
            within(1)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result(60)


def test_stderr_comes_back_when_the_last_of_overlapping_blocks_ends(capfd):
    # The second block took the first one's file for stderr, and put it back at its end.
    overlapping(files.silent_stderr, lambda number: os.write(2, b"chatter\n"))
    os.write(2, b"a message\n")
    assert capfd.readouterr().err == "a message\n"


def test_a_thread_that_fails_shows_what_was_held_back_while_another_goes_on(capfd):
    def fail(number):
        os.write(2, b"the cause\n" if number == 0 else b"chatter\n")
        if number == 0:
            raise RuntimeError("failed")

    def fails_in_one():
        stack = contextlib.ExitStack()
        stack.enter_context(contextlib.suppress(RuntimeError))
        stack.enter_context(files.silent_stderr())
        return stack

    overlapping(fails_in_one, fail)
    assert capfd.readouterr().err == "the cause\n"


def test_only_the_outermost_of_nested_blocks_shows_what_was_held_back(capfd):
    with files.silent_stderr():
        with contextlib.suppress(RuntimeError), files.silent_stderr():
            os.write(2, b"chatter\n")
            raise RuntimeError("handled inside")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == ""


def test_pillows_limit_comes_back_when_the_last_of_overlapping_blocks_ends():
    before, seen = Image.MAX_IMAGE_PIXELS, []
    overlapping(arrays.without_pillow_limit, lambda number: seen.append(Image.MAX_IMAGE_PIXELS))
    assert (seen, Image.MAX_IMAGE_PIXELS) == ([None, None], before)
    assert before is not None


def test_pictures_read_in_threads_leave_the_filters_of_warnings_as_they_were(monkeypatch):
    before, events = list(warnings.filters), [threading.Event() for _ in range(3)]

    def open_slowly(source):
        number = int(source.name)
        events[number].set()
        assert events[number + 1].wait(60)
        raise ValueError("no picture")

    def read(number):
        assert number == 0 or events[0].wait(60)
        with contextlib.suppress(ValueError):
            reading.read_picture(pathlib.Path(str(number)))
        if number == 0:
            events[2].set()

    monkeypatch.setattr(reading, "_open", open_slowly)
    in_threads(read, range(2))
    assert list(warnings.filters) == before


def test_the_mask_of_new_files_is_read_by_one_thread_at_a_time(monkeypatch):
    # One thread took another one's mask for the process's, and left it.
    process = types.SimpleNamespace(mask=0o022)

    def umask(mask):
        before, process.mask = process.mask, mask
        time.sleep(0.01)
        return before

    monkeypatch.setattr(os, "umask", umask)
    assert in_threads(lambda _: files.umask(), range(8)) == [0o022] * 8
    assert process.mask == 0o022
