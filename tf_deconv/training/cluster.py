"""Which machines train together: what TF_CONFIG says, read without TensorFlow.

The form is TensorFlow's own: {"cluster": {"worker": ["host-0:2222", "host-1:2222"]},
"task": {"type": "worker", "index": 0}}, and `chief` may stand beside `worker`.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from tf_deconv.utils.options import UserError

VARIABLE = "TF_CONFIG"
# Jobs whose tasks train; parameter servers and evaluators belong to other strategies.
_JOBS = ("chief", "worker")
_FORM = (
    '{"cluster": {"worker": ["host-0:2222", "host-1:2222"]},'
    ' "task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Workers that train one network.

    Attributes:
      tasks: Job and number of each, as TensorFlow calls it; the chief first.
      addresses: "HOST:PORT" of each.
      index: Which of them this process is; 0 is the chief, which alone writes.
    """

    tasks: tuple[tuple[str, int], ...]
    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Tells whether this process is the one that writes."""
        return self.index == 0

    @property
    def address(self) -> str:
        """This process's own "HOST:PORT"."""
        return self.addresses[self.index]

    @property
    def port(self) -> int:
        """The port that this process listens on."""
        return int(self.address.rpartition(":")[2])


def read_cluster(text: str | None = None) -> Cluster | None:
    """Reads the workers of this training.

    Args:
      text: TF_CONFIG's value; that of the environment when left out.
    Returns:
      The cluster; None where TF_CONFIG is not set or names one worker only.
    Raises:
      UserError: if it is set and is not of the form above.
    """
    text = os.environ.get(VARIABLE, "") if text is None else text
    if not text.strip():
        return None
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{VARIABLE} is not JSON ({error}): expected {_FORM}") from error
    jobs = _member(config, "cluster", dict)
    others = sorted(set(jobs) - set(_JOBS))
    if others:
        raise UserError(f"{VARIABLE} has the jobs {others}: expected only 'worker' and 'chief'")
    found = {
        (job, number): address
        for job in _JOBS
        for number, address in enumerate(_member(jobs, job, list, optional=True))
    }
    tasks, addresses = tuple(found), tuple(found.values())
    for address in addresses:
        _check_address(address)
    if ("chief", 1) in found:
        raise UserError(f"{VARIABLE} has {len(jobs['chief'])} chiefs: expected one at most")
    if len(set(addresses)) < len(addresses) or not addresses:
        raise UserError(f"{VARIABLE} names the workers {list(addresses)}: expected each once")
    task = _member(config, "task", dict)
    job, number = _member(task, "type", str), str(task.get("index"))
    if not number.isdecimal() or (job, int(number)) not in found:
        own = ", ".join(f"{name} {count}" for name, count in tasks)
        raise UserError(f"{VARIABLE} says that this is {job} {number}: expected one of {own}")
    if len(addresses) == 1:
        return None
    return Cluster(tasks, addresses, tasks.index((job, int(number))))


def _member(values: Any, name: str, kind: type, *, optional: bool = False) -> Any:
    if isinstance(values, dict):
        if optional and name not in values:
            return kind()
        if isinstance(values.get(name), kind):
            return values[name]
    raise UserError(f"{VARIABLE} has no valid {name!r}: expected {_FORM}")


def _check_address(address: Any) -> None:
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"{VARIABLE} names the worker {address!r}: expected HOST:PORT")
