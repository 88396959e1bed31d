"""The options that set upper bounds on pictures and on work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ..format.limits import MAX_PIXELS, MAX_SECONDS, Limits

__all__ = ["limits_of", "max_pixels_option", "max_seconds_option"]

Decorate = Callable[[Callable[..., Any]], Callable[..., Any]]

max_pixels_option: Decorate = click.option(
    "--max-pixels",
    type=int,
    metavar="N",
    help=f"Refuse pictures of more pixels.  [default: {MAX_PIXELS}]",
)
max_seconds_option: Decorate = click.option(
    "--max-seconds",
    type=float,
    metavar="S",
    help=f"Give a picture up that takes longer to compute.  [default: {MAX_SECONDS:g}]",
)


def limits_of(max_pixels: int | None, max_seconds: float | None = None) -> Limits:
    """Returns the limits that these options ask for; raises click.UsageError for bad ones."""
    try:
        return Limits(
            max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
            max_seconds=MAX_SECONDS if max_seconds is None else max_seconds,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
