"""Folders of shards, for the tests of what writes and reads them."""

from tf_deconv.data.config import ShardConfig
from tf_deconv.data.shards import pack, reader


def shard(data, out, **options):
    lines = []
    config = ShardConfig(str(data), str(out), **options)
    return pack.shard(config, report=lines.append), lines


def records(folder):
    return list(reader.read_records(reader.open_shards(str(folder), labels=True)))


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
