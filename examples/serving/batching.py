"""Puts requests that arrive together into one run of the model."""

import collections
import concurrent.futures
import threading
import time

import numpy as np
from protocol import RequestError


class Batch:
    """Requests of one signature whose inputs differ in the number of rows only."""

    def __init__(self, version, signature, timeout_s):
        self.version, self.signature = version, signature
        self.requests, self.rows = [], 0
        self.deadline = time.monotonic() + timeout_s


class Batcher:
    """A bounded queue of batches and the threads that run them.

    A batch takes further requests until it is full, or old enough and a thread is free: under load
    batches fill while they wait, and idle threads wait `timeout_s` at most.
    """

    def __init__(self, max_batch_size, timeout_s, max_queued, threads, signatures):
        self._max_rows, self._timeout_s = max_batch_size, timeout_s
        self._max_queued, self._signatures = max_queued, signatures
        self._changed = threading.Condition()
        self._queue, self._open, self._queued = collections.deque(), {}, 0
        for _ in range(threads):
            threading.Thread(target=self._work, daemon=True).start()

    def run(self, version, signature, inputs):
        """Returns {output name: array}; RequestError if the queue is full or the model refuses."""
        shapes = tuple((name, array.shape[1:]) for name, array in inputs.items())
        rows = {array.shape[0] if array.ndim else 0 for array in inputs.values()}
        count = rows.pop() if len(rows) == 1 else 0
        batched = 0 < count < self._max_rows and signature in self._signatures
        key = (version, signature, shapes) if batched else None
        answer = concurrent.futures.Future()
        with self._changed:
            if self._queued >= self._max_queued:
                raise RequestError(503, "the queue is full: try again later")
            self._queued += 1
            batch = self._open.get(key)
            if batch is None or batch.rows + count > self._max_rows:
                batch = Batch(version, signature, self._timeout_s if batched else 0)
                self._queue.append(batch)
                if batched:
                    self._open[key] = batch
            batch.requests.append((inputs, count, answer))
            batch.rows += count
            self._changed.notify_all()
        return answer.result()

    def _work(self):
        while True:
            batch = self._next_batch()
            try:
                answers = self._run_together(batch)
            except Exception:
                # One bad request must not fail its neighbours.
                answers = [self._run_alone(batch, inputs) for inputs, _, _ in batch.requests]
            for (_, _, future), answer in zip(batch.requests, answers):
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _next_batch(self):
        with self._changed:
            while not self._queue:
                self._changed.wait()
            batch = self._queue.popleft()
            while batch.rows < self._max_rows:
                remaining_s = batch.deadline - time.monotonic()
                if remaining_s <= 0:
                    break
                self._changed.wait(remaining_s)
            for key in [key for key, open_batch in self._open.items() if open_batch is batch]:
                del self._open[key]
            self._queued -= len(batch.requests)
            return batch

    def _run_together(self, batch):
        parts = [inputs for inputs, _, _ in batch.requests]
        counts = [count for _, count, _ in batch.requests]
        if len(parts) == 1:
            return [batch.version.run(batch.signature, parts[0])]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        outputs = batch.version.run(batch.signature, joined)
        ends = np.cumsum(counts)
        return [
            {name: array[end - count : end] for name, array in outputs.items()}
            for count, end in zip(counts, ends)
        ]

    def _run_alone(self, batch, inputs):
        try:
            return batch.version.run(batch.signature, inputs)
        except RequestError as error:
            return error
        except Exception as error:
            return RequestError(500, f"{type(error).__name__}: {error}".splitlines()[0])
