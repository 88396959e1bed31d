"""Where the tiles of a picture lie: squares in rows, cut off at the right and the lower edge."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Grid"]


@dataclass(frozen=True, slots=True)
class Grid:
    """Holds the tiles of a picture of this width and height (pixels), cut into squares with sides
    of 2**tile_log2 pixels, or into one tile where that is 0; they are numbered row by row.
    """

    width: int
    height: int
    tile_log2: int

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.width // self._sides[0])

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return -(-self.height // self._sides[1])

    @property
    def count(self) -> int:
        """All tiles."""
        return self.columns * self.rows

    def rect(self, number: int) -> tuple[int, int, int, int]:
        """Returns left, top, width and height (pixels) of a tile; raises ValueError when there is
        none of this number.
        """
        if not 0 <= number < self.count:
            raise ValueError(f"tile {number} is none of the tiles 0 to {self.count - 1}")
        width, height = self._sides
        row, column = divmod(number, self.columns)
        left, top = column * width, row * height
        return left, top, min(width, self.width - left), min(height, self.height - top)

    def touching(self, left: int, top: int, width: int, height: int) -> list[int]:
        """Returns the numbers, ascending, of the tiles that share pixels with a rectangle, which
        may reach beyond the picture.
        """
        wide, high = self._sides
        right, bottom = min(left + width, self.width), min(top + height, self.height)
        left, top = max(left, 0), max(top, 0)
        if left >= right or top >= bottom:
            return []
        columns = range(left // wide, -(-right // wide))
        rows = range(top // high, -(-bottom // high))
        return [row * self.columns + column for row in rows for column in columns]

    @property
    def _sides(self) -> tuple[int, int]:
        side = 1 << self.tile_log2
        return (side, side) if self.tile_log2 else (self.width, self.height)
