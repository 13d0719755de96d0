"""Training processes that know of each other by TF_CONFIG, on this machine."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parent.parent
TIMEOUT_S = 300


def free_ports(count):
    """Returns ports that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(contextlib.closing(socket.socket())) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]


def start(commands):
    """Starts `train.py` with each list of arguments, as workers of one cluster."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(len(commands))]
    return [
        subprocess.Popen(
            [sys.executable, "train.py", *map(str, command)],
            cwd=REPOSITORY,
            env={**os.environ, "TF_CONFIG": tf_config(addresses, index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, command in enumerate(commands)
    ]


def tf_config(addresses, index):
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


def ends(processes):
    """Waits for processes; returns exit code, stdout and the last words on stderr of each."""
    try:
        outputs = [process.communicate(timeout=TIMEOUT_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(processes, outputs)]
