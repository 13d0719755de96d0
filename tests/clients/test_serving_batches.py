"""examples/serving's Python alone, without a server: batches and the full queue."""

import time

import numpy as np
import pytest

from tests.fixtures.servers import send_together


@pytest.fixture
def batching(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "examples" / "serving"))
    import batching

    return batching


class Doubler:
    """Stands for a loaded version: doubles, notes how many rows came at a time, refuses 13."""

    def __init__(self):
        self.rows = []

    def run(self, signature, inputs):
        self.rows.append(len(inputs["x"]))
        time.sleep(0.02)
        if 13 in inputs["x"]:
            raise ValueError("13")
        return {"y": 2 * inputs["x"]}


def test_requests_of_equal_shape_share_a_run(batching):
    version = Doubler()
    batcher = batching.Batcher(4, 0.5, 64, 1, ["s"])

    def send(number):
        return batcher.run(version, "s", {"x": np.array([number, -number])})["y"].tolist()

    assert send_together(4, send) == [[2 * number, -2 * number] for number in range(4)]
    assert version.rows == [4, 4]


def test_a_refused_batch_is_run_one_by_one(batching):
    version = Doubler()
    batcher = batching.Batcher(3, 0.5, 64, 1, ["s"])

    def send(number):
        try:
            return batcher.run(version, "s", {"x": np.array([12 + number])})["y"].tolist()
        except Exception as error:
            return str(error)

    assert send_together(3, send) == [[24], "ValueError: 13", [28]]
    assert version.rows == [3, 1, 1, 1]


def test_without_batching_requests_run_alone(batching):
    version = Doubler()
    batcher = batching.Batcher(1, 0.5, 64, 2, ["s"])
    send_together(6, lambda number: batcher.run(version, "s", {"x": np.array([number])}))
    assert version.rows == [1] * 6


def test_a_full_queue_is_503(batching):
    version = Doubler()
    batcher = batching.Batcher(1, 0, 2, 1, [])

    def send(number):
        try:
            return batcher.run(version, "s", {"x": np.array([number])})["y"].tolist()
        except Exception as error:
            return error.status

    answers = send_together(12, send)
    assert 503 in answers
    assert all(answer in ([2 * number], 503) for number, answer in enumerate(answers))
