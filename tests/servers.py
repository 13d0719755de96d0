"""Servers of examples/serving in processes of their own, and what is sent to them."""

import base64
import concurrent.futures
import http.client
import io
import json
import shutil
import subprocess
import sys
import types

import numpy as np
from PIL import Image

NAME = "served"


def encoded(pixels, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def decoded(prediction):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(prediction["b64"]))), int)


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def copy_model(exported, parent):
    """Copies an exported SavedModel to where a server looks for it; returns NAME's folder."""
    shutil.copytree(exported.folder / "1", parent / NAME / "1")
    return parent / NAME


def start(repository, folder, *options):
    """Starts the server where importing tf_deconv fails, as where this project is missing."""
    serving = repository / "examples" / "serving"
    code = (
        "import runpy, sys; sys.modules['tf_deconv'] = None; sys.argv = sys.argv[1:];"
        "sys.path.insert(0, sys.argv[0]);"
        "runpy.run_path(sys.argv[0] + '/server.py', None, '__main__')"
    )
    command = [sys.executable, "-c", code, serving, folder, "--port", 0, *options]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    line = process.stdout.readline()
    assert line, process.communicate()
    port = int(line.split(":")[2].split("/")[0])

    def post(body, path=f"/v1/models/{NAME}:predict"):
        return ask(port, "POST", path, body if isinstance(body, bytes) else json.dumps(body))

    return types.SimpleNamespace(
        process=process,
        port=port,
        post=post,
        get=lambda path: ask(port, "GET", path),
        url=f"http://127.0.0.1:{port}",
    )


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def send_together(count, send):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(send, range(count)))
