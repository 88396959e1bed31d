"""A picture on its way into a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..format.container import write_file
from ..format.errors import LimitError
from ..format.header import FLAG_ALPHA, FLAG_GRAY, Header
from ..format.limits import Limits
from ..format.metadata import Metadata
from .config import QUALITY_LEVELS
from .engine import Work, resources
from .exact import exact_arithmetic
from .metadata import blocks_of
from .pictures import PixelSource
from .refine import rounds_of
from .tiling import encode_tile, tile_log2

#: Files of fewer bytes, metadata apart, are compared with those of higher qualities. Where next to
#: nothing is in a picture, a step of quality adds a few bytes, and a symbol that changes by it may
#: save more.
SMALL = 8192
SMALL_AREA = 1 << 18  # pixels, which take a fraction of a second
AHEAD = 5  # steps of one, of 0 to 100
SLACK = 16  # bytes; where a file takes more than so many more, those after it do as well


def quality_index(quality: float) -> int:
    """The quality index 0..255 of a quality 0..100; raises ValueError outside."""
    if not 0 <= quality <= 100:
        raise ValueError(f"quality must be from 0 to 100, got {quality}")
    return int(quality * (QUALITY_LEVELS - 1) / 100 + 0.5)


class Job(NamedTuple):
    """A picture of which all is known but the quality that it is coded at."""

    source: PixelSource
    header: Header
    metadata: Metadata
    limits: Limits
    work: Work
    rounds: int  # of search, for each tile
    progress: Callable[[float], object]  # is told which share of a file is made

    def encode(self, index: int, thrift: float = 1.0) -> bytes:
        """The whole file at a quality index; more `thrift` than 1 takes fewer bits for more error.

        Raises LimitError for too long work, ResourceError when memory ends.
        """
        header = replace(self.header, quality=index)
        count = header.grid.count
        steps = 0

        def tick() -> None:
            nonlocal steps
            self.work.check_time()
            self.progress(steps / (count * (self.rounds + 1)))
            steps += 1

        with resources(), exact_arithmetic():
            tiles = [
                encode_tile(self.work, header, self.source, number, thrift, self.rounds, tick)
                for number in range(count)
            ]
        return write_file(header, tiles, self.metadata, self.limits)

    def encode_at(self, quality: float) -> bytes:
        """The file of a quality 0 to 100, or a smaller one of a higher quality where both are small
        anyway, which keeps bytes from falling as the quality rises. Raises what `encode` raises.
        """
        best = self.encode(quality_index(quality))
        told = sum(self.metadata.sizes().values())
        if len(best) - told >= SMALL or self.header.width * self.header.height > SMALL_AREA:
            return best
        for more in range(1, min(AHEAD, int(100 - quality)) + 1):
            try:
                data = self.encode(quality_index(quality + more))
            except LimitError:  # time is up, but a file is there
                break
            if len(data) > len(best) + SLACK:
                break
            best = min(best, data, key=len)
        return best


def prepare(
    image: Image.Image | NDArray[np.uint8],
    tile: int | None,
    given: Mapping[str, bytes | None],
    model_id: bytes,
    limits: Limits,
    work: Work,
    effort: int,
    progress: Callable[[float], object],
) -> Job:
    """All that can be said before the long work; `given` are blocks of metadata, None for those of
    the image. Raises ImageError, LimitError, ValueError for tile or effort, TypeError for a block.
    """
    rounds = rounds_of(effort)
    source = PixelSource(image)
    limits.check_picture(source.width, source.height)
    header = Header(
        width=source.width,
        height=source.height,
        quality=0,
        model_id=model_id,
        flags=(FLAG_GRAY if source.channels < 3 else 0)
        | (FLAG_ALPHA if source.channels in (2, 4) else 0),
        tile_log2=tile_log2(tile, source.width, source.height),
    )
    limits.check_tiles(header.grid.count, *header.grid.rect(0)[2:])
    blocks = blocks_of(image) if isinstance(image, Image.Image) else {}
    blocks |= {name: block for name, block in given.items() if block is not None}
    metadata = Metadata.from_info(**blocks)
    limits.check_metadata(metadata.sizes())
    return Job(source, header, metadata, limits, work, rounds, progress)
