"""How far a decoded picture is from the original: the metrics that `aec bench rd` knows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .ssimulacra2 import ssimulacra2

__all__ = ["METRICS", "PSNR", "Metric", "ms_ssim", "psnr", "psnr_y"]

Samples = NDArray[np.uint8]


def psnr(one: Samples, other: Samples) -> float:
    """Returns the PSNR in dB of two uint8 arrays of one shape, its error the mean over all samples
    of all channels, infinite for equal arrays; raises ValueError for different shapes.
    """
    _check(one, other)
    # Exact: a difference squared has 16 bits, and the sum of 2^40 of them fits.
    squared = int(np.square(one.astype(np.int64) - other).sum())
    return 10 * math.log10(255**2 * one.size / squared) if squared else math.inf


def psnr_y(one: Samples, other: Samples) -> float:
    """Returns the PSNR in dB of the luma (BT.709, not rounded) of two RGB pictures."""
    _check(one, other)
    error = (one.astype(np.float64) - other) @ (0.2126, 0.7152, 0.0722)
    squared = float(np.square(error).mean())
    return 10 * math.log10(255**2 / squared) if squared else math.inf


def _check(one: Samples, other: Samples) -> None:
    if one.shape != other.shape:
        raise ValueError(f"pictures of shapes {one.shape} and {other.shape} cannot be compared")


SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = np.exp(-(np.arange(6) ** 2) / (2 * 1.5**2))  # from its middle on
WINDOW /= WINDOW[0] + 2 * WINDOW[1:].sum()
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ms_ssim(one: Samples, other: Samples) -> float:
    """Returns the MS-SSIM (Wang 2003) of two pictures, the mean of that of the channels; NaN for
    sides of up to 160 pixels, in which the window fits no more at the fifth scale.
    """
    _check(one, other)
    if min(one.shape[:2]) <= 160:
        return math.nan
    x, y = (np.moveaxis(picture.astype(np.float64), 2, 0) for picture in (one, other))
    product = np.ones(len(x))
    for scale, weight in enumerate(SCALE_WEIGHTS, 1):
        mean_x, mean_y = _filtered(x), _filtered(y)
        covariance = _filtered(x * y) - mean_x * mean_y
        variances = _filtered(x * x + y * y) - mean_x**2 - mean_y**2
        found = (2 * covariance + C2) / (variances + C2)
        if scale == len(SCALE_WEIGHTS):
            found = found * (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
        product *= np.maximum(found.mean(axis=(1, 2)), 0) ** weight
        x, y = _halved(x), _halved(y)
    return float(product.mean())


def _filtered(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Planes through a Gaussian window of 11 samples, where it lies inside."""
    radius = len(WINDOW) - 1
    for axis in (1, 2):
        lines = np.moveaxis(planes, axis, 0)
        size = len(lines) - 2 * radius
        out = WINDOW[0] * lines[radius : radius + size]
        for n, weight in enumerate(WINDOW[1:], 1):
            pair = lines[radius - n : radius - n + size] + lines[radius + n : radius + n + size]
            out += weight * pair
        planes = np.moveaxis(out, 0, axis)
    return planes


def _halved(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of 2 x 2 samples; odd sides begin with a row or column of zeros, as is usual here."""
    height, width = planes.shape[1:]
    whole = np.pad(planes, ((0, 0), (height % 2, 0), (width % 2, 0)))
    whole = whole[:, : whole.shape[1] // 2 * 2, : whole.shape[2] // 2 * 2]
    return whole.reshape(len(planes), whole.shape[1] // 2, 2, -1, 2).mean(axis=(2, 4))


@dataclass(frozen=True, slots=True)
class Metric:
    """Describes a metric: its name in results (that of CompressAI where it has one), the field of
    a picture's row, how people call it, its unit, what it is exactly, and the function of the
    original and the decoded picture, both (height, width, 3). Its version changes with its values.
    A chart shows nothing below the floor.
    """

    key: str
    field: str
    label: str
    unit: str
    about: str
    measure: Callable[[Samples, Samples], float]
    version: int = 1
    decibels: bool = False
    floor: float | None = None

    def on_curve(self, value: float) -> float:
        """Returns a value as curves have it: MS-SSIM as -10 log10(1 - x) dB, as its differences
        are near 1.
        """
        if not self.decibels:
            return value
        return -10 * math.log10(1 - value) if value < 1 else math.inf


PSNR = "psnr-rgb"

METRICS = {
    metric.key: metric
    for metric in (
        Metric(PSNR, "psnr", "PSNR", "dB", "PSNR of 8-bit RGB, one error over the channels", psnr),
        Metric("psnr-y", "psnr_y", "PSNR-Y", "dB", "PSNR of the luma of BT.709", psnr_y),
        Metric(
            "ms-ssim-rgb",
            "ms_ssim",
            "MS-SSIM",
            "dB",
            "MS-SSIM of 8-bit RGB, the mean as -10 log10(1 - x)",
            ms_ssim,
            decibels=True,
        ),
        Metric(
            "ssimulacra2",
            "ssimulacra2",
            "SSIMULACRA2",
            "",
            "SSIMULACRA2 2.1: 90 visually lossless, 70 high, 50 medium, 30 low quality",
            ssimulacra2,
            floor=0,
        ),
    )
}
"""All metrics by their keys, in the order of the tables."""
