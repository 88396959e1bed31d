"""Rectangles of pixels and of cells of y, and those of tiles. Nothing here imports torch."""

from __future__ import annotations

from math import isqrt
from typing import NamedTuple

from ..format.tiles import Grid
from .config import Y_STRIDE, Z_STRIDE

CELLS_PER_Z = Z_STRIDE // Y_STRIDE


class Rect(NamedTuple):
    """A part of a picture in pixels, or of its y in cells."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def grown(self, by: int, inside: Rect) -> Rect:
        """This with a margin on all sides, as far as `inside` reaches."""
        return Rect(
            max(self.left - by, inside.left),
            max(self.top - by, inside.top),
            min(self.right + by, inside.right),
            min(self.bottom + by, inside.bottom),
        )

    def clipped(self, inside: Rect) -> Rect:
        """What of this lies in `inside`."""
        return self.grown(0, inside)

    def times(self, stride: int) -> Rect:
        """The same in units that are smaller by `stride`."""
        return Rect(*(edge * stride for edge in self))

    def covering(self, stride: int) -> Rect:
        """The whole units of `stride` that this touches."""
        return Rect(
            self.left // stride,
            self.top // stride,
            -(-self.right // stride),
            -(-self.bottom // stride),
        )

    def beside(self, origin: Rect) -> tuple[slice, slice]:
        """Rows and columns of this in a tensor that begins where `origin` does."""
        return (
            slice(self.top - origin.top, self.bottom - origin.top),
            slice(self.left - origin.left, self.right - origin.left),
        )


def tile_rect(grid: Grid, number: int) -> Rect:
    """The pixels of a tile."""
    left, top, width, height = grid.rect(number)
    return Rect(left, top, left + width, top + height)


def tile_cells(grid: Grid, number: int) -> Rect:
    """The cells of y of a tile, those of its padding included."""
    return tile_rect(grid, number).covering(Z_STRIDE).times(CELLS_PER_Z)


def picture_cells(grid: Grid) -> Rect:
    """The cells of y of the whole picture, those of its padding included."""
    return Rect(0, 0, grid.width, grid.height).covering(Z_STRIDE).times(CELLS_PER_Z)


def cell_pixels(cells: Rect, grid: Grid) -> tuple[int, int, int, int]:
    """Left, top, width and height of the pixels that cells cover."""
    inside = Rect(0, 0, grid.width, grid.height)
    pixels = cells.times(Y_STRIDE).clipped(inside)
    return pixels.left, pixels.top, pixels.width, pixels.height


def cut(part: Rect, halo: int, most: int) -> list[Rect]:
    """Rectangles that make up `part`, each of at most about `most` cells with its halo."""
    height = _even(part.height, max(16, isqrt(most) - 2 * halo))
    width = _even(part.width, max(16, most // (height + 2 * halo) - 2 * halo))
    return [
        Rect(left, top, min(left + width, part.right), min(top + height, part.bottom))
        for top in range(part.top, part.bottom, height)
        for left in range(part.left, part.right, width)
    ]


def _even(size: int, most: int) -> int:
    """The size of parts of `size`, as even as can be: memory that fits one then fits the next."""
    return -(-size // -(-size // most))
