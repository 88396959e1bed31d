"""The command ``aec info``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby

import click

from ..format.container import ChunkInfo, FileInfo
from ..format.errors import AecError
from .codes import EXIT_CODES, code_of, exit_code
from .decompress import read_aec
from .limits import limits_of, max_pixels_option
from .naming import refuse_terminals, shown
from .report import complain, explain

__all__ = ["info"]

_BLOCKS = {"icc_profile": "ICC profile", "exif": "EXIF", "xmp": "XMP"}
_LISTED = 4  # more chunks of a kind in a row are summed up


@click.command(short_help="Show what .aec files contain.", epilog=EXIT_CODES)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each file.")
@max_pixels_option
@click.pass_context
def info(
    context: click.Context, files: tuple[str, ...], as_json: bool, max_pixels: int | None
) -> None:
    """Show size, quality and contents of .aec files, checksums checked and nothing decoded."""
    refuse_terminals(files)
    limits = limits_of(max_pixels)
    found: list[tuple[str, FileInfo]] = []
    codes: list[int] = []
    for name in files:
        fields: dict[str, object] = {"input": name, "ok": True, "error": None}
        try:
            _, description = read_aec(name, limits)
        except (AecError, OSError, MemoryError) as error:
            complain(explain(error), name)
            fields |= {"ok": False, "error": explain(error)}
            codes.append(code_of(error))
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
    context.exit(exit_code(codes))


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
    if info.tile_side:
        rows.append(("tiles", f"{info.tiles} with sides of up to {info.tile_side} pixels"))
    for _, group in groupby(info.chunks, key=_kind):
        chunks = list(group)
        total = sum(chunk.length for chunk in chunks)
        where = f"{total} bytes at offset {chunks[0].offset}"
        if len(chunks) > _LISTED:
            types = ", ".join(sorted({chunk.type for chunk in chunks}))
            rows.append((f"chunks {types}", f"{len(chunks)}, {where} and after"))
        else:
            rows += [(f"chunk {c.type}", f"{c.length} bytes at offset {c.offset}") for c in chunks]
    return _aligned(rows)


def _kind(chunk: ChunkInfo) -> str:
    """Returns what neighbours in the listing share: alpha planes stand among the tiles."""
    return "TILE" if chunk.type == "ALPH" else chunk.type


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
