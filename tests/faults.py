"""Lets system calls fail where files are written, one after the other."""

import io
import os
from collections.abc import Callable
from typing import Any

import pytest

from aec.cli import files


def no_links(*_args: object, **_options: object) -> None:
    raise PermissionError(1, "Operation not permitted")  # what Linux says on FAT


class Faults:
    """Lets the n-th system call of a write fail, whichever it is."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int, error: BaseException) -> None:
        self.calls: list[str] = []
        self.at = at
        self.error = error
        for name in ("fsync", "replace", "link"):
            patch.setattr(os, name, self.wrapped(name, getattr(os, name)))
        patch.setattr(files, "open", self.open, raising=False)

    def step(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) - 1 == self.at:
            raise self.error

    def wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.step(name)
            return function(*args, **options)

        return call

    def open(self, path: str, mode: str) -> io.BufferedIOBase:
        faults = self

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                faults.step("write")
                return super().write(data[:700])  # the system may always take less than offered

            def close(self) -> None:
                if not self.closed:
                    super().close()
                    faults.step("close")

        self.step("open")
        return io.BufferedWriter(File(path, mode), buffer_size=4096)


def writes(
    write: Callable[[], None], links: bool, at: int, error: BaseException
) -> tuple[list[str], BaseException | None]:
    """Calls ``write`` with a failing system call; returns the calls and what was raised."""
    with pytest.MonkeyPatch.context() as patch:
        if not links:
            patch.setattr(os, "link", no_links)
        faults = Faults(patch, at, error)
        try:
            write()
        except BaseException as raised:
            return faults.calls, raised
        return faults.calls, None
