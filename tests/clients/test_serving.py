"""examples/serving: TensorFlow Serving's protocol over HTTP, and a server that nothing ends."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import tensorflow as tf

from tests.fixtures.servers import (
    NAME,
    ask,
    b64,
    copy_model,
    decoded,
    encoded,
    send_together,
    start,
)

MAX_BODY_MB = 1
# Small, so that tests of them are.
LIMITS = {
    "--max-body-mb": MAX_BODY_MB,
    "--max-rows": 8,
    "--max-pixels": 100_000,
    "--max-values": 20_000,
    "--client-seconds": 3,
}
PICTURE = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
IMAGE = np.random.default_rng(1).random((2, 6, 8, 1), np.float32)


@pytest.fixture(scope="module")
def folder(exported, tmp_path_factory):
    return copy_model(exported, tmp_path_factory.mktemp("serving"))


@pytest.fixture(scope="module")
def server(repository, folder):
    limits = [text for limit in LIMITS.items() for text in limit]
    server = start(repository, folder, "--workers", 1, "--poll-seconds", 0.2, *limits)
    yield server
    server.process.terminate()
    _, errors = server.process.communicate(timeout=30)
    assert "Traceback" not in errors


@pytest.fixture(scope="module")
def model(folder):
    signatures = tf.saved_model.load(str(folder / "1")).signatures
    return types.SimpleNamespace(
        restore=lambda image: signatures["serving_default"](image=tf.constant(image))[
            "restored"
        ].numpy(),
        restore_bytes=lambda data: signatures["serve_bytes"](image_bytes=tf.constant([data]))[
            "restored_bytes"
        ].numpy()[0],
    )


# ---- The protocol ------------------------------------------------------------------------------


@pytest.mark.parametrize("as_objects", [False, True])
def test_row_format_answers_with_predictions(server, model, as_objects):
    rows = IMAGE.tolist()
    status, answer = server.post(
        {"instances": [{"image": row} for row in rows] if as_objects else rows}
    )
    assert (status, list(answer)) == (200, ["predictions"])
    # The model has one output: its name is left out.
    np.testing.assert_allclose(answer["predictions"], model.restore(IMAGE), atol=1e-6)


@pytest.mark.parametrize("is_named", [False, True])
def test_columnar_format_answers_with_outputs(server, model, is_named):
    inputs = IMAGE.tolist()
    status, answer = server.post(
        {
            "signature_name": "serving_default",
            "inputs": {"image": inputs} if is_named else inputs,
        }
    )
    assert (status, list(answer)) == (200, ["outputs"])
    np.testing.assert_allclose(answer["outputs"], model.restore(IMAGE), atol=1e-6)


def test_bytes_are_base64_both_ways(server, model):
    # Pictures of one request may differ in size and format.
    files = [encoded(PICTURE), encoded(PICTURE[:5], "JPEG")]
    rows = {"signature_name": "serve_bytes", "instances": [b64(data) for data in files]}
    named = {**rows, "instances": [{"image_bytes": b64(data)} for data in files]}
    column = {"signature_name": "serve_bytes", "inputs": {"image_bytes": rows["instances"]}}
    expected = [b64(model.restore_bytes(data)) for data in files]
    assert server.post(rows) == (200, {"predictions": expected})
    assert server.post(named) == (200, {"predictions": expected})
    assert server.post(column) == (200, {"outputs": expected})
    assert [decoded(picture).shape for picture in expected] == [(9, 14, 3), (5, 14, 3)]


def test_the_version_in_the_path_is_served_or_404(server):
    version = current_version(server)
    body = {"instances": IMAGE.tolist()}
    assert server.post(body, f"/v1/models/{NAME}/versions/{version}:predict")[0] == 200
    status, answer = server.post(body, f"/v1/models/{NAME}/versions/77:predict")
    assert (status, answer["error"]) == (
        404,
        f"Servable not found for request: Specific({NAME}, 77)",
    )


def current_version(server):
    status, answer = server.get(f"/v1/models/{NAME}")
    (version,) = answer["model_version_status"]
    assert status == 200
    assert version["state"] == "AVAILABLE"
    assert version["status"] == {"error_code": "OK", "error_message": ""}
    return version["version"]


def test_metadata_is_the_signatures(server):
    status, answer = server.get(f"/v1/models/{NAME}/metadata")
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert status == 200
    assert answer["model_spec"] == {
        "name": NAME,
        "signature_name": "",
        "version": current_version(server),
    }
    image = signatures["serving_default"]["inputs"]["image"]
    assert image["dtype"] == "DT_FLOAT"
    assert [size["size"] for size in image["tensor_shape"]["dim"]] == ["-1", "-1", "-1", "1"]
    assert signatures["serve_bytes"]["outputs"]["restored_bytes"]["dtype"] == "DT_STRING"


# ---- Errors ------------------------------------------------------------------------------------

BAD_REQUESTS = {
    "no JSON": (b"{'instances'", "malformed request"),
    "nothing": (b"", "malformed request"),
    "bytes that are no text": (b"\xff\xfe\x00", "malformed request"),
    "nested too deep": (b"[" * 17, "nested 17 deep: expected at most 16"),
    "another alphabet": (json.dumps({"instances": [1]}).encode("utf-16"), "malformed request"),
    "a number of many digits": (b'{"instances": [' + b"1" * 5000 + b"]}", "malformed request"),
    "a list": ([1, 2], "a JSON list: expected an object"),
    "no inputs": ({}, "expected one of 'instances'"),
    "two formats": ({"instances": [1], "inputs": [1]}, "expected one of 'instances'"),
    "no rows": ({"instances": []}, "at least one row"),
    "rows that are no list": ({"instances": {"image": 1}}, "at least one row"),
    "an unknown signature": ({"signature_name": "x", "instances": [1]}, "expected one of"),
    "a signature that is a list": ({"signature_name": [], "instances": [1]}, "malformed request"),
    "an unknown input": ({"inputs": {"picture": [1]}}, "expected ['image']"),
    "rows that differ": ({"instances": [{"image": 1}, {"b": 1}]}, "name different inputs"),
    "a ragged list": ({"instances": [[[[0.5]], [[0.5], [0.5]]]]}, "malformed request"),
    "a wrong rank": ({"instances": [[[0.5]]]}, "expected (N, H, W, 1)"),
    "wrong channels": ({"instances": [[[[0.5, 0.5, 0.5]]]]}, "expected (N, H, W, 1)"),
    "an empty picture": ({"instances": [[[]]]}, "expected (N, H, W, 1)"),
    "text for numbers": ({"instances": [[[["0.5"]]]]}, "not of type float32"),
    "truth for numbers": ({"instances": [[[[True]]]]}, "not of type float32"),
    "nothing for numbers": ({"instances": [[[[None]]]]}, "not of type float32"),
    "too large for float32": ({"instances": [[[[1e300]]]]}, "malformed request"),
    "bytes that are no picture": (
        {"signature_name": "serve_bytes", "instances": [b64(b"no picture")]},
        "image_bytes is neither PNG nor JPEG",
    ),
    "no base64": (
        {"signature_name": "serve_bytes", "instances": [{"b64": "%%%"}]},
        "malformed request",
    ),
    "numbers for bytes": ({"signature_name": "serve_bytes", "instances": [7]}, "expected strings"),
    "one string for a list": (
        {"signature_name": "serve_bytes", "inputs": b64(b"x")},
        "",  # Which of two operators refuses it first is left to chance.
    ),
}


@pytest.mark.parametrize(("body", "error"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_bad_request_is_400_with_one_line(server, body, error):
    status, answer = server.post(body)
    assert (status, list(answer)) == (400, ["error"])
    assert error in answer["error"]
    assert "\n" not in answer["error"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1/models/other"),
        ("GET", f"/v1/models/{NAME}/versions/9"),
        ("GET", f"/v1/models/{NAME}/labels/stable"),
        ("GET", f"/v1/models/{NAME}:predict"),
        ("POST", "/v1/models/other:predict"),
        ("POST", f"/v1/models/{NAME}:classify"),
        ("POST", f"/v1/models/{NAME}"),
        ("POST", f"/v1/models/{NAME}/versions/{'9' * 5000}:predict"),
    ],
)
def test_what_is_not_there_is_404(server, method, path):
    body = '{"instances": [1]}' if method == "POST" else None
    status, answer = ask(server.port, method, path, body)
    assert (status, list(answer)) == (404, ["error"])


def test_a_body_above_the_limit_is_413_before_it_is_read(server):
    # The claim is enough: no byte of such a body is sent.
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(
            f"POST /v1/models/{NAME}:predict HTTP/1.1\r\nHost: x\r\n"
            f"Content-Length: {10**15}\r\n\r\n".encode()
        )
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    # And one that sends it all the same gets to read the answer.
    status, answer = server.post(bytes(3 * MAX_BODY_MB * 2**20))
    assert (status, list(answer)) == (413, ["error"])


PREDICT = f"POST /v1/models/{NAME}:predict HTTP/1.1\r\nHost: x\r\n".encode()
STATUS = f"GET /v1/models/{NAME} HTTP/1.1\r\nHost: x\r\n".encode()
# What two programs could take for different requests, and what is no request here.
REFUSED_HEADS = {
    "no length": (PREDICT, 411, "send Content-Length"),
    "chunks": (PREDICT + b"Transfer-Encoding: chunked\r\n", 411, "send Content-Length"),
    "a negative length": (PREDICT + b"Content-Length: -1\r\n", 400, "Content-Length"),
    "a length that is no number": (PREDICT + b"Content-Length: x\r\n", 400, "Content-Length"),
    "two lengths": (
        PREDICT + b"Content-Length: 2\r\nContent-Length: 3\r\n",
        400,
        "conflicting Content-Length",
    ),
    "one length twice": (
        PREDICT + b"Content-Length: 2\r\ncontent-length: 2\r\n",
        400,
        "more than one header",
    ),
    "a list of lengths": (PREDICT + b"Content-Length: 2, 2\r\n", 400, "more than one header"),
    "a length and chunks": (
        PREDICT + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        400,
        "more than one header",
    ),
    "a GET with a body": (STATUS + b"Content-Length: 2\r\n", 400, "a GET with a body"),
    "a GET with chunks": (STATUS + b"Transfer-Encoding: chunked\r\n", 400, "a GET with a body"),
    "another method": (b"BREW / HTTP/1.1\r\nHost: x\r\n", 405, "expected GET or POST"),
    "a picture as body": (PREDICT + b"Content-Type: image/png\r\n", 415, "application/json"),
    "a compressed body": (
        PREDICT + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n",
        415,
        "without Content-Encoding",
    ),
    "a long head": (STATUS + b"Cookie: " + b"a" * 40_000 + b"\r\n", 431, "too long"),
    "a long line": (b"A" * 40_000, 431, "too long"),
    "no host": (b"GET / HTTP/1.1\r\n", 400, "Host"),
    "no path": (b"GET\r\n", 400, "expected HTTP/1.1"),
    "another HTTP": (b"GET / HTTP/9.9\r\n", 505, "expected HTTP/1.1"),
    "no HTTP": (b"\x00\xff\x16\x03\x01" * 40, 400, "expected HTTP/1.1"),
}


@pytest.mark.parametrize(("head", "status", "error"), REFUSED_HEADS.values(), ids=REFUSED_HEADS)
def test_a_refused_head_ends_the_connection_with_one_line(server, head, status, error):
    # A second request behind it must not be answered: a proxy may have seen something else.
    answer = server.talk(head + b"\r\n" + STATUS + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1") == 1 + answer.count(b"expected HTTP/1.1")
    assert b"\r\nConnection: close\r\n" in answer
    lines = answer.split(b"\r\n\r\n", 1)[1].splitlines()
    assert len(lines) == 1
    assert error in json.loads(lines[0])["error"]


def test_requests_follow_each_other_on_one_connection(server):
    # Both are sent before the first answer, and a refusal with its body read ends nothing.
    bad = b"Content-Length: 2\r\n\r\n[]"
    answer = server.talk(STATUS + b"\r\n" + PREDICT + bad + STATUS + b"Connection: close\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"400", b"200"]


def test_what_is_too_large_is_413_before_it_is_decoded(server):
    image = np.zeros((1, 60, 60, 1)).tolist()
    many = {"signature_name": "serve_bytes", "instances": [b64(encoded(PICTURE))] * 9}
    # No pixels: its header alone is a picture of 100,489 pixels.
    header = encoded(np.zeros((317, 317, 3), np.uint8))[:33]
    for body, error in (
        ({"instances": image * 9}, "values in a request: expected at most 20000"),
        (many, "9 rows, at most 8"),
        ({**many, "instances": [b64(header)]}, "100489 pixels, at most 100000"),
        ({**many, "instances": [b64(encoded(np.zeros((317, 317), np.uint8), "JPEG"))]}, "pixels"),
    ):
        status, answer = server.post(body)
        assert status == 413
        assert error in answer["error"]


def test_slow_clients_are_dropped(server):
    # All at once, for each waits.
    slow = {
        "a head": (STATUS, b"HTTP/1.1 408 "),
        "a body": (PREDICT + b"Content-Length: 9\r\n\r\n[", b"HTTP/1.1 408 "),
        "nothing": (b"", b""),
    }
    with concurrent.futures.ThreadPoolExecutor(len(slow)) as pool:
        answers = pool.map(server.talk, [sent for sent, _ in slow.values()])
        for (_, expected), answer in zip(slow.values(), answers):
            assert answer.startswith(expected)
            assert bool(answer) == bool(expected)


def test_one_client_cannot_take_all_connections(server):
    with contextlib.ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        mine = [stack.enter_context(socket.create_connection(address)) for _ in range(40)]
        refused = [client for client in mine if is_refused(client)]
        assert 8 <= len(refused) < 40
        other = http.client.HTTPConnection(*address, source_address=("127.0.3.1", 0))
        other.request("GET", f"/v1/models/{NAME}")
        assert other.getresponse().status == 200
        other.close()


def is_refused(client):
    client.settimeout(0.2)
    try:
        return client.recv(13) == b"HTTP/1.1 429 "
    except TimeoutError:
        return False


def test_a_worker_that_was_ended_is_replaced(server):
    workers = [
        worker
        for helper in children(server.process.pid)
        for worker in children(helper)
        if b"forkserver" in pathlib.Path(f"/proc/{helper}/cmdline").read_bytes()
    ]
    assert workers
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        while pathlib.Path(f"/proc/{worker}").exists():
            time.sleep(0.01)
    assert server.post({"instances": IMAGE.tolist()})[0] == 200


def children(process):
    threads = pathlib.Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]


def test_a_connection_that_breaks_off_does_not_end_the_server(server):
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(PREDICT + b"Content-Length: 99\r\n\r\n")
    assert server.post({"instances": IMAGE.tolist()})[0] == 200


# ---- Many at a time ----------------------------------------------------------------------------


def test_a_bad_request_does_not_fail_those_beside_it(server, model):
    good, bad = b64(encoded(PICTURE)), b64(b"\x89PNG\r\n\x1a\n no picture")
    expected = b64(model.restore_bytes(encoded(PICTURE)))

    def send(number):
        row = bad if number == 3 else good
        return server.post({"signature_name": "serve_bytes", "instances": [row]})

    answers = send_together(8, send)
    assert [status for status, _ in answers] == [200, 200, 200, 400, 200, 200, 200, 200]
    assert all(answer["predictions"] == [expected] for status, answer in answers if status == 200)


def test_each_of_many_clients_gets_its_own_answer(server, model):
    sizes = [(6, 8), (6, 8), (7, 5), (12, 3)]

    def send(client):
        random = np.random.default_rng([9, client])
        right = []
        for number in range(8):
            rows = 1 + number % 3
            image = random.random((rows, *sizes[number % len(sizes)], 1), np.float32)
            status, answer = server.post({"instances": image.tolist()})
            expected = model.restore(image)
            right.append(status == 200 and np.shape(answer["predictions"]) == expected.shape)
            np.testing.assert_allclose(answer["predictions"], expected, atol=1e-5)
        return all(right)

    assert send_together(8, send) == [True] * 8


# ---- Versions and the client ---------------------------------------------------------------------


def test_a_version_is_taken_up_when_it_is_whole(server, folder, model):
    body = {"instances": IMAGE.tolist()}
    before = current_version(server)
    half = folder / "7"
    half.mkdir()
    shutil.copy(folder / "1" / "saved_model.pb", half)
    (half / "variables").mkdir()
    # As a copy in progress would leave it: of the right size, without the right bytes.
    variables = folder / "1" / "variables" / "variables.data-00000-of-00001"
    (half / "variables" / variables.name).write_bytes(bytes(variables.stat().st_size))
    shutil.copy(folder / "1" / "variables" / "variables.index", half / "variables")
    time.sleep(1)
    assert current_version(server) == before
    shutil.copy(variables, half / "variables")
    deadline = time.monotonic() + 15
    while current_version(server) != "7" and time.monotonic() < deadline:
        # The old version answers until the new one is there.
        status, answer = server.post(body)
        assert status == 200
        time.sleep(0.1)
    assert current_version(server) == "7"
    status, answer = server.post(body, f"/v1/models/{NAME}/versions/7:predict")
    np.testing.assert_allclose(answer["predictions"], model.restore(IMAGE), atol=1e-6)
    # Taking the version away goes back to the one before.
    shutil.rmtree(half)
    deadline = time.monotonic() + 15
    while current_version(server) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert current_version(server) == before


def test_the_client_needs_nothing_but_python(repository, server, model, tmp_path):
    (tmp_path / "in.png").write_bytes(encoded(PICTURE))
    (tmp_path / "bad.png").write_text("no picture")
    client = repository / "examples" / "serving" / "client.py"
    # -S leaves out everything that was installed.
    command = [sys.executable, "-S", client, server.url, NAME]
    for file in ("in.png", "bad.png"):
        done = subprocess.run(
            [*map(str, command), tmp_path / file, tmp_path / f"restored-{file}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if file == "in.png":
            assert done.returncode == 0, done.stderr
        else:
            assert done.returncode == 1
            assert "400 assertion failed: [image_bytes is neither PNG nor JPEG]" in done.stderr
    restored = (tmp_path / "restored-in.png").read_bytes()
    assert restored == model.restore_bytes(encoded(PICTURE))
    assert not (tmp_path / "restored-bad.png").exists()
