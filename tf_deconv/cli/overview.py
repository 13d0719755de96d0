"""The commands there are, and the page that a first call shows. Nothing is imported for it."""

from __future__ import annotations

COMMANDS = {
    "restore": "restore pictures with a trained or exported model",
    "inspect": "tell what a model is, takes and gives; list those that come along",
    "evaluate": "measure a trained or exported model on pictures",
    "benchmark": "measure an export in every runtime, or models as papers do",
    "train": "train a network; leaves a run folder",
    "export": "export a run as SavedModel and TFLite, each checked",
    "verify": "check exported files in a runtime on a known picture",
    "shard": "pack pictures into TFRecord shards, to train from remote storage",
    "sample": "make pictures with a generator",
    "edit": "pass pictures through a generator: interpolate, inpaint",
}
# Commands that tell of the others.
HELPERS = {
    "help": "tell the options of a command: tf-deconv help restore",
    "version": "tell the version",
    "completion": "print a script from which a shell completes what is typed",
}
_GROUPS = {
    "Use a model": ("restore", "inspect", "evaluate", "benchmark"),
    "Make a model": ("train", "export", "verify", "shard"),
    "Make pictures": ("sample", "edit"),
}
_FIRST = """\
Begin with:
  tf-deconv restore photo.jpg    takes noise and JPEG damage off a photograph
  tf-deconv train --data FOLDER  trains a network on your own pictures
  tf-deconv export               makes files of it for servers, phones, browsers
"""


def overview() -> str:
    """Returns the commands in groups, and the first things to do; 80 columns at most."""
    groups = {name: {key: COMMANDS[key] for key in keys} for name, keys in _GROUPS.items()}
    lines = [
        "usage: tf-deconv COMMAND [OPTIONS]",
        "",
        "From a folder of pictures to a small deconvolutional network.",
        "",
        _FIRST,
    ]
    for title, commands in {**groups, "Help": HELPERS}.items():
        lines += [f"{title}:", *(f"  {name:10}  {text}" for name, text in commands.items()), ""]
    return "\n".join([*lines, "`tf-deconv help COMMAND` tells the options of one."])
