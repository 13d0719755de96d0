"""Core ML files: ML programs whose pictures are images, for Xcode, Swift and Apple's processors."""

from __future__ import annotations

import importlib.util
import json
import logging
import pathlib
import warnings
from typing import Any

import keras
import tensorflow as tf

from tf_deconv.exporting.tflite.convert import with_constants
from tf_deconv.utils import files
from tf_deconv.utils.extras import how_to_install
from tf_deconv.utils.options import UserError

# Number formats that are written. Apple's Neural Engine computes in float16 alone.
PRECISIONS = ("float32", "float16")
FLOORS_DB = {"float32": 100.0, "float16": 50.0}
# Sides of pictures where no sizes are asked for, and the side that is assumed.
_LARGEST_PX, _USUAL_PX = 4096, 256


def check_packages() -> None:
    """Refuses to begin where the export would fail.

    Raises:
      UserError: if coremltools is missing.
    """
    if importlib.util.find_spec("coremltools") is None:
        raise UserError(f"coreml=True: coremltools not installed: {how_to_install('coreml')}")


def write_coreml(
    model: keras.Model,
    path: pathlib.Path,
    precision: str,
    *,
    divisor: int,
    sizes: tuple[tuple[int, int], ...],
    facts: dict[str, Any],
) -> None:
    """Writes a `.mlpackage`: `image` to `restored`.

    Of 1 or 3 channels both are images, grey or RGB, of 8 bits; of 4 they are arrays (1, C, H, W) in
    [0, 1]. Heights and widths are multiples of the divisor.

    Args:
      model: A float32 functional model of any height and width.
      path: The folder to write.
      precision: One of `PRECISIONS`.
      divisor: The network's.
      sizes: The only (height, width) that it takes; none for any.
      facts: What the export knows of itself; `name`, `version` and `license` go where Xcode shows
        them, all of it into the metadata.
    """
    with files.silent_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coremltools as ct

        logging.getLogger("coremltools").setLevel(logging.ERROR)
        network = with_constants(model)
        channels, made = model.input_shape[-1], model.output_shape[-1]
        is_image = channels in (1, 3) and made in (1, 3)

        def restore(image: tf.Tensor) -> tf.Tensor:
            # An image is one of channels first in the program anyway.
            picture = image if is_image else tf.transpose(image, [0, 2, 3, 1])
            restored = tf.transpose(network(picture), [0, 3, 1, 2])
            if is_image:
                restored = tf.clip_by_value(restored, 0.0, 1.0) * 255.0
            return tf.identity(restored, name="restored")

        layout = (1, None, None, channels) if is_image else (1, channels, None, None)
        spec = tf.TensorSpec(layout, tf.float32, name="image")
        function = tf.function(restore, input_signature=[spec], autograph=False)
        shape = _shape(ct, layout, divisor, sizes)
        if is_image:
            layouts = {1: ct.colorlayout.GRAYSCALE, 3: ct.colorlayout.RGB}
            given = ct.ImageType(
                "image", shape=shape, scale=1 / 255, color_layout=layouts[channels]
            )
            wanted = ct.ImageType("Identity", color_layout=layouts[made])
        else:
            # Core ML knows no other picture with a mask.
            given, wanted = ct.TensorType("image", shape=shape), ct.TensorType("Identity")
        converted = ct.convert(
            [function.get_concrete_function()],
            source="tensorflow",
            convert_to="mlprogram",
            inputs=[given],
            outputs=[wanted],
            compute_precision=getattr(ct.precision, precision.upper()),
            minimum_deployment_target=ct.target.iOS16,
            skip_model_load=True,
        )
        described = _described(ct, converted, divisor, facts)
        described.save(str(path))


def _shape(
    ct: Any, layout: tuple[int | None, ...], divisor: int, sizes: tuple[tuple[int, int], ...]
) -> Any:
    """Puts sizes, or ranges, where a layout has None."""

    def of(height: Any, width: Any) -> tuple[Any, ...]:
        sides = iter((height, width))
        return tuple(next(sides) if length is None else length for length in layout)

    if len(sizes) == 1:
        return of(*sizes[0])
    if sizes:
        return ct.EnumeratedShapes([of(*size) for size in sizes])
    side = _USUAL_PX + -_USUAL_PX % divisor
    largest = _LARGEST_PX - _LARGEST_PX % divisor
    return of(*(ct.RangeDim(divisor, largest, default=side) for _ in range(2)))


def _described(ct: Any, converted: Any, divisor: int, facts: dict[str, Any]) -> Any:
    """Names the output and says what the model is, where Xcode shows it."""
    spec = converted.get_spec()
    ct.utils.rename_feature(spec, "Identity", "restored")
    model = ct.models.MLModel(spec, weights_dir=converted.weights_dir, skip_model_load=True)
    model.short_description = f"{facts.get('name')}: {facts.get('task')}"
    model.license = str(facts.get("license"))
    model.version = str(facts.get("version"))
    model.author = "trained and exported with tf_deconv"
    sides = "" if divisor == 1 else f", height and width multiples of {divisor}"
    model.input_description["image"] = f"The picture{sides}."
    model.output_description["restored"] = f"The picture restored, {facts.get('scale')} times"
    model.user_defined_metadata["tf_deconv.json"] = json.dumps(facts)
    return model
