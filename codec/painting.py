"""The decoder's canvas: pieces of pixels and planes of alpha become one Pillow image.

A piece goes into the image as soon as there is one, so that nothing else is as large as the
picture. Nothing here imports torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..format.header import FLAG_ALPHA, FLAG_GRAY, Header
from ..format.limits import Limits
from ..format.metadata import Metadata
from .alpha import unpack_alpha
from .config import Y_STRIDE
from .rects import Rect, tile_rect

LOST_GRAY = 128
EXACT, BESIDE, LOST = 255, 128, 0
"""What a mask says of a pixel: as in the intact file; beside a lost tile; in one."""


class Canvas:
    """A picture, or the pixels `part` of it, at 1 / `scale` of its size."""

    def __init__(
        self, header: Header, scale: int, limits: Limits, part: Rect | None = None
    ) -> None:
        self.header = header
        self.scale = scale
        self._limits = limits
        part = part or Rect(0, 0, header.width, header.height)
        self.cells = part.covering(Y_STRIDE)  # of y, whose pixels are wanted
        self._part = part.covering(scale)
        self._size = self._part.width, self._part.height
        gray, alpha = header.flags & FLAG_GRAY, header.flags & FLAG_ALPHA
        self._image = Image.new("L" if gray else "RGB", self._size)
        self._alpha = Image.new("L", self._size, 255) if alpha else None

    def paint(self, piece: Rect, pixels: NDArray[np.uint8]) -> None:
        """Puts down the pixels (H, W, 3) of the cells `piece`."""
        rect = piece.times(Y_STRIDE // self.scale)
        seen = rect.clipped(self._part)
        pixels = pixels[seen.beside(rect)]
        if self._image.mode == "L":
            total = pixels.sum(axis=2, dtype=np.uint16)
            pixels = ((total + 1) // 3).astype(np.uint8)
        self._put(self._image, Image.fromarray(np.ascontiguousarray(pixels)), seen)

    def paint_alpha(self, number: int, stream: bytes | None) -> None:
        """Puts down the alpha of a tile, a PNG stream; None is opaque. Raises FormatError when the
        stream is damaged, LimitError when it has too many chunks.
        """
        plane = alpha_plane(self.header, number, stream, self._limits)
        if plane is None or self._alpha is None:
            return
        rect = tile_rect(self.header.grid, number)
        if self.scale > 1:
            plane, rect = _reduced(plane, self.scale), rect.covering(self.scale)
        seen = rect.clipped(self._part)
        if seen.width > 0 and seen.height > 0:
            rows, columns = seen.beside(rect)
            plane = plane.crop((columns.start, rows.start, columns.stop, rows.stop))
            self._put(self._alpha, plane, seen)

    def lose(self, numbers: list[int], halo: int) -> Image.Image:
        """Blanks lost tiles and returns the mask; `halo` is how many cells around a cell change
        when it does.
        """
        mask = Image.new("L", self._size, EXACT)
        grid = self.header.grid
        rects = [tile_rect(grid, number) for number in numbers]
        everything = Rect(0, 0, grid.width, grid.height)
        for rect in rects:
            near = rect.covering(Y_STRIDE).times(Y_STRIDE)
            self._fill(mask, near.grown(halo * Y_STRIDE, everything), BESIDE)
        for rect in rects:
            self._fill(mask, rect, LOST)
            self._fill(self._image, rect, LOST_GRAY)
            if self._alpha is not None:
                self._fill(self._alpha, rect, 0)
        return mask

    def picture(self, metadata: Metadata) -> Image.Image:
        """The finished picture, with its metadata in `info`."""
        if self._alpha is not None:
            self._image.putalpha(self._alpha)
        self._image.info.update(metadata.info())
        return self._image

    def _put(self, image: Image.Image, pixels: Image.Image, rect: Rect) -> None:
        image.paste(pixels, (rect.left - self._part.left, rect.top - self._part.top))

    def _fill(self, image: Image.Image, rect: Rect, value: int) -> None:
        """Paints the pixels `rect` of the full-size picture in a gray."""
        seen = rect.covering(self.scale).clipped(self._part)
        rows, columns = seen.beside(self._part)
        box = (columns.start, rows.start, columns.stop, rows.stop)
        image.paste((value,) * len(image.getbands()), box)


def alpha_plane(
    header: Header, number: int, stream: bytes | None, limits: Limits
) -> Image.Image | None:
    """The alpha of a tile in its PNG stream, None where it has none; raises FormatError when the
    stream is damaged, LimitError when it has too many chunks.
    """
    if stream is None:
        return None
    _, _, width, height = header.grid.rect(number)
    return unpack_alpha(stream, width, height, limits)


def _reduced(plane: Image.Image, scale: int) -> Image.Image:
    """Means over squares of `scale`, of the samples that the plane has in each, rounded half up."""
    samples = np.asarray(plane)
    rows = np.arange(0, samples.shape[0], scale)
    columns = np.arange(0, samples.shape[1], scale)
    total = np.add.reduceat(samples, rows, axis=0, dtype=np.uint32)
    total = np.add.reduceat(total, columns, axis=1)
    high = np.minimum(rows + scale, samples.shape[0]) - rows
    wide = np.minimum(columns + scale, samples.shape[1]) - columns
    count = high[:, None] * wide
    return Image.fromarray(((2 * total + count) // (2 * count)).astype(np.uint8))
