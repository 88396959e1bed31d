"""The option ``--strip``, which leaves metadata out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

__all__ = ["KINDS", "strip_option"]

KINDS = ("icc", "exif", "xmp")  # as codec.metadata has them, which takes long to import


def _kinds(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> frozenset[str]:
    kinds = frozenset(kind for value in values for kind in value.split(","))
    for kind in sorted(kinds - {"all", *KINDS}):
        raise click.BadParameter(f"{kind!r} is none of all, {', '.join(KINDS)}")
    return frozenset(KINDS) if "all" in kinds else kinds


strip_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--strip",
    multiple=True,
    metavar="KINDS",
    callback=_kinds,
    help="Metadata to leave out: all, or some of icc,exif,xmp; repeatable.",
)
