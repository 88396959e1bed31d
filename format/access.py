"""Parts of a file by offset, the same for bytes in memory and for a file that is not read whole."""

from __future__ import annotations

import os
from typing import BinaryIO, Protocol

from .errors import TruncatedError

__all__ = [
    "READ_SIZE",
    "Access",
    "Buffer",
    "FileAccess",
    "MemoryAccess",
    "Source",
    "read_up_to",
]

READ_SIZE = 1 << 20  # read(n) may set aside n bytes before it knows that the file is shorter

Buffer = bytes | bytearray | memoryview
Source = Buffer | str | os.PathLike[str] | BinaryIO


class Access(Protocol):
    """Gives parts of ``size`` bytes by offset."""

    size: int

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """Returns ``size`` bytes from ``offset``; raises TruncatedError when there are fewer."""


class MemoryAccess:
    """Gives parts of a buffer without copying them."""

    def __init__(self, data: Buffer) -> None:
        self._view = memoryview(data).cast("B")
        self.size = len(self._view)

    def read(self, offset: int, size: int) -> memoryview:
        """Returns ``size`` bytes from ``offset``; raises TruncatedError when there are fewer."""
        _check_size(self.size - offset, size, offset)
        return self._view[offset : offset + size]


class FileAccess:
    """Gives parts of a seekable file from where it stands; raises OSError when it cannot seek."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start = file.tell()
        self.size = max(file.seek(0, os.SEEK_END) - self._start, 0)

    def read(self, offset: int, size: int) -> bytes:
        """Returns ``size`` bytes from ``offset``; raises TruncatedError when there are fewer."""
        _check_size(self.size - offset, size, offset)
        self._file.seek(self._start + offset)
        part = read_up_to(self._file, size)
        _check_size(len(part), size, offset)  # somebody may have cut the file since
        return part


def read_up_to(file: BinaryIO, size: int) -> bytes:
    """Returns ``size`` bytes, or fewer at the end; pipes and raw files may give less per call."""
    blocks = []
    while size > 0 and (block := file.read(min(size, READ_SIZE))):
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)


def _check_size(there: int, wanted: int, offset: int) -> None:
    if there < wanted:
        end = offset + there
        raise TruncatedError(
            f"data ends at offset {end}, expected {wanted} bytes from offset {offset} on",
            offset=end,
        )
