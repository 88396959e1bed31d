"""Exit codes: what kind of trouble a run met, for programs that call this one."""

from __future__ import annotations

from collections.abc import Iterable

import click

from ..format.errors import (
    BackendMismatchError,
    FormatError,
    ImageError,
    LimitError,
    ModelError,
)

__all__ = ["EXIT_CODES", "FAILED", "OK", "PARTIAL", "Failure", "code_of", "exit_code"]

OK = 0
FAILED = 1
PARTIAL = 3

_CODES: tuple[tuple[type[BaseException], int], ...] = (  # the first that fits counts
    (click.UsageError, 2),
    (FormatError, 4),
    (ImageError, 4),
    (LimitError, 5),
    (BackendMismatchError, 7),
    (ModelError, 6),
    (MemoryError, 8),
    (KeyboardInterrupt, 130),
)

EXIT_CODES = (
    "Exit codes: 0 all went well; 1 input or output failed, or files failed in several ways; "
    "2 wrong usage; 3 written, but not whole; 4 not a valid file or picture; 5 over a limit; "
    "6 no usable model; 7 this machine does not compute exactly; 8 not enough memory, or no such "
    "device; 130 interrupted."
)


class Failure(click.ClickException):
    """Ends the program with the message and the code of an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.exit_code = code_of(error)  # type: ignore[misc]


def code_of(error: BaseException) -> int:
    """Returns the exit code of a program that this error ends."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def exit_code(codes: Iterable[int]) -> int:
    """Returns the exit code of a program that met these, one for each file: the code of the
    failures when all are of one kind, and ``PARTIAL`` only where none is.
    """
    found = set(codes) - {OK}
    failures = found - {PARTIAL}
    if len(failures) > 1:
        return FAILED
    return next(iter(failures or found), OK)
