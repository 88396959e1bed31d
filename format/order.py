"""The order of the chunks of a whole file, which says what the file holds and that it is all."""

from __future__ import annotations

from collections.abc import Iterator

from .chunks import AEND, ALPH, FRAME_SIZE, TIDX, TILE, Chunk, Frame, walk_chunks
from .errors import FormatError, TruncatedError, UnsupportedFeatureError
from .header import FLAG_ALPHA, HEADER_SIZE, Header
from .index import parse_index
from .limits import Limits
from .metadata import METADATA_CHUNKS
from .payloads import check_plane, parse_tile

__all__ = ["ordered_chunks"]


def ordered_chunks(view: memoryview, header: Header, limits: Limits) -> list[Chunk]:
    """Returns all chunks after the header once their order, lengths and numbers are checked.

    Raises FormatError or one of its subclasses, or LimitError; a TruncatedError says how many tiles
    come before the end of the data.
    """
    chunks: list[Chunk] = []
    order = _Order(header, limits)
    try:
        for chunk in walk_chunks(view, HEADER_SIZE, limits):
            chunks.append(chunk)
            order.check(chunk)
            if chunk.type == AEND:
                end = chunk.offset + FRAME_SIZE
                if end != len(view):
                    raise FormatError(
                        f"{_where(chunk)} ends at {end}, but the data ends at {len(view)}"
                    )
                return chunks
        raise TruncatedError(f"data ends at offset {len(view)} without the end chunk {AEND}")
    except TruncatedError as error:
        error.tiles_ok, error.tiles_total = order.tiles, header.grid.count
        error.offset = len(view)
        raise


class _Order:
    """Checks chunk after chunk against the header and, once it is there, the index."""

    def __init__(self, header: Header, limits: Limits) -> None:
        self.header = header
        self.limits = limits
        self.tiles = 0  # seen so far
        self.planes = 0
        self.parts = 0  # of all planes together
        self.rest: Iterator[Frame] | None = None  # what the index says is still to come
        self.next: Frame | None = None

    def check(self, chunk: Chunk) -> None:
        """Raises FormatError when the chunk may not stand here."""
        where = _where(chunk)
        if chunk.type in (TIDX, ALPH, TILE):
            if self.header.tile_log2:
                self._check_tiled(chunk, where)
            else:
                self._check_single(chunk, where)
            if chunk.type == ALPH:
                self.parts += check_plane(
                    chunk.payload, self.header, self.tiles, where, self.limits, self.parts
                )
            elif chunk.type == TILE:
                parse_tile(chunk.payload, self.header, self.tiles, where)
                self.tiles += 1
        elif chunk.type == AEND:
            if len(chunk.payload):
                raise FormatError(f"{where} has length {len(chunk.payload)}, expected 0")
            count = self.header.grid.count
            if self.tiles != count:
                raise FormatError(f"{where} comes after {self.tiles} tile chunks, expected {count}")
        elif chunk.critical:
            raise UnsupportedFeatureError(f"{where} is critical and not known to this reader")
        elif self.next:
            raise FormatError(f"{where} stands among the tiles, expected before or after them")
        elif self.tiles and chunk.type in METADATA_CHUNKS.values():
            raise FormatError(f"{where} comes after the tile, expected before it")

    def _check_single(self, chunk: Chunk, where: str) -> None:
        wanted = int(bool(self.header.flags & FLAG_ALPHA))
        if chunk.type == TIDX:
            raise FormatError(f"{where} is an index of tiles, but tile_log2 is 0")
        if chunk.type == ALPH:
            self.planes += 1
            if self.planes > wanted:
                raise FormatError(f"{where} is alpha plane number {self.planes}, not {wanted}")
        elif self.tiles:
            raise FormatError(f"{where} is tile chunk number {self.tiles + 1}, expected 1")
        elif self.planes < wanted:
            raise FormatError(f"{where} comes before the alpha plane, expected after it")

    def _check_tiled(self, chunk: Chunk, where: str) -> None:
        if chunk.type == TIDX:
            if self.rest is not None:
                raise FormatError(f"{where} is the second of its type, expected at most 1")
            after = Frame(TIDX, chunk.offset, len(chunk.payload)).after
            self.rest = iter(parse_index(chunk.payload, self.header, after, where))
        elif self.rest is None:
            raise FormatError(f"{where} comes before the index of the tiles, expected after it")
        elif self.next is None:
            raise FormatError(f"{where} comes after the last tile, {self.tiles - 1}")
        elif (chunk.type, len(chunk.payload)) != (self.next.type, self.next.length):
            raise FormatError(
                f"{where} has length {len(chunk.payload)}, expected {self.next.type} of "
                f"{self.next.length} as the index says"
            )
        self.next = next(self.rest, None)


def _where(chunk: Chunk) -> str:
    return f"chunk {chunk.type} at offset {chunk.offset}"
