"""The index of a tiled file: the lengths of the tiles, from which their offsets follow by sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .chunks import ALPH, CRC_SIZE, FRAME_SIZE, TILE, Frame
from .errors import FormatError
from .header import FLAG_ALPHA, Header
from .payloads import NUMBER_SIZE, check_tile_length

__all__ = ["Index", "index_length", "pack_index", "parse_index"]

LENGTH_SIZE = 4


@dataclass(frozen=True, slots=True)
class Index:
    """Holds the payload lengths (bytes) of each tile's ALPH chunk, 0 where it has none, and of its
    TILE chunk, and the offsets of the first chunk of each tile, the end of the last one included.
    """

    planes: tuple[int, ...]
    tiles: tuple[int, ...]
    offsets: tuple[int, ...]

    @property
    def end(self) -> int:
        """Offset of what comes after the last tile."""
        return self.offsets[-1]

    def frames(self, number: int) -> tuple[Frame | None, Frame]:
        """Returns where the ALPH chunk of a tile, if there is one, and its TILE chunk must be."""
        offset = self.offsets[number]
        plane = Frame(ALPH, offset, self.planes[number]) if self.planes[number] else None
        return plane, Frame(TILE, plane.after if plane else offset, self.tiles[number])

    def __iter__(self) -> Iterator[Frame]:
        for number in range(len(self.tiles)):
            plane, tile = self.frames(number)
            if plane:
                yield plane
            yield tile


def index_length(header: Header) -> int:
    """Returns the length (bytes) of the payload of TIDX, which the header alone decides."""
    return header.grid.count * LENGTH_SIZE * _columns(header)


def pack_index(header: Header, lengths: Sequence[tuple[int, int]]) -> bytes:
    """Returns the payload of TIDX for the payload lengths of ALPH (or 0) and TILE of each tile."""
    numbers = [number for pair in lengths for number in pair[-_columns(header) :]]
    return b"".join(number.to_bytes(LENGTH_SIZE, "little") for number in numbers)


def parse_index(payload: memoryview, header: Header, offset: int, where: str) -> Index:
    """Returns the index of tiles whose first chunk is at ``offset`` (bytes); raises FormatError for
    a wrong length of the payload, or of a tile that could not be as long as it says.
    """
    if len(payload) != index_length(header):
        raise FormatError(
            f"{where} has length {len(payload)}, expected {index_length(header)} for "
            f"{header.grid.count} tiles"
        )
    columns = _columns(header)
    lengths = [
        int.from_bytes(payload[at : at + LENGTH_SIZE], "little")
        for at in range(0, len(payload), LENGTH_SIZE)
    ]
    tiles = tuple(lengths[columns - 1 :: columns])
    planes = tuple(lengths[::columns]) if columns == 2 else (0,) * len(tiles)
    frame = FRAME_SIZE + CRC_SIZE
    offsets = [offset]
    for number, (plane, tile) in enumerate(zip(planes, tiles, strict=True)):
        check_tile_length(tile, header, f"tile {number} of {where}")
        if 0 < plane <= NUMBER_SIZE:
            raise FormatError(f"alpha of tile {number} of {where} has length {plane}, a few bytes")
        offset += tile + frame + (plane + frame if plane else 0)
        offsets.append(offset)
    return Index(planes, tiles, tuple(offsets))


def _columns(header: Header) -> int:
    return 2 if header.flags & FLAG_ALPHA else 1
