"""How much memory a model of a stranger may take."""

from __future__ import annotations

from tf_deconv.data.store import memory_budget

# This much is always taken, whatever is free.
_SMALL_BYTES = 2**30


def memory_limit() -> int:
    """Returns half of the memory that is free, in bytes."""
    return max(_SMALL_BYTES, memory_budget())
