"""What the commands of ``aec bench`` share: their arguments, and where results go."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .batch import device_option, model_option
from .codes import FAILED
from .files import STANDARD, is_stream, is_taken, write_output, write_together
from .naming import shown
from .report import complain, explain

if TYPE_CHECKING:
    from ..bench.rd import Progress

__all__ = [
    "Place",
    "TimeLeft",
    "arguments",
    "give_up",
    "model_option",
    "numbers",
    "reason",
    "report",
]


@dataclass(frozen=True)
class Place:
    """Holds the arguments that `rd` and `speed` share: what to measure, on what, and where the
    result goes.
    """

    folder: str
    out: str | None
    force: bool
    device: str
    model: Path | None

    def check_out(self, name: str | None = None) -> None:
        """Refuses a file that exists before an hour is spent on what should go there."""
        name = name or self.out
        if name not in (None, STANDARD) and not self.force and is_taken(name):
            give_up(f"{shown(name)} exists; replace it with --force")

    @property
    def is_folder(self) -> bool:
        """Says whether the result goes into a folder, and not into a file of JSON."""
        if self.out is None or is_stream(self.out) or os.path.isfile(self.out):
            return False
        return not self.out.lower().endswith(".json")

    def write(self, content: Any) -> None:
        """Writes a result as JSON if it was asked for."""
        if self.out is None:
            return
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        try:
            write_output(self.out, text.encode(), overwrite=self.force)
        except OSError as error:
            give_up(f"cannot write {shown(self.out)}: {explain(error)}")

    def write_folder(self, files: Mapping[str, bytes]) -> None:
        """Writes files into the folder that was asked for, all or none."""
        assert self.out is not None
        try:
            os.makedirs(self.out, exist_ok=True)
            contents = {os.path.join(self.out, name): data for name, data in files.items()}
            write_together(contents, overwrite=self.force)
        except OSError as error:
            give_up(f"cannot write to {shown(self.out)}: {explain(error)}")


def numbers(_context: click.Context, _option: click.Parameter, value: str) -> tuple[float, ...]:
    try:
        numbers = sorted(set(map(float, value.split(","))))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not all(0 <= number <= 100 for number in numbers):
        raise click.BadParameter("qualities run from 0 to 100")
    return tuple(numbers)


def arguments(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the arguments that fill a `Place` to a command."""
    options = (
        click.argument("folder", type=click.Path(exists=True, file_okay=False)),
        click.option("--out", metavar="FILE", type=click.Path(), help="Write all of it as JSON."),
        click.option("-f", "--force", is_flag=True, help="Replace FILE if it exists."),
        device_option,
        model_option,
    )
    for decorate in reversed(options):
        command = decorate(command)
    return command


def give_up(message: str, code: int = FAILED) -> NoReturn:
    complain(message)
    click.get_current_context().exit(code)


def reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def report(name: str, trouble: str | None) -> None:
    if trouble is None:
        click.echo(f"{shown(name)}", err=True)
    else:
        complain(f"left out: {trouble}", name)


class TimeLeft:
    """Reports pictures as `report` does and, where stderr is a terminal, keeps a line below that
    says how far a run is and how long the rest of it will take.
    """

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()
        self.start = time.monotonic()

    def report(self, name: str, trouble: str | None) -> None:
        self.clear()
        report(name, trouble)

    def clear(self) -> None:
        if self.shown:
            click.echo("\r\x1b[K", nl=False, err=True)

    def watch(self, progress: Progress) -> None:
        if not self.shown:
            return
        self.clear()
        if progress.done < progress.pictures:
            seconds = time.monotonic() - self.start
            line = f"{progress.done} of {progress.pictures} pictures{time_left(progress, seconds)}"
            click.echo(line, nl=False, err=True)


def time_left(progress: Progress, seconds: float) -> str:
    """Returns how long the rest will take as text: what one picture did, were all of it measured,
    or nothing where there is no such time yet.
    """
    points = progress.measured + progress.reused
    if not progress.measured:
        return ""
    left = seconds / progress.measured * points / progress.done
    minutes, rest = divmod(round(left * (progress.pictures - progress.done)), 60)
    if minutes >= 60:
        return f", {minutes // 60} h {minutes % 60} min left"
    return f", {minutes} min left" if minutes else f", {rest} s left"
