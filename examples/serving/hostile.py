"""One client that takes what it can get, for load_test.py; needs nothing but Python.

    python hostile.py 127.0.0.1:8501 NAME CHANNELS KIND

It goes on until it is ended. Only for a server of your own: what it asks for is refused or answered
by server.py, but costs other servers minutes and gigabytes.
"""

import base64
import contextlib
import http.client
import json
import os
import socket
import struct
import sys
import threading
import time
import zlib

CONNECTIONS = 16
# Not the clients' that are measured.
ADDRESS = ("127.0.2.1", 0) if sys.platform == "linux" else None


def small_floats(channels):
    """As good a request as anybody's, from sixteen connections at once."""
    return json.dumps({"instances": [[[[0.5] * channels] * 28] * 28]}).encode()


def medium_picture(channels):
    """A picture of 256x256, likewise."""
    return picture(256)


def large_picture(channels):
    """As large a picture as the model takes, in a file of a few kilobytes."""
    return picture(4096)


def large_json(channels):
    """A body of 63 MB, which as Python's lists would take 5 GB."""
    return b'{"instances": [' + b"[0]," * (63 * 2**18) + b"0]}"


def picture(side):
    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + bytes(range(256)) * (side * 3 // 256)) * side)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    row = {"b64": base64.b64encode(b"\x89PNG\r\n\x1a\n" + data).decode()}
    return json.dumps({"signature_name": "serve_bytes", "instances": [row]}).encode()


def ask(address, path, body):
    """Sends a request, reads the answer."""
    connection = http.client.HTTPConnection(*address, timeout=600, source_address=ADDRESS)
    with contextlib.closing(connection):
        connection.request("POST", path, body)
        connection.getresponse().read()


def send_slowly(address, path, body):
    """Sends a head's bytes one a second, and never its end."""
    with socket.create_connection(address, source_address=ADDRESS) as connection:
        for byte in f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Slow: {'x' * 1000}".encode():
            connection.send(bytes([byte]))
            time.sleep(1)


KINDS = {
    "small floats": (ask, small_floats),
    "medium pictures": (ask, medium_picture),
    "large pictures": (ask, large_picture),
    "large JSON": (ask, large_json),
    "all of these": (ask, None),
    "slow heads": (send_slowly, lambda channels: b""),
}


def main(address, name, channels, kind):
    # Its work would be another machine's.
    os.nice(19)
    host, port = address.split(":")
    act, make = KINDS[kind]
    made = [make] if make else [small_floats, medium_picture, large_picture, large_json]
    bodies = [make_one(int(channels)) for make_one in made]

    def go_on(body):
        while True:
            # The server may refuse and close whenever it likes.
            with contextlib.suppress(OSError, http.client.HTTPException):
                act((host, int(port)), f"/v1/models/{name}:predict", body)

    for number in range(CONNECTIONS * (1 if act is ask else 8)):
        body = bodies[number % len(bodies)]
        threading.Thread(target=go_on, args=(body,), daemon=True).start()
    print("begun", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
