"""Tiles in a file whose index is lost or not right any more, and what is wrong behind the tiles.

A search for chunks costs what the bytes and not what their writer wants: the number of chunks that
it looks at is bounded, and so is the sum of their lengths.
"""

from __future__ import annotations

import re

from .access import READ_SIZE, Access
from .chunks import AEND, ALPH, FRAME_SIZE, TIDX, TILE, Frame, check_crc, read_chunk, read_frame
from .errors import (
    AecError,
    ChecksumError,
    FormatError,
    LimitError,
    UnsupportedFeatureError,
)
from .header import FLAG_ALPHA, Header
from .index import Index, index_length, parse_index
from .lead import Lead, Place
from .limits import Limits
from .metadata import METADATA_CHUNKS
from .payloads import NUMBER_SIZE, check_tile_length

__all__ = ["scan", "tail"]

LETTERS = re.compile(b"TIDX|ALPH|TILE")
TYPE_OFFSET = 4
TYPE_SIZE = 4


def scan(
    access: Access, header: Header, lead: Lead, limits: Limits
) -> tuple[Index | None, dict[int, Place]]:
    """Returns the index when `lead` has none and it stands somewhere else than lengths say, else
    the places of the intact tiles, those that lost their alpha plane left out.
    """
    search = _Search(access)
    budget = 2 * access.size + READ_SIZE  # bytes: a sound file takes its own size
    places: dict[int, Place] = {}
    plane: tuple[int, Frame] | None = None  # the last one, until its tile comes
    ends = lead.ends  # behind the tiles, where a tile without alpha may start
    at = lead.start if lead.start is not None else lead.offset
    for _ in range(limits.max_chunks):
        letters = search.next(at + TYPE_OFFSET)
        if letters is None:
            break
        at = letters - TYPE_OFFSET + 1
        try:
            frame = read_frame(access, letters - TYPE_OFFSET, limits)
            number = _number(access, frame, header)
            if number in places or (frame.type == TIDX and (places or lead.index)):
                continue
            budget -= frame.length
            if budget < 0:
                break
            if frame.type == TIDX:
                payload = read_chunk(access, frame).payload
                return parse_index(payload, header, frame.after, "the index"), {}
            check_crc(access, frame)
        except (FormatError, LimitError):
            continue
        at = frame.after
        if frame.type == ALPH:
            plane = number, frame
            continue
        if not header.flags & FLAG_ALPHA:
            places[number] = None, frame
        elif lead.index:
            if plane and plane[0] == number:
                places[number] = plane[1], frame
            elif not lead.index.planes[number]:
                places[number] = None, frame
        elif plane and plane[0] == number and (plane[1].after == frame.offset or not number):
            places[number] = plane[1], frame
        elif header.tile_log2 and frame.offset in ends:
            places[number] = None, frame
        ends.add(frame.after)
    return None, places


def _number(access: Access, frame: Frame, header: Header) -> int:
    """Returns the number of the tile that a chunk belongs to, 0 for an index; raises FormatError
    when the chunk cannot be what its type says.
    """
    if frame.type == TIDX:
        if not header.tile_log2 or frame.length != index_length(header):
            raise FormatError(f"an index at offset {frame.offset} of another picture")
        return 0
    if frame.type == TILE:
        check_tile_length(frame.length, header, f"chunk {frame.type} at offset {frame.offset}")
    elif not header.flags & FLAG_ALPHA:
        raise FormatError(f"alpha at offset {frame.offset} of a picture without")
    if not header.tile_log2:
        return 0
    head = access.read(frame.offset + FRAME_SIZE, min(NUMBER_SIZE, frame.length))
    number = int.from_bytes(head, "little")
    if number >= header.grid.count:
        raise FormatError(f"tile {number} at offset {frame.offset} of {header.grid.count}")
    return number


def tail(access: Access, offset: int, limits: Limits) -> list[AecError]:
    """Returns what is wrong with the chunks from ``offset`` on, where the tiles end; raises
    UnsupportedFeatureError for a critical one that is intact and not known.
    """
    damage: list[AecError] = []
    for _ in range(limits.max_chunks):
        try:
            frame = read_frame(access, offset, limits)
        except (FormatError, LimitError) as error:
            return [*damage, error]
        where = f"chunk {frame.type} at offset {frame.offset}"
        offset = frame.after
        try:
            check_crc(access, frame)
        except ChecksumError as error:
            damage.append(error)
            continue
        if frame.type == AEND:
            if offset != access.size or frame.length:
                damage.append(
                    FormatError(f"{where} ends at {offset}, but the data ends at {access.size}")
                )
            return damage
        if frame.type in (TIDX, ALPH, TILE, *METADATA_CHUNKS.values()):
            damage.append(FormatError(f"{where} comes after the tiles, expected before them"))
        elif frame.critical:
            raise UnsupportedFeatureError(f"{where} is critical and not known to this reader")
    return [*damage, LimitError(f"chunks from offset {offset} on are over max_chunks")]


class _Search:
    """Finds the letters of the types block by block."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._start = 0
        self._block: bytes | memoryview = b""

    def next(self, at: int) -> int | None:
        """Returns the offset of the next letters from ``at`` on, None when there are no more."""
        size = self._access.size
        while at + TYPE_SIZE <= size:
            if not self._start <= at <= self._start + len(self._block) - TYPE_SIZE:
                self._start = at
                self._block = self._access.read(at, min(READ_SIZE, size - at))
            found = LETTERS.search(self._block, at - self._start)
            if found:
                return self._start + found.start()
            at = self._start + len(self._block) - TYPE_SIZE + 1
        return None
