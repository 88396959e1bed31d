"""Pictures to look at: the original, and what every codec makes of it with about the same bits."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..format.errors import AecError
from .cache import Cache, key_of
from .codecs import BenchCodec
from .metrics import METRICS
from .rd import Point, Result, code
from .runs import open_opaque, picture_id

__all__ = ["PIXELS", "Viewer", "box_of", "viewer"]

Box = tuple[int, int, int, int]

NEAR = 0.03
TRIES = 4
"""A rate is as good as the wanted one when it is 3 % off, or when so many others were tried."""

PIXELS = 36_000_000
"""How many pixels all views together may have, lest a page be too large to open: about two bytes
each, without loss."""


def box_of(width: int, height: int, pixels: float) -> Box:
    """Returns the middle part of a picture that has no more than so many pixels, in its shape."""
    scale = min(1.0, math.sqrt(pixels / (width * height)))
    w, h = max(1, int(width * scale)), max(1, int(height * scale))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


@dataclass(frozen=True)
class Viewer:
    """Makes the views of a picture when it is called: each codec at the setting that should come
    closest to `bpp`, by the points that were measured of this picture.
    """

    codecs: Sequence[BenchCodec]
    points: Mapping[str, Mapping[str, Sequence[Point]]]  # by picture and codec
    metrics: Sequence[str]
    bpp: float
    pixels: float
    cache: Cache | None

    def __call__(self, path: Path) -> dict[str, Any]:
        """Returns the original and the views by codec as data for the page, each coded once and
        measured as a whole even where only a part is shown.
        """
        picture = open_opaque(path)
        id = picture_id(picture)
        box = box_of(*picture.size, self.pixels)
        views = [{"name": "original", "src": _source(picture.convert("RGB").crop(box))}]
        for codec in self.codecs:
            try:
                views.append(self._closest(codec, picture, id, path.name, box))
            except (AecError, OSError, ValueError, MemoryError):
                continue  # its measured settings went well, and the others are no less shown
        return {"name": path.name, "size": picture.size, "box": box, "views": views}

    def _closest(
        self, codec: BenchCodec, picture: Image.Image, id: str, name: str, box: Box
    ) -> dict[str, Any]:
        """The view at the setting whose rate is next to the one that is wanted."""
        wanted = math.log(self.bpp)
        points = [(math.log(point.bpp), point.setting) for point in self.points[name][codec.name]]
        tried: dict[float, dict[str, Any]] = {}
        for _ in range(TRIES):
            rates, settings = zip(*sorted(points), strict=True)
            exact = float(np.interp(wanted, rates, settings))
            setting = round(exact / codec.step) * codec.step
            if setting in tried:
                break
            view = tried[setting] = self._kept(codec, picture, id, name, setting, box)
            points.append((math.log(view["bpp"]), setting))
            if abs(points[-1][0] - wanted) < NEAR:
                break
        return min(tried.values(), key=lambda view: abs(math.log(view["bpp"]) - wanted))

    def _kept(
        self, codec: BenchCodec, picture: Image.Image, id: str, name: str, setting: float, box: Box
    ) -> dict[str, Any]:
        """A view from the cache, or else for it."""
        if self.cache is None:
            return self._view(codec, picture, name, setting, box)
        key = f"{key_of(codec, id, setting, self.metrics)}-view-{'-'.join(map(str, box))}"
        view = self.cache.get(key)
        if view is None:
            view = self._view(codec, picture, name, setting, box)
            self.cache.put(key, view)
        return view

    def _view(
        self,
        codec: BenchCodec,
        picture: Image.Image,
        name: str,
        setting: float,
        box: Box,
    ) -> dict[str, Any]:
        point, decoded = code(codec, picture, name, setting, self.metrics)
        values = {key: METRICS[key].on_curve(value) for key, value in point.values.items()}
        return {
            "name": codec.name,
            "setting": setting,
            "bytes": point.bytes,
            "bpp": point.bpp,
            "values": {key: v if math.isfinite(v) else None for key, v in values.items()},
            "src": _source(decoded.crop(box)),
        }


def viewer(result: Result, bpp: float, cache: Cache | None) -> Viewer:
    """Returns what makes the views of all pictures of a result, so small that they fit a page."""
    points: dict[str, dict[str, list[Point]]] = {}
    for codec in result.codecs:
        for point in result.points[codec.name]:
            points.setdefault(point.image, {}).setdefault(codec.name, []).append(point)
    pixels = PIXELS / max(1, len(points) * (len(result.codecs) + 1))
    return Viewer(result.codecs, points, result.metrics, bpp, pixels, cache)


def _source(picture: Image.Image) -> str:
    """A picture as the address of itself, without loss."""
    file = io.BytesIO()
    picture.save(file, "WEBP", lossless=True, quality=60, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
