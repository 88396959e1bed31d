"""The command ``aec verify``."""

from __future__ import annotations

import json
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .batch import CannotStart, device_option, load_codec, model_option
from .codes import EXIT_CODES, code_of, exit_code
from .decompress import read_aec
from .limits import limits_of, max_pixels_option, max_seconds_option
from .naming import refuse_terminals, shown
from .report import complain, explain, is_foreseen, warnings_told

if TYPE_CHECKING:
    from ..codec.api import Codec

__all__ = ["verify"]


@click.command(short_help="Check that .aec files are sound.", epilog=EXIT_CODES)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--fast", is_flag=True, help="Check the container only, and decode no symbols.")
@device_option
@model_option
@max_pixels_option
@max_seconds_option
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each file.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.pass_context
def verify(
    context: click.Context,
    /,
    files: tuple[str, ...],
    fast: bool,
    device: str,
    model: Path | None,
    max_pixels: int | None,
    max_seconds: float | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check every checksum of .aec files, then decode all symbols and compare their checksums, and
    write nothing. A file that passes decompresses on this machine.
    """
    refuse_terminals(files)
    limits = limits_of(max_pixels, max_seconds)
    codec: Codec | None = None
    codes: list[int] = []
    for name in files:
        start = time.perf_counter()
        fields: dict[str, object] = {"input": name, "ok": False, "error": None}
        try:
            data, info = read_aec(name, limits)
            if not fast:
                codec = codec or load_codec(device, model)
                start = time.perf_counter()
                with warnings_told():
                    codec.verify(data, limits=limits)
        except CannotStart as error:
            complain(str(error))
            context.exit(exit_code([*codes, error.code]))
        except Exception as error:
            if not is_foreseen(error):
                traceback.print_exc()
            complain(explain(error), name)
            codes.append(code_of(error))
            fields["error"] = explain(error)
        else:
            seconds = time.perf_counter() - start
            fields |= {"ok": True, "width": info.width, "height": info.height}
            fields |= {"bytes": len(data), "seconds": seconds}
            if not quiet and not as_json:
                what = "container sound" if fast else "sound"
                size = f"{info.width}x{info.height}  {len(data)} bytes"
                click.echo(f"{shown(name)}: {what}  {size}  {seconds:.2f} s", err=True)
        if as_json:
            click.echo(json.dumps(fields | {"fast": fast}))
    context.exit(exit_code(codes))
