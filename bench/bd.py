"""Rate-distortion curves, where they are stored, and the distance between two of them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

from .metrics import METRICS, PSNR

__all__ = [
    "BdRate",
    "Curve",
    "bd_rate",
    "bjontegaard",
    "curve_of",
    "has_metric",
    "read_curve",
    "read_results",
]


@dataclass(frozen=True, slots=True)
class Curve:
    """Holds the points of a codec: bits per pixel and the values of a metric, as
    `Metric.on_curve` gives them, in parallel.
    """

    name: str
    bpp: tuple[float, ...]
    values: tuple[float, ...]
    metric: str = PSNR


def has_metric(content: Mapping[str, Any], metric: str) -> bool:
    """Says whether a result has values of a metric, none of them missing."""
    results = content["results"]
    values = results.get(metric) or results.get(metric.replace("-rgb", "-db-rgb"))
    return bool(values) and None not in values


def curve_of(content: Mapping[str, Any], metric: str = PSNR) -> Curve:
    """Returns the curve in a result of CompressAI; raises ValueError for any other content."""
    kind = METRICS[metric]
    try:
        results = content["results"]
        in_decibels = results.get(metric.replace("-rgb", "-db-rgb")) if kind.decibels else None
        if in_decibels is None:
            values = tuple(kind.on_curve(float(value)) for value in results[metric])
        else:
            values = tuple(map(float, in_decibels))
        bpp = tuple(map(float, results["bpp"]))
        if len(bpp) != len(values):
            raise ValueError(f"{len(bpp)} rates and {len(values)} values of {kind.label}")
        return Curve(str(content["name"]), bpp, values, metric)
    except KeyError as error:
        raise ValueError(f"lacks {error}") from None
    except (AttributeError, TypeError) as error:
        raise ValueError(str(error)) from None


def read_curve(path: str | os.PathLike[str], metric: str = PSNR) -> Curve:
    """Returns the curve of a JSON file in the shape of CompressAI's results; raises OSError, or
    ValueError for any other content.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return curve_of(json.load(file), metric)
    except ValueError as error:
        raise ValueError(f"{path} is no CompressAI result with bpp and {metric}: {error}") from None


def read_results(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns all results in a JSON file of `aec bench rd` or of CompressAI; raises OSError, or
    ValueError for any other content.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        found = list(content["codecs"].values()) if "codecs" in content else [content]
        if all(str(result["name"]) and len(result["results"]["bpp"]) for result in found):
            return found
        raise ValueError("a curve without points")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no result of aec bench rd or of CompressAI") from error


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
    """Says how many percent more bits `test` needs than `anchor` for the same value of a metric, on
    average over the values from `low` to `high` that both reach, and how many points the curves
    have.
    """

    test: str
    anchor: str
    percent: float
    low: float
    high: float
    test_points: int
    anchor_points: int
    metric: str = PSNR


def bd_rate(test: Curve, anchor: Curve) -> BdRate:
    """Returns the Bjontegaard delta of log rate, integrated over the common range of a metric
    between piecewise cubic (PCHIP) curves through all points; raises ValueError where there is
    none, and ImportError without the package bjontegaard.
    """
    package = bjontegaard()
    if test.metric != anchor.metric:
        raise ValueError(f"{test.name} and {anchor.name} are curves of different metrics")
    (test_bpp, test_values), (anchor_bpp, anchor_values) = _sorted(test), _sorted(anchor)
    low, high = max(test_values[0], anchor_values[0]), min(test_values[-1], anchor_values[-1])
    if low >= high:
        label = METRICS[test.metric].label
        raise ValueError(f"{test.name} and {anchor.name} have no range of {label} in common")
    percent = package.bd_rate(
        anchor_bpp,
        anchor_values,
        test_bpp,
        test_values,
        method="pchip",
        require_matching_points=False,
        min_overlap=0,  # it would warn; the range is part of the answer here
    )
    points = len(test_bpp), len(anchor_bpp)
    return BdRate(test.name, anchor.name, float(percent), low, high, *points, test.metric)


def _sorted(curve: Curve) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Rates and values, ascending; leaving out points that spoil the curve would flatter it."""
    label = METRICS[curve.metric].label
    points = sorted(zip(curve.bpp, curve.values, strict=True))
    if len(points) < 2:
        raise ValueError(f"{curve.name} has fewer than two points")
    if not all(0 < bpp < math.inf and math.isfinite(value) for bpp, value in points):
        raise ValueError(f"{curve.name} has a point without a positive rate and a finite {label}")
    if any(one[1] >= other[1] for one, other in pairwise(points)):
        raise ValueError(f"the {label} of {curve.name} does not rise with its rate")
    bpp, values = zip(*points, strict=True)
    return bpp, values
