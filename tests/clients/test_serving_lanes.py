"""examples/serving's parts alone, without a server: turns, and what a request may become."""

import asyncio
import json
import types

import numpy as np
import pytest

from tests.fixtures.servers import encoded


@pytest.fixture(autouse=True)
def _serving(repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "examples" / "serving"))


class Recorder:
    """Stands for a worker: notes the order of requests, each of which waits to be let go."""

    def __init__(self):
        self.begun, self.gates = [], {}

    async def revive(self):
        """It is always there."""

    async def ask(self, body):
        self.begun.append(body)
        await self.gates.setdefault(body, asyncio.Event()).wait()
        return 200, body

    def let_go(self, body):
        self.gates.setdefault(body, asyncio.Event()).set()


def run(check, workers, **options):
    """Runs `check(send, recorder)`; `send(client, body, is_gone, lane)` makes a task of `ask`."""
    from lanes import Lane, Turns

    async def main():
        recorder, turns = Recorder(), Turns()
        sizes = {"queue_size": 9, "max_clients": 9, "max_seconds": 9} | options
        lanes = [Lane([recorder] * workers, turns, **sizes) for _ in range(2)]

        async def send(client, body, is_gone=lambda: False, lane=0):
            task = asyncio.ensure_future(lanes[lane].ask(client, body, is_gone))
            await settle()
            return task

        await check(send, recorder)
        for lane in lanes:
            lane.close()

    asyncio.run(main())


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_client_never_has_the_last_worker():
    async def check(send, recorder):
        for number in range(4):
            await send("greedy", f"greedy {number}")
        assert recorder.begun == ["greedy 0"]
        other = await send("other", "other 0")
        assert recorder.begun == ["greedy 0", "other 0"]
        recorder.let_go("other 0")
        assert await other == (200, "other 0")
        # Nor when it is the only one.
        await settle()
        assert recorder.begun == ["greedy 0", "other 0"]

    run(check, workers=2)


def test_a_client_runs_in_two_lanes_only_while_it_is_alone():
    async def check(send, recorder):
        await send("greedy", "large", lane=1)
        await send("greedy", "small 0")
        assert recorder.begun == ["large", "small 0"]
        await send("other", "other 0")
        recorder.let_go("small 0")
        await send("greedy", "small 1")
        assert recorder.begun == ["large", "small 0", "other 0"]
        # Once the others have gone, or its own in the other lane has ended.
        recorder.let_go("other 0")
        await settle()
        assert recorder.begun == ["large", "small 0", "other 0", "small 1"]

    run(check, workers=2)


def test_clients_take_turns_whatever_the_first_one_sent():
    async def check(send, recorder):
        for client, count in (("a", 4), ("b", 2), ("c", 1)):
            for number in range(count):
                await send(client, f"{client}{number}")
        for turn in range(7):
            recorder.let_go(recorder.begun[turn])
            await settle()
        assert recorder.begun == ["a0", "a1", "b0", "c0", "a2", "b1", "a3"]

    run(check, workers=1)


def test_a_full_queue_is_429_for_its_client_alone():
    from errors import RequestError

    async def check(send, recorder):
        for number in range(3):
            await send("greedy", number)
        with pytest.raises(RequestError, match="2 of your requests wait already") as refusal:
            await (await send("greedy", 3))
        assert refusal.value.status == 429
        assert not (await send("other", 4)).done()
        with pytest.raises(RequestError, match="2 clients wait already") as refusal:
            await (await send("third", 5))
        assert refusal.value.status == 503

    run(check, workers=1, queue_size=2, max_clients=2)


def test_a_turn_that_does_not_come_in_time_is_503():
    from errors import RequestError

    async def check(send, recorder):
        await send("a", 0)
        with pytest.raises(RequestError, match=r"no turn came within 0\.01 s") as refusal:
            await (await send("b", 1))
        assert refusal.value.status == 503
        recorder.let_go(0)
        await settle()
        assert recorder.begun == [0]

    run(check, workers=1, max_seconds=0.01)


def test_the_request_of_a_client_that_has_gone_takes_no_turn():
    async def check(send, recorder):
        await send("a", 0)
        gone = [await send("b", number, lambda: True) for number in (1, 2)]
        await send("b", 3)
        recorder.let_go(0)
        for task in gone:
            with pytest.raises(ConnectionError):
                await task
        await settle()
        # Once the lane waited for a next request here, though this one was waiting.
        assert recorder.begun == [0, 3]

    run(check, workers=1)


@pytest.mark.parametrize(
    ("body", "values"),
    [
        ('{"a": [1, 2, 3]}', 4),
        ('{"a": [[], [], {}]}', 7),
        # Neither what a string holds counts, nor a quote in it ends it.
        (json.dumps({"a": 'x"[,]\\', "b": [",[{" * 9, "\\\\"]}), 5),
    ],
)
def test_values_are_counted_before_they_are_made(body, values):
    from errors import RequestError
    from protocol import parse

    assert parse(body.encode(), values) == json.loads(body)
    with pytest.raises(RequestError, match=f"{values} values in a request") as refusal:
        parse(body.encode(), values - 1)
    assert refusal.value.status == 413


def test_strings_count_as_values():
    from errors import RequestError
    from protocol import parse

    with pytest.raises(RequestError, match="6 values in a request: expected at most 5"):
        parse(b'""""""""""""', 5)


def test_arrays_are_written_as_json_would():
    from protocol import write_outputs

    image = np.random.default_rng(0).random((2, 3, 4, 3), np.float32)
    names = np.array([b"a", "ü".encode()], object)
    several = write_outputs({"image": image, "name": names, "file_bytes": names}, True)
    first = json.loads(several)["predictions"][0]
    assert first == {"image": image[0].tolist(), "name": "a", "file_bytes": {"b64": "YQ=="}}
    assert json.loads(write_outputs({"image": image}, False)) == {"outputs": image.tolist()}
    flat = {"mean": image[0, 0], "count": np.int32(3)}
    assert json.loads(write_outputs(flat, False)) == {
        "outputs": {"mean": image[0, 0].tolist(), "count": 3}
    }


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pixels_are_counted_from_the_header(kind):
    from model import count_pixels

    file = encoded(np.zeros((7, 11, 3), np.uint8), kind)
    assert count_pixels(file) == 77
    assert count_pixels(file[:10]) == 0
    assert count_pixels(b"GIF89a") == 0


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_household_is_one_client(address, client):
    from server import network

    assert network(address) == client


def test_behind_a_proxy_a_client_is_whom_the_proxy_names():
    from server import Server

    def client(header, value):
        options = types.SimpleNamespace(
            **dict.fromkeys(["max_rows", "max_pixels", "max_values", "max_body_mb"], 1),
            name="x",
            client_header=header,
        )
        connection = types.SimpleNamespace(peer=lambda: "127.0.0.1")
        return Server(options)._client({"x-forwarded-for": value}, connection)

    # What stands before the last one is what the client itself sent.
    assert client("X-Forwarded-For", "192.0.2.1, 192.0.2.2") == "192.0.2.2"
    assert client("X-Forwarded-For", "") == "127.0.0.1"
    assert client(None, "192.0.2.2") == "127.0.0.1"
