"""Distortion of a picture, and the distance between two rate-distortion curves."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BdRate", "Curve", "bd_rate", "bjontegaard", "psnr", "read_curve"]


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Returns the PSNR in dB of two uint8 arrays of one shape, its error the mean over all samples
    of all channels, infinite for equal arrays; raises ValueError for different shapes.
    """
    if one.shape != other.shape:
        raise ValueError(f"pictures of shapes {one.shape} and {other.shape} cannot be compared")
    # Exact: a difference squared has 16 bits, and the sum of 2^40 of them fits.
    squared = int(np.square(one.astype(np.int64) - other).sum())
    return 10 * math.log10(255**2 * one.size / squared) if squared else math.inf


@dataclass(frozen=True, slots=True)
class Curve:
    """Holds the points of a codec: bits per pixel and PSNR in dB, in parallel."""

    name: str
    bpp: tuple[float, ...]
    psnr: tuple[float, ...]


def read_curve(path: str | os.PathLike[str]) -> Curve:
    """Returns the curve of a JSON file in the shape of CompressAI's results; raises OSError, or
    ValueError for any other content.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        results = content["results"]
        bpp, quality = (tuple(map(float, results[key])) for key in ("bpp", "psnr-rgb"))
        if len(bpp) != len(quality):
            raise ValueError(f"{len(bpp)} rates and {len(quality)} PSNRs")
        return Curve(str(content["name"]), bpp, quality)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"{path} is no CompressAI result with bpp and psnr-rgb: {reason}"
        ) from None


def bjontegaard() -> Any:
    """Returns the package that computes BD-rates; raises ImportError where it is missing."""
    try:
        return import_module("bjontegaard")
    except ImportError as error:
        raise ImportError(
            "BD-rates need the package bjontegaard: pip install 'aec-codec[bench]'"
        ) from error


@dataclass(frozen=True, slots=True)
class BdRate:
    """Says how many percent more bits `test` needs than `anchor` for the same PSNR, on average over
    the PSNRs from `low` to `high` in dB that both reach, and how many points the curves have.
    """

    test: str
    anchor: str
    percent: float
    low: float
    high: float
    test_points: int
    anchor_points: int


def bd_rate(test: Curve, anchor: Curve) -> BdRate:
    """Returns the Bjontegaard delta of log rate, integrated over the common range of PSNR between
    piecewise cubic (PCHIP) curves through all points; raises ValueError where there is none, and
    ImportError without the package bjontegaard.
    """
    package = bjontegaard()
    (test_bpp, test_psnr), (anchor_bpp, anchor_psnr) = _sorted(test), _sorted(anchor)
    low, high = max(test_psnr[0], anchor_psnr[0]), min(test_psnr[-1], anchor_psnr[-1])
    if low >= high:
        raise ValueError(f"{test.name} and {anchor.name} have no range of PSNR in common")
    percent = package.bd_rate(
        anchor_bpp,
        anchor_psnr,
        test_bpp,
        test_psnr,
        method="pchip",
        require_matching_points=False,
        min_overlap=0,  # it would warn; the range is part of the answer here
    )
    points = len(test_bpp), len(anchor_bpp)
    return BdRate(test.name, anchor.name, float(percent), low, high, *points)


def _sorted(curve: Curve) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Rates and PSNRs, ascending; leaving out points that spoil the curve would flatter it."""
    points = sorted(zip(curve.bpp, curve.psnr, strict=True))
    if len(points) < 2:
        raise ValueError(f"{curve.name} has fewer than two points")
    if not all(0 < bpp < math.inf and math.isfinite(quality) for bpp, quality in points):
        raise ValueError(f"{curve.name} has a point without a positive rate and a finite PSNR")
    if any(one[1] >= other[1] for one, other in pairwise(points)):
        raise ValueError(f"the PSNR of {curve.name} does not rise with its rate")
    bpp, quality = zip(*points, strict=True)
    return bpp, quality
