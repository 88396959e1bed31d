"""The frame that all chunks share, as section 3 of spec.md defines it.

::

    u32 length | 4 ASCII letters type | payload | u32 CRC-32 of length, type and payload

Only AEND has length 0, and it ends after its type: its CRC would be a constant. In any other chunk
a changed letter of the type could go unnoticed without one. The case of the letters of a type
carries meaning, as in PNG: a lower-case first letter marks an ancillary chunk, which a reader
that does not know it skips; a lower-case fourth letter marks one that a tool may copy to a new file
without knowing it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from .access import READ_SIZE, Access, MemoryAccess
from .errors import ChecksumError, FormatError, LimitError, TruncatedError
from .limits import DEFAULT_LIMITS, Limits

__all__ = [
    "AEND",
    "ALPH",
    "CRC_SIZE",
    "FRAME_SIZE",
    "TIDX",
    "TILE",
    "Chunk",
    "Frame",
    "check_crc",
    "pack_chunk",
    "read_chunk",
    "read_frame",
    "walk_chunks",
]

TIDX = "TIDX"
ALPH = "ALPH"
TILE = "TILE"
AEND = "AEND"

FRAME_SIZE = 8
"""Bytes before the payload: length and type."""

CRC_SIZE = 4
"""Bytes after the payload of any chunk but AEND."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Describes a chunk whose payload is not read: its type, the offset (bytes) of its length field
    and the length of its payload.
    """

    type: str
    offset: int
    length: int

    @property
    def critical(self) -> bool:
        """True when a reader that does not know the type must refuse the file."""
        return self.type[0].isupper()

    @property
    def head(self) -> bytes:
        """The bytes before the payload."""
        return self.length.to_bytes(4, "little") + self.type.encode()

    @property
    def end(self) -> int:
        """Offset after the payload, where the CRC stands."""
        return self.offset + FRAME_SIZE + self.length

    @property
    def after(self) -> int:
        """Offset of what comes after the chunk."""
        return self.end + CRC_SIZE if self.length else self.end


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
    may be), or FormatError when a type is not valid or a chunk empty that must not be.
    """
    access = MemoryAccess(data)
    count = 0
    while offset < len(data):
        count += 1
        if count > limits.max_chunks:
            raise LimitError(
                f"chunk at offset {offset} is number {count}, over the limit "
                f"max_chunks={limits.max_chunks}"
            )
        frame = read_frame(access, offset, limits)
        yield read_chunk(access, frame)
        offset = frame.after


def read_frame(access: Access, offset: int, limits: Limits) -> Frame:
    """Returns the frame at ``offset`` (bytes), its CRC not checked, once all of it is known to be
    there; raises TruncatedError, LimitError for its length, or FormatError for its type and for an
    empty chunk.
    """
    left = access.size - offset
    if left < FRAME_SIZE:
        raise TruncatedError(
            f"chunk at offset {offset} has {max(left, 0)} bytes, expected at least {FRAME_SIZE}",
            offset=access.size,
        )
    head = access.read(offset, FRAME_SIZE)
    length = int.from_bytes(head[:4], "little")
    # A length beyond what any file may have is named as such, not as a file cut short.
    limits.check_file_bytes(length, f"chunk at offset {offset}")
    letters = bytes(head[4:])
    _check_type(letters, where=f"chunk type at offset {offset + 4}")
    frame = Frame(letters.decode(), offset, length)
    if not length and frame.type != AEND:
        raise FormatError(f"chunk {frame.type} at offset {offset} has length 0, expected more")
    if frame.after > access.size:
        raise TruncatedError(
            f"chunk {frame.type} at offset {offset} ends at {frame.after}, "
            f"but the data ends at {access.size}",
            offset=access.size,
        )
    return frame


def check_crc(access: Access, frame: Frame) -> None:
    """Raises ChecksumError when the CRC of a chunk is wrong; holds one block of it at a time."""
    computed = 0
    for at in range(frame.offset, frame.end, READ_SIZE):
        computed = zlib.crc32(access.read(at, min(READ_SIZE, frame.end - at)), computed)
    _compare(frame, computed, access.read(frame.end, frame.after - frame.end))


def read_chunk(access: Access, frame: Frame) -> Chunk:
    """Returns the chunk that a frame describes after its CRC check; raises FormatError when it has
    another type or length.
    """
    data = memoryview(access.read(frame.offset, frame.after - frame.offset))
    body = data[: FRAME_SIZE + frame.length]
    _compare(frame, zlib.crc32(body), data[len(body) :])
    length, letters = int.from_bytes(body[:4], "little"), bytes(body[4:FRAME_SIZE])
    if (length, letters) != (frame.length, frame.type.encode()):
        raise FormatError(
            f"chunk at offset {frame.offset} is {letters!r} of {length} bytes, expected "
            f"{frame.type} of {frame.length}"
        )
    return Chunk(frame.type, frame.offset, body[FRAME_SIZE:])


def _compare(frame: Frame, computed: int, crc: bytes | memoryview) -> None:
    stored = int.from_bytes(crc, "little")
    if frame.length and stored != computed:
        raise ChecksumError(
            f"CRC-32 of chunk {frame.type} at offset {frame.end} is {stored:08x}, "
            f"computed {computed:08x}"
        )


def _check_type(letters: bytes, where: str) -> None:
    # bytes.isalpha looks at ASCII letters only, which is what the format allows.
    if len(letters) != 4 or not letters.isalpha():
        raise FormatError(f"{where} is {letters.hex(' ')}, expected four ASCII letters")
    if not letters[2:3].isupper():
        raise FormatError(f"{where} is {letters.decode()}, expected an upper-case third letter")
