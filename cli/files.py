"""Reads inputs, and writes outputs so that a name holds either a whole file or what it held."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from ..format.errors import LimitError
from ..format.limits import MAX_FILE_BYTES

__all__ = [
    "STANDARD",
    "Content",
    "is_stream",
    "is_taken",
    "open_input",
    "read_input",
    "write_atomic",
    "write_output",
    "write_together",
]

STANDARD = "-"
"""The name that stands for standard input or standard output."""

Content = bytes | Callable[[BinaryIO], object]
"""What a file is to hold: the bytes, or a function that writes them to a seekable binary file."""

READ_SIZE = 1 << 22
START_SIZE = 1 << 12


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
    with _open(name) as file:
        return _read(file, check, max_bytes)


@contextlib.contextmanager
def open_input(
    name: str,
    check: Callable[[bytes], object] | None = None,
    max_bytes: int = MAX_FILE_BYTES,
) -> Iterator[BinaryIO]:
    """Opens a file to be read here and there, ``check`` called as by `read_input`; of standard
    input, and of what cannot be read twice, it holds the bytes.
    """
    if name == STANDARD:
        yield io.BytesIO(read_input(name, check, max_bytes))
        return
    with _open(name) as file:
        if not file.seekable():
            yield io.BytesIO(_read(file, check, max_bytes))
            return
        if check is not None:
            check(file.read(START_SIZE))
            file.seek(0)
        yield file


def _open(name: str) -> BinaryIO:
    if os.path.isdir(name):  # said here, because Windows would call it a lack of permission
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    return open(name, "rb")


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
    return not is_stream(name) and os.path.lexists(name)


def is_stream(name: str) -> bool:
    """Says whether the name stands for standard output, or for a pipe, a terminal, /dev/null and
    the like that is there.
    """
    if name == STANDARD:
        return True
    try:
        mode = os.stat(name).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def write_output(name: str, content: Content, *, overwrite: bool) -> None:
    """Writes to a file as `write_atomic` does, or to standard output for ``-``; raises OSError."""
    if name != STANDARD:
        write_atomic(name, content, overwrite=overwrite)
        return
    sys.stdout.buffer.write(_whole(content))
    sys.stdout.buffer.flush()


def write_atomic(path: str | os.PathLike[str], content: Content, *, overwrite: bool) -> None:
    """Writes a file that appears under its name only once it is whole and on the disk; an existing
    file is replaced only if ``overwrite`` is true, and a link is replaced, never followed.

    Raises FileExistsError without ``overwrite``, another OSError, or what ``content`` raises; then
    nothing has changed.
    """
    path = os.fspath(path)
    if is_stream(path):
        data = _whole(content)
        with open(path, "wb") as device:  # nothing is lost there, and replacing it would be harm
            device.write(data)
        return
    write_together({path: content}, overwrite=overwrite)


def write_together(contents: Mapping[str, Content], *, overwrite: bool) -> None:
    """Writes files, each as `write_atomic` does, that belong together: all appear, in their order,
    or when one cannot be written none does.
    """
    temporaries = {path: _temporary(path) for path in contents}
    last = next(reversed(temporaries))
    spare = []
    try:
        for path, content in contents.items():
            _fill(temporaries[path], content)
        with contextlib.ExitStack() as undo:
            for path, temporary in temporaries.items():
                old = _temporary(path)
                if overwrite and path != last and _keep(path, old):
                    undo.callback(os.replace, old, path)
                    spare.append(old)
                elif path != last:
                    undo.callback(_withdraw, path, os.stat(temporary))
                if overwrite:
                    os.replace(temporary, path)
                else:
                    _publish(temporary, path)
            undo.pop_all()
    finally:
        # Gone after a replacement, left over after everything else: a link, an error, Ctrl-C.
        for temporary in (*temporaries.values(), *spare):
            with contextlib.suppress(OSError):
                os.unlink(temporary)
    for folder in {os.path.dirname(path) or "." for path in contents}:
        _sync_folder(folder)


def _whole(content: Content) -> bytes | memoryview:
    if isinstance(content, bytes):
        return content
    buffer = io.BytesIO()
    content(buffer)
    return buffer.getbuffer()


def _fill(temporary: str, content: Content) -> None:
    with open(temporary, "xb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)
        file.flush()
        os.fsync(file.fileno())


def _keep(path: str, old: str) -> bool:
    """Gives what is under a name another one, from which it can come back; says whether there is
    something.
    """
    if not os.path.lexists(path):
        return False
    if os.path.isdir(path) and not os.path.islink(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    try:
        os.link(path, old, follow_symlinks=False)
    except (OSError, AttributeError, NotImplementedError):
        os.rename(path, old)  # no hard links here: the name is free for a moment
    return True


def _withdraw(path: str, written: os.stat_result) -> None:
    """Removes a file again if it is the one that was written here."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.lstat(path), written):
            os.unlink(path)


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


def _sync_folder(folder: str) -> None:
    """Makes the new name survive a power cut where the system can do that; the file is whole
    either way, so a refusal is no error.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
