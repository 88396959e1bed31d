"""Reads inputs, and writes outputs so that a name holds either a whole file or what it held."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable
from typing import BinaryIO

from ..format.errors import LimitError
from ..format.limits import MAX_FILE_BYTES

__all__ = ["STANDARD", "is_taken", "read_input", "write_atomic", "write_output"]

STANDARD = "-"
"""The name that stands for standard input or standard output."""

READ_SIZE = 1 << 22


def read_input(
    name: str,
    check: Callable[[bytes], object] | None = None,
    max_bytes: int = MAX_FILE_BYTES,
) -> bytes:
    """Returns the bytes of a file, or of standard input for ``-``, unless ``check`` raises on the
    first part of them; raises OSError, or LimitError for more than ``max_bytes`` bytes.
    """
    if name == STANDARD:
        return _read(sys.stdin.buffer, check, max_bytes)
    if os.path.isdir(name):  # said here, because Windows would call it a lack of permission
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    with open(name, "rb") as file:
        return _read(file, check, max_bytes)


def _read(file: BinaryIO, check: Callable[[bytes], object] | None, max_bytes: int) -> bytes:
    block = file.read(READ_SIZE)
    if check is not None:
        check(block)  # the rest of a film need not be read to see that it is not a picture
    blocks = []
    size = 0
    while block:
        blocks.append(block)
        size += len(block)
        if size > max_bytes:  # a pipe may never end
            raise LimitError(f"longer than {max_bytes} bytes, the most that is read of one file")
        block = file.read(READ_SIZE)
    return b"".join(blocks)


def is_taken(name: str) -> bool:
    """Says whether writing to this name would replace something."""
    return os.path.lexists(name) and not _is_device(name)


def write_output(name: str, data: bytes, *, overwrite: bool) -> None:
    """Writes to a file as `write_atomic` does, or to standard output for ``-``; raises OSError."""
    if name != STANDARD:
        write_atomic(name, data, overwrite=overwrite)
        return
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def write_atomic(path: str | os.PathLike[str], data: bytes, *, overwrite: bool) -> None:
    """Writes a file that appears under its name only once it is whole and on the disk; an existing
    file is replaced only if ``overwrite`` is true, and a link is replaced, never followed.

    Raises FileExistsError without ``overwrite``, or another OSError; then nothing has changed.
    """
    path = os.fspath(path)
    if _is_device(path):
        with open(path, "wb") as device:  # nothing is lost there, and replacing it would be harm
            device.write(data)
        return
    temporary = _temporary(path)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(temporary, path)
        else:
            _publish(temporary, path)
    finally:
        # Gone after a replacement, left over after everything else: a link, an error, Ctrl-C.
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    _sync_folder(path)


def _is_device(path: str) -> bool:
    """Says whether the name is there and stands for a pipe, a terminal, /dev/null and the like."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _temporary(path: str) -> str:
    folder, name = os.path.split(path)
    # 64 random bits: two writers never meet, so the file of this name is always ours to remove.
    # A name has 255 bytes in most file systems, and a character up to four.
    return os.path.join(folder, f".{name[:50]}.aec-tmp-{secrets.token_hex(8)}")


def _publish(temporary: str, path: str) -> None:
    """Gives the file its name unless the name is taken, in one step that no other process can
    come between.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except (OSError, AttributeError, NotImplementedError):
        # No hard links here (FAT, some network and phone storage). An empty file claims the name
        # first; where the trouble is another one, this fails too and says what it is.
        claimed = False
        try:
            with open(path, "xb"):
                claimed = True
            os.replace(temporary, path)
        except BaseException:
            if claimed:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            raise


def _sync_folder(path: str) -> None:
    """Makes the new name survive a power cut where the system can do that; the file is whole
    either way, so a refusal is no error.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
