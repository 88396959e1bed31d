"""The command ``aec info``."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from ..format.container import FileInfo
from ..format.errors import AecError
from .batch import exit_code
from .decompress import read_aec
from .naming import refuse_terminals, shown
from .report import complain, explain

__all__ = ["info"]

_BLOCKS = {"icc_profile": "ICC profile", "exif": "EXIF", "xmp": "XMP"}


@click.command(short_help="Show what .aec files contain.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each file.")
@click.pass_context
def info(context: click.Context, files: tuple[str, ...], as_json: bool) -> None:
    """Show size, quality and contents of .aec files, checksums checked and nothing decoded.

    Exit code: 0 all are sound, 1 some are not, 2 wrong usage, 3 none is.
    """
    refuse_terminals(files)
    found: list[tuple[str, FileInfo]] = []
    for name in files:
        fields: dict[str, object] = {"input": name, "ok": True, "error": None}
        try:
            _, description = read_aec(name)
        except (AecError, OSError, MemoryError) as error:
            complain(explain(error), name)
            fields |= {"ok": False, "error": explain(error)}
        else:
            found.append((name, description))
            fields |= description.as_dict()
        if as_json:
            click.echo(json.dumps(fields))
    if not as_json and len(files) == 1:
        for name, description in found:
            click.echo(_details(name, description))
    elif not as_json and found:
        click.echo(_table(found))
    context.exit(exit_code(len(found), len(files) - len(found)))


def _details(name: str, info: FileInfo) -> str:
    rows = [
        ("file", shown(name)),
        ("size", f"{info.width} x {info.height} pixels, {info.mode}"),
        ("bytes", f"{info.total_bytes}, {info.bpp:.3f} bits per pixel"),
        ("quality", f"{info.quality:.1f} of 100, index {info.quality_index} of 255"),
        ("model", info.model_id),
        ("format", f"version {info.version}"),
    ]
    for name, size in info.metadata.items():
        rows.append((_BLOCKS[name], f"{size} bytes"))
    for chunk in info.chunks:
        rows.append((f"chunk {chunk.type}", f"{chunk.length} bytes at offset {chunk.offset}"))
    return _aligned(rows)


def _table(found: Sequence[tuple[str, FileInfo]]) -> str:
    rows: list[tuple[str, ...]] = [("file", "size", "mode", "quality", "bytes", "bpp", "model")]
    for name, info in found:
        size = f"{info.width}x{info.height}"
        numbers = (f"{info.quality:.1f}", str(info.total_bytes), f"{info.bpp:.3f}")
        rows.append((shown(name), size, info.mode, *numbers, info.model_id))
    return _aligned(rows)


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)
