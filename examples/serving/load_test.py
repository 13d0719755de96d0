"""Measures a server's requests per second and latency, and checks each answer; needs tensorflow.

    python load_test.py saved_models/NAME [--requests 200 --json]
    python load_test.py saved_models/NAME --hostile

Starts server.py and sends `serving_default` pictures of 28x28, of mixed sizes, and `serve_bytes`
files of 256x256 and 1024x1024 from 1, 4 and 16 clients. Each client has its own pictures and
compares each answer with what the model gives for that picture alone. With `--hostile` one more
client does at the same time what a server must bear, and the table tells by how much the others'
latency grows. `--url` measures a server that runs already, TensorFlow Serving for one.
"""

import argparse
import base64
import concurrent.futures
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.parse

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hostile
import numpy as np

# Each client goes round these pictures of its own.
PICTURES_PER_CLIENT = 4
SIZES = {"28x28 floats": [(28, 28)], "mixed floats": [(28, 28), (40, 24), (17, 31), (64, 64)]}
PICTURES = [*SIZES, "256x256 PNG", "1024x1024 PNG"]
# JSON's numbers are rounded.
TOLERANCE = 1e-4


def make_requests(model_folder, kind, client, channels):
    """Returns [(body, is_right)], the requests of one client and the checks of their answers."""
    import tensorflow as tf

    versions = [path for path in model_folder.iterdir() if path.name.isdigit()]
    signatures = loaded(max(versions, key=lambda path: int(path.name)))
    random = np.random.default_rng([client, len(kind)])
    made = []
    for number in range(PICTURES_PER_CLIENT):
        if kind.endswith("PNG"):
            side = int(kind.split("x")[0])
            # Smooth enough for a PNG file to be as small as a photograph's.
            coarse = random.integers(0, 256, (8, 8, 3), np.uint8)
            pixels = tf.cast(tf.image.resize(coarse, (side, side)), tf.uint8)
            encoded = tf.io.encode_png(pixels)
            answer = signatures["serve_bytes"](image_bytes=encoded[None])["restored_bytes"]
            encoded, expected = encoded.numpy(), answer.numpy()[0]
            row, signature = {"b64": base64.b64encode(encoded).decode()}, "serve_bytes"
            check = is_same_file(expected)
        else:
            height, width = SIZES[kind][number % len(SIZES[kind])]
            image = random.random((height, width, channels), np.float32).round(3)
            expected = signatures["serving_default"](image=tf.constant(image[None]))["restored"]
            row, signature = image.tolist(), "serving_default"
            check = is_near(expected.numpy()[0])
        made.append((json.dumps({"signature_name": signature, "instances": [row]}), check))
    return made


LOADED = {}


def loaded(folder):
    import tensorflow as tf  # Here, for it takes seconds, and options may be wrong.

    if folder not in LOADED:
        LOADED[folder] = tf.saved_model.load(str(folder))
    return LOADED[folder].signatures


def is_same_file(expected):
    return lambda prediction: base64.b64decode(prediction["b64"]) == expected


def is_near(expected):
    def check(prediction):
        received = np.asarray(prediction, np.float32)
        return received.shape == expected.shape and np.abs(received - expected).max() < TOLERANCE

    return check


def source(client):
    """Returns an address of this machine: a server that shares itself fairly tells clients so."""
    return (f"127.0.1.{client + 1}", 0) if sys.platform == "linux" else None


def run_client(address, path, requests, client, count, deadline):
    """Sends `count` requests over one connection; returns their (duration_s, is_right, time)."""
    own = source(client) if address[0] == "127.0.0.1" else None
    connection = http.client.HTTPConnection(*address, timeout=120, source_address=own)
    results = []
    for body, is_right in itertools.islice(itertools.cycle(requests), count):
        if time.monotonic() > deadline:
            break
        started = time.monotonic()
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        ended = time.monotonic()
        right = response.status == 200 and is_right(json.loads(answer)["predictions"][0])
        results.append((ended - started, right, ended))
    connection.close()
    return results


def measure(address, path, requests_by_client, clients, count, max_seconds):
    """Returns (results of `run_client` of all clients, seconds)."""
    # Sets up the graph for these sizes, which is not what is measured.
    run_client(address, path, requests_by_client[0], 0, PICTURES_PER_CLIENT, float("inf"))
    started = time.monotonic()
    deadline = started + max_seconds
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        jobs = [
            pool.submit(run_client, address, path, requests, number, -(-count // clients), deadline)
            for number, requests in enumerate(requests_by_client[:clients])
        ]
        results = [result for job in jobs for result in job.result()]
    return results, max(ended for _, _, ended in results) - started


def figures(clients, results, seconds):
    durations_ms = 1000 * np.array([duration for duration, _, _ in results])
    return {
        "clients": clients,
        "requests": len(results),
        "wrong": sum(not right for _, right, _ in results),
        "requests/s": round(len(results) / seconds, 1),
        "p50 ms": round(float(np.percentile(durations_ms, 50)), 1),
        "p99 ms": round(float(np.percentile(durations_ms, 99)), 1),
    }


@contextlib.contextmanager
def run_hostile(address, name, channels, kind):
    """Runs a hostile client in a process of its own."""
    program = pathlib.Path(__file__).with_name("hostile.py")
    arguments = [f"{address[0]}:{address[1]}", name, str(channels), kind]
    process = subprocess.Popen(
        [sys.executable, str(program), *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        process.stdout.readline()
        # It has its turns, and what it queued.
        time.sleep(1)
        yield
    finally:
        process.kill()
        process.wait()


def measure_beside(others, measure_once, clients, rounds):
    """Measures without and with a hostile client in turn; returns the rows of the table.

    Args:
      others: A function that makes the hostile client's context.
      measure_once: A function that makes `measure`'s results.
      clients: How many are measured.
      rounds: Of one run without and one with the hostile client.
    """
    # In turn, so that what else the machine does falls on both.
    pooled = {False: ([], 0.0), True: ([], 0.0)}
    for is_beside in (False, True) * rounds:
        with others() if is_beside else contextlib.nullcontext():
            results, seconds = measure_once()
        so_far, before = pooled[is_beside]
        pooled[is_beside] = so_far + results, before + seconds
    rows = [figures(clients, *pooled[is_beside]) for is_beside in (False, True)]
    rows[1]["times p99"] = round(rows[1]["p99 ms"] / rows[0]["p99 ms"], 2)
    return rows


def start_server(model_folder, arguments):
    command = [sys.executable, str(pathlib.Path(__file__).with_name("server.py"))]
    server = subprocess.Popen(
        [*command, str(model_folder), "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    line = server.stdout.readline()
    if not line:
        sys.exit("server.py did not start: run it by itself to see why")
    return server, urllib.parse.urlsplit(line.split()[-1])._replace(path="").geturl()


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path, help="saved_models/NAME, the answers' source")
    parser.add_argument("--name", help="the name in URLs; default: the folder's")
    parser.add_argument("--url", help="measure this server instead of starting server.py")
    parser.add_argument("--requests", type=int, default=200, help="per row of the table")
    parser.add_argument("--max-seconds", type=float, default=10, help="per row of the table")
    parser.add_argument("--clients", type=int, nargs="+", help="default: 1 4 16, or 4 if --hostile")
    parser.add_argument("--pictures", nargs="+", choices=PICTURES, default=PICTURES)
    parser.add_argument(
        "--hostile", nargs="*", choices=hostile.KINDS, help="beside these; none named: each"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of a pair of rows of --hostile")
    parser.add_argument("--server-options", default="", help='for server.py: "--workers 1"')
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--allow-remote", action="store_true", help="load a machine not this one")
    options = parser.parse_args()
    host = urllib.parse.urlsplit(options.url or "http://127.0.0.1").hostname
    if host not in ("127.0.0.1", "localhost", "::1") and not options.allow_remote:
        parser.error(f"--url is on {host}; --allow-remote if that machine is yours to load")
    if options.hostile == []:
        options.hostile = list(hostile.KINDS)
    options.clients = options.clients or ([4] if options.hostile else [1, 4, 16])
    return options


def measure_all(options, address, name, channels):
    """Yields the rows of the table."""
    path = f"/v1/models/{name}:predict"
    for pictures in options.pictures:
        requests = [
            make_requests(options.model, pictures, client, channels)
            for client in range(max(options.clients))
        ]
        for clients in options.clients:

            def once(requests=requests, clients=clients):
                limits = options.requests, options.max_seconds
                return measure(address, path, requests, clients, *limits)

            if not options.hostile:
                yield {"pictures": pictures, **figures(clients, *once())}
            for kind in options.hostile or ():
                alone, beside = measure_beside(
                    lambda kind=kind: run_hostile(address, name, channels, kind),
                    once,
                    clients,
                    options.rounds,
                )
                yield {"pictures": pictures, "hostile": "none", **alone, "times p99": 1}
                yield {"pictures": pictures, "hostile": kind, **beside}


def main():
    options = parse_options()
    name = options.name or options.model.resolve().name
    manifest = options.model / "manifest.json"
    channels = json.loads(manifest.read_text())["channels_in"] if manifest.exists() else 1
    server, url, rows = None, options.url, []
    try:
        if not url:
            server, url = start_server(options.model, options.server_options.split())
        parts = urllib.parse.urlsplit(url)
        address = (parts.hostname, parts.port or 80)
        for row in measure_all(options, address, name, channels):
            rows.append(row)
            print(json.dumps(row), file=sys.stderr)
    finally:
        if server:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
        for row in rows:
            print("| " + " | ".join(map(str, row.values())) + " |")
    sys.exit(1 if any(row["wrong"] for row in rows) else 0)


if __name__ == "__main__":
    main()
