"""The graphs of exported generators: a SavedModel's signatures and TFLite's static ones.

A SavedModel makes its own noise, that of docs/noise.md, and checks every input inside the graph,
because a service's clients are not in reach of Python's checks. A TFLite file holds one network and
leaves noise and steps to the app.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_deconv.exporting.saved_model.checks import has_shape, holds
from tf_deconv.exporting.tflite import convert as tflite_convert
from tf_deconv.exporting.tflite import polyphase
from tf_deconv.generation import noise
from tf_deconv.generation.config import FLOW_GUIDANCE, FLOW_STEPS
from tf_deconv.generation.generator import BATCH
from tf_deconv.generation.opening import SIGNATURES
from tf_deconv.generation.spec import GeneratorSpec
from tf_deconv.inference.located import FACTS_FILE
from tf_deconv.inference.tflite_file import TfliteFile
from tf_deconv.networks.likelihoods import make_likelihood
from tf_deconv.utils.files import silent_stderr

# The signature `sample` makes so many pictures at most.
LARGEST_COUNT = 1024

Tensors = dict[str, tf.Tensor]


def write_saved_model(model: keras.Model, facts: GeneratorSpec, folder: pathlib.Path) -> None:
    """Writes a SavedModel whose signatures sample, and make what sampling is made of.

    `sample` (and `serving_default`): `count`, `seed` and, of a conditional generator, `label`,
    int32 scalars, to `image` (count, H, W, C) float32 in [0, 1]; the label -1 stands for the
    classes in turn. Of a VAE, `decode`: `latent` (N, L)[, `label` (N,)] to `image`; `encode`:
    `image`[, `label`] to `mean` and `log_variance`, (N, L) each. Of a flow, `step`: `x` (N, H, W,
    C), `t` (N,)[, `label` (N,), `classes` for none] to `velocity` (N, H, W, C).
    Anything else is InvalidArgument.

    Args:
      model: A generator's Keras model, float32.
      facts: What is known of it.
      folder: Where to write; must not exist.
    """
    label = {"label": tf.TensorSpec((None,), tf.int32, name="label")} if facts.classes else {}
    scalars = ["count", "seed", *label]
    specs = {"sample": {name: tf.TensorSpec((), tf.int32, name=name) for name in scalars}}
    if facts.kind == "vae":
        endpoints = _vae_endpoints(model, facts)
        latent = tf.TensorSpec((None, facts.latent), tf.float32, name="latent")
        image = tf.TensorSpec((None, *facts.shape), tf.float32, name="image")
        specs |= {"decode": {"latent": latent} | label, "encode": {"image": image} | label}
    else:
        endpoints = _flow_endpoints(model, facts)
        x = tf.TensorSpec((None, *facts.shape), tf.float32, name="x")
        t = tf.TensorSpec((None,), tf.float32, name="t")
        specs["step"] = {"x": x, "t": t} | label
    module, signatures = tf.Module(), {}
    module.weights = [weight.value for weight in model.weights]
    for name, endpoint in endpoints.items():
        function = tf.function(endpoint, autograph=False)
        signatures[name] = function.get_concrete_function(**specs[name])
        # Not the function itself, which saving would trace and write once more.
        setattr(module, name, signatures[name])
    signatures["serving_default"] = signatures["sample"]
    with silent_stderr():
        tf.saved_model.save(module, str(folder), signatures)
    path = folder / FACTS_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"generator": facts.to_json()}), encoding="utf-8")


def convert(
    model: keras.Model,
    facts: GeneratorSpec,
    variants: Sequence[str],
    *,
    keep_relu: bool,
    phased: bool,
) -> dict[str, TfliteFile]:
    """Converts a generator's network to TFLite: `decode` of a VAE, `step` of a flow, of batch 1.

    Args:
      model: A generator's Keras model, float32.
      facts: What is known of it.
      variants: Names in `VARIANTS`, none with int8 pictures.
      keep_relu: As `tflite.convert_graphs` takes it.
      phased: Likewise.
    Returns:
      Name of the variant to its file, not packed yet.
    """
    name, result = SIGNATURES[facts.kind]
    network = network_of(model, facts)
    label = {"label": tf.TensorSpec((1,), tf.int32, name="label")} if facts.classes else {}
    if facts.kind == "vae":
        inputs = {"latent": tf.TensorSpec((1, facts.latent), tf.float32, name="latent")} | label
    else:
        x = tf.TensorSpec((1, *facts.shape), tf.float32, name="x")
        inputs = {"x": x, "t": tf.TensorSpec((1,), tf.float32, name="t")} | label

    def write(folder: pathlib.Path, in_phases: bool) -> None:
        own = polyphase.by_phases(network) if in_phases else network
        run = _caller(tflite_convert.with_constants(own), facts)
        function = tf.function(lambda **given: {result: run(given)}, autograph=False)
        concrete = function.get_concrete_function(**inputs)
        tf.saved_model.save(tf.Module(), str(folder), {name: concrete})

    return tflite_convert.convert_graphs(
        write, variants, [name], keep_relu=keep_relu, phased=phased
    )


def network_of(model: keras.Model, facts: GeneratorSpec) -> keras.Model:
    """Returns what a TFLite file holds: a VAE's decoder, a flow itself."""
    return model.get_layer("decoder") if facts.kind == "vae" else model


def _caller(network: Callable[..., Any], facts: GeneratorSpec) -> Callable[[Tensors], tf.Tensor]:
    """Returns a function of named inputs, to pictures of a VAE and to velocities of a flow."""
    if facts.kind == "flow":
        return lambda inputs: network(inputs, training=False)
    likelihood = make_likelihood(facts.likelihood)

    def decode(inputs: Tensors) -> tf.Tensor:
        return likelihood.mean(network(_listed(inputs, "latent"), training=False))

    return decode


def _listed(inputs: Tensors, first: str) -> Any:
    return [inputs[first], inputs["label"]] if "label" in inputs else inputs[first]


def _vae_endpoints(model: keras.Model, facts: GeneratorSpec) -> dict[str, Callable[..., Tensors]]:
    decoder, encoder = _caller(network_of(model, facts), facts), model.get_layer("encoder")

    def decode(latent: tf.Tensor, **label: tf.Tensor) -> Tensors:
        inputs = _checked({"latent": latent} | label, facts, {"latent": (facts.latent,)})
        return {"image": decoder(inputs)}

    def encode(image: tf.Tensor, **label: tf.Tensor) -> Tensors:
        inside = _all_within(image, "image: expected values in [0, 1]")
        inputs = _checked({"image": image} | label, facts, {"image": facts.shape}, [inside])
        posterior = encoder(_listed(inputs, "image"), training=False)  # (N, 2 L)
        mean, log_variance = tf.split(posterior, 2, axis=-1)
        return {"mean": mean, "log_variance": log_variance}

    def make(start: tf.Tensor, label: Tensors) -> tf.Tensor:
        return decoder({"latent": start} | label)

    return {"sample": _sampler(facts, make), "decode": decode, "encode": encode}


def _flow_endpoints(model: keras.Model, facts: GeneratorSpec) -> dict[str, Callable[..., Tensors]]:
    # One function in the graph, which `step` and both halves of a Heun step call.
    network = tf.function(_caller(model, facts), autograph=False)

    def step(x: tf.Tensor, t: tf.Tensor, **label: tf.Tensor) -> Tensors:
        inside = _all_within(t, "t: expected times from 0, noise, to 1, a picture")
        # The label `classes` means none.
        shapes = {"x": facts.shape, "t": ()}
        inputs = _checked({"x": x, "t": t} | label, facts, shapes, [inside], facts.classes)
        return {"velocity": network(inputs)}

    def make(start: tf.Tensor, label: Tensors) -> tf.Tensor:
        times = np.linspace(0.0, 1.0, FLOW_STEPS + 1)
        # Differences in float64, rounded once, as `generator.flow_to` takes them.
        now, then, length = (
            tf.constant(values, tf.float32) for values in (times[:-1], times[1:], np.diff(times))
        )

        def velocity(x: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
            given = {"x": x, "t": tf.fill(tf.shape(x)[:1], time)}
            told = network(given | label)
            if not label:
                return told
            none = tf.fill(tf.shape(x)[:1], facts.classes)
            untold = network(given | {"label": none})
            return untold + FLOW_GUIDANCE * (told - untold)

        def advance(number: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            first = velocity(x, now[number])
            ahead = velocity(x + length[number] * first, then[number])
            return number + 1, x + length[number] / 2 * (first + ahead)

        x = tf.reshape(start, (-1, *facts.shape))
        _, x = tf.while_loop(
            lambda number, x: number < FLOW_STEPS,
            advance,
            (0, x),
            shape_invariants=(tf.TensorShape(()), tf.TensorShape((None, *facts.shape))),
            parallel_iterations=1,
        )
        return tf.clip_by_value((x + 1.0) / 2.0, 0.0, 1.0)

    return {"sample": _sampler(facts, make), "step": step}


def _sampler(
    facts: GeneratorSpec, make: Callable[[tf.Tensor, Tensors], tf.Tensor]
) -> Callable[..., Tensors]:
    """Returns the endpoint `sample`: noise to pictures, a batch at a time.

    So a request's memory is that of one batch and of its pictures.
    """

    def sample(count: tf.Tensor, seed: tf.Tensor, **label: tf.Tensor) -> Tensors:
        checks = [
            _within(count, 1, LARGEST_COUNT, f"count: expected 1 to {LARGEST_COUNT}"),
            _within(seed, 0, noise.LARGEST_SEED, f"seed: expected 0 to {noise.LARGEST_SEED}"),
        ]
        if label:
            chosen = label["label"]
            text = f"label: expected 0 to {facts.classes - 1}, or -1 for the classes in turn"
            checks.append(_within(chosen, -1, facts.classes - 1, text))
        with tf.control_dependencies(checks):
            count = tf.identity(count)

        def add(first: tf.Tensor, pictures: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            size = tf.minimum(BATCH, count - first)
            start = noise.normal_tensor(seed, size, facts.noise_size, first=first)
            own = {}
            if label:
                in_turn = tf.range(first, first + size) % facts.classes
                own["label"] = tf.where(chosen < 0, in_turn, chosen)
            return first + size, pictures.write(first // BATCH, make(start, own))

        pictures = tf.TensorArray(
            tf.float32, (count + BATCH - 1) // BATCH, infer_shape=False, element_shape=None
        )
        _, pictures = tf.while_loop(
            lambda first, pictures: first < count, add, (0, pictures), parallel_iterations=1
        )
        return {"image": tf.ensure_shape(pictures.concat(), (None, *facts.shape))}

    return sample


def _checked(
    inputs: Tensors,
    facts: GeneratorSpec,
    shapes: Mapping[str, Sequence[int]],
    checks: Sequence[tf.Operation] = (),
    largest: int | None = None,
) -> Tensors:
    """Refuses other shapes, no picture at all, different numbers of inputs, and unknown labels.

    Args:
      inputs: Each with the batch first.
      facts: The generator's.
      shapes: Of inputs other than the label, without the batch.
      checks: Others that must hold.
      largest: The largest label; the last class when left out.
    """
    shapes = {**shapes, **({"label": ()} if "label" in inputs else {})}
    right = []
    for name, sides in shapes.items():
        text = f"{name}: expected ({', '.join(['N', *map(str, sides)])}{'' if sides else ','})"
        right.append(has_shape(inputs[name], (None, *sides), text))
    # What follows takes the shapes for right.
    with tf.control_dependencies(right):
        inputs = {name: tf.identity(tensor) for name, tensor in inputs.items()}
        name, *others = inputs
        count = tf.shape(inputs[name])[0]
        checks = [*checks, holds(count >= 1, f"{name}: expected at least 1, received", count)]
        for other in others:
            number = tf.shape(inputs[other])[0]
            text = f"{other}: expected as many as {name}, received"
            checks.append(holds(number == count, text, number))
        if "label" in inputs:
            largest = facts.classes - 1 if largest is None else largest
            none = f", {largest} for none" if largest == facts.classes else ""
            text = f"label: expected 0 to {largest}{none}"
            checks.append(_all_within(inputs["label"], text, largest))
    with tf.control_dependencies(checks):
        return {name: tf.identity(tensor) for name, tensor in inputs.items()}


def _within(value: tf.Tensor, least: int, largest: int, text: str) -> tf.Operation:
    fits = tf.logical_and(value >= least, value <= largest)
    return holds(fits, f"{text}; received", value)


def _all_within(values: tf.Tensor, text: str, largest: float = 1) -> tf.Operation:
    # A comparison with what is not a number is false.
    fits = tf.reduce_all(tf.logical_and(values >= 0, values <= tf.cast(largest, values.dtype)))
    ends = tf.stack([tf.reduce_min(values), tf.reduce_max(values)])
    return holds(fits, f"{text}; received from and to", ends)
