"""examples/serving's server and load test as a user starts and stops them."""

import concurrent.futures
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.fixtures.servers import NAME, b64, copy_model, decoded, encoded, start


@pytest.fixture(scope="module")
def folder(exported, tmp_path_factory):
    return copy_model(exported, tmp_path_factory.mktemp("serving"))


@pytest.mark.slow
def test_the_load_test_counts_no_wrong_answer(repository, folder):
    load_test = repository / "examples" / "serving" / "load_test.py"
    pictures = ["--pictures", "28x28 floats", "256x256 PNG", "--clients", "4"]
    options = ["--requests", "8", "--hostile", "medium pictures", "--rounds", "1", "--json"]
    done = subprocess.run(
        [sys.executable, str(load_test), str(folder), *pictures, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["hostile"] for row in rows] == ["none", "medium pictures"] * 2
    assert all(row["wrong"] == 0 and row["requests"] >= 8 for row in rows)


@pytest.mark.slow
def test_the_load_test_does_not_load_other_machines(repository, folder):
    load_test = repository / "examples" / "serving" / "load_test.py"
    done = subprocess.run(
        [sys.executable, str(load_test), str(folder), "--url", "http://192.0.2.1:8501"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--allow-remote" in done.stderr


@pytest.mark.slow
def test_a_folder_without_a_model_is_one_line(repository, tmp_path):
    done = subprocess.run(
        [sys.executable, str(repository / "examples" / "serving" / "server.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "no version in it could be loaded" in done.stderr.splitlines()[-1]


def test_sigterm_answers_what_is_in_progress_and_exits_with_0(repository, folder):
    server = start(repository, folder, "--workers", 1)
    large = np.random.default_rng(2).integers(0, 256, (400, 400, 3), np.uint8)
    body = {"signature_name": "serve_bytes", "instances": [b64(encoded(large, "JPEG"))] * 3}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.post, body)
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        status, restored = answer.result(timeout=60)
    server.process.communicate(timeout=30)
    assert server.process.returncode == 0
    assert status == 200
    assert [decoded(picture).shape for picture in restored["predictions"]] == [(400, 400, 3)] * 3
    with pytest.raises(ConnectionError):
        server.get(f"/v1/models/{NAME}")
