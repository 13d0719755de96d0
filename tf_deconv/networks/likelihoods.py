"""Likelihoods p(picture | decoder output) of a VAE by name, and the normal densities of its latent.

The decoder gives `parameters` numbers per pixel and channel. Every log-probability is that of a
picture of 256 levels (or of a binarised one), in nats, so that networks can be compared in bits per
dimension. Only `keras.ops`, so that every Keras backend trains with them.
"""

from __future__ import annotations

import math

from keras import ops

from tf_deconv.utils.options import UserError, nearest

# Pictures in [0, 1] of 256 levels: a level is this far from the next, and its bin is this wide.
_LEVEL = 1.0 / 255.0

_LOG_2PI = math.log(2.0 * math.pi)

# Half a level. Unbounded, the variance of a pixel that is the same in all pictures goes to zero and
# its density to infinity (Mattei and Frellsen 2018); here the best a pixel gets is 0.8, and the
# "masses" of the 256 levels sum to at most 1.015.
_MIN_LOG_VARIANCE = 2.0 * math.log(_LEVEL / 2.0)

# e^-7 on [-1, 1] as in PixelCNN++, so half of it on [0, 1]: a level gets at most 0.973.
_MIN_LOG_SCALE = -7.0 - math.log(2.0)


def make_likelihood(name: str) -> Likelihood:
    """Returns the likelihood of a name in `LIKELIHOODS`.

    Raises:
      UserError: if there is none of that name.
    """
    if name not in LIKELIHOODS:
        raise UserError(
            f"likelihood={name!r}{nearest(str(name), LIKELIHOODS)}: expected one of"
            f" {', '.join(LIKELIHOODS)}"
        )
    return LIKELIHOODS[name]()


class Likelihood:
    """A distribution of pictures whose pixels and channels are independent given the output.

    A subclass gives `log_mass(image, location[, raw_scale])`, elementwise, and `picture(location)`.

    Attributes:
      parameters: Numbers per pixel and channel that the decoder gives. Its output is
        (N, H, W, parameters * C): first the C logits or means, then the C raw scales.
      binary: Whether it is a likelihood of pictures of zeros and ones only.
    """

    parameters: int
    binary = False

    def log_probability(self, image, output):
        """Log-probability of each picture, summed over pixels and channels.

        Args:
          image: (N, H, W, C) in [0, 1].
          output: (N, H, W, parameters * C), any real numbers; half precision is widened.
        Returns:
          (N,) float32, in nats.
        Raises:
          ValueError: if the shapes do not fit; they would broadcast silently.
        """
        self._check_shapes(image, output)
        image = ops.cast(image, "float32")
        parts = self._split(output)  # (N, H, W, C) each
        return ops.sum(self.log_mass(image, *parts), axis=(1, 2, 3))

    def mean(self, output):
        """The picture that a decoder's output stands for.

        Args:
          output: (N, H, W, parameters * C), any real numbers.
        Returns:
          (N, H, W, C) float32 in [0, 1].
        """
        return self.picture(self._split(output)[0])

    def log_mass(self, image, *parts):
        raise NotImplementedError

    def picture(self, location):
        return ops.clip(location, 0.0, 1.0)

    def _split(self, output):
        output = ops.cast(output, "float32")
        channels = output.shape[-1] // self.parameters
        return [output[..., i * channels : (i + 1) * channels] for i in range(self.parameters)]

    def _check_shapes(self, image, output):
        received, given = tuple(image.shape), tuple(output.shape)
        expected = (*received[:-1], received[-1] * self.parameters)
        if (
            len(given) != 4
            or len(received) != 4
            or any(None not in pair and pair[0] != pair[1] for pair in zip(expected, given))
        ):
            raise ValueError(
                f"the picture is {received} and the decoder's output {given}: expected (N, H, W, C)"
                f" and (N, H, W, {self.parameters} * C); they would broadcast silently"
            )


class Bernoulli(Likelihood):
    """One logit: the cross-entropy x log p + (1 - x) log(1 - p), p = sigmoid(logit).

    A log-probability of binarised pictures only. On grey ones it trains well and means little: it
    is not a density over [0, 1] (Loaiza-Ganem and Cunningham 2019), so no bits per dimension
    follow.
    """

    parameters = 1
    binary = True

    def log_mass(self, image, logit):
        # log p = -softplus(-logit): a sigmoid would round to 1 from a logit of 17 upward.
        return -(image * ops.softplus(-logit) + (1.0 - image) * ops.softplus(logit))

    def picture(self, location):
        return ops.sigmoid(location)


class Gaussian(Likelihood):
    """Mean and raw log-variance: log N(x; mean, variance) + log(1/255).

    The density at the level's centre times the width of its bin stands for the level's probability,
    so bits per dimension can be set beside those of a discrete model. The standard deviation never
    falls below 1/510, half a level; so a picture's 256^D "probabilities" sum to at most 1.015^D
    (0.021 bits per dimension too good at worst), and less where the bell reaches beyond [0, 1].
    """

    parameters = 2

    def log_mass(self, image, mean, raw_log_variance):
        log_variance = _at_least(raw_log_variance, _MIN_LOG_VARIANCE)
        return normal_log_density(image, mean, log_variance) + math.log(_LEVEL)


class Logistic(Likelihood):
    """Mean and raw log-scale: log of the logistic's mass on [x - 1/510, x + 1/510].

    The bins of black and white are open towards minus and plus infinity, so the masses of the 256
    levels sum to 1. The scale never falls below e^-7 / 2.

    Reference: Kingma et al. 2016 (inverse autoregressive flow); Salimans et al. 2017 (PixelCNN++),
    here with one component.
    """

    parameters = 2

    def log_mass(self, image, mean, raw_log_scale):
        log_scale = _at_least(raw_log_scale, _MIN_LOG_SCALE)
        per_scale = ops.exp(-log_scale)
        lower = (image - mean - _LEVEL / 2.0) * per_scale
        upper = (image - mean + _LEVEL / 2.0) * per_scale
        # With S the sigmoid, S(b) - S(a) = S(b) S(-a) (1 - exp(a - b)): three factors whose
        # logarithms are exact where the difference would be 0, so no density has to step in.
        black, white = image < _LEVEL / 2.0, image > 1.0 - _LEVEL / 2.0
        below_upper = ops.where(white, 0.0, -ops.softplus(-upper))
        above_lower = ops.where(black, 0.0, -ops.softplus(lower))
        log_width = math.log(_LEVEL) - log_scale
        within = ops.where(ops.logical_or(black, white), 0.0, _log_one_minus_exp(log_width))
        return below_upper + above_lower + within


LIKELIHOODS = {"bernoulli": Bernoulli, "gaussian": Gaussian, "logistic": Logistic}


def _at_least(raw, minimum):
    """A smooth max(raw, minimum), whose gradient is never zero at once as a clip's is."""
    return minimum + ops.softplus(raw - minimum)


def _log_one_minus_exp(log_width):
    """log(1 - exp(-width)) of a width > 0 given by its logarithm, which may be below any float's.

    Both branches stay finite, since a gradient passes through the one that is not taken too.
    """
    width = ops.exp(log_width)
    # log(width) - width / 2 + width^2 / 24: at 0.01 the last term is 4e-6.
    small = log_width - width / 2.0 + ops.square(width) / 24.0
    return ops.where(width < 0.01, small, ops.log(-ops.expm1(-ops.maximum(width, 0.01))))


def bits_per_dimension(nats, dimensions: int):
    """Turns nats per picture into bits per dimension; the sign stays.

    Args:
      nats: A negative log-probability or ELBO of a picture, or an array or tensor of them.
      dimensions: H * W * C of the picture, at least 1.
    """
    return nats / (dimensions * math.log(2.0))


def gaussian_kl(mean, log_variance):
    """KL divergence of N(mean, exp(log_variance)) from N(0, 1), per latent dimension.

    Args:
      mean: (N, L).
      log_variance: (N, L), below 88: its exponential must be a float32.
    Returns:
      (N, L) float32, in nats, at least 0.
    Reference: Kingma and Welling 2014, appendix B.
    """
    mean, log_variance = (ops.cast(x, "float32") for x in (mean, log_variance))
    # expm1: a collapsed dimension has a log-variance near 0, where exp(v) - 1 would round to 0.
    excess = ops.maximum(ops.expm1(log_variance) - log_variance, 0.0)
    return 0.5 * (ops.square(mean) + excess)


def normal_log_density(x, mean, log_variance):
    """log N(x; mean, exp(log_variance)), elementwise.

    Args:
      x: (N, L), or any shape that broadcasts with the other two.
      mean: (N, L).
      log_variance: (N, L).
    Returns:
      (N, L) float32, in nats.
    """
    x, mean, log_variance = (ops.cast(tensor, "float32") for tensor in (x, mean, log_variance))
    squared = ops.square(x - mean) * ops.exp(-log_variance)
    return -0.5 * (_LOG_2PI + log_variance + squared)
