"""The model card of an exported generator."""

from __future__ import annotations

import textwrap
from typing import Any

from tf_deconv.exporting.manifest import origin

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
