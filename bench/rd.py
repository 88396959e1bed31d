"""Rate and distortion of every codec at each of its settings, over the pictures of a folder."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image

from ..format.errors import AecError
from .codecs import BenchCodec
from .metrics import Curve, psnr
from .runs import open_opaque, timed

__all__ = ["Means", "Point", "Result", "measure", "run"]

_KEYS = {
    "psnr-rgb": "psnr",
    "bpp": "bpp",
    "encoding_time": "encode_seconds",
    "decoding_time": "decode_seconds",
}
"""CompressAI's name of each mean, and the field of `Point` that it is the mean of."""


@dataclass(frozen=True, slots=True)
class Point:
    """Describes one coded picture: sides in pixels, bytes and bits per pixel of the whole file,
    PSNR in dB of its 8-bit RGB samples.
    """

    image: str
    width: int
    height: int
    setting: float
    bytes: int
    bpp: float
    psnr: float
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True, slots=True)
class Means:
    """Holds the arithmetic means over all pictures at one setting, in the units of `Point`."""

    setting: float
    bpp: float
    psnr: float
    encode_seconds: float
    decode_seconds: float


@dataclass
class Result:
    """Holds the points of each codec, picture by picture, and why pictures were left out."""

    codecs: Sequence[BenchCodec]
    points: dict[str, list[Point]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def means(self, name: str) -> list[Means]:
        """Returns the means of a codec, one a setting in the order that it names them."""
        rows: dict[float, list[Point]] = {}
        for point in self.points.get(name, []):
            rows.setdefault(point.setting, []).append(point)
        return [
            Means(setting, **{f: fmean(getattr(p, f) for p in row) for f in _KEYS.values()})
            for setting, row in rows.items()
        ]

    def curve(self, name: str) -> Curve:
        """Returns the means of a codec as a curve."""
        means = self.means(name)
        return Curve(name, tuple(m.bpp for m in means), tuple(m.psnr for m in means))

    def as_dict(self) -> dict[str, Any]:
        """Returns everything; what stands under the name of a codec is a CompressAI result."""
        codecs = {}
        for codec in self.codecs:
            means = self.means(codec.name)
            codecs[codec.name] = {
                "name": codec.name,
                "description": codec.description,
                "results": {key: [getattr(m, f) for m in means] for key, f in _KEYS.items()},
                "settings": [m.setting for m in means],
                "images": [asdict(point) for point in self.points.get(codec.name, [])],
            }
        return {"codecs": codecs, "skipped": self.skipped}


def measure(codec: BenchCodec, picture: Image.Image, name: str, setting: float) -> Point:
    """Codes an RGB or L picture once; raises what the codec raises, and ValueError when it gives
    back another size.
    """
    data, encode_seconds = timed(codec.prepare(picture, setting))
    decoded, decode_seconds = timed(lambda: codec.decode(data))
    # Gray counts as RGB: three equal channels have the error of one.
    error = psnr(*(np.asarray(image.convert("RGB")) for image in (picture, decoded)))
    width, height = picture.size
    bpp = 8 * len(data) / (width * height)
    times = encode_seconds, decode_seconds
    return Point(name, width, height, setting, len(data), bpp, error, *times)


def _measure_all(codecs: Sequence[BenchCodec], path: Path) -> dict[str, list[Point]] | str:
    """The points of one picture, or why it is left out: of all codecs, lest their means differ in
    the pictures that they are over.
    """
    name = ""
    try:
        picture = open_opaque(path)
        points = {}
        for codec in codecs:
            name = f"{codec.name}: "
            points[codec.name] = [measure(codec, picture, path.name, s) for s in codec.settings]
        return points
    except (AecError, OSError, ValueError, MemoryError) as error:
        return name + (" ".join(str(error).split()) or type(error).__name__)


_codecs_of_process: list[BenchCodec] = []


def _start_process(codecs: Sequence[BenchCodec], threads: int) -> None:
    _codecs_of_process[:] = codecs
    if "torch" in sys.modules:  # came with the weights
        sys.modules["torch"].set_num_threads(threads)


def _work_in_process(path: Path) -> dict[str, list[Point]] | str:
    return _measure_all(_codecs_of_process, path)


def run(
    paths: Sequence[Path],
    codecs: Sequence[BenchCodec],
    *,
    jobs: int = 1,
    report: Callable[[str, str | None], object] = lambda name, reason: None,
) -> Result:
    """Measures all codecs on all pictures, in `jobs` processes at a time, and reports the name of
    each picture when it is through, with the reason if it was left out.
    """
    result = Result(codecs, {codec.name: [] for codec in codecs})
    with ExitStack() as stack:
        found: Iterator[dict[str, list[Point]] | str]
        if jobs == 1:
            found = map(partial(_measure_all, codecs), paths)
        else:
            # Not threads: the codec sets modes of the process. Not forks: torch has threads.
            pool = ProcessPoolExecutor(
                jobs,
                multiprocessing.get_context("spawn"),
                _start_process,
                (codecs, max(1, (os.cpu_count() or 1) // jobs)),
            )
            stack.callback(pool.shutdown, cancel_futures=True)
            found = pool.map(_work_in_process, paths)
        for path, points in zip(paths, found, strict=True):
            if isinstance(points, str):
                result.skipped[path.name] = points
            else:
                for name, row in points.items():
                    result.points[name] += row
            report(path.name, points if isinstance(points, str) else None)
    return result
