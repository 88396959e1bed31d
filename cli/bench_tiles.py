"""The commands ``aec bench memory`` and ``aec bench tiles``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ..format.errors import AecError
from .codes import FAILED, OK, code_of
from .files import STANDARD
from .measuring import Place, arguments, give_up, numbers, reason, report
from .naming import shown
from .report import complain
from .tables import aligned

__all__ = ["memory", "tiles"]

SIDES = ("64", "128", "256", "512", "1024", "2048", "4096")


def _size(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, int]:
    width, times, height = value.lower().partition("x")
    if not (times and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise click.BadParameter(f"{value!r} is not WIDTHxHEIGHT in pixels, like 8192x12208")
    return int(width), int(height)


@click.command(short_help="Peak memory on a huge picture.")
@arguments
@click.option(
    "--size",
    default="8192x12208",
    show_default=True,
    callback=_size,
    metavar="WxH",
    help="Sides of the picture in pixels.",
)
@click.pass_context
def memory(context: click.Context, /, size: tuple[int, int], **shared: Any) -> None:
    """Encode and decode a mosaic of the pictures of FOLDER, each step in a process of its own, and
    print its peak of memory, without the picture itself as well, and its time.

    The steps: start (torch, the weights and a tiny picture), encode, decode, a region of 512x512,
    and a picture of an eighth of the size.
    """
    place = Place(**shared)
    place.check_out()
    if place.model is not None:
        raise click.UsageError("memory is measured with the weights of the package")
    try:
        from ..bench.memory import run
        from ..bench.runs import find_pictures

        paths = find_pictures(place.folder)
        if not paths:
            give_up(f"no pictures in {shown(place.folder)}")
        result = run(paths, *size, device=place.device, report=lambda step: report(step, None))
    except (AecError, ImportError, OSError, RuntimeError) as error:
        give_up(reason(error), code_of(error))
    mib = 2**20
    rows = [("step", "peak MiB", "without the picture", "seconds")]
    for step, found in result["steps"].items():
        own = found["peak_bytes"] - found["picture_bytes"]
        peak = f"{found['peak_bytes'] / mib:.0f}"
        rows.append((step, peak, f"{own / mib:.0f}", f"{found['seconds']:.2f}"))
    share = 100 * result["region_share"]
    text = f"{aligned(rows)}\nthe region takes {share:.1f} % of the time of the whole"
    click.echo(text, err=place.out == STANDARD)
    place.write(result)


@click.command(short_help="What tiles cost, and whether they show.")
@arguments
@click.option("--side", type=click.Choice(SIDES), default="256", show_default=True)
@click.option(
    "--qualities", default="20,50,80", show_default=True, callback=numbers, help="Qualities of aec."
)
@click.pass_context
def tiles(context: click.Context, /, side: str, qualities: Sequence[float], **shared: Any) -> None:
    """Code the pictures of FOLDER in tiles and whole, and print what the tiles cost.

    The ratios compare the error at the borders of tiles, and its step from one side of a border to
    the other, with those elsewhere in the picture, relative to the same without tiles: 1 means that
    nothing shows.
    """
    place = Place(**shared)
    place.check_out()
    try:
        from ..bench.runs import find_pictures, finite
        from ..bench.tiles import run
        from ..codec.api import Codec

        paths = find_pictures(place.folder)
        codec = Codec(device=place.device, model=place.model)
        result = run(paths, codec, side=int(side), qualities=qualities, report=report)
    except (AecError, ImportError, OSError, RuntimeError) as error:
        give_up(reason(error), code_of(error))
    if not result["rows"]:
        complain(f"no picture of {shown(place.folder)} could be measured")
        context.exit(FAILED)
    rows = [("quality", "rate", "PSNR dB", "error ratio", "step ratio", "largest", "elsewhere")]
    for quality, total in result["total"].items():
        rows.append(
            (
                f"{quality:g}",
                f"{100 * total['rate']:+.2f} %",
                f"{total['psnr']:+.3f}",
                f"{total['border_error_ratio']:.3f}",
                f"{total['border_step_ratio']:.3f}",
                f"{total['border_max']}",
                f"{total['other_max']}",
            )
        )
    click.echo(aligned(rows), err=place.out == STANDARD)
    place.write(finite(result))
    context.exit(OK if not result["skipped"] else FAILED)
