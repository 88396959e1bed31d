"""Rate and distortion of every codec at each of its settings, over the pictures of a folder."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image

from ..format.errors import AecError
from .bd import Curve
from .codecs import BenchCodec
from .metrics import METRICS, PSNR
from .runs import open_opaque, timed

__all__ = ["Means", "Point", "Result", "measure", "run"]


@dataclass(frozen=True, slots=True)
class Point:
    """Describes one coded picture: sides in pixels, bytes and bits per pixel of the whole file,
    and its values by the keys of `METRICS`.
    """

    image: str
    width: int
    height: int
    setting: float
    bytes: int
    bpp: float
    values: dict[str, float]
    encode_seconds: float
    decode_seconds: float

    @property
    def psnr(self) -> float:
        return self.values[PSNR]

    def as_row(self) -> dict[str, Any]:
        """Returns all of it, one level deep."""
        row: dict[str, Any] = {}
        for name in self.__slots__:
            if name == "values":
                row |= {METRICS[key].field: value for key, value in self.values.items()}
            else:
                row[name] = getattr(self, name)
        return row


@dataclass(frozen=True, slots=True)
class Means:
    """Holds the arithmetic means over all pictures at one setting, in the units of `Point`."""

    setting: float
    bpp: float
    values: dict[str, float]
    encode_seconds: float
    decode_seconds: float

    @property
    def psnr(self) -> float:
        return self.values[PSNR]


@dataclass
class Result:
    """Holds the points of each codec, picture by picture, and why pictures were left out."""

    codecs: Sequence[BenchCodec]
    metrics: Sequence[str] = (PSNR,)
    points: dict[str, list[Point]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def means(self, name: str) -> list[Means]:
        """Returns the means of a codec, one a setting in the order that it names them."""
        rows: dict[float, list[Point]] = {}
        for point in self.points.get(name, []):
            rows.setdefault(point.setting, []).append(point)
        return [
            Means(
                setting,
                fmean(point.bpp for point in row),
                {key: fmean(point.values[key] for point in row) for key in row[0].values},
                fmean(point.encode_seconds for point in row),
                fmean(point.decode_seconds for point in row),
            )
            for setting, row in rows.items()
        ]

    def curve(self, name: str, metric: str = PSNR) -> Curve:
        """Returns the means of a codec as a curve."""
        means = self.means(name)
        on_curve = METRICS[metric].on_curve
        values = tuple(on_curve(m.values[metric]) for m in means)
        return Curve(name, tuple(m.bpp for m in means), values, metric)

    def codec_dict(self, codec: BenchCodec) -> dict[str, Any]:
        """Returns the means of a codec as CompressAI writes its results."""
        means = self.means(codec.name)
        return {
            "name": codec.name,
            "description": codec.description,
            "results": {
                **{key: [m.values[key] for m in means] for key in self.metrics},
                "bpp": [m.bpp for m in means],
                "encoding_time": [m.encode_seconds for m in means],
                "decoding_time": [m.decode_seconds for m in means],
            },
        }

    def as_dict(self) -> dict[str, Any]:
        """Returns everything; what stands under the name of a codec is a CompressAI result."""
        codecs = {
            codec.name: self.codec_dict(codec)
            | {
                "settings": [m.setting for m in self.means(codec.name)],
                "images": [point.as_row() for point in self.points.get(codec.name, [])],
            }
            for codec in self.codecs
        }
        return {"codecs": codecs, "skipped": self.skipped}


def measure(
    codec: BenchCodec,
    picture: Image.Image,
    name: str,
    setting: float,
    metrics: Sequence[str] = (PSNR,),
) -> Point:
    """Codes an RGB or L picture once; raises what the codec raises, and ValueError when it gives
    back another size.
    """
    data, encode_seconds = timed(codec.prepare(picture, setting))
    decoded, decode_seconds = timed(lambda: codec.decode(data))
    # Gray counts as RGB: three equal channels have the error of one.
    both = [np.asarray(image.convert("RGB")) for image in (picture, decoded)]
    values = {key: METRICS[key].measure(*both) for key in metrics}
    width, height = picture.size
    bpp = 8 * len(data) / (width * height)
    times = encode_seconds, decode_seconds
    return Point(name, width, height, setting, len(data), bpp, values, *times)


@dataclass(frozen=True)
class Task:
    """Holds what a process has to do with every picture."""

    codecs: Sequence[BenchCodec]
    metrics: Sequence[str]


def _measure_all(task: Task, path: Path) -> dict[str, list[Point]] | str:
    """The points of one picture, or why it is left out: of all codecs, lest their means differ in
    the pictures that they are over.
    """
    name = ""
    try:
        picture = open_opaque(path)
        points = {}
        for codec in task.codecs:
            name = f"{codec.name}: "
            points[codec.name] = [
                measure(codec, picture, path.name, setting, task.metrics)
                for setting in codec.settings
            ]
        return points
    except (AecError, OSError, ValueError, MemoryError) as error:
        return name + (" ".join(str(error).split()) or type(error).__name__)


_task_of_process: list[Task] = []


def _start_process(task: Task, threads: int) -> None:
    _task_of_process[:] = [task]
    if "torch" in sys.modules:  # came with the weights
        sys.modules["torch"].set_num_threads(threads)


def _work_in_process(path: Path) -> dict[str, list[Point]] | str:
    return _measure_all(_task_of_process[0], path)


def run(
    paths: Sequence[Path],
    codecs: Sequence[BenchCodec],
    *,
    metrics: Sequence[str] = (PSNR,),
    jobs: int = 1,
    report: Callable[[str, str | None], object] = lambda name, reason: None,
) -> Result:
    """Measures all codecs on all pictures, in `jobs` processes at a time, and reports the name of
    each picture when it is through, with the reason if it was left out.
    """
    result = Result(codecs, metrics, {codec.name: [] for codec in codecs})
    task = Task(codecs, metrics)
    with ExitStack() as stack:
        found: Iterator[dict[str, list[Point]] | str]
        if jobs == 1:
            found = map(partial(_measure_all, task), paths)
        else:
            # Not threads: the codec sets modes of the process. Not forks: torch has threads.
            pool = ProcessPoolExecutor(
                jobs,
                multiprocessing.get_context("spawn"),
                _start_process,
                (task, max(1, (os.cpu_count() or 1) // jobs)),
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
