"""What the commands of ``aec bench`` share: their arguments, and where results go."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from .batch import device_option
from .codes import FAILED
from .files import STANDARD, is_taken, write_output
from .naming import shown
from .report import complain, explain

__all__ = ["Place", "arguments", "give_up", "model_option", "numbers", "reason", "report"]


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

    def check_out(self) -> None:
        """Refuses a file that exists before an hour is spent on what should go there."""
        if self.out not in (None, STANDARD) and not self.force and is_taken(self.out):
            give_up(f"{shown(self.out)} exists; replace it with --force")

    def write(self, content: Any) -> None:
        """Writes a result as JSON if it was asked for."""
        if self.out is None:
            return
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        try:
            write_output(self.out, text.encode(), overwrite=self.force)
        except OSError as error:
            give_up(f"cannot write {shown(self.out)}: {explain(error)}")


def numbers(_context: click.Context, _option: click.Parameter, value: str) -> tuple[float, ...]:
    try:
        numbers = sorted(set(map(float, value.split(","))))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not all(0 <= number <= 100 for number in numbers):
        raise click.BadParameter("qualities run from 0 to 100")
    return tuple(numbers)


model_option = click.option(
    "--model",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with weights for aec.  [default: those of the package]",
)


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
