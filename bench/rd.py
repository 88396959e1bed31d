"""Rate and distortion of every codec at each of its settings, over the pictures of a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import nan
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..format.errors import AecError
from .bd import Curve
from .cache import Cache, key_of
from .codecs import BenchCodec
from .metrics import METRICS, PSNR
from .runs import open_opaque, picture_id, spread, timed

__all__ = ["LOSS", "Fall", "Means", "Point", "Progress", "Result", "code", "measure", "run"]

LOSS = 0.5
"""By how many dB the PSNR of a picture may fall from a setting to the next one unnoticed."""


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
    """Holds the arithmetic means over all pictures at one setting, in the units of `Point`, and
    the point of lowest PSNR where PSNR was measured.
    """

    setting: float
    bpp: float
    values: dict[str, float]
    encode_seconds: float
    decode_seconds: float
    worst: Point | None = None

    @property
    def psnr(self) -> float:
        return self.values[PSNR]


class Fall(NamedTuple):
    """Describes a step from one setting to the next higher one at which a picture takes fewer
    bytes, or loses more than `LOSS` of its PSNR: each a pair of before and after.
    """

    image: str
    settings: tuple[float, float]
    bytes: tuple[int, int]
    psnr: tuple[float, float]


@dataclass
class Result:
    """Holds the points of each codec, picture by picture, and why pictures were left out; what
    `picture_id` says of the others; and how many points an earlier run had measured.
    """

    codecs: Sequence[BenchCodec]
    metrics: Sequence[str] = (PSNR,)
    points: dict[str, list[Point]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    reused: int = 0

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
                min(row, key=lambda point: point.psnr) if PSNR in row[0].values else None,
            )
            for setting, row in rows.items()
        ]

    def falls(self, name: str) -> list[Fall]:
        """Returns where a codec does not go up with its settings, which it names from few bits to
        many, picture by picture.
        """
        found = []
        for one, two in pairwise(self.points.get(name, [])):
            before, after = (point.values.get(PSNR, nan) for point in (one, two))
            if one.image == two.image and (two.bytes < one.bytes or after < before - LOSS):
                settings, sizes = (one.setting, two.setting), (one.bytes, two.bytes)
                found.append(Fall(one.image, settings, sizes, (before, after)))
        return found

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
                "worst": [
                    {"image": m.worst.image, "psnr": m.worst.psnr} if m.worst else None
                    for m in self.means(codec.name)
                ],
                "falls": [fall._asdict() for fall in self.falls(codec.name)],
                "images": [point.as_row() for point in self.points.get(codec.name, [])],
            }
            for codec in self.codecs
        }
        return {"codecs": codecs, "skipped": self.skipped}


def code(
    codec: BenchCodec,
    picture: Image.Image,
    name: str,
    setting: float,
    metrics: Sequence[str] = (PSNR,),
) -> tuple[Point, Image.Image]:
    """Codes an RGB or L picture once, and returns what it is like and how it comes out, in RGB;
    raises what the codec raises, and ValueError when it gives back another size.
    """
    data, encode_seconds = timed(codec.prepare(picture, setting))
    decoded, decode_seconds = timed(lambda: codec.decode(data))
    decoded = decoded.convert("RGB")  # gray, too: three equal channels have the error of one
    both = [np.asarray(image) for image in (picture.convert("RGB"), decoded)]
    values = {key: METRICS[key].measure(*both) for key in metrics}
    width, height = picture.size
    bpp = 8 * len(data) / (width * height)
    times = encode_seconds, decode_seconds
    return Point(name, width, height, setting, len(data), bpp, values, *times), decoded


def measure(
    codec: BenchCodec,
    picture: Image.Image,
    name: str,
    setting: float,
    metrics: Sequence[str] = (PSNR,),
) -> Point:
    """Returns the point of a picture that is coded once; raises what `code` raises."""
    return code(codec, picture, name, setting, metrics)[0]


class Measured(NamedTuple):
    """Holds the points of one picture by codec, and how many of them came from the cache."""

    id: str
    points: dict[str, list[Point]]
    reused: int


_KEPT = ("bytes", "values", "encode_seconds", "decode_seconds")


@dataclass(frozen=True)
class Task:
    """Measures a picture when it is called."""

    codecs: Sequence[BenchCodec]
    metrics: Sequence[str]
    cache: Cache | None

    def __call__(self, path: Path) -> Measured | str:
        """Returns the points of one picture, or why it is left out: of all codecs, lest their
        means differ in the pictures that they are over.
        """
        name = ""
        reused = 0
        try:
            picture = open_opaque(path)
            found = Measured(picture_id(picture), {}, 0)
            for codec in self.codecs:
                name = f"{codec.name}: "
                row = found.points[codec.name] = []
                for setting in codec.settings:
                    point, old = self._point(codec, picture, found.id, path.name, setting)
                    row.append(point)
                    reused += old
            return found._replace(reused=reused)
        except (AecError, OSError, ValueError, MemoryError) as error:
            return name + (" ".join(str(error).split()) or type(error).__name__)

    def _point(
        self, codec: BenchCodec, picture: Image.Image, id: str, name: str, setting: float
    ) -> tuple[Point, bool]:
        """A point, and whether an earlier run had measured it."""
        if self.cache is None:
            return measure(codec, picture, name, setting, self.metrics), False
        key = key_of(codec, id, setting, self.metrics)
        old = self.cache.get(key)
        if old is not None and set(old) == set(_KEPT):
            bpp = 8 * old["bytes"] / (picture.width * picture.height)
            return Point(name, *picture.size, setting, bpp=bpp, **old), True
        point = measure(codec, picture, name, setting, self.metrics)
        self.cache.put(key, {field: getattr(point, field) for field in _KEPT})
        return point, False


class Progress(NamedTuple):
    """Says how far a run is: pictures, and points that it measured or took from the cache."""

    done: int
    pictures: int
    measured: int
    reused: int


def run(
    paths: Sequence[Path],
    codecs: Sequence[BenchCodec],
    *,
    metrics: Sequence[str] = (PSNR,),
    cache: Cache | None = None,
    jobs: int = 1,
    report: Callable[[str, str | None], object] = lambda name, reason: None,
    watch: Callable[[Progress], object] = lambda progress: None,
) -> Result:
    """Measures all codecs on all pictures, in `jobs` processes at a time, and reports the name of
    each picture when it is through, with the reason if it was left out.
    """
    result = Result(codecs, metrics, {codec.name: [] for codec in codecs})
    with spread(Task(codecs, metrics, cache), paths, jobs) as found:
        watch(Progress(0, len(paths), 0, 0))
        for number, (path, one) in enumerate(zip(paths, found, strict=True), 1):
            if isinstance(one, str):
                result.skipped[path.name] = one
            else:
                for name, row in one.points.items():
                    result.points[name] += row
                result.ids.append(one.id)
                result.reused += one.reused
            report(path.name, one if isinstance(one, str) else None)
            points = sum(map(len, result.points.values()))
            watch(Progress(number, len(paths), points - result.reused, result.reused))
    return result
