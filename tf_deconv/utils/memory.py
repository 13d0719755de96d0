"""How much memory there is, on each system in its own way."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib

# What a container may use, where /proc/meminfo shows the whole machine: control groups 2 and 1.
_CONTAINER_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
# Taken for the machine's where the system tells nothing.
_UNKNOWN_BYTES = 4 * 2**30


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of Windows; its counts are of bytes."""

    _fields_ = [
        ("length", ctypes.c_uint32),
        ("percent_used", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("physical", "available", "page_file")),
        *((f"rest_{index}", ctypes.c_uint64) for index in range(4)),
    ]


def available_bytes() -> int:
    """Returns how much memory a process may take now without others losing theirs.

    Linux and Windows tell what is free, other systems what the machine has.
    """
    amounts = [*_of_the_machine(), *_of_linux()]
    for path in _CONTAINER_LIMITS:
        # The file is absent, or says "max", where there is no limit.
        with contextlib.suppress(OSError, ValueError):
            amounts.append(int(pathlib.Path(path).read_text(encoding="ascii")))
    return min(amounts, default=_UNKNOWN_BYTES)


def _of_the_machine() -> list[int]:
    if hasattr(os, "sysconf"):
        # A name that the system does not know is a ValueError.
        with contextlib.suppress(OSError, ValueError):
            amount = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            return [amount] if amount > 0 else []
    elif hasattr(ctypes, "windll"):
        status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
        if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            return [status.physical, status.available]
    return []


def _of_linux() -> list[int]:
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return [int(line.split()[1]) * 1024]
    return []
