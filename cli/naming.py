"""Gives every input its output, and refuses before any work what cannot end well."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import click

from .files import STANDARD, is_stream

__all__ = ["Job", "is_folder", "mask_name", "plan", "refuse_terminals", "shown"]


@dataclass(frozen=True, slots=True)
class Job:
    """Names one input and its output; ``-`` is standard input or output."""

    source: str
    target: str


def plan(
    inputs: Sequence[str], output: str | None, suffix: str, *, masks: bool = False
) -> list[Job]:
    """Returns one job per input, outputs named after the inputs with ``suffix`` (such as ".aec")
    unless ``output`` names a file; raises click.UsageError when outputs, each with its mask if
    there may be ``masks``, would collide or the arguments contradict each other.
    """
    if STANDARD in inputs and len(inputs) > 1:
        raise click.UsageError("'-' (standard input) must be the only input")
    if output is None:
        jobs = [Job(name, _beside(name, suffix)) for name in inputs]
    elif output != STANDARD and is_folder(output):
        if STANDARD in inputs:
            raise click.UsageError(f"standard input has no name; give a file in {shown(output)}")
        jobs = [Job(name, os.path.join(output, _renamed(name, suffix))) for name in inputs]
    elif len(inputs) == 1:
        jobs = [Job(inputs[0], output)]
    else:
        raise click.UsageError(
            f"{len(inputs)} inputs need a folder for their outputs; "
            f"end its name with a slash: -o {shown(output)}/"
        )
    _check_collisions(jobs, masks)
    refuse_terminals(inputs, [job.target for job in jobs])
    return jobs


def mask_name(target: str) -> str | None:
    """Returns the name for the mask of the picture in ``target``, or None beside a stream."""
    return None if is_stream(target) else f"{os.path.splitext(target)[0]}.mask.png"


def is_folder(output: str) -> bool:
    """Says whether the name stands for a folder: it ends with a slash or is an existing folder."""
    separators = tuple(filter(None, (os.sep, os.altsep)))
    return output.endswith(separators) or os.path.isdir(output)


def refuse_terminals(inputs: Iterable[str], outputs: Iterable[str] = ()) -> None:
    """Raises click.UsageError when ``-`` is among the names and means a terminal."""
    if STANDARD in inputs and sys.stdin.isatty():
        raise click.UsageError("standard input is a terminal; redirect a file or a pipe to it")
    if STANDARD in outputs and sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal; redirect it, or name a file with -o")


def shown(name: str) -> str:
    """Returns a file name fit for a message: a name may hold control characters or broken text."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


def _beside(name: str, suffix: str) -> str:
    if name == STANDARD:
        return STANDARD
    return os.path.join(os.path.dirname(name), _renamed(name, suffix))


def _renamed(name: str, suffix: str) -> str:
    # Only the last part of an input name is used, so no output leaves its folder.
    return PurePath(name).stem + suffix


def _check_collisions(jobs: Sequence[Job], masks: bool) -> None:
    sources = {_identity(job.source): job.source for job in jobs if job.source != STANDARD}
    taken: dict[str, str] = {}
    for job in jobs:
        if job.target == STANDARD:
            continue
        for target in filter(None, (job.target, mask_name(job.target) if masks else None)):
            key = _identity(target)
            if key in sources:
                raise click.UsageError(f"{shown(target)} is an input and an output")
            if key in taken:
                raise click.UsageError(
                    f"{shown(taken[key])} and {shown(job.source)} "
                    f"would both be written to {shown(target)}"
                )
            taken[key] = job.source


def _identity(name: str) -> str:
    """Returns the same text for two names of the same file."""
    path = os.path.normcase(os.path.realpath(name))
    # The usual file systems of these two take "A.png" and "a.png" for one name.
    return path.casefold() if sys.platform in ("darwin", "win32") else path
