"""Tells people (on stderr) and programs (as JSON lines on stdout) what became of each file."""

from __future__ import annotations

import json
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import click

from ..format.errors import AecError
from .naming import Job, shown

__all__ = ["Partial", "Report", "Row", "complain", "explain", "is_foreseen", "warnings_told"]


@dataclass(frozen=True, slots=True)
class Row:
    """Describes one coded picture: sides in pixels, ``bytes`` of the .aec file in both directions,
    ``bpp`` in bits of that file per pixel, ``seconds`` of coding alone, quality from 0 to 100.
    ``coded`` is the size of the picture in the file where that is not the one that was written,
    ``reached`` says that the quality was searched for, ``psnr`` (dB) is known if it was the aim.
    """

    width: int
    height: int
    bytes: int
    seconds: float
    quality: float
    coded: tuple[int, int] | None = None
    reached: bool = False
    psnr: float | None = None

    @property
    def bpp(self) -> float:
        width, height = self.coded or (self.width, self.height)
        return 8 * self.bytes / (width * height)


@dataclass(frozen=True, slots=True)
class Partial:
    """Says that a picture is not whole: how many of its tiles are intact, what is wrong, and the
    name of the mask that was written, if any.
    """

    tiles_ok: int
    tiles_total: int
    reason: str
    mask: str | None = None

    def __str__(self) -> str:
        return f"{self.tiles_ok} of {self.tiles_total} tiles are intact: {self.reason}"


MOMENT = 0.5  # seconds between two looks at how far a file is

_NUMBERS = ("bytes", "bpp", "width", "height", "seconds", "quality", "psnr")


def is_foreseen(error: Exception) -> bool:
    """Says whether the error is about a file or the machine; any other kind is a bug in aec."""
    return isinstance(error, (AecError, OSError, MemoryError, click.UsageError))


def explain(error: Exception) -> str:
    """Returns one line that says what is wrong, without the name of the file."""
    if isinstance(error, (AecError, click.UsageError)):
        return " ".join(str(error).split())
    if isinstance(error, IsADirectoryError):
        return "is a folder; name the files in it"
    if isinstance(error, OSError):
        return error.strerror or " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError):
        return "not enough memory"
    return f"internal error, please report it: {type(error).__name__}: {error}"


def complain(message: str, name: str | None = None) -> None:
    """Prints a message about a file, or about the whole command, on stderr."""
    about = "" if name is None else f"{shown(name)}: "
    click.echo(f"aec: {about}{message}", err=True)


@contextmanager
def warnings_told(before: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Prints each warning of the codec as a message, all at the end, after a call of ``before``."""
    with warnings.catch_warnings(record=True) as caught:
        # Pillow warns of odd metadata and of large pictures. Neither says anything about the
        # result, and the text would stand between the lines about the files.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            yield
        finally:
            # Such as a device that does not compute exactly; the place in the code is no news.
            for message in dict.fromkeys(str(warning.message) for warning in caught):
                before()
                complain(f"warning: {message}")


class Report:
    """Prints a line per file: for people unless ``quiet``, as JSON on stdout with ``as_json``; and
    while ``total`` files are worked on, where the work is, if stderr is a terminal.
    """

    def __init__(self, total: int, *, as_json: bool, quiet: bool, progress: bool) -> None:
        self.total = total
        self.as_json = as_json
        self.quiet = quiet
        self.progress = progress and not quiet and sys.stderr.isatty()
        self.counts = {"done": 0, "partial": 0, "skipped": 0, "failed": 0}
        self._width = 0  # columns that the progress line takes at the moment
        self._begun = ""
        self._shown = 0.0  # when

    def begin(self, job: Job) -> None:
        """Shows which file is being worked on."""
        number = sum(self.counts.values()) + 1
        self._begun = f"[{number}/{self.total}] {shown(job.source)}"
        self._shown = time.monotonic()
        if self.total > 1:
            self._show(self._begun)

    def advance(self, share: float) -> None:
        """Shows which share of that file is done, where this takes longer than a moment."""
        if time.monotonic() - self._shown > MOMENT:
            self._shown = time.monotonic()
            self._show(f"{self._begun}  {share:.0%}")

    def _show(self, line: str) -> None:
        if self.progress:
            line = line[: shutil.get_terminal_size().columns - 1]
            self.clear()
            click.echo(line, nl=False, err=True)
            self._width = len(line)

    def clear(self) -> None:
        """Removes the progress line, so that other text can take its place."""
        if self._width:
            click.echo("\r" + " " * self._width + "\r", nl=False, err=True)
            self._width = 0

    def done(self, job: Job, row: Row) -> None:
        self.counts["done"] += 1
        self._written(job, row)
        self._json(job, ok=True, row=row)

    def partial(self, job: Job, row: Row, partial: Partial) -> None:
        self.counts["partial"] += 1
        self.clear()
        where = "no mask was written" if partial.mask is None else f"mask: {shown(partial.mask)}"
        complain(f"warning: {partial} ({where})", job.source)
        self._written(job, row)
        self._json(job, ok=False, row=row, error=str(partial), partial=partial)

    def skipped(self, job: Job) -> None:
        self.counts["skipped"] += 1
        self._line(f"{shown(job.source)}: skipped, {shown(job.target)} exists")
        self._json(job, ok=True, skipped=True)

    def failed(self, job: Job, message: str) -> None:
        self.counts["failed"] += 1
        self.clear()
        complain(message, job.source)
        self._json(job, ok=False, error=message)

    def end(self) -> None:
        """Sums up a batch."""
        self.clear()
        if self.total > 1:
            counts = [f"{n} {what}" for what, n in self.counts.items() if n or what != "partial"]
            self._line(", ".join(counts))

    def _written(self, job: Job, row: Row) -> None:
        found = f"  quality {row.quality:.1f}" if row.reached else ""
        found += f"  {row.psnr:.2f} dB" if row.psnr is not None else ""
        self._line(
            f"{shown(job.source)} -> {shown(job.target)}  {row.width}x{row.height}  "
            f"{row.bytes} bytes  {row.bpp:.3f} bpp{found}  {row.seconds:.2f} s"
        )

    def _line(self, text: str) -> None:
        self.clear()
        if not self.quiet and not self.as_json:
            click.echo(text, err=True)

    def _json(
        self,
        job: Job,
        *,
        ok: bool,
        row: Row | None = None,
        error: str | None = None,
        skipped: bool = False,
        partial: Partial | None = None,
    ) -> None:
        if not self.as_json:
            return
        fields: dict[str, object] = {
            "input": job.source,
            "output": job.target,
            "ok": ok,
            "skipped": skipped,
            "error": error,
        }
        fields |= {name: getattr(row, name, None) for name in _NUMBERS}
        fields["partial"] = None if partial is None else asdict(partial)
        click.echo(json.dumps(fields))
