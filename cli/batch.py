"""Runs the jobs of a command one after the other; an error in one file does not stop the others."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..format.errors import AecError
from .codes import FAILED, OK, PARTIAL, code_of, exit_code
from .files import STANDARD, Content, is_taken, write_output, write_together
from .naming import Job, is_folder, mask_name, plan, shown
from .report import Partial, Report, Row, complain, explain, is_foreseen, warnings_told

if TYPE_CHECKING:
    from ..codec.api import Codec

__all__ = [
    "Batch",
    "CannotStart",
    "Convert",
    "Output",
    "arguments",
    "device_option",
    "load_codec",
    "model_option",
]


@dataclass(frozen=True, slots=True)
class Output:
    """Holds what is to be written for an input, and its description; of a picture that is not whole
    also what is missing, and the mask that shows where.
    """

    content: Content
    row: Row
    partial: Partial | None = None
    mask: Content | None = None


Convert = Callable[[Job], Output]
"""Reads an input and returns its output."""

DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


class CannotStart(Exception):
    """Says that the codec itself is unusable, so that no file can be worked on."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"cannot start the codec: {cause}")
        self.code = code_of(cause)


@dataclass
class Batch:
    """Holds the arguments that all commands over many files share, and runs their jobs."""

    inputs: tuple[str, ...]
    output: str | None
    force: bool
    skip_existing: bool
    device: str
    as_json: bool
    quiet: bool
    no_progress: bool
    model: Path | None = None
    _codec: Codec | None = field(default=None, init=False, repr=False)
    _report: Report | None = field(default=None, init=False, repr=False)

    def plan(self, suffix: str, *, masks: bool = False) -> list[Job]:
        """Returns the jobs; raises click.UsageError."""
        if self.force and self.skip_existing:
            raise click.UsageError("--force and --skip-existing exclude each other")
        jobs = plan(self.inputs, self.output, suffix, masks=masks)
        if self.as_json and any(job.target == STANDARD for job in jobs):
            raise click.UsageError("--json needs standard output for itself; name a file with -o")
        return jobs

    def codec(self) -> Codec:
        """Returns the codec, loaded by the first file that gets as far as to need it."""
        if self._codec is None:
            self._codec = load_codec(self.device, self.model)
        return self._codec

    def progress(self, share: float) -> None:
        """Shows which share of the file in work is done."""
        if self._report is not None:
            self._report.advance(share)

    def run(self, jobs: list[Job], convert: Convert) -> int:
        """Works on every job and returns the exit code of the program."""
        if self.output is not None and self.output != STANDARD and is_folder(self.output):
            try:
                os.makedirs(self.output, exist_ok=True)
            except OSError as error:
                complain(f"cannot make the folder: {explain(error)}", self.output)
                return FAILED
        report = self._report = Report(
            len(jobs), as_json=self.as_json, quiet=self.quiet, progress=not self.no_progress
        )
        codes: list[int] = []
        try:
            for job in jobs:
                report.begin(job)
                codes.append(self._work(job, convert, report))
            report.end()
        except CannotStart as error:
            report.clear()
            complain(str(error))
            codes.append(error.code)
        finally:
            report.clear()
        return exit_code(codes)

    def _work(self, job: Job, convert: Convert, report: Report) -> int:
        """Works on one job and returns the exit code that it calls for."""
        if job.target != STANDARD and not self.force and is_taken(job.target):
            if self.skip_existing:
                report.skipped(job)
                return OK
            report.failed(job, _exists(job.target))
            return FAILED
        try:
            with warnings_told(report.clear):
                output = convert(job)
            return self._write(job, output, report)
        except CannotStart:
            raise
        except Exception as error:
            if job.target == STANDARD and isinstance(error, BrokenPipeError):
                raise  # nobody reads any more, so there is nobody to tell
            if not is_foreseen(error):
                report.clear()
                traceback.print_exc()
            report.failed(job, explain(error))
            return code_of(error)

    def _write(self, job: Job, output: Output, report: Report) -> int:
        """Writes the output of a job and returns the exit code that it calls for."""
        contents = {job.target: output.content}
        mask = None if output.mask is None else mask_name(job.target)
        try:
            with warnings_told(report.clear):
                if mask is None or output.mask is None:
                    write_output(job.target, output.content, overwrite=self.force)
                else:  # the mask first, so that there is never the picture alone
                    contents = {mask: output.mask, **contents}
                    write_together(contents, overwrite=self.force)
        except FileExistsError:  # it was not there before the work
            report.failed(job, _exists(next(filter(is_taken, contents), job.target)))
            return FAILED
        except OSError as error:
            if job.target == STANDARD and isinstance(error, BrokenPipeError):
                raise
            report.failed(job, f"cannot write {shown(job.target)}: {explain(error)}")
            return FAILED
        if output.partial is None:
            report.done(job, output.row)
            return OK
        report.partial(job, output.row, replace(output.partial, mask=mask))
        return PARTIAL


def _exists(name: str) -> str:
    return f"{shown(name)} exists; replace it with --force, or use --skip-existing"


def load_codec(device: str, model: Path | None = None) -> Codec:
    """Returns the codec, its warnings printed; raises CannotStart when it is unusable."""
    with warnings_told():
        try:
            from ..codec.api import Codec

            return Codec(device=device, model=model)
        except (AecError, ImportError, OSError, RuntimeError, ValueError) as error:
            raise CannotStart(error) from error


def _check_device(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if not DEVICE.fullmatch(value):
        raise click.BadParameter(f"{value!r} is not auto, cpu, cuda or cuda:N")
    return value


def arguments(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the arguments that fill a `Batch` to a command; its own options come before them."""
    for decorate in reversed(_ARGUMENTS):
        command = decorate(command)
    return command


Decorate = Callable[[Callable[..., Any]], Callable[..., Any]]

device_option: Decorate = click.option(
    "--device",
    default="auto",
    show_default=True,
    callback=_check_device,
    metavar="DEVICE",
    help="auto, cpu, cuda or cuda:N.",
)

model_option: Decorate = click.option(
    "--model",
    metavar="PATH",
    type=click.Path(exists=True, path_type=Path),
    help="Weights for aec: what `aec train export` wrote.  [default: those of the package]",
)

_ARGUMENTS: tuple[Decorate, ...] = (
    click.argument("inputs", metavar="IN...", nargs=-1, required=True, type=click.Path()),
    click.option(
        "-o",
        "--output",
        metavar="OUT",
        type=click.Path(),
        help="File, folder/ or - for standard output.  [default: beside the input]",
    ),
    click.option("-f", "--force", is_flag=True, help="Replace outputs that exist."),
    click.option("--skip-existing", is_flag=True, help="Leave inputs alone whose output exists."),
    device_option,
    model_option,
    click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each file."),
    click.option("--quiet", is_flag=True, help="Print errors only."),
    click.option("--no-progress", is_flag=True, help="Do not show how far the work is."),
)
