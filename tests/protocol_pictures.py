"""The photograph that the tests of `benchmark --protocol` degrade."""

import numpy as np

from tf_deconv.images import arrays


def cut_photograph(bundled):
    """(60, 72, 3) uint8, its grey levels far enough from 0 and 255 to tell what clipping does."""
    return np.ascontiguousarray(bundled.validation.picture(0)[100:160, 100:172])


def grey(picture):
    """(H, W, 1) uint8 of (H, W, 3)."""
    return arrays.to_uint8(arrays.luminance(arrays.to_float(picture)))
