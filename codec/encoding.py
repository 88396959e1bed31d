"""A picture on its way into a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..format.container import write_file
from ..format.header import FLAG_ALPHA, FLAG_GRAY, Header
from ..format.limits import Limits
from ..format.metadata import Metadata
from .engine import Work, resources
from .exact import exact_arithmetic
from .metadata import blocks_of
from .pictures import PixelSource
from .refine import rounds_of
from .tiling import encode_tile, tile_log2


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
