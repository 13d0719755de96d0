"""Serves an exported model over HTTP as TensorFlow Serving does; needs nothing but tensorflow.

    python server.py saved_models/NAME [--port 8501]

    POST /v1/models/NAME[/versions/V]:predict       restores: README.md shows requests
    GET  /v1/models/NAME[/versions/V]               is a version available?
    GET  /v1/models/NAME[/versions/V]/metadata      the signatures

The highest version in the folder is served. A new one is taken up once it is copied whole and
loaded; until then the old one answers.
"""

import argparse
import contextlib
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import sys
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from batching import Batcher
from protocol import RequestError, read_inputs, write_outputs
from versions import Versions, log

ROUTE = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]{1,18}))?(|/metadata|:predict)")
# How long a connection may be silent, and how long a stopping server waits for its last answers.
SOCKET_TIMEOUT_S, DRAIN_TIMEOUT_S = 30, 30


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SOCKET_TIMEOUT_S
    # Headers and body are sent apart; without this a client waits 40 ms for the second.
    disable_nagle_algorithm = True

    def do_GET(self):
        self._answer(self._get)

    def do_POST(self):
        self._answer(self._post)

    def _answer(self, handle):
        with self.server.busy():
            try:
                status, answer = 200, handle()
            except RequestError as error:
                status, answer = error.status, {"error": str(error)}
            except Exception as error:
                status, answer = 500, {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
            self._send(status, answer)

    def _get(self):
        version, action = self._route()
        if action == ":predict":
            raise RequestError(404, f"{self.path}: expected POST")
        number = str(version.number)
        if action == "/metadata":
            return {
                "model_spec": {"name": self.server.name, "signature_name": "", "version": number},
                "metadata": {"signature_def": {"signature_def": version.signature_def}},
            }
        status = {"error_code": "OK", "error_message": ""}
        return {
            "model_version_status": [{"version": number, "state": "AVAILABLE", "status": status}]
        }

    def _post(self):
        body = self._body()
        version, action = self._route()
        if action != ":predict":
            raise RequestError(404, f"{self.path}: expected GET, or POST to .../NAME:predict")
        try:
            request = json.loads(body)
            if not isinstance(request, dict):
                raise RequestError(400, "expected a JSON object")
            signature = request.get("signature_name", "serving_default")
            if signature not in version.inputs:
                expected = sorted(version.inputs)
                raise RequestError(400, f"signature_name {signature!r}: expected one of {expected}")
            inputs, is_row = read_inputs(request, version.inputs[signature])
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            raise RequestError(400, f"malformed request: {error}".splitlines()[0]) from error
        return write_outputs(self.server.batcher.run(version, signature, inputs), is_row)

    def _route(self):
        match = ROUTE.fullmatch(self.path)
        if not match:
            raise RequestError(404, f"{self.path}: expected /v1/models/NAME, /metadata or :predict")
        name, number, action = match.groups()
        version = self.server.versions.current
        if name != self.server.name or (number and int(number) != version.number):
            wanted = f"Specific({name}, {number})" if number else f"Latest({name})"
            raise RequestError(404, f"Servable not found for request: {wanted}")
        return version, action

    def _body(self):
        length = self.headers.get("Content-Length", "")
        # What is not read would be taken for the next request.
        closes, self.close_connection = self.close_connection, True
        if not re.fullmatch(r"[0-9]{1,18}", length):
            raise RequestError(411, "expected a Content-Length")
        if int(length) > self.server.max_body_bytes:
            raise RequestError(413, f"body of {length} bytes: at most {self.server.max_body_bytes}")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise RequestError(400, "the body ends before its Content-Length")
        self.close_connection = closes
        return body

    def _send(self, status, answer):
        body = json.dumps(answer).encode()
        self.close_connection = self.close_connection or self.server.stopping
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code, message=None, explain=None):
        """What http.server itself refuses, as JSON too."""
        self.close_connection = True
        # Of a line that is not a request the version is unknown, which would mean no headers.
        self.request_version = self.protocol_version
        self._send(code, {"error": message or http.HTTPStatus(code).phrase})

    def log_message(self, *arguments):
        """Says nothing: a line per request is the load balancer's to write."""


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, options):
        self.name = options.name or options.model.resolve().name
        self.max_body_bytes = int(options.max_body_mb * 2**20)
        self.stopping = False
        self._connections = threading.BoundedSemaphore(options.max_connections)
        self._idle, self._busy = threading.Condition(), 0
        self.versions = Versions(options.model, options.poll_seconds)
        self.versions.start()
        if not self.versions.current:
            sys.exit(
                f"{options.model}: no version in it could be loaded; expected {self.name}/1/..."
            )
        self.batcher = Batcher(
            options.max_batch_size,
            options.batch_timeout_ms / 1000,
            options.queue_size,
            options.threads,
            options.batch_signatures,
        )
        super().__init__((options.host, options.port), Handler)

    @contextlib.contextmanager
    def busy(self):
        """Marks a request in progress, which a stopping server finishes."""
        with self._idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def stop(self, *_):
        """Ends `serve_forever`; from another thread, for which it would wait."""
        self.stopping = True
        threading.Thread(target=self.shutdown).start()

    def drain(self):
        """Waits for requests in progress; returns whether all were answered."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._busy, DRAIN_TIMEOUT_S)

    def process_request(self, request, client_address):
        """Answers in a thread of its own, or refuses at once when there are too many."""
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            body = b'{"error": "too many connections: try again later"}'
            head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            request.settimeout(1)
            with contextlib.suppress(OSError):
                request.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            # Not `shutdown_request`, which waits: this is the thread that accepts connections.
            self.close_request(request)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def shutdown_request(self, request):
        """Closes a connection so that the answer arrives even if the body was not read."""
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
            # Unread bytes at closing make a reset, which overtakes the answer.
            request.settimeout(1)
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and request.recv(1 << 16):
                pass
        self.close_request(request)

    def handle_error(self, request, client_address):
        log(f"{client_address[0]}: {sys.exc_info()[1]!r}")


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path, help="saved_models/NAME, of version folders")
    parser.add_argument("--name", help="the name in URLs; default: the folder's")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8501, help="0: any free one, which is printed")
    parser.add_argument("--threads", type=int, default=2, help="batches that run at a time")
    parser.add_argument("--max-batch-size", type=int, default=1, help="rows; 1: no batching")
    parser.add_argument("--batch-timeout-ms", type=float, default=5, help="longest wait for rows")
    parser.add_argument(
        "--batch-signatures", nargs="*", default=["serving_default"], metavar="SIGNATURE"
    )
    parser.add_argument("--queue-size", type=int, default=64, help="requests; then 503")
    parser.add_argument("--max-connections", type=int, default=256, help="then 503")
    parser.add_argument("--max-body-mb", type=float, default=64, help="then 413")
    parser.add_argument("--poll-seconds", type=float, default=2, help="between looks for versions")
    options = parser.parse_args()
    for name in ("threads", "max_batch_size", "queue_size", "max_connections"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if options.poll_seconds <= 0:
        parser.error("--poll-seconds must be above 0")
    if not options.model.is_dir():
        parser.error(f"{options.model} is not a folder; expected saved_models/NAME")
    return options


def main():
    server = Server(parse_options())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.stop)
    host, port = server.server_address
    print(f"listening on http://{host}:{port}/v1/models/{server.name}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.socket.close()
    is_drained = server.drain()
    # Without waiting for idle connections, whose threads would hold the process up.
    os._exit(0 if is_drained else 1)


if __name__ == "__main__":
    main()
