"""BM3D at sigma 25: PSNR of the result."""

from __future__ import annotations

import functools

import numpy as np

from ways.pictures import floats
from ways.registry import way


@functools.cache
def bm3d_psnr_db(name: str, backwards: bool) -> float:
    import bm3d

    from tf_deconv.images import metrics

    window = (slice(100, 196), slice(150, 246))
    image, reference = (each[window] for each in floats())
    given = image[..., ::-1] if backwards else image
    made = getattr(bm3d, name)(np.ascontiguousarray(given), 25 / 255)
    return metrics.psnr_db(made[..., ::-1] if backwards else made, reference)


@way("bm3d", "bm3d", "bm3d_rgb(rgb, 25 / 255)", same=True)
def _bm3d_rgb() -> float:
    return bm3d_psnr_db("bm3d_rgb", False)


@way("bm3d", "bm3d", "bm3d_rgb(bgr, 25 / 255)", same=False)
def _bm3d_bgr() -> float:
    return bm3d_psnr_db("bm3d_rgb", True)


@way("bm3d", "bm3d", "bm3d(rgb, 25 / 255): blocks are matched in the first channel", same=False)
def _bm3d_plain() -> float:
    return bm3d_psnr_db("bm3d", False)


@way("bm3d", "bm3d", "bm3d(bgr, 25 / 255): in another one", same=False)
def _bm3d_plain_bgr() -> float:
    return bm3d_psnr_db("bm3d", True)
