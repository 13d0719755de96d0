"""examples/serving: TensorFlow Serving's protocol over HTTP, and a server that nothing ends."""

import shutil
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
PICTURE = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
IMAGE = np.random.default_rng(1).random((2, 6, 8, 1), np.float32)


@pytest.fixture(scope="module")
def folder(exported, tmp_path_factory):
    return copy_model(exported, tmp_path_factory.mktemp("serving"))


@pytest.fixture(scope="module")
def server(repository, folder):
    options = ("--max-batch-size", 8, "--batch-timeout-ms", 20, "--poll-seconds", 0.2)
    batched = ("--batch-signatures", "serving_default", "serve_bytes")
    server = start(repository, folder, *options, *batched, "--max-body-mb", MAX_BODY_MB)
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
    "nested too deep": (b"[" * 100_000, "malformed request"),
    "a list": ([1, 2], "expected a JSON object"),
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
    status, answer = ask(server.port, method, path, '{"instances": [1]}')
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


@pytest.mark.parametrize("length", [b"", b"Content-Length: -1\r\n", b"Content-Length: x\r\n"])
def test_a_body_of_unknown_length_is_411(server, length):
    answer = talk(server.port, f"POST /v1/models/{NAME}:predict HTTP/1.1\r\n".encode() + length)
    assert answer.startswith(b"HTTP/1.1 411 ")


def talk(port, data):
    """Sends bytes and an empty line; returns all that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(data + b"\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        received = b""
        while piece := client.recv(1 << 16):
            received += piece
        return received


@pytest.mark.parametrize(
    "data",
    [b"\x00\xff\x16\x03\x01" * 40, b"GET", b"GET / HTTP/9.9", b"A" * 100_000, b"BREW / HTTP/1.1"],
)
def test_bytes_that_are_no_http_do_not_end_the_server(server, data):
    try:
        received = talk(server.port, data)
    except ConnectionError:
        received = b""
    assert b"Traceback" not in received
    assert not received or b'{"error": ' in received
    assert server.post({"instances": IMAGE.tolist()})[0] == 200


def test_a_connection_that_breaks_off_does_not_end_the_server(server):
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(
                f"POST /v1/models/{NAME}:predict HTTP/1.1\r\nContent-Length: 99\r\n\r\n".encode()
            )
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
