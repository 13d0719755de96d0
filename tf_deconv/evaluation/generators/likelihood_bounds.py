"""Bounds of a latent-variable model's log-likelihood, and the binary pictures they are measured on.

A model is p(x | z) p(z) with a standard normal p(z); its encoder is a normal q(z | x) with a
diagonal covariance. NumPy only: encoder and decoder are callables. Nats throughout; the bounds are
lower bounds of log p(x), so a model is never better than it is said to be.

Noise is Philox4x64-10 of NumPy with an explicit key, no global state. Each picture has its own key,
(seed, index + 1): a bound depends neither on the batch nor on the pictures after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

# encode(images, *labels) -> mean (N, L), log_variance (N, L) of q(z | x).
Encode = Callable[..., tuple[np.ndarray, np.ndarray]]
# log_probability(images, latents, *labels) -> (N,) log p(x | z) in nats, summed over the pixels.
LogProbability = Callable[..., np.ndarray]


def importance_weighted_bound(
    encode: Encode,
    log_probability: LogProbability,
    images: np.ndarray,
    *,
    samples: int = 500,
    seed: int,
    batch: int = 1000,
    labels: np.ndarray | None = None,
) -> np.ndarray:
    """log mean_k p(x | z_k) p(z_k) / q(z_k | x), z_k from q: the likelihood that papers report.

    It is a lower bound in expectation, at least the ELBO, and tends to log p(x) with `samples`.

    Args:
      encode: Maps (N, ...) images to mean and log-variance of q, each (N, L).
      log_probability: Maps (N, ...) images and (N, L) float32 latents to (N,) log p(x | z).
      images: (N, ...), as both callables take them; `binarise` them first where the literature
        does.
      samples: Latents of each picture; 500 here, 5000 in the paper.
      seed: Of the noise, at least 0.
      batch: Images, or pairs of image and latent, that a callable receives at once.
      labels: (N,) for a conditional model: both callables then take a batch's labels last.
    Returns:
      (N,) float64 nats.
    Raises:
      ValueError: if `images` is empty, `samples`, `batch` or `seed` is too small, a callable
        returns another shape, or a bound is not a number.
    Reference: Burda et al. 2016, "Importance Weighted Autoencoders", equation 8.
    """
    bounds = np.empty(len(images))
    for rows, drawn in _draws(encode, log_probability, images, samples, seed, batch, labels):
        # log p(z) - log q(z | x): the normalising constants, log 2 pi, cancel.
        log_ratio = 0.5 * (drawn.noise**2 - drawn.latents**2).sum(2)  # (n, samples)
        log_ratio += 0.5 * drawn.log_variance.sum(1, keepdims=True)
        log_weights = drawn.log_likelihood + log_ratio
        largest = log_weights.max(1, keepdims=True)
        # Where every weight is 0 the bound is minus infinity, not the NaN of inf - inf.
        shift = np.where(largest == -np.inf, 0, largest)
        with np.errstate(divide="ignore", invalid="ignore"):
            bounds[rows] = np.log(np.exp(log_weights - shift).mean(1)) + shift[:, 0]
    return _no_nan(bounds)


def elbo(
    encode: Encode,
    log_probability: LogProbability,
    images: np.ndarray,
    *,
    samples: int = 1,
    seed: int,
    batch: int = 1000,
    labels: np.ndarray | None = None,
) -> np.ndarray:
    """Evidence lower bound: mean_k log p(x | z_k) - KL(q(z | x) || p(z)), the KL in closed form.

    Args:
      encode: As for `importance_weighted_bound`, likewise the others.
      log_probability: See there.
      images: See there.
      samples: Latents of each picture; the mean over a test set needs few.
      seed: See there; the latents are the same ones.
      batch: See there.
      labels: See there.
    Returns:
      (N,) float64 nats.
    Raises:
      ValueError: as `importance_weighted_bound`.
    Reference: Kingma and Welling 2014, "Auto-Encoding Variational Bayes", equation 10.
    """
    bounds = np.empty(len(images))
    for rows, drawn in _draws(encode, log_probability, images, samples, seed, batch, labels):
        kl = kl_to_standard_normal(drawn.mean, drawn.log_variance)
        bounds[rows] = drawn.log_likelihood.mean(1) - kl
    return _no_nan(bounds)


def kl_to_standard_normal(mean: np.ndarray, log_variance: np.ndarray) -> np.ndarray:
    """KL(N(mean, exp(log_variance)) || N(0, 1)), summed over the last axis, in nats.

    Args:
      mean: (..., L).
      log_variance: (..., L).
    Returns:
      (...,), at least 0.
    Reference: Kingma and Welling 2014, appendix B.
    """
    return 0.5 * (mean**2 + np.expm1(log_variance) - log_variance).sum(-1)


def binarise(images: np.ndarray, seed: int) -> np.ndarray:
    """Fixed stochastic binarisation: a pixel is 1 with its grey value as probability, drawn once.

    The noise is `Generator(Philox(key=seed)).random()`, one float64 in [0, 1) for each value in C
    order; a pixel is 1 where its noise is below its grey. So 0 stays 0, 1 stays 1, and the first
    pictures of a set are binarised alike however many follow.

    Args:
      images: (N, ...) uint8, or float in [0, 1].
      seed: At least 0; names the binarised data set.
    Returns:
      The same shape, float32, 0 or 1.
    Raises:
      ValueError: if values lie outside the range or the seed is negative.
    Reference: Salakhutdinov and Murray 2008, "On the quantitative analysis of deep belief
      networks", section 5.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise ValueError(f"images are {images.dtype}: expected uint8, or float in [0, 1]")
    _check_at_least("seed", seed, 0)
    random = np.random.Generator(np.random.Philox(key=seed))
    binary = np.empty(images.shape, np.float32)
    # Picture by picture: float64 noise for a whole data set would be large.
    for image, out in zip(images, binary):
        grey = image / 255.0 if images.dtype == np.uint8 else image
        if not ((grey >= 0) & (grey <= 1)).all():
            raise ValueError(f"images reach from {images.min()} to {images.max()}: expected [0, 1]")
        out[...] = random.random(image.shape) < grey
    return binary


class _Drawn(NamedTuple):
    """Latents of a few pictures, float64."""

    mean: np.ndarray  # (n, L)
    log_variance: np.ndarray  # (n, L)
    noise: np.ndarray  # (n, samples, L), standard normal
    latents: np.ndarray  # (n, samples, L)
    log_likelihood: np.ndarray  # (n, samples): log p(x | z)


def _draws(
    encode: Encode,
    log_probability: LogProbability,
    images: np.ndarray,
    samples: int,
    seed: int,
    batch: int,
    labels: np.ndarray | None,
) -> Iterator[tuple[slice, _Drawn]]:
    """Yields rows of `images` and what was drawn for them, a few pictures at a time."""
    for name, value, least in (("samples", samples, 1), ("seed", seed, 0), ("batch", batch, 1)):
        _check_at_least(name, value, least)
    if not len(images):
        raise ValueError("images are empty: expected at least one")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"{len(labels)} labels for {len(images)} images: expected as many")
    mean, log_variance = _encode(encode, images, labels, batch)
    step = max(1, batch // samples)
    for start in range(0, len(images), step):
        rows = slice(start, min(start + step, len(images)))
        shape = (samples, mean.shape[1])
        noise = np.stack([_noise(seed, i, shape) for i in range(rows.start, rows.stop)])
        latents = mean[rows, None] + np.exp(0.5 * log_variance[rows, None]) * noise
        flat = latents.reshape(-1, mean.shape[1]).astype(np.float32)  # (n * samples, L)
        owners = np.repeat(np.arange(rows.start, rows.stop), samples)
        found = np.empty(len(flat))
        for first in range(0, len(flat), batch):
            pairs = slice(first, first + batch)
            extra = () if labels is None else (labels[owners[pairs]],)
            value = np.asarray(log_probability(images[owners[pairs]], flat[pairs], *extra))
            if value.shape != (len(owners[pairs]),):
                raise ValueError(
                    f"log_probability returned {value.shape} for {len(owners[pairs])} pairs:"
                    " expected one number each, summed over pixels"
                )
            found[pairs] = value
        found = found.reshape(-1, samples)  # (n, samples)
        yield rows, _Drawn(mean[rows], log_variance[rows], noise, latents, found)


def _noise(seed: int, index: int, shape: tuple[int, ...]) -> np.ndarray:
    # Key (seed, 0) is that of `binarise`: noise and the pixels must not have a stream in common.
    return np.random.Generator(np.random.Philox(key=[seed, index + 1])).standard_normal(shape)


def _encode(
    encode: Encode, images: np.ndarray, labels: np.ndarray | None, batch: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and log-variance of every picture, each (N, L) float64."""
    parts = []
    for start in range(0, len(images), batch):
        rows = slice(start, start + batch)
        mean, log_variance = encode(images[rows], *(() if labels is None else (labels[rows],)))
        mean, log_variance = np.asarray(mean, np.float64), np.asarray(log_variance, np.float64)
        if mean.ndim != 2 or mean.shape != log_variance.shape or len(mean) != len(images[rows]):
            raise ValueError(
                f"encode returned {mean.shape} and {log_variance.shape} for {len(images[rows])}"
                " images: expected two of (N, L)"
            )
        parts.append((mean, log_variance))
    means, log_variances = zip(*parts)
    return np.concatenate(means), np.concatenate(log_variances)


def _no_nan(bounds: np.ndarray) -> np.ndarray:
    # A mean that skips NaN, or a bound of infinity, would flatter.
    wrong = np.flatnonzero(np.isnan(bounds) | (bounds == np.inf))
    if len(wrong):
        raise ValueError(
            f"the bound of {len(wrong)} of {len(bounds)} images is not a number (the first: image"
            f" {wrong[0]}): encoder or decoder gives values that are not finite"
        )
    return bounds


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name}={value}: expected at least {least}")
