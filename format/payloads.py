"""What stands in the chunks of a tile: its number where there are several, and its coded data."""

from __future__ import annotations

from .alpha import alpha_data
from .errors import FormatError
from .header import Header
from .limits import DEFAULT_LIMITS, Limits

__all__ = [
    "NUMBER_SIZE",
    "check_plane",
    "check_tile_length",
    "pack_number",
    "pack_tile",
    "parse_tile",
    "unnumbered",
]

NUMBER_SIZE = 4
SYMBOL_CRC_SIZE = 4
WORD_SIZE = 4


def pack_number(header: Header, number: int) -> bytes:
    """Returns what the payload of a tile's chunk starts with: nothing in a file of one tile."""
    return number.to_bytes(NUMBER_SIZE, "little") if header.tile_log2 else b""


def pack_tile(header: Header, number: int, symbol_crc: int, words: bytes) -> bytes:
    """Returns the payload of TILE; raises FormatError when the words are not whole."""
    payload = pack_number(header, number) + symbol_crc.to_bytes(SYMBOL_CRC_SIZE, "little") + words
    check_tile_length(len(payload), header, "the tile to be written")
    return payload


def parse_tile(
    payload: memoryview, header: Header, number: int, where: str
) -> tuple[int, memoryview]:
    """Returns the symbol CRC and the words of tile ``number``; raises FormatError when the payload
    is that of another tile, too short, or its words are not whole.
    """
    check_tile_length(len(payload), header, where)
    body = unnumbered(payload, header, number, where)
    return int.from_bytes(body[:SYMBOL_CRC_SIZE], "little"), body[SYMBOL_CRC_SIZE:]


def check_plane(
    payload: memoryview,
    header: Header,
    number: int,
    where: str,
    limits: Limits = DEFAULT_LIMITS,
    used: int = 0,
) -> int:
    """Returns the number of parts of the alpha plane of tile ``number`` once its frame is seen to
    be sound; raises what ``alpha_data`` raises, and FormatError when it is another tile's.
    """
    _, _, width, height = header.grid.rect(number)
    stream = unnumbered(payload, header, number, where)
    return len(alpha_data(stream, width, height, where, limits, used))


def unnumbered(payload: memoryview, header: Header, number: int, where: str) -> memoryview:
    """Returns a payload without its number; raises FormatError when that is not ``number``."""
    if not header.tile_log2:
        return payload
    found = int.from_bytes(payload[:NUMBER_SIZE], "little")
    if len(payload) < NUMBER_SIZE or found != number:
        raise FormatError(f"{where} is of tile {found}, expected {number}")
    return payload[NUMBER_SIZE:]


def check_tile_length(length: int, header: Header, where: str) -> None:
    """Raises FormatError when no payload of TILE has this length (bytes)."""
    fixed = len(pack_number(header, 0)) + SYMBOL_CRC_SIZE
    if length < fixed or (length - fixed) % WORD_SIZE:
        parts = "number and CRC-32" if header.tile_log2 else "CRC-32"
        raise FormatError(
            f"{where} has length {length}, expected {fixed} bytes of {parts} "
            f"and a multiple of {WORD_SIZE}"
        )
