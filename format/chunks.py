"""The frame that all chunks share, as section 3 of spec.md defines it.

::

    u32 length | 4 ASCII letters type | payload | u32 CRC-32 of length, type and payload

A chunk of length 0 ends after its type: its CRC would be a constant. The case of the letters of a
type carries meaning, as in PNG: a lower-case first letter marks an ancillary chunk, which a reader
that does not know it skips; a lower-case fourth letter marks one that a tool may copy to a new file
without knowing it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import ChecksumError, FormatError, LimitError, TruncatedError
from .limits import DEFAULT_LIMITS, Limits

__all__ = ["CRC_SIZE", "FRAME_SIZE", "Chunk", "pack_chunk", "walk_chunks"]

FRAME_SIZE = 8
"""Bytes before the payload: length and type."""

CRC_SIZE = 4
"""Bytes after the payload of a chunk that is not empty."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Holds one chunk: its type, the offset (bytes) of its length field and its payload."""

    type: str
    offset: int
    payload: memoryview

    @property
    def critical(self) -> bool:
        """True when a reader that does not know the type must refuse the file."""
        return self.type[0].isupper()

    @property
    def safe_to_copy(self) -> bool:
        """True when a tool that does not know the type may keep the chunk in an edited file."""
        return self.type[3].islower()


def pack_chunk(type: str, payload: bytes) -> bytes:
    """Returns the bytes of one chunk; raises FormatError when the type is not valid."""
    _check_type(type.encode("ascii", "replace"), where="type")
    body = len(payload).to_bytes(4, "little") + type.encode("ascii") + payload
    return body + zlib.crc32(body).to_bytes(CRC_SIZE, "little") if payload else body


def walk_chunks(data: memoryview, offset: int, limits: Limits = DEFAULT_LIMITS) -> Iterator[Chunk]:
    """Yields the chunks of ``data`` from ``offset`` (bytes) to the end, each after its CRC check.

    Raises TruncatedError, ChecksumError, LimitError (too many chunks, a chunk longer than a file
    may be), or FormatError when a type is not valid.
    """
    count = 0
    while offset < len(data):
        count += 1
        if count > limits.max_chunks:
            raise LimitError(
                f"chunk at offset {offset} is number {count}, over the limit "
                f"max_chunks={limits.max_chunks}"
            )
        chunk, offset = _read_chunk(data, offset, limits)
        yield chunk


def _read_chunk(data: memoryview, offset: int, limits: Limits) -> tuple[Chunk, int]:
    if len(data) - offset < FRAME_SIZE:
        raise TruncatedError(
            f"chunk at offset {offset} has {len(data) - offset} bytes, "
            f"expected at least {FRAME_SIZE}"
        )
    length = int.from_bytes(data[offset : offset + 4], "little")
    # A length beyond what any file may have is named as such, not as a file cut short.
    limits.check_file_bytes(length, f"chunk at offset {offset}")
    letters = bytes(data[offset + 4 : offset + FRAME_SIZE])
    _check_type(letters, where=f"chunk type at offset {offset + 4}")
    start = offset + FRAME_SIZE
    end = start + length
    after = end + CRC_SIZE if length else end
    if after > len(data):
        raise TruncatedError(
            f"chunk {letters.decode()} at offset {offset} ends at {after}, "
            f"but the data ends at {len(data)}"
        )
    if length:
        stored = int.from_bytes(data[end:after], "little")
        computed = zlib.crc32(data[offset:end])
        if stored != computed:
            raise ChecksumError(
                f"CRC-32 of chunk {letters.decode()} at offset {end} is {stored:08x}, "
                f"computed {computed:08x}"
            )
    return Chunk(letters.decode(), offset, data[start:end]), after


def _check_type(letters: bytes, where: str) -> None:
    # bytes.isalpha looks at ASCII letters only, which is what the format allows.
    if len(letters) != 4 or not letters.isalpha():
        raise FormatError(f"{where} is {letters.hex(' ')}, expected four ASCII letters")
    if not letters[2:3].isupper():
        raise FormatError(f"{where} is {letters.decode()}, expected an upper-case third letter")
