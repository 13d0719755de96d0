"""Measures a server's requests per second and latency, and checks each answer; needs tensorflow.

    python load_test.py saved_models/NAME [--requests 200 --json]

Starts server.py with and without batching and sends `serving_default` pictures of 28x28, of mixed
sizes, and `serve_bytes` files of 256x256 from 1, 4 and 16 clients. Each client has its own pictures
and compares each answer with what the model gives for that picture alone. `--url` measures a server
that runs already, TensorFlow Serving for one.
"""

import argparse
import base64
import concurrent.futures
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

import numpy as np
import tensorflow as tf

CLIENTS = (1, 4, 16)
# Each client goes round these pictures of its own.
PICTURES_PER_CLIENT = 4
SIZES = {"28x28 floats": [(28, 28)], "mixed floats": [(28, 28), (40, 24), (17, 31), (64, 64)]}
# A batch may round otherwise than a picture alone.
TOLERANCE = 1e-4
# server.py leaves serve_bytes out by default: here it is in, to show what that would bring.
BATCHED = ["--batch-signatures", "serving_default", "serve_bytes"]
MODES = {"off": ["--max-batch-size", "1"], "on": ["--max-batch-size", "8", *BATCHED]}


def make_requests(model_folder, kind, client, channels):
    """Returns [(body, is_right)], the requests of one client and the checks of their answers."""
    versions = [path for path in model_folder.iterdir() if path.name.isdigit()]
    signatures = loaded(max(versions, key=lambda path: int(path.name)))
    random = np.random.default_rng([client, len(kind)])
    made = []
    for number in range(PICTURES_PER_CLIENT):
        if kind == "256x256 PNG":
            # Smooth enough for a PNG file to be as small as a photograph's.
            coarse = random.integers(0, 256, (8, 8, 3), np.uint8)
            pixels = tf.cast(tf.image.resize(coarse, (256, 256)), tf.uint8)
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


def run_client(address, path, requests, count, deadline):
    """Sends `count` requests over one connection; returns their (duration_s, is_right, time)."""
    connection = http.client.HTTPConnection(*address, timeout=60)
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


def measure(url, name, requests_by_client, clients, count, max_seconds):
    parts = urllib.parse.urlsplit(url)
    address, path = (parts.hostname, parts.port or 80), f"/v1/models/{name}:predict"
    # Sets up the graph for these sizes, which is not what is measured.
    run_client(address, path, requests_by_client[0], PICTURES_PER_CLIENT, float("inf"))
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        jobs = [
            pool.submit(
                run_client, address, path, requests, -(-count // clients), started + max_seconds
            )
            for requests in requests_by_client[:clients]
        ]
        results = [result for job in jobs for result in job.result()]
    durations_ms = 1000 * np.array([duration for duration, _, _ in results])
    seconds = max(ended for _, _, ended in results) - started
    return {
        "clients": clients,
        "requests": len(results),
        "wrong": sum(not right for _, right, _ in results),
        "requests_per_s": round(len(results) / seconds, 1),
        "p50_ms": round(float(np.percentile(durations_ms, 50)), 1),
        "p99_ms": round(float(np.percentile(durations_ms, 99)), 1),
    }


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
    parser.add_argument("--server-options", default="", help='for server.py: "--threads 1"')
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--allow-remote", action="store_true", help="load a machine not this one")
    options = parser.parse_args()
    host = urllib.parse.urlsplit(options.url or "http://127.0.0.1").hostname
    if host not in ("127.0.0.1", "localhost", "::1") and not options.allow_remote:
        parser.error(f"--url is on {host}; --allow-remote if that machine is yours to load")
    return options


def main():
    options = parse_options()
    name = options.name or options.model.resolve().name
    manifest = options.model / "manifest.json"
    channels = json.loads(manifest.read_text())["channels_in"] if manifest.exists() else 1
    servers, urls, rows = [], {"as given": options.url}, []
    try:
        if not options.url:
            urls = {}
            for mode, arguments in MODES.items():
                arguments = [*arguments, *options.server_options.split()]
                server, urls[mode] = start_server(options.model, arguments)
                servers.append(server)
        for kind in (*SIZES, "256x256 PNG"):
            requests = [
                make_requests(options.model, kind, client, channels)
                for client in range(max(CLIENTS))
            ]
            # Side by side, so that what else the machine does falls on both ways of serving.
            for clients, (mode, url) in itertools.product(CLIENTS, urls.items()):
                figures = measure(
                    url, name, requests, clients, options.requests, options.max_seconds
                )
                rows.append({"pictures": kind, "batching": mode, **figures})
                print(json.dumps(rows[-1]), file=sys.stderr)
    finally:
        for server in servers:
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
