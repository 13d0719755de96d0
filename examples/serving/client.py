"""Restores a picture by asking a server; needs nothing but Python.

    python client.py http://127.0.0.1:8501 NAME noisy.png restored.png

The request is TensorFlow Serving's, so it works with that as with server.py. PNG or JPEG goes out,
PNG comes back.
"""

import base64
import json
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 60


def restore(url, name, encoded):
    """Returns the restored picture, a PNG file's bytes, for a PNG or JPEG file's bytes."""
    body = {
        "signature_name": "serve_bytes",
        "instances": [{"b64": base64.b64encode(encoded).decode()}],
    }
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v1/models/{name}:predict",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        return base64.b64decode(json.load(response)["predictions"][0]["b64"])


def main(url, name, picture, restored):
    with open(picture, "rb") as stream:
        encoded = stream.read()
    try:
        answer = restore(url, name, encoded)
    except urllib.error.HTTPError as error:
        sys.exit(f"{picture} was refused: {error.code} {json.load(error)['error']}")
    except urllib.error.URLError as error:
        sys.exit(f"{url} does not answer: {error.reason}")
    with open(restored, "wb") as stream:
        stream.write(answer)
    print(f"wrote {restored}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
