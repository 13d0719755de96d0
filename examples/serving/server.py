"""Serves an exported model over HTTP as TensorFlow Serving does; needs tensorflow and h11.

    python server.py saved_models/NAME [--port 8501]

    POST /v1/models/NAME[/versions/V]:predict       restores: README.md shows requests
    GET  /v1/models/NAME[/versions/V]               is a version available?
    GET  /v1/models/NAME[/versions/V]/metadata      the signatures

The highest version in the folder is served. A new one is taken up once it is copied whole and
loaded; until then the old one answers.
"""

import argparse
import asyncio
import collections
import ipaddress
import json
import os
import pathlib
import re
import signal
import sys

from connection import Connection
from errors import RequestError
from workers import Versions

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Workers share a GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

ROUTE = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]{1,18}))?(|/metadata|:predict)")
# How long a stopping server waits for its last answers.
DRAIN_S = 30
# Of --max-body-mb, how much bodies take that are in the server at a time: one client's, and all.
CLIENT_BODIES, ALL_BODIES = 2, 8


class Server:
    """The model's versions, the connections, and what each client has in the server."""

    def __init__(self, options):
        self.name = options.name or options.model.resolve().name
        self.is_stopping = False
        self._options = options
        self._max_body_bytes = int(options.max_body_mb * 2**20)
        limits = {name: getattr(options, name) for name in ("max_rows", "max_pixels", "max_values")}
        self._versions = Versions(options, limits)
        self._connections, self._by_peer = {}, collections.Counter()
        self._held = collections.Counter()

    async def run(self):
        """Serves until SIGTERM or SIGINT; returns whether all that was in progress was answered."""
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await self._versions.start()
        if not self._versions.current:
            folder = self._options.model
            sys.exit(f"{folder}: no version in it could be loaded; expected {self.name}/1/...")
        listening = await asyncio.start_server(
            self._connected, self._options.host, self._options.port, backlog=128
        )
        host, port = listening.sockets[0].getsockname()[:2]
        print(f"listening on http://{host}:{port}/v1/models/{self.name}", flush=True)
        await stopped.wait()
        self.is_stopping = True
        listening.close()
        # Idle connections are not waited for, nor what nobody waits for.
        busy = [
            task
            for task, connection in self._connections.items()
            if not connection.is_idle and not connection.is_gone()
        ]
        _, late = await asyncio.wait(busy, timeout=DRAIN_S) if busy else ((), ())
        self._versions.current.close()
        return not late

    async def answer(self, head, connection):
        """Returns (status, body) of the answer to a request; RequestError for a refusal."""
        headers = collections.defaultdict(str)
        for name, value in head.headers:
            headers[name.decode()] = value.decode("latin-1")
        method, path = head.method.decode(), head.target.decode("latin-1")
        if head.http_version not in (b"1.0", b"1.1"):
            version = head.http_version.decode()
            raise RequestError(505, f"HTTP/{version}: expected HTTP/1.1")
        if method not in ("GET", "POST"):
            raise RequestError(405, f"method {method}: expected GET or POST")
        is_chunked, length = "transfer-encoding" in headers, headers["content-length"]
        if method == "GET":
            if is_chunked or int(length or 0):
                raise RequestError(
                    400, "a GET with a body: expected none; POST to .../NAME:predict"
                )
            await connection.end_of_request()
            return 200, json.dumps(self._get(path)).encode()
        _, action = self._route(path)
        if action != ":predict":
            raise RequestError(404, f"{path}: expected GET, or POST to .../NAME:predict")
        kind = headers["content-type"].split(";")[0].strip().lower()
        # A form is what curl calls any data.
        if not re.fullmatch(r"|text/plain|application/(json|x-www-form-urlencoded|.+\+json)", kind):
            raise RequestError(415, f"Content-Type {kind}: expected application/json")
        if headers["content-encoding"] not in ("", "identity"):
            raise RequestError(415, "a compressed body: send it without Content-Encoding")
        if is_chunked or not length:
            raise RequestError(411, "a body without a length: send Content-Length")
        if int(length) > self._max_body_bytes:
            text = f"a body of {length} bytes: at most {self._max_body_bytes} are taken"
            raise RequestError(413, f"{text}; send fewer or smaller pictures")
        client = self._client(headers, connection)
        self._hold(client, int(length), connection)
        body = await connection.body(int(length))
        version, _ = self._route(path)
        status, answer = await version.ask(client, body, connection.is_gone)
        # Until it is sent, for which a client may take its time.
        self._held[client] += len(answer)
        connection.held[client] += len(answer)
        return status, answer

    def _get(self, path):
        version, action = self._route(path)
        if action == ":predict":
            raise RequestError(404, f"{path}: expected POST")
        number = str(version.number)
        if action == "/metadata":
            return {
                "model_spec": {"name": self.name, "signature_name": "", "version": number},
                "metadata": {"signature_def": {"signature_def": version.signature_def}},
            }
        status = {"error_code": "OK", "error_message": ""}
        return {
            "model_version_status": [{"version": number, "state": "AVAILABLE", "status": status}]
        }

    def _route(self, path):
        match = ROUTE.fullmatch(path)
        if not match:
            text = f"{path[:200]}: expected /v1/models/NAME, /metadata or :predict"
            raise RequestError(404, text)
        name, number, action = match.groups()
        version = self._versions.current
        if name != self.name or (number and int(number) != version.number):
            wanted = f"Specific({name}, {number})" if number else f"Latest({name})"
            raise RequestError(404, f"Servable not found for request: {wanted}")
        return version, action

    def _client(self, headers, connection):
        """Returns for whom a request counts."""
        address = connection.peer()
        if self._options.client_header:
            # The last one was added by the proxy; those before it are what its client said.
            value = headers[self._options.client_header.lower()]
            address = value.rsplit(",", 1)[-1].strip() or address
        return network(address)

    def _hold(self, client, length, connection):
        """Counts a body that is read or waits; RequestError if there are too many."""
        limit = self._max_body_bytes
        if self._held[client] + length > CLIENT_BODIES * limit:
            raise RequestError(429, "your requests are too large together: wait for answers first")
        if self._held.total() + length > ALL_BODIES * limit:
            raise RequestError(503, "all requests are too large together: try again later")
        self._held[client] += length
        connection.held[client] += length

    def release(self, connection):
        """Counts no more what a connection held."""
        self._held -= connection.held  # Drops zeros.
        connection.held.clear()

    async def _connected(self, reader, writer):
        options = self._options
        connection = Connection(self, reader, writer, options.client_seconds)
        peer, count = network(connection.peer()), len(self._connections)
        mine = self._by_peer.get(peer, 0)
        if count >= options.max_connections:
            await connection.refuse(RequestError(503, f"{count} connections: try again later"))
            return
        # Behind a proxy all connections are the proxy's.
        if mine >= options.max_client_connections and not options.client_header:
            await connection.refuse(RequestError(429, f"{mine} connections of yours: use those"))
            return
        task = asyncio.current_task()
        self._connections[task] = connection
        self._by_peer[peer] += 1
        try:
            await connection.serve()
        finally:
            del self._connections[task]
            self._by_peer -= collections.Counter({peer: 1})  # Drops zeros.


def network(address):
    """Returns the address, or what one household has of IPv6: the first 64 bits."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return str(address)
    if parsed.version == 4:
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path, help="saved_models/NAME, of version folders")
    parser.add_argument("--name", help="the name in URLs; default: the folder's")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8501, help="0: any free one, which is printed")
    parser.add_argument("--workers", type=int, default=2, help="processes of each of two lanes")
    parser.add_argument("--max-rows", type=int, default=64, help="pictures of a request; then 413")
    parser.add_argument("--max-pixels", type=int, default=2**24, help="of a request; then 413")
    parser.add_argument("--max-values", type=int, default=2**19, help="numbers in JSON; then 413")
    parser.add_argument("--max-body-mb", type=float, default=64, help="then 413")
    parser.add_argument("--max-seconds", type=float, default=120, help="wait, and answer; then 503")
    parser.add_argument("--client-seconds", type=float, default=15, help="for a head; then 408")
    parser.add_argument("--queue-size", type=int, default=16, help="of a client; then 429")
    parser.add_argument("--max-clients", type=int, default=64, help="that wait; then 503")
    parser.add_argument("--max-connections", type=int, default=256, help="then 503")
    parser.add_argument("--max-client-connections", type=int, default=32, help="then 429")
    parser.add_argument("--client-header", help="X-Forwarded-For, behind a proxy that adds to it")
    parser.add_argument("--poll-seconds", type=float, default=2, help="between looks for versions")
    options = parser.parse_args()
    for name, value in vars(options).items():
        if isinstance(value, (int, float)) and name != "port" and value <= 0:
            parser.error(f"--{name.replace('_', '-')} {value}: expected more than 0")
    if not options.model.is_dir():
        parser.error(f"{options.model} is not a folder; expected saved_models/NAME")
    return options


def main():
    is_drained = asyncio.run(Server(parse_options()).run())
    # At once: threads and workers may still be at what nobody waits for.
    os._exit(0 if is_drained else 1)


if __name__ == "__main__":
    main()
