"""The model card of an exported generator."""

from __future__ import annotations

import itertools
import re
import shlex
import textwrap
from collections.abc import Iterable
from typing import Any

from tf_deconv.data import levels
from tf_deconv.degradations.tasks import OPERATORS, TASKS, parse_chain

_WIDTH = 100
_KINDS = {"vae": "A convolutional variational autoencoder", "flow": "A rectified flow"}
_PREVIEWS = {
    "vae": "held-out pictures, what comes back of each, and new pictures",
    "flow": "new pictures",
}


def make_generator_card(manifest: dict[str, Any], lines: list[str], has_picture: bool) -> str:
    """Writes the model card.

    Args:
      manifest: What `manifest.make_manifest` returned.
      lines: What `manifest.table` returned.
      has_picture: Whether `preview.jpg` lies beside it.
    Returns:
      Markdown.
    """
    facts, (network,) = manifest["generator"], manifest["tflite_signatures"]
    kind, classes = facts["kind"], facts["classes"]
    colour = "grey" if facts["channels"] == 1 else "colour"
    summary = f"{_KINDS[kind]} that makes {colour} pictures of {facts['width']}x{facts['height']}"
    summary += f" pixels, of {classes} classes." if classes else " pixels. It takes no label."
    noise = (
        "Values of pictures are in [0, 1]. The noise of a picture is a function of its seed and its"
        " number, the same in every format and language: docs/noise.md of tf_deconv."
    )
    checked = (
        'Every file was compared with the Keras model before it was put here. "vs Keras dB" is the'
        f' PSNR of `{network}`, "samples differ" the largest difference of whole pictures that were'
        f' sampled from one seed, "median ms" the time of one `{network}` of one picture on one'
        " thread of the machine that exported."
    )
    usage = [
        "`tf-deconv sample FILE --count 64 --seed 7 --out DIR` makes pictures with any of them.",
        *([_saved_model(manifest)] if manifest["version"] else []),
        _tflite(manifest),
        "`golden/` has a known input and what must come of it, for clients in any language.",
        "`manifest.json` has all of this for programs, with checksums.",
        f"Licence {manifest['license']}.",
    ]
    parts = [
        f"# {manifest['name']}",
        _filled(summary),
        *([f"![{_PREVIEWS[kind]}](preview.jpg)"] if has_picture else []),
        _filled(noise),
        "## Files",
        _filled(checked),
        "\n".join(["```", *lines, "```"]),
        "## Use",
        "\n".join(_filled(f"- {text}", "  ") for text in usage),
    ]
    training = origin(manifest) if manifest["training"] else ""
    return "\n\n".join(parts) + "\n" + training


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _saved_model(manifest: dict[str, Any]) -> str:
    facts = manifest["generator"]
    picture = f"{facts['height']}, {facts['width']}, {facts['channels']}"
    classes, latent = facts["classes"], facts["latent"]
    label = ", `label` (N,)" if classes else ""
    arguments = "`count`, `seed` and `label`" if classes else "`count` and `seed`"
    in_turn = "; label -1 stands for the classes in turn" if classes else ""
    if facts["kind"] == "vae":
        others = (
            f"`decode`: `latent` (N, {latent}){label} to `image`."
            f" `encode`: `image`{label} to `mean` and `log_variance`, (N, {latent}) each."
        )
    else:
        steps, solver = manifest["sampler"]["steps"], manifest["sampler"]["solver"].capitalize()
        guidance = manifest["sampler"]["guidance"]
        guided = f" with guidance {guidance:g}" if guidance else ""
        in_turn += f"; it takes {steps} steps of {solver}'s method{guided}"
        others = f"`step`: `x` (N, {picture}), `t` (N,){label} to `velocity`."
    return (
        f"SavedModel, version {manifest['version']}: `sample` (and `serving_default`) takes"
        f" {arguments}, int32 scalars, and gives `image`, (count, {picture}){in_turn}. {others}"
        " `serving/` holds a configuration for TensorFlow Serving."
    )


def _tflite(manifest: dict[str, Any]) -> str:
    facts = manifest["generator"]
    picture = f"{facts['height']}, {facts['width']}, {facts['channels']}"
    label = ", `label` (1,) int32" if facts["classes"] else ""
    itself = "Each file describes itself in its metadata entry `tf_deconv.json`."
    itself = f"{least_runtimes(manifest)} {itself}"
    if facts["kind"] == "vae":
        latent = facts["latent"]
        return (
            f"TFLite: `decode` takes `latent` (1, {latent}){label} and gives `image`"
            f" (1, {picture}). A latent of {latent} normal numbers gives a new picture. {itself}"
        )
    none = f" The label {facts['classes']} means none." if facts["classes"] else ""
    return (
        f"TFLite: `step` takes `x` (1, {picture}), `t` (1,){label} and gives `velocity`. Begin with"
        " x as normal numbers and t = 0 and add velocity times the step's length, in 1 to 50 steps,"
        f" up to t = 1; the picture is (x + 1) / 2, clipped to [0, 1].{none} {itself}"
    )


def make_card(manifest: dict[str, Any], lines: list[str], has_picture: bool) -> str:
    """Writes the model card.

    Args:
      manifest: What `make_manifest` returned.
      lines: What `table` returned.
      has_picture: Whether `preview.jpg` lies beside it.
    Returns:
      Markdown.
    """
    name, sizes = manifest["name"], manifest["tflite_sizes"]
    size_list = ", ".join(f"`restore_{height}x{width}`" for height, width in sizes)
    picture = "![input, output and target, held out](preview.jpg)\n\n" if has_picture else ""
    height, width = sizes[-1]
    channels_in, channels_out = manifest["channels_in"], manifest["channels_out"]
    table_text = "\n".join(lines)
    saved_model = training = ""
    if manifest["version"]:
        version = manifest["version"]
        saved_model = f"""- SavedModel, version {version}: `serving_default` takes `image`, float32
  (N, H, W, {channels_in}) of any size, and gives `restored`; `serve_bytes` takes
  `image_bytes`, PNG or JPEG files, and gives `restored_bytes`, PNG files; `serve_jpeg` gives JPEG.
  `serving/` holds a configuration for TensorFlow Serving.
"""
    known = ""
    if manifest.get("golden"):
        known = "- `golden/` has a picture and what must come of it, for clients in any language.\n"
    if manifest["training"]:
        training = origin(manifest)
    return f"""# {name}

{_summary(manifest)}.

{picture}{_pictures(manifest)}Channels: {channels_in} in, {channels_out} out. Values in
[0, 1]{_levels(manifest)}.
Scale {manifest["scale"]}. Any size: the graph pads to
multiples of {manifest["divisor"]} and crops again.

## Files

Every file was compared with the Keras model on held-out pictures before it was put here.
"task dB" is the PSNR against the clean pictures, "loss dB" what that is less than Keras's, "median
ms" the time of one {width}x{height} picture on one thread of the machine that exported.

```
{table_text}
```

## Use

{saved_model}- TFLite: signatures {size_list}, each `image` to `restored`, batch 1, float32
  (`int8-full`: int8, with scale and zero point on the tensors).
{textwrap.indent(_filled(least_runtimes(manifest)), "  ")}
  Each file describes itself in its metadata entry `tf_deconv.json`.
{known}- `manifest.json` has all of this for programs, with checksums.
- Licence {manifest["license"]}.
{training}"""


_STREAMING = """import numpy as np
import tensorflow as tf

model = tf.saved_model.load("{name}/{version}").signatures
frames = np.load("{name}/golden/input-film.npy")  # Or (T, H, W, {channels}) in [0, 1].
height, width = frames[0].shape[:2]
state = model["initial_state"](count=tf.constant(1), height=height, width=width)["state"]
for frame in frames:
    made = model["stream"](frame=tf.constant(frame[np.newaxis]), state=state)
    restored, state = made["restored"][0], made["next_state"]
"""


def make_video_card(manifest: dict[str, Any], lines: list[str], has_picture: bool) -> str:
    """Writes the model card of a network for moving pictures, as `make_card` does."""
    channels, state = manifest["channels_in"], manifest["state"]
    divisor, stride = manifest["divisor"], state["stride"]
    name, version = manifest["name"], manifest["version"]
    size_list = ", ".join(f"`{each}`" for each in manifest["tflite_signatures"])
    height, width = manifest["tflite_sizes"][-1]
    of_state = (
        f"The state is float32 (N, h, w, {state['channels']}); h and w are the frame's, rounded up"
        f" to a multiple of {divisor}, over {stride}. A state of zeros is no past: begin with it,"
        " also after a cut. No frame is held back."
    )
    usage = [
        "`tf-deconv restore MODEL FILM.mp4 --out DIR` restores a film with any of them.",
        *(
            [
                f"SavedModel, version {version}: `stream` takes `frame` (N, H, W, {channels}) and"
                " `state` and gives `restored` and `next_state`; `initial_state` takes `count`,"
                " `height` and `width` and gives the first `state`; `serving_default` takes whole"
                f" clips, `clip` (N, T, H, W, {channels}), and gives `restored`. Frames of any"
                " size. `serving/` holds a configuration for TensorFlow Serving."
            ]
            if version
            else []
        ),
        f"TFLite: signatures {size_list}, each `frame` and `state` to `restored` and `next_state`,"
        " batch 1, float32. The frame has the signature's size, the state that over the stride."
        f" {least_runtimes(manifest)} Each file describes itself in its metadata entry"
        " `tf_deconv.json`.",
        "`golden/` has a clip and what must come of it, for clients in any language.",
        "`manifest.json` has all of this for programs, with checksums.",
        f"Licence {manifest['license']}.",
    ]
    checked = (
        'Every file streamed a held-out film of a hundred frames before it was put here. "vs Keras'
        ' dB" is the PSNR against what Keras makes of it, over all frames; each frame alone reaches'
        f' the floor in the manifest, the last as well as the first. "median ms" is the time of one'
        f" {width}x{height} frame on one thread of the machine that exported; of files of any size,"
        " of a small one."
    )
    picture = ["![input, output and target, held out](preview.jpg)"] if has_picture else []
    snippet = _STREAMING.format(name=name, version=version, channels=channels)
    streaming = ["```python", snippet, "```"]
    parts = [
        f"# {name}",
        _filled(f"{_summary(manifest)}. It restores films: a frame with what it knows of others."),
        *picture,
        *filter(None, [_pictures(manifest).strip()]),
        _filled(of_state),
        "## Files",
        _filled(checked),
        "\n".join(["```", *lines, "```"]),
        "## Use",
        "\n".join(_filled(f"- {text}", "  ") for text in usage),
        *(["\n".join(streaming).replace("\n\n```", "\n```")] if version else []),
    ]
    return "\n\n".join(parts) + "\n" + (origin(manifest) if manifest["training"] else "")


def least_runtimes(manifest: dict[str, Any]) -> str:
    """Tells which version of TensorFlow Lite runs each file."""
    by_version: dict[str, list[str]] = {}
    for entry in manifest["files"]:
        if "least_runtime" in entry:
            variant = entry["file"].removesuffix(".tflite").split(f"{manifest['name']}-")[-1]
            by_version.setdefault(entry["least_runtime"], []).append(variant)
    ordered = sorted(by_version, key=lambda version: [int(part) for part in version.split(".")])
    texts = [f"{version} ({', '.join(by_version[version])})" for version in ordered]
    older = f", or TensorFlow Lite of at least {', '.join(texts)}" if texts else ""
    return f"They take LiteRT{older}."


def _levels(manifest: dict[str, Any]) -> str:
    """Tells which values of files are 0 and 1, where training saw more than 8 bits."""
    told = levels.from_recorded(manifest.get("levels"))
    return "".join(f"; {line}" for line in levels.words(told))


def _summary(manifest: dict[str, Any]) -> str:
    """Tells what goes in and what comes out."""
    task = TASKS.get(manifest["task"] or "")
    if task is None:
        return "A Keras model of pictures"
    summary = task.summary[0].upper() + task.summary[1:]
    training = manifest["training"] or {}
    degrade, alone = training.get("degrade"), training.get("self_supervised")
    if not degrade and not alone:
        return summary
    # What stands in brackets is the task's own chain.
    summary = re.sub(r" [(][^)]*[)]", "", summary)
    if alone:
        return f"{summary}. It learned from noisy pictures alone, without clean ones"
    return f"{summary}. It learned from pictures degraded by `{degrade}`"


def _pictures(manifest: dict[str, Any]) -> str:
    """Tells which pictures a model is for: those with what its training pictures had.

    Returns:
      A part of the card, with an empty line after it; "" where there is nothing to tell.
    """
    task, training = TASKS.get(manifest["task"] or ""), manifest["training"] or {}
    # What was wrong with pictures that nothing was done to, nobody wrote down.
    as_they_were = task is None or task.paired or training.get("self_supervised")
    if as_they_were or task.generates:
        return ""
    chain = parse_chain(training.get("degrade") or task.degrade)
    # A file's 8 bits are no damage.
    steps = [step for step in chain if step.operator != "clip" and step.share]
    lines, whole = [], 1.0
    for step in steps:
        operator = OPERATORS[step.operator]
        level = f"{step.low:g}" + (f" to {step.high:g}" if step.high != step.low else "")
        share = f", {_percent(step.share)} of the pictures" if step.share < 1 else ""
        what, unit = operator.summary.split(";")[0], re.split("[,;]", operator.unit)[0]
        lines.append(_filled(f"- {what} ({unit}: {level}){share}", "  "))
        whole *= 1 - step.share
    if not steps:
        if task.scale == 1:
            return ""
        text = (
            "It is for small pictures that are clean. It has seen no damaged one: noise and the"
            " blocks of JPEG are enlarged with the rest."
        )
        return _filled(text) + "\n\n"
    larger = f" that are to be {task.scale} times as wide and high," if task.scale > 1 else ""
    clean = f" {_percent(whole)} of the pictures had none of it." if whole >= 0.005 else ""
    grey = training.get("grey") or 0
    grey_text = f" {_percent(grey)} were grey, stored as colour." if grey else ""
    before = f"It is for pictures{larger} with this damage, or some of it, and has seen no other:"
    after = f"{clean}{grey_text}".strip()
    return "\n\n".join(filter(None, [_filled(before), "\n".join(lines), _filled(after)])) + "\n\n"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


_REPEAT = """Each run began with the one above it; `--init` tells what that one's folder was called.
To repeat them, give each a `--run-dir`, and the next one that folder as `--init`.

"""
_REST = """Where a command has `--init-rest`, the runs of the model that it names come first of all,
and those of `--init` after them.

"""


def origin(manifest: dict[str, Any]) -> str:
    """Writes the card's part on training: the command of each run in turn, the first one first."""
    stages, stage, trained_on = [], manifest, manifest["trained_on"]
    while stage:
        if stage.get("training"):
            stages.insert(0, stage)
        stage = stage.get("began_with")
    commands = "\n".join(f"python train.py {_command(stage['training'])}" for stage in stages)
    repeat = duration = ""
    digest = manifest["data_sha256"]
    if len(stages) > 1:
        repeat = _REPEAT
        if any(stage["training"].get("init_rest") for stage in stages):
            repeat += _REST
    if any(stage.get("training_s") for stage in stages):
        by_device = itertools.groupby(stages, lambda stage: stage.get("device", trained_on))
        shown = (f"{_durations(some)} on {device}" for device, some in by_device)
        duration = f"Training took {'; '.join(shown)}.\n"
        if not all(stage.get("training_s") for stage in stages):
            # Of a run of which the .keras file alone was kept, or that was stopped and went on.
            duration += "A `?` is a run of which that is not known.\n"
    return f"""
## Training

Network `{manifest["network"]}`, task `{manifest["task"]}`:

```
{commands}
```

{repeat}{duration}SHA-256 of the pictures that patches were cut from (sizes and pixels): `{digest}`.
"""


def _durations(stages: Iterable[dict[str, Any]]) -> str:
    times = [stage.get("training_s") for stage in stages]
    is_short = max((seconds for seconds in times if seconds), default=90) < 90
    unit, unit_s = ("seconds", 1) if is_short else ("minutes", 60)
    shown = (f"{seconds / unit_s:.0f}" if seconds else "?" for seconds in times)
    return f"{' + '.join(shown)} {unit}"


def _command(training: dict[str, Any]) -> str:
    words = []
    for key, value in training.items():
        # Not `in (None, False)`: 0 equals False, and a seed of 0 has to be told.
        if value is None or value is False or key in ("run_dir", "resume"):
            continue
        words.append(f"--{key.replace('_', '-')}")
        if value is not True:
            # A chain of operators is several words; each of the others is one.
            words.append(value if key == "degrade" else shlex.quote(str(value)))
    return " ".join(words)
