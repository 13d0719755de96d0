"""Options of `shard`, and their checks; the name of the bundled pictures."""

from __future__ import annotations

import dataclasses
from typing import Any

from tf_deconv.images.value_range import ValueRange, parse_range
from tf_deconv.utils.options import UserError, option, validate

BUNDLED = "bundled"


def range_option(auto: str, group: str = "the files") -> Any:
    """Declares --range; `auto` says what happens where nothing is said, `group` where it stands."""
    return option(
        "auto",
        "which values of more than 8 bits are black and white: full: the smallest and largest of"
        " their type; LOW-HIGH such as 0-4095; percentile:LOW-HIGH such as percentile:0.1-99.9, of"
        f" all pictures; auto: {auto}",
        group=group,
        metavar="RANGE",
    )


def check_range(text: str) -> ValueRange:
    """Parses --range.

    Raises:
      UserError: that says what was expected.
    """
    try:
        return parse_range(text)
    except ValueError as error:
        raise UserError(str(error)) from error


@dataclasses.dataclass(frozen=True)
class ShardConfig:
    """Everything that decides which shards are written, and where."""

    data: str | None = option(
        None, "pictures: what train's --data takes", type=str, metavar="PICTURES"
    )
    out: str = option(
        "shards",
        "new folder, or URL such as gs://BUCKET/FOLDER, that receives the shards",
        metavar="FOLDER",
        short="-o",
    )
    shards: int | None = option(
        None,
        "number of shards, of each part where there are several; --shard-mb decides when left out",
        minimum=1,
        maximum=99_999,
        type=int,
        metavar="COUNT",
    )
    shard_mb: int | None = option(
        None,
        "size of a shard, in millions of bytes; 64 when --shards is left out too",
        minimum=1,
        maximum=1_000_000,
        type=int,
        metavar="MB",
    )
    range: str = range_option(
        "decided when the shards are read; float is 0 to 1, and other integers what they span"
    )
    no_labels: bool = option(False, "leave labels out where there are any", group="the files")
    max_pixels: int = option(
        2**28,
        "largest picture that is taken, in pixels; larger ones are left out",
        minimum=1,
        group="the files",
        metavar="PIXELS",
    )


def check_shard_config(config: ShardConfig) -> ShardConfig:
    """Validates the options of sharding.

    Raises:
      UserError: with every fault of the first kind found in one line.
    """
    config = validate(config)
    if config.data is None:
        raise UserError("data=None: expected pictures, such as a folder of them")
    check_range(config.range)
    if config.shards is not None and config.shard_mb is not None:
        raise UserError(
            f"shards={config.shards} with shard_mb={config.shard_mb}: expected one of them, the"
            " number of shards or their size"
        )
    return config
