"""SSIMULACRA2 (version 2.1): how alike two pictures look, from 100 for the same one downwards.

The metric is that of Jon Sneyers in libjxl (tools/ssimulacra2.cc, BSD-3-Clause), from where the
constants are. About 90 is visually lossless, 70 high, 50 medium, and 30 low quality.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["ssimulacra2"]

Planes = NDArray[np.float64]  # (3, height, width)

SCALES = 6
MIN_SIDE = 8
C2 = 0.0009

OPSIN = np.array(
    [
        [0.30, 0.622, 0.078],
        [0.23, 0.692, 0.078],
        [0.24342268924547819, 0.20476744424496821, 0.5518098665095536],
    ]
)
OPSIN_BIAS = 0.0037930732552754493

# fmt: off
WEIGHTS = np.array([
    # A line a scale and norm (mean, then 4-norm): SSIM, artefacts, lost detail.
    # X
    0.0, 0.0007376606707406586, 0.0,
    0.0, 0.0007793481682867309, 0.0,
    0.0, 0.0004371155730107379, 0.0,
    1.1041726426657346, 0.00066284834129271, 0.00015231632783718752,
    0.0, 0.0016406437456599754, 0.0,
    1.8422455520539298, 11.441172603757666, 0.0,
    0.0007989109436015163, 0.000176816438078653, 0.0,
    1.8787594979546387, 10.94906990605142, 0.0,
    0.0007289346991508072, 0.9677937080626833, 0.0,
    0.00014003424285435884, 0.9981766977854967, 0.00031949755934435053,
    0.0004550992113792063, 0.0, 0.0,
    0.0013648766163243398, 0.0, 0.0,
    # Y
    0.0, 0.0, 0.0,
    7.466890328078848, 0.0, 17.445833984131262,
    0.0006235601634041466, 0.0, 0.0,
    6.683678146179332, 0.00037724407979611296, 1.027889937768264,
    225.20515300849274, 0.0, 0.0,
    19.213238186143016, 0.0011401524586618361, 0.001237755635509985,
    176.39317598450694, 0.0, 0.0,
    24.43300999870476, 0.28520802612117757, 0.0004485436923833408,
    0.0, 0.0, 0.0,
    34.77906344483772, 44.835625328877896, 0.0,
    0.0, 0.0, 0.0,
    0.0, 0.0, 0.0,
    # B-Y
    0.0, 0.0008680556573291698, 0.0,
    0.0, 0.0, 0.0,
    0.0, 0.0005313191874358747, 0.0,
    0.00016533814161379112, 0.0, 0.0,
    0.0, 0.0, 0.0,
    0.0004179171803251336, 0.0017290828234722833, 0.0,
    0.0020827005846636437, 0.0, 0.0,
    8.826982764996862, 23.19243343998926, 0.0,
    95.1080498811086, 0.9863978034400682, 0.9834382792465353,
    0.0012286405048278493, 171.2667255897307, 0.9807858872435379,
    0.0, 0.0, 0.0,
    0.0005130064588990679, 0.0, 0.00010854057858411537,
])
# fmt: on


def _kernel(sigma: float = 1.5) -> tuple[float, ...]:
    """The impulse response of the recursive Gaussian filter of libjxl from its middle on: three
    cosines (Charalampidis 2016) that end at the radius.
    """
    radius = round(3.2795 * sigma + 0.2546)
    omega = np.array([1, 3, 5]) * math.pi / (2 * radius)
    p = np.array([1, -1, 1]) / np.tan(omega / 2)
    r = np.array([1, -1, 1]) * p**2 / np.sin(omega)
    rho = np.exp(-0.5 * sigma**2 * omega**2) / radius
    cross = p[0] * r[1] - r[0] * p[1]
    zeta = np.array([p[1] * r[2] - r[1] * p[2], p[2] * r[0] - r[2] * p[0]]) / cross
    gamma = np.array([1, radius**2 - sigma**2, zeta @ rho[:2] + rho[2]])
    beta = np.linalg.solve(np.array([p, r, [*zeta, 1]]), gamma)
    # Each cosine is what y(n) = 2 cos(omega) y(n - 1) - y(n - 2) makes of a pulse at both ends.
    n = np.arange(radius)[:, None]
    return tuple(
        -(beta * np.cos(omega * (radius + 1)) * np.sin(omega * (radius - n)) / np.sin(omega)).sum(
            axis=1
        )
    )


KERNEL = _kernel()


def _blur(planes: Planes) -> Planes:
    """Planes through a Gaussian filter, black outside of the picture."""
    radius = len(KERNEL) - 1
    for axis in (1, 2):
        size = planes.shape[axis]
        pad = [(0, 0)] * 3
        pad[axis] = (radius, radius)
        padded = np.moveaxis(np.pad(planes, pad), axis, 0)
        out = KERNEL[0] * padded[radius : radius + size]
        for n, weight in enumerate(KERNEL[1:], 1):
            out += weight * (
                padded[radius - n : radius - n + size] + padded[radius + n : radius + n + size]
            )
        planes = np.moveaxis(out, 0, axis)
    return planes


def _linear(picture: NDArray[np.uint8]) -> Planes:
    """Linear RGB from 0 to 1 of samples in sRGB."""
    s = np.arange(256) / 255
    table = np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)
    return np.ascontiguousarray(np.moveaxis(table[picture], 2, 0))


def _xyb(linear: Planes) -> Planes:
    """The XYB of libjxl, moved and scaled so that all values are about from 0 to 1."""
    mixed = np.tensordot(OPSIN, linear, 1) + OPSIN_BIAS
    long, medium, short = np.cbrt(np.maximum(mixed, 0)) - math.cbrt(OPSIN_BIAS)
    y = (long + medium) / 2
    return np.stack([(long - medium) * 7 + 0.42, y + 0.01, short - y + 0.55])


def _halved(linear: Planes) -> Planes:
    """Means of 2 x 2 samples, the last row and column counted twice where there is one too few."""
    height, width = linear.shape[1:]
    whole = np.pad(linear, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    return whole.reshape(3, (height + 1) // 2, 2, (width + 1) // 2, 2).mean(axis=(2, 4))


def _norms(differences: Planes) -> Planes:
    """The mean and the 4-norm of each plane: (2, 3)."""
    squared = differences * differences
    fourth = (squared * squared).mean(axis=(1, 2))
    return np.stack([differences.mean(axis=(1, 2)), fourth**0.25])


def _features(one: Planes, other: Planes) -> Planes:
    """What differs at one scale: (planes, norms, kinds of difference)."""
    mean_one, mean_other = _blur(one), _blur(other)
    luminance = 1 - (mean_one - mean_other) ** 2
    covariance = _blur(one * other) - mean_one * mean_other
    variances = _blur(one * one) - mean_one**2 + _blur(other * other) - mean_other**2
    unlike = np.maximum(1 - luminance * (2 * covariance + C2) / (variances + C2), 0)
    edges = (1 + np.abs(other - mean_other)) / (1 + np.abs(one - mean_one)) - 1
    kinds = [_norms(unlike), _norms(np.maximum(edges, 0)), _norms(np.maximum(-edges, 0))]
    return np.abs(np.stack(kinds)).transpose(2, 1, 0)


def ssimulacra2(original: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Returns the score of a picture beside the original, both (height, width, 3) in sRGB; NaN for
    sides under 8 pixels.
    """
    pictures = _linear(original), _linear(other)
    scales: list[Planes] = []
    while len(scales) < SCALES and min(pictures[0].shape[1:]) >= MIN_SIDE:
        if scales:
            pictures = _halved(pictures[0]), _halved(pictures[1])
        scales.append(_features(*map(_xyb, pictures)))
    if not scales:
        return math.nan
    # With fewer scales, too, the weights are taken one after the other, as in libjxl.
    found = np.stack(scales, axis=1).ravel()
    x = 0.9562382616834844 * float(WEIGHTS.ravel()[: found.size] @ found)
    x = 2.326765642916932 * x - 0.020884521182843837 * x**2 + 6.248496625763138e-05 * x**3
    return 100 - 10 * x**0.6276336467831387 if x > 0 else 100.0
