"""What a generator does to pictures that exist: through its noise and back, between two, and anew.

Pictures are (N, H, W, C) float32 in [0, 1] of the generator's size. The code of a picture is what
the generator makes it from: a VAE's latent, the mean of its encoder; a flow's noise, found by its
differential equation backwards. Inpainting is a flow's alone.
"""

from __future__ import annotations

import numpy as np

from tf_deconv.generation import noise
from tf_deconv.generation.generator import BATCH, Generator, flow_to, from_picture, to_picture
from tf_deconv.utils.options import UserError

# The parts of a picture that a mask's name makes anew, as shares: top, bottom, left, right.
_MASKS = {
    "left": (0.0, 1.0, 0.0, 0.5),
    "right": (0.0, 1.0, 0.5, 1.0),
    "top": (0.0, 0.5, 0.0, 1.0),
    "bottom": (0.5, 1.0, 0.0, 1.0),
    "center": (0.25, 0.75, 0.25, 0.75),
}
MASKS = tuple(_MASKS)
# Inpainting goes each stretch of the way so often, in stretches of so much time. Chosen by eye, on
# right halves of 7 pictures of Fashion-MNIST, 4 fillings each, one seed and one flow: once leaves
# halves of two things, 4 times some, 16 times hardly any. At 8 times, Euler's method looked no
# worse than Heun's, which asks the network twice as often.
ROUNDS, _STRETCH, _SOLVER = 16, 0.1, "euler"
# Directions closer than this are one, in radians: between them sines are too small to divide by.
_PARALLEL = 1e-4


def check_action(generator: Generator, action: str) -> None:
    """Refuses an action that the generator has not got what it takes for.

    Args:
      generator: The generator.
      action: "reconstruct", "interpolate" or "inpaint".
    Raises:
      UserError: if it is not a flow's, or a VAE's file has no encoder.
    """
    if generator.facts.kind == "flow":
        return
    if action == "inpaint":
        raise UserError("the model is a VAE, which cannot inpaint: expected a flow")
    if generator.encode is None:
        raise UserError(
            f"the model's file has no encoder, which {action} needs, as a VAE's .tflite file has"
            " none: expected its run, .keras file or SavedModel"
        )


def encode(
    generator: Generator,
    pictures: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    steps: int = 25,
    guidance: float = 1.0,
) -> np.ndarray:
    """Finds the codes of pictures.

    Args:
      generator: The generator.
      pictures: (N, H, W, C) float32 in [0, 1].
      labels: (N,) int32, or None for a generator without labels.
      steps: Of a flow, from picture to noise, by Heun's method.
      guidance: Of a conditional flow.
    Returns:
      A VAE's latents (N, L), or a flow's noise (N, H, W, C), float32.
    Raises:
      UserError: if the generator's file has no encoder.
    """
    if generator.facts.kind == "flow":
        ends = (1.0, 0.0)
        return _flow(generator, from_picture(pictures), labels, ends, steps, guidance)
    check_action(generator, "reconstruct")
    parts = [
        generator.encode(pictures[part], None if labels is None else labels[part])[0]
        for part in _batches(len(pictures))
    ]
    return np.concatenate(parts)


def decode(
    generator: Generator,
    codes: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    steps: int = 25,
    guidance: float = 1.0,
) -> np.ndarray:
    """Makes pictures of codes; arguments and codes as for `encode`.

    Returns:
      (N, H, W, C) float32 in [0, 1].
    """
    if generator.facts.kind == "flow":
        return to_picture(_flow(generator, codes, labels, (0.0, 1.0), steps, guidance))
    parts = [
        generator.decode(codes[part], None if labels is None else labels[part])
        for part in _batches(len(codes))
    ]
    return np.concatenate(parts)


def reconstruct(
    generator: Generator,
    pictures: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    steps: int = 25,
    guidance: float = 1.0,
) -> np.ndarray:
    """Returns what the generator makes of the pictures' codes; arguments as for `encode`."""
    how = {"steps": steps, "guidance": guidance}
    return decode(generator, encode(generator, pictures, labels, **how), labels, **how)


def interpolate(
    generator: Generator,
    pair: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    frames: int = 16,
    steps: int = 25,
    guidance: float = 1.0,
) -> np.ndarray:
    """Makes the pictures on the way from one to another; the ends are their reconstructions.

    Codes are mixed: latents along a line, noise along an arc, because noise of a shorter norm than
    usual is none that the flow was trained on (White 2016, "Sampling Generative Networks").

    Args:
      generator: The generator.
      pair: (2, H, W, C) float32 in [0, 1].
      labels: (2,) int32, or None; a frame has the label of the nearer end.
      frames: Pictures, both ends included, at least 2.
      steps: As for `encode`.
      guidance: As for `encode`.
    Returns:
      (frames, H, W, C) float32 in [0, 1].
    """
    how = {"steps": steps, "guidance": guidance}
    first, last = encode(generator, pair, labels, **how)
    mix = _on_arc if generator.facts.kind == "flow" else _on_line
    shares = np.linspace(0.0, 1.0, frames)
    codes = np.stack([mix(first, last, share) for share in shares]).astype(np.float32)
    own = None if labels is None else np.where(shares < 0.5, *labels).astype(np.int32)
    return decode(generator, codes, own, **how)


def inpaint(
    generator: Generator,
    picture: np.ndarray,
    hole: np.ndarray,
    label: int | None = None,
    *,
    variants: int = 4,
    seed: int = 0,
    steps: int = 25,
    guidance: float = 1.0,
) -> np.ndarray:
    """Fills a hole in a picture in several ways that fit what is around it.

    RePaint for a rectified flow: on its way from noise to picture, known pixels are put where the
    flow's straight path has them, (1 - t) noise + t picture, and the flow moves those of the hole.
    These follow what is known only where they have time to: so each stretch of the way is gone
    several times, and in between noise is added until x has the distribution of the earlier time.

    Args:
      generator: A flow.
      picture: (H, W, C) float32 in [0, 1].
      hole: (H, W) bool, true where pixels are made anew.
      label: Of the picture, `classes` for none; None for a generator without labels.
      variants: Ways to fill the hole; variant i depends on (seed, i) and not on their number.
      seed: From 0 to 2**31 - 1.
      steps: From noise to picture, by Euler's method, each of them taken ROUNDS times.
      guidance: As for `encode`.
    Returns:
      (variants, H, W, C) float32 in [0, 1]; known pixels are exactly those of the picture.
    Raises:
      UserError: if the generator is a VAE.
    Reference: Lugmayr et al. 2022, "RePaint: Inpainting using Denoising Diffusion Probabilistic
      Models", algorithm 1.
    """
    check_action(generator, "inpaint")
    parts = [
        _inpaint(generator, picture, hole, label, part, seed, steps, guidance)
        for part in _batches(variants)
    ]
    return np.concatenate(parts)


def named_mask(name: str, height: int, width: int) -> np.ndarray:
    """Returns the hole that one of MASKS names, (height, width) bool."""
    top, bottom, left, right = _MASKS[name]
    hole = np.zeros((height, width), bool)
    rows = slice(round(top * height), round(bottom * height))
    hole[rows, round(left * width) : round(right * width)] = True
    return hole


def _inpaint(
    generator: Generator,
    picture: np.ndarray,
    hole: np.ndarray,
    label: int | None,
    part: slice,
    seed: int,
    steps: int,
    guidance: float,
) -> np.ndarray:
    count, facts = part.stop - part.start, generator.facts
    labels = None if label is None else np.full(count, label, np.int32)
    hole, target = hole[..., np.newaxis], from_picture(picture)

    def draw(stream: int) -> np.ndarray:
        drawn = noise.normal(seed, count, facts.noise_size, first=part.start, stream=stream)
        return drawn.reshape(count, *facts.shape)

    def with_known(x: np.ndarray, time: float, own_noise: np.ndarray) -> np.ndarray:
        known = np.float32(1 - time) * own_noise + np.float32(time) * target
        return np.where(hole, x, known)

    own_noise, stream = draw(0), 0
    x = own_noise
    stretch = max(1, round(_STRETCH * steps))
    for start in range(0, steps, stretch):
        stop = min(start + stretch, steps)
        now, then = start / steps, stop / steps
        for number in range(ROUNDS):
            if number:
                stream += 1
                own_noise = draw(stream)
                x = with_known(noised_back(x, then, now, own_noise), now, own_noise)
            x = flow_to(
                generator,
                x,
                labels,
                steps=stop - start,
                solver=_SOLVER,
                guidance=guidance,
                first_time=now,
                last_time=then,
                on_step=lambda x, time, own_noise=own_noise: with_known(x, time, own_noise),
            )
    return np.where(hole, to_picture(x), picture.astype(np.float32))


def noised_back(x: np.ndarray, time: float, earlier: float, own_noise: np.ndarray) -> np.ndarray:
    """Takes a flow's x to an earlier time by adding noise.

    x at `time` is t picture + (1 - t) noise. Scaled by earlier / time its picture has the share of
    the earlier time; its noise then lacks variance, which the new noise makes up.

    Args:
      x: (N, H, W, C) at `time`.
      time: Above 0, at most 1.
      earlier: From 0 to `time`.
      own_noise: (N, H, W, C), standard normal.
    Returns:
      (N, H, W, C) with the distribution of `earlier`.
    """
    share = earlier / time
    variance = (1 - earlier) ** 2 - (share * (1 - time)) ** 2
    return np.float32(share) * x + np.float32(np.sqrt(variance)) * own_noise


def _flow(
    generator: Generator,
    x: np.ndarray,
    labels: np.ndarray | None,
    ends: tuple[float, float],
    steps: int,
    guidance: float,
) -> np.ndarray:
    parts = [
        flow_to(
            generator,
            x[part],
            None if labels is None else labels[part],
            steps=steps,
            guidance=guidance,
            first_time=ends[0],
            last_time=ends[1],
        )
        for part in _batches(len(x))
    ]
    return np.concatenate(parts)


def _batches(count: int) -> list[slice]:
    return [slice(first, min(first + BATCH, count)) for first in range(0, count, BATCH)]


def _on_line(first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
    return (1 - share) * first + share * last


def _on_arc(first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
    """Spherical interpolation; along a line where there is no arc (Shoemake 1985)."""
    lengths = np.linalg.norm(first) * np.linalg.norm(last)
    cosine = np.vdot(first, last) / lengths if lengths else 1.0
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    if angle < _PARALLEL or angle > np.pi - _PARALLEL:
        return _on_line(first, last, share)
    return (np.sin((1 - share) * angle) * first + np.sin(share * angle) * last) / np.sin(angle)
