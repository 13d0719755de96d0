"""Processes that hold the model, and the versions of it that are on disk.

A request that takes too long, all memory or TensorFlow's process with it costs one worker, which is
started again; the server goes on.
"""

import asyncio
import concurrent.futures
import multiprocessing
import re
import sys

from errors import as_json
from lanes import Lane, Turns

# TensorFlow is imported once, by a process that is then forked: a worker is there in half a second.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tensorflow"])
# A longer body is a large request without a look into it.
QUICK_BYTES = 256 * 1024


def log(text):
    """Writes a line to stderr."""
    print(text, file=sys.stderr, flush=True)


class NotLoadedError(Exception):
    """A version that does not load."""


def _work(*arguments):
    import model  # Not above: the server's own process needs no TensorFlow.

    model.serve(*arguments)


class Worker:
    """One process with one version of the model, which answers one request at a time."""

    def __init__(self, folder, limits, max_seconds):
        self._arguments = (str(folder), limits)
        self._max_seconds = max_seconds
        self._process = self._connection = None
        self._thread = concurrent.futures.ThreadPoolExecutor(1)

    async def revive(self):
        """Starts the process if there is none; tries again until it loads."""
        while self._process is None:
            try:
                await self.start()
            except NotLoadedError as error:
                log(f"a worker was not started: {error}")
                await asyncio.sleep(1)

    async def start(self):
        """Starts the process; returns what is known of the model; NotLoadedError if it fails."""
        return await self._in_thread(self._start)

    async def ask(self, body):
        """Returns (status, body); the status is None if the request is too large for this lane."""
        return await self._in_thread(self._ask, body)

    def close(self):
        """Ends the process."""
        if self._process is not None:
            self._connection.close()
            self._process.kill()
            self._process = None

    def _in_thread(self, function, *arguments):
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._thread, function, *arguments)

    def _start(self):
        self._connection, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_work, args=(theirs, *self._arguments), daemon=True)
        self._process.start()
        theirs.close()
        try:
            is_loaded, facts = self._connection.recv()
        except (EOFError, OSError):
            is_loaded, facts = False, "the process ended"
        if not is_loaded:
            self.close()
            raise NotLoadedError(facts)
        return facts

    def _ask(self, body):
        try:
            if not self._process.is_alive():  # The system ended it while it did nothing.
                self.close()
                self._start()
            self._connection.send_bytes(body)
            if self._connection.poll(self._max_seconds):
                return self._connection.recv()
            text = f"the answer took more than {self._max_seconds:g} s: send fewer or smaller rows"
            status = 503
        except (EOFError, OSError, NotLoadedError):
            status, text = 500, "the model's process ended: send fewer or smaller rows"
        log(f"a worker was ended: {text}")
        self.close()
        return status, as_json(text)


class Version:
    """A version's folder with its workers: a lane for quick requests, another for large ones.

    A small request does not wait for a large one: theirs are different processes.
    """

    def __init__(self, folder, options, limits):
        self.number = int(folder.name)
        self._options, self._asking, self._workers, self._lanes = options, 0, {}, {}
        for lane in ("quick", "large"):
            own = {**limits, "is_quick": lane == "quick"}
            self._workers[lane] = [
                Worker(folder, own, options.max_seconds) for _ in range(options.workers)
            ]

    async def load(self):
        """Starts one worker, then lets the others start; NotLoadedError if the version does not."""
        self.signature_def = await self._workers["quick"][0].start()
        turns = Turns()
        for lane, workers in self._workers.items():
            sizes = self._options.queue_size, self._options.max_clients
            self._lanes[lane] = Lane(workers, turns, *sizes, self._options.max_seconds)

    async def ask(self, client, body, is_gone):
        """Returns (status, body) of the answer to a predict request; otherwise as `Lane.ask`."""
        self._asking += 1
        try:
            status = None
            if len(body) <= QUICK_BYTES:
                status, answer = await self._lanes["quick"].ask(client, body, is_gone)
            if status is None:
                status, answer = await self._lanes["large"].ask(client, body, is_gone)
            return status, answer
        finally:
            self._asking -= 1

    async def retire(self):
        """Ends the workers once they have answered."""
        while self._asking:
            await asyncio.sleep(0.1)
        self.close()

    def close(self):
        """Ends the workers."""
        for lane in self._lanes.values():
            lane.close()
        for workers in self._workers.values():
            for worker in workers:
                worker.close()


class Versions:
    """Keeps the highest version of a model's folder loaded."""

    def __init__(self, options, limits):
        self._options, self._limits = options, limits
        self._seen, self._failed = {}, {}
        self._retiring = set()
        self.current = None

    async def start(self):
        """Loads what is there, and looks for newer versions from now on."""
        await self._poll()
        await asyncio.sleep(min(self._options.poll_seconds, 0.5))
        await self._poll()
        self._polling = asyncio.ensure_future(self._poll_forever())

    async def _poll(self):
        """Takes up the highest version that lies still and loads; without one, keeps the old."""
        before, self._seen = self._seen, await asyncio.to_thread(self._look)
        for path in sorted(self._seen, key=lambda path: int(path.name), reverse=True):
            if self.current and int(path.name) == self.current.number:
                return
            # A version that changed since the last look is being copied. One that was copied in
            # part does not load: TensorFlow checks the variables' checksums.
            found = self._seen[path]
            if found != before.get(path) or found == self._failed.get(path):
                continue
            version = Version(path, self._options, self._limits)
            try:
                await version.load()
            except NotLoadedError as error:
                self._failed[path] = found
                log(f"version {path.name} was not loaded: {error}")
                continue
            log(f"serving version {path.name}")
            old, self.current = self.current, version
            if old:
                task = asyncio.ensure_future(old.retire())
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)
            return

    def _look(self):
        seen = {}
        for path in self._options.model.iterdir():
            if re.fullmatch(r"[0-9]+", path.name) and (path / "saved_model.pb").is_file():
                files = sorted(file for file in path.rglob("*") if file.is_file())
                stats = [(file, file.stat()) for file in files]
                seen[path] = [(file, stat.st_size, stat.st_mtime_ns) for file, stat in stats]
        return seen

    async def _poll_forever(self):
        while True:
            await asyncio.sleep(self._options.poll_seconds)
            try:
                await self._poll()
            except OSError as error:  # A file vanished in between: look again.
                log(f"{self._options.model} was not read: {error}")
