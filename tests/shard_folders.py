"""Folders of shards, for the tests of what writes and reads them."""

from tf_deconv import shard_command, tfrecords
from tf_deconv.config.sharding import ShardConfig


def shard(data, out, **options):
    lines = []
    config = ShardConfig(str(data), str(out), **options)
    return shard_command.shard(config, report=lines.append), lines


def records(folder):
    return list(tfrecords.read_records(tfrecords.open_shards(str(folder), labels=True)))


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
