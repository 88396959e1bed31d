"""Upper bounds on what a file may ask of its reader, checked before memory is allocated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import LimitError

__all__ = [
    "DEFAULT_LIMITS",
    "MAX_BLOCK_BYTES",
    "MAX_CHUNKS",
    "MAX_FILE_BYTES",
    "MAX_METADATA_BYTES",
    "MAX_PIXELS",
    "MAX_SECONDS",
    "MAX_SIDE",
    "MAX_TILE_PIXELS",
    "Limits",
]

MAX_PIXELS = 178_956_970
"""Pixels in a picture. The count at which Pillow refuses to open a picture (twice its
``MAX_IMAGE_PIXELS``), so that whatever Pillow can hand to the encoder the decoder takes back."""

MAX_TILE_PIXELS = 1 << 24
"""Pixels in one tile, or in a picture that is a single one: as many as in the largest tile that the
format can name besides, 4096 a side. A tile is decoded as a whole, which takes about 40 bytes of
memory a pixel, so a file of 60 bytes can ask for 0.7 GB and no more."""

MAX_SIDE = 32_768
"""Pixels along a side. The networks pad both sides to multiples of 64, so a picture one pixel high
and 2**24 wide would pass ``MAX_PIXELS`` and still cost the work of 2**30 pixels; with this bound a
one-pixel strip costs at most that of 2**21. Four times the width of an 8K screen."""

MAX_FILE_BYTES = 1 << 30
"""Bytes in a file. More than ``MAX_PIXELS`` raw RGB pixels take, so no honest file comes near it;
a stream that never ends stops here."""

MAX_CHUNKS = 131_072
"""Chunks in a file. ``MAX_PIXELS`` cut into the smallest tiles (64 by 64) make fewer than 45,000
tiles, and twice as many chunks where each has its alpha, which leaves room for metadata; a file of
nothing but the shortest chunks is refused after a fraction of a second."""

MAX_BLOCK_BYTES = 4 << 20
"""Bytes in one block of metadata. A JPEG file holds 64 KiB of EXIF, and the profiles of printers
with their large tables take 1 to 3 MiB; a block beyond this is a second file in disguise."""

MAX_METADATA_BYTES = 8 << 20
"""Bytes in all blocks of metadata of a file: two of the largest, since no picture has reason to
fill all three, and the blocks are held in memory besides the pixels."""

MAX_SECONDS = 3600.0
"""Seconds of computing for a picture. ``MAX_PIXELS`` take about a minute to decode on two cores of
2024, so an hour is out of reach of honest files even on a machine thirty times as slow; what takes
longer would block a service, and its user learns why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Holds the upper bounds that reader and writer enforce (pixels, pixels, bytes, count, bytes,
    bytes, seconds, pixels); pass larger ones for larger files that you trust. Raises ValueError
    when one is below 1, or the seconds are not above 0.
    """

    max_pixels: int = MAX_PIXELS
    max_side: int = MAX_SIDE
    max_file_bytes: int = MAX_FILE_BYTES
    max_chunks: int = MAX_CHUNKS
    max_block_bytes: int = MAX_BLOCK_BYTES
    max_metadata_bytes: int = MAX_METADATA_BYTES
    max_seconds: float = MAX_SECONDS
    max_tile_pixels: int = MAX_TILE_PIXELS

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if name != "max_seconds" and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.max_seconds > 0:  # a NaN is not, either
            raise ValueError(f"max_seconds must be more than 0, not {self.max_seconds}")

    def check_picture(self, width: int, height: int) -> None:
        """Raises LimitError when a picture of this width and height (pixels) is too large."""
        self.check_sides(width, height)
        self.check_pixels(width, height)

    def check_sides(self, width: int, height: int) -> None:
        """Raises LimitError when a side (pixels) of a picture is too long."""
        for name, side in (("width", width), ("height", height)):
            if side > self.max_side:
                raise LimitError(f"{name} {side} is over the limit max_side={self.max_side} pixels")

    def check_pixels(self, width: int, height: int, what: str = "") -> None:
        """Raises LimitError when ``what``, of this width and height, has too many pixels."""
        if width * height > self.max_pixels:
            raise LimitError(
                f"{what}{' of ' if what else ''}{width} x {height} = {width * height} pixels is "
                f"over the limit max_pixels={self.max_pixels}"
            )

    def check_tiles(self, count: int, width: int, height: int) -> None:
        """Raises LimitError when a picture has too many tiles, or too large ones: the first is of
        this width and height (pixels).
        """
        if width * height > self.max_tile_pixels:
            raise LimitError(
                f"a tile of {width} x {height} = {width * height} pixels is over the limit "
                f"max_tile_pixels={self.max_tile_pixels}"
            )
        self.check_chunks(count, "tiles")

    def check_chunks(self, count: int, what: str = "chunks") -> None:
        """Raises LimitError when a file has too many chunks, or of ``what`` takes one each."""
        if count > self.max_chunks:
            raise LimitError(f"{count} {what} are over the limit max_chunks={self.max_chunks}")

    def check_file_bytes(self, size: int, what: str = "file") -> None:
        """Raises LimitError when ``what``, ``size`` bytes long, is longer than a file may be."""
        if size > self.max_file_bytes:
            raise LimitError(
                f"{what} of {size} bytes is over the limit max_file_bytes={self.max_file_bytes}"
            )

    def check_metadata(self, sizes: Mapping[str, int]) -> None:
        """Raises LimitError when a block of metadata, its size (bytes) given by name, or all of
        them together are too long.
        """
        for name, size in sizes.items():
            if size > self.max_block_bytes:
                raise LimitError(
                    f"{name} of {size} bytes is over the limit "
                    f"max_block_bytes={self.max_block_bytes}"
                )
        if sum(sizes.values()) > self.max_metadata_bytes:
            raise LimitError(
                f"{', '.join(sizes)} of {sum(sizes.values())} bytes together are over the limit "
                f"max_metadata_bytes={self.max_metadata_bytes}"
            )


DEFAULT_LIMITS = Limits()
