"""Parts of a file: the tiles that somebody asks for, or those that damage has left."""

from __future__ import annotations

import os
from contextlib import ExitStack
from types import TracebackType

from .access import Access, FileAccess, MemoryAccess, Source
from .chunks import FRAME_SIZE, read_chunk
from .container import Tile
from .errors import AecError, FormatError, TruncatedError
from .header import HEADER_SIZE, parse_header
from .index import Index
from .lead import Lead, Place
from .limits import DEFAULT_LIMITS, Limits
from .payloads import check_plane, parse_tile, unnumbered
from .recovery import scan, tail

__all__ = ["PartReader"]


class PartReader:
    """Gives single tiles of a file (bytes, a path, or a seekable binary file from where it stands),
    and reads only what they need. All that it reads it checks; a whole file is ``read_file``'s.

    With a region (left, top, width, height in pixels), the limit on pixels holds for the region,
    not for the picture. A tolerant reader needs an intact header only: what is
    wrong outside the tiles is in ``damage``, and each tile is judged alone.

    Raises FormatError or one of its subclasses, LimitError, ValueError for a region that is not
    inside the picture, or OSError from reading the source.
    """

    def __init__(
        self,
        source: Source,
        limits: Limits = DEFAULT_LIMITS,
        *,
        region: tuple[int, int, int, int] | None = None,
        tolerant: bool = False,
    ) -> None:
        self._limits = limits
        with ExitStack() as stack:
            if isinstance(source, (str, os.PathLike)):
                source = stack.enter_context(open(source, "rb"))
            self._access: Access = (
                MemoryAccess(source)
                if isinstance(source, (bytes, bytearray, memoryview))
                else FileAccess(source)
            )
            self.header = parse_header(self._access.read(0, min(HEADER_SIZE, self._access.size)))
            self._check_limits(region)
            lead = Lead(self._access, self.header, limits, tolerant)
            self._find_tiles(lead, tolerant)
            self._own = stack.pop_all()  # a file that this reader has opened
        self.metadata = lead.metadata

    def __enter__(self) -> PartReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file when this reader has opened it."""
        self._own.close()

    def tile(self, number: int) -> Tile:
        """Returns a tile, its checksums, lengths and number checked.

        Raises TruncatedError, ChecksumError, FormatError or LimitError when it is not intact, and
        ValueError when the picture has no tile of this number.
        """
        plane, tile = self._place(number)
        alpha: bytes | None = None
        if plane:
            where = f"chunk {plane.type} at offset {plane.offset}"
            payload = read_chunk(self._access, plane).payload
            check_plane(payload, self.header, number, where, self._limits)
            alpha = bytes(unnumbered(payload, self.header, number, where))
        where = f"chunk {tile.type} at offset {tile.offset}"
        payload = read_chunk(self._access, tile).payload
        symbol_crc, words = parse_tile(payload, self.header, number, where)
        return Tile(number, symbol_crc, bytes(words), alpha)

    def _check_limits(self, region: tuple[int, int, int, int] | None) -> None:
        header, limits = self.header, self._limits
        limits.check_sides(header.width, header.height)
        if region is None:
            limits.check_pixels(header.width, header.height)
        else:
            left, top, width, height = region
            if not (0 <= left < left + width <= header.width) or not (
                0 <= top < top + height <= header.height
            ):
                raise ValueError(
                    f"region {left},{top},{width},{height} is not inside the picture: left + width "
                    f"may be up to {header.width}, top + height up to {header.height}, and width "
                    "and height are at least 1"
                )
            limits.check_pixels(width, height, "region")
        limits.check_tiles(header.grid.count, *header.grid.rect(0)[2:])
        limits.check_file_bytes(self._access.size)

    def _find_tiles(self, lead: Lead, tolerant: bool) -> None:
        self._index, self._places = lead.index, lead.places
        self.damage: list[AecError] = list(lead.damage)
        if not tolerant:
            return
        if not self._places and (self._index is None or self._moved(self._index)):
            index, self._places = scan(self._access, self.header, lead, self._limits)
            self._index = self._index or index
        end = max((tile.after for _, tile in self._places.values()), default=0)
        if self._index:
            if any(place != self._index.frames(n) for n, place in self._places.items()):
                self.damage.append(FormatError("the tiles are not where the index says"))
            else:
                end = self._index.end
        if end:
            self.damage += tail(self._access, end, self._limits)

    def _moved(self, index: Index) -> bool:
        """True unless every chunk of a tile begins where the index says, as where bytes are missing
        before it.
        """
        try:
            return any(frame.head != self._access.read(frame.offset, FRAME_SIZE) for frame in index)
        except TruncatedError:
            return True

    def _place(self, number: int) -> Place:
        self.header.grid.rect(number)  # there is a tile of this number
        if number in self._places:
            return self._places[number]
        if self._index:
            return self._index.frames(number)
        size = self._access.size
        if any(isinstance(error, TruncatedError) for error in self.damage):
            raise TruncatedError(f"tile {number} is not in the {size} bytes left", offset=size)
        raise FormatError(f"tile {number} is damaged, or what tells where it stands")
