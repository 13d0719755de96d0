"""Requests wait by client, and clients are served in turn, so that none keeps the others out."""

import asyncio
import collections

from errors import RequestError


class Job:
    """A request that waits: its body, and whether its client still listens."""

    def __init__(self, body, is_gone):
        self.body, self.is_gone = body, is_gone
        loop = asyncio.get_running_loop()
        self.started, self.answer = loop.create_future(), loop.create_future()


class Turns:
    """By client, what runs and what waits in all lanes."""

    def __init__(self):
        self.running, self.waiting = collections.Counter(), collections.Counter()
        self.changed = asyncio.Condition()

    def is_alone(self, client):
        """Tells whether no other client is there."""
        return not (self.running.keys() | self.waiting.keys()) - {client}

    async def add(self, counter, client, count):
        """Changes one of the counts, and wakes all lanes."""
        async with self.changed:
            counter.update({client: count})
            counter += collections.Counter()  # Drops zeros, in place.
            self.changed.notify_all()


class Lane:
    """A bounded queue for each client, and the workers that answer.

    A client never has the last worker: of two it uses one, so that another's request starts at once
    whatever the first one sends. Nor does it run in two lanes while others are there. How the
    processor is then shared between processes is the operating system's work.
    """

    def __init__(self, workers, turns, queue_size, max_clients, max_seconds):
        self._turns = turns
        self._at_a_time = max(1, len(workers) - 1)
        self._queue_size, self._max_clients = queue_size, max_clients
        self._max_seconds = max_seconds
        # By client, in the order of their turns.
        self._waiting, self._running = {}, collections.Counter()
        self._tasks = [asyncio.ensure_future(self._serve(worker)) for worker in workers]

    async def ask(self, client, body, is_gone):
        """Returns (status, body) of a worker's answer.

        Args:
          client: Whom the request counts for, any text.
          body: Bytes.
          is_gone: A function that tells whether nobody waits for the answer any more.
        Raises:
          RequestError: 429 for a client with too many requests here, 503 if too many clients wait
            or the turn did not come in time.
          ConnectionError: if nobody waits for the answer.
        """
        mine = self._waiting.get(client, ())
        if len(mine) >= self._queue_size:
            text = f"{len(mine)} of your requests wait already: send the next after an answer"
            raise RequestError(429, text)
        if client not in self._waiting and len(self._waiting) >= self._max_clients:
            raise RequestError(503, f"{len(self._waiting)} clients wait already: try again later")
        job = Job(body, is_gone)
        self._waiting.setdefault(client, collections.deque()).append(job)
        await self._turns.add(self._turns.waiting, client, 1)
        try:
            await asyncio.wait_for(job.started, self._max_seconds)
        except asyncio.TimeoutError as error:
            text = f"no turn came within {self._max_seconds:g} s: try again later"
            raise RequestError(503, text) from error
        finally:
            await self._turns.add(self._turns.waiting, client, -1)
        return await job.answer

    def close(self):
        """Takes no more turns."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self, worker):
        while True:
            # A worker that was lost is replaced before it takes the next request.
            await worker.revive()
            client, job = await self._next()
            try:
                answer = await worker.ask(job.body)
            finally:
                self._running -= collections.Counter({client: 1})  # Drops zeros.
                await self._turns.add(self._turns.running, client, -1)
            if not job.answer.done():
                job.answer.set_result(answer)

    async def _next(self):
        async with self._turns.changed:
            while True:
                turns = (client for client in self._waiting if self._may_run(client))
                client = next(turns, None)
                if client is None:
                    await self._turns.changed.wait()
                    continue
                job = self._take(client)
                if job.started.done():  # It waited too long.
                    continue
                if job.is_gone():
                    job.started.set_exception(ConnectionResetError())
                    continue
                job.started.set_result(None)
                self._running[client] += 1
                self._turns.running[client] += 1
                return client, job

    def _may_run(self, client):
        here = self._running.get(client, 0)
        is_elsewhere = self._turns.running.get(client, 0) > here
        return here < self._at_a_time and (not is_elsewhere or self._turns.is_alone(client))

    def _take(self, client):
        jobs = self._waiting.pop(client)
        job = jobs.popleft()
        if jobs:
            self._waiting[client] = jobs  # At the end of the turns.
        return job
