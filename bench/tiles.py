"""What tiles cost: pictures coded in tiles against the same coded whole, and a look for seams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..codec.api import Codec
from ..format.errors import AecError, ImageError
from ..format.header import parse_header
from .metrics import psnr
from .runs import environment, open_opaque

__all__ = ["NEAR", "near_borders", "run"]

NEAR = 8
"""Pixels on each side of a border between tiles that count as lying at it."""


def run(
    paths: Sequence[Path],
    codec: Codec,
    *,
    side: int = 256,
    qualities: Sequence[float] = (20, 50, 80),
    report: Callable[[str, str | None], object] = lambda name, reason: None,
) -> dict[str, Any]:
    """Returns a row for each picture and quality, and their summary: bytes and PSNR (dB) with tiles
    of `side` pixels and without, and the mean and the largest error (grey levels) and how much two
    neighbouring pixels across a border differ in error, at borders and elsewhere.

    A seam would show as a step of the error from one side of a border to the other that is larger
    than between other neighbours.
    """
    rows: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    for path in paths:
        try:
            picture = open_opaque(path)
            if max(picture.size) <= side:
                raise ImageError(f"no side is over {side} pixels, so it is one tile")
        except (AecError, OSError, MemoryError) as error:
            skipped[path.name] = " ".join(str(error).split()) or type(error).__name__
            report(path.name, skipped[path.name])
            continue
        original = np.asarray(picture, dtype=np.int16)
        for quality in qualities:
            row: dict[str, Any] = {"image": path.name, "quality": quality}
            for name, tile in (("whole", 0), ("tiled", side)):
                data = codec.compress(picture, quality=quality, tile=tile)
                decoded = np.asarray(codec.decompress(data))
                row[name] = {"bytes": len(data), "psnr": psnr(np.asarray(picture), decoded)}
                grid = parse_header(data).grid
                if name == "tiled":
                    row["tiles"] = grid.count
                row[name] |= _errors(decoded.astype(np.int16) - original, side)
            rows.append(row)
        report(path.name, None)
    return {
        "environment": environment(),
        "side": side,
        "rows": rows,
        "skipped": skipped,
        "total": {quality: _total(rows, quality) for quality in qualities} if rows else {},
    }


def near_borders(height: int, width: int, side: int) -> NDArray[np.bool_]:
    """Which pixels (height, width) lie at a border between tiles of `side` pixels."""
    rows, columns = (
        (np.arange(size) + NEAR) % side < 2 * NEAR if size > side else np.zeros(size, bool)
        for size in (height, width)
    )
    # the picture's own edges are no borders
    rows[:NEAR], columns[:NEAR] = False, False
    return rows[:, None] | columns[None, :]


def _errors(error: NDArray[np.int16], side: int) -> dict[str, float]:
    """Errors at the borders and elsewhere, and the steps of the error across lines of pixels."""
    near = near_borders(error.shape[0], error.shape[1], side)
    size = np.abs(error)
    across = [np.abs(np.diff(error, axis=axis)).mean(axis=1 - axis) for axis in (0, 1)]
    if error.ndim == 3:
        across = [steps.mean(axis=-1) for steps in across]
    # entry n of a difference is the step from line n to line n + 1
    border = [np.arange(1, len(steps) + 1) % side == 0 for steps in across]
    at = np.concatenate([steps[b] for steps, b in zip(across, border, strict=True)])
    elsewhere = np.concatenate([steps[~b] for steps, b in zip(across, border, strict=True)])
    return {
        "border_error": float(size[near].mean()),
        "other_error": float(size[~near].mean()),
        "border_max": int(size[near].max()),
        "other_max": int(size[~near].max()),
        "border_step": float(at.mean()),
        "other_step": float(elsewhere.mean()),
    }


def _total(rows: Sequence[dict[str, Any]], quality: float) -> dict[str, float]:
    part = [row for row in rows if row["quality"] == quality]

    def mean(name: str, key: str) -> float:
        return float(np.mean([row[name][key] for row in part]))

    return {
        "rate": mean("tiled", "bytes") / mean("whole", "bytes") - 1,
        "psnr": mean("tiled", "psnr") - mean("whole", "psnr"),
        # the same places in the picture without tiles say what is due to its content
        "border_error_ratio": (mean("tiled", "border_error") / mean("tiled", "other_error"))
        / (mean("whole", "border_error") / mean("whole", "other_error")),
        "border_step_ratio": (mean("tiled", "border_step") / mean("tiled", "other_step"))
        / (mean("whole", "border_step") / mean("whole", "other_step")),
        "border_max": max(row["tiled"]["border_max"] for row in part),
        "other_max": max(row["tiled"]["other_max"] for row in part),
        "bytes_per_tile": float(
            np.mean([(r["tiled"]["bytes"] - r["whole"]["bytes"]) / r["tiles"] for r in part])
        ),
    }
