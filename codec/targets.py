"""The quality that reaches a file size or a PSNR, in few encodes.

Qualities lie 1 to 2 % of size apart. What is missing between two of them comes from the larger one,
by rounding more residuals towards zero (`thrift`): another choice of symbols, as good for its bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..format.errors import LimitError
from .config import QUALITY_LEVELS
from .pictures import PixelSource

SIZE_TOLERANCE = 0.01
PSNR_TOLERANCE = 0.05
#: Of a picture's log2(bytes) and PSNR (dB), about what a quality index adds.
SIZE_SLOPE, PSNR_SLOPE = 0.02, 0.06
#: Thrift of 1.1 takes about this many indices' worth.
THRIFT_SLOPE = 1.0
LARGEST_THRIFT = 2.0
THRIFT_TRIES = 5
#: dB that stand for no error at all.
NO_ERROR = 100.0
_BAND = 1024  # rows that are compared at once


class Reached(NamedTuple):
    """A file, the quality 0 to 100 that it was coded at, what was aimed at (bytes or dB) as it came
    out, and how many files were made to find it.
    """

    data: bytes
    quality: float
    value: float
    encodes: int


@dataclass(frozen=True, slots=True)
class _Trial:
    value: float
    data: bytes
    index: int


class Search:
    """Looks for a trial whose value lies from `low` to `high`.

    `encode` gives a file for a quality index and a thrift, `measure` its value, which rises with
    the index and falls with the thrift, `slope` is about how much with an index.
    """

    def __init__(
        self,
        encode: Callable[[int, float], bytes],
        measure: Callable[[bytes], float],
        low: float,
        high: float,
        slope: float,
    ) -> None:
        self.encode, self.measure = encode, measure
        self.low, self.high, self.slope = low, high, slope
        self.encodes = 0

    def fits(self, trial: _Trial | None) -> bool:
        """Whether a trial is what is looked for."""
        return trial is not None and self.low <= trial.value <= self.high

    def run(self) -> tuple[_Trial | None, _Trial | None]:
        """The closest trials from below and from above; the same one twice when it fits."""
        below: _Trial | None = None
        above: _Trial | None = None
        first, last, index = -1, QUALITY_LEVELS, QUALITY_LEVELS // 2
        while last - first > 1:
            trial = self._try(index, 1.0)
            if self.fits(trial):
                return trial, trial
            if trial.value < self.low:
                below, first = trial, index
            else:
                above, last = trial, index
            if below and above:
                self.slope = (above.value - below.value) / (last - first)
            index = trial.index + round((self._middle() - trial.value) / max(self.slope, 1e-6))
            index = min(max(index, first + 1), last - 1)
        if above is None:
            return below, None
        return self._trim(below, above)

    def _trim(self, below: _Trial | None, above: _Trial) -> tuple[_Trial | None, _Trial]:
        """Brings the trial above down by thrift."""
        index, at_one = above.index, above.value
        least, most = 1.0, LARGEST_THRIFT
        per_log = self.slope * THRIFT_SLOPE / math.log(1.1)  # value for a unit of log(thrift)
        for _ in range(THRIFT_TRIES):
            log_thrift = (at_one - self._middle()) / max(per_log, 1e-6)
            if not math.log(least) < log_thrift < math.log(most):
                log_thrift = math.log(least * most) / 2
            thrift = math.exp(log_thrift)
            trial = self._try(index, thrift)
            if self.fits(trial):
                return trial, trial
            if trial.value < self.low:
                most = thrift
                below = trial if below is None or trial.value > below.value else below
            else:
                least, above = thrift, trial
            per_log = (at_one - trial.value) / log_thrift
        return below, above

    def _middle(self) -> float:
        return (self.low + self.high) / 2

    def _try(self, index: int, thrift: float) -> _Trial:
        self.encodes += 1
        data = self.encode(index, thrift)
        return _Trial(self.measure(data), data, index)


def reach_size(encode: Callable[[int, float], bytes], size: float) -> Reached:
    """The best file of at most `size` bytes, within 1 % where the codec can go that far.

    Raises LimitError when even quality 0 takes more.
    """
    aim = math.log2(size)
    search = Search(
        encode,
        lambda data: math.log2(len(data)),
        aim + math.log2(1 - SIZE_TOLERANCE),
        aim,
        SIZE_SLOPE,
    )
    below, above = search.run()
    if below is None:
        assert above is not None
        raise LimitError(
            f"quality 0 takes {len(above.data)} bytes, over the target of {int(size)}; scale the "
            "picture down, or leave out its metadata"
        )
    return _reached(below, float(len(below.data)), search)


def reach_psnr(
    encode: Callable[[int, float], bytes], psnr: Callable[[bytes], float], target: float
) -> Reached:
    """The smallest file of at least `target` dB, within 0.05 dB where the codec can go that low.

    Raises LimitError when even quality 100 gives less.
    """
    search = Search(encode, psnr, target, target + PSNR_TOLERANCE, PSNR_SLOPE)
    below, above = search.run()
    if above is None:
        assert below is not None
        raise LimitError(
            f"quality 100 gives {below.value:.2f} dB, under the target of {target:g} dB"
        )
    return _reached(above, above.value, search)


def _reached(trial: _Trial, value: float, search: Search) -> Reached:
    return Reached(trial.data, trial.index * 100 / (QUALITY_LEVELS - 1), value, search.encodes)


def psnr_of(source: PixelSource, decoded: Image.Image) -> float:
    """PSNR (dB) of a decoded picture, one error over all colour samples that can be seen."""
    square, count = 0.0, 0
    for top in range(0, source.height, _BAND):
        box = (0, top, source.width, min(top + _BAND, source.height))
        original = source.crop(*box).astype(np.float64)
        error = original - np.asarray(decoded.crop(box)).reshape(original.shape)
        if source.channels in (2, 4):
            error = error[..., :-1][original[..., -1] > 0]
        square += float(np.square(error).sum())
        count += error.size
    return min(10 * math.log10(255**2 * count / square), NO_ERROR) if square else NO_ERROR
