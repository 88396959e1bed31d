"""The command ``aec compress``."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import click

from ..format.errors import ImageError, LimitError
from ..format.header import SIGNATURE
from ..format.limits import Limits
from .batch import Batch, Output, arguments
from .codes import EXIT_CODES
from .files import read_input
from .limits import limits_of, max_pixels_option, max_seconds_option
from .naming import Job
from .report import Row
from .strip import strip_option

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["compress"]

_AUTO = "auto"
_SIDES = (_AUTO, "0", "64", "128", "256", "512", "1024", "2048", "4096")


def _check_number(
    _context: click.Context, _option: click.Parameter, value: float | None
) -> float | None:
    if value is not None and not math.isfinite(value):  # a NaN passes every range
        raise click.BadParameter(f"{value} is not a number")
    return value


def _check_size(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    unit = _UNITS.get(value[-1:].lower())
    digits = value[:-1] if unit else value
    size = int(digits) * (unit or 1) if digits.isdecimal() else 0
    if not size:
        raise click.BadParameter(f"{value!r} is not a number of bytes, like 50000, 50k or 2M")
    return size


def _check_start(start: bytes) -> None:
    if not start:
        raise ImageError("the file is empty")
    if start.startswith(SIGNATURE):
        raise ImageError("already an aec file; did you mean aec decompress?")


_UNITS = {"k": 1000, "m": 1_000_000}


@click.command(short_help="Compress pictures to .aec files.", epilog=EXIT_CODES)
@click.option(
    "-q",
    "--quality",
    type=click.FloatRange(0, 100),
    callback=_check_number,
    help="0 to 100, higher is better; 100 is the best this codec gives and is not lossless."
    "  [default: 75]",
)
@click.option(
    "--target-size",
    metavar="BYTES",
    callback=_check_size,
    help="Best file of at most so many bytes, 1 % less where need be; like 50000, 50k or 2M.",
)
@click.option(
    "--target-bpp",
    type=click.FloatRange(0, min_open=True),
    callback=_check_number,
    help="The same in bits of the file per pixel.",
)
@click.option(
    "--target-psnr",
    type=click.FloatRange(0, min_open=True),
    callback=_check_number,
    metavar="DB",
    help="Smallest file of at least this PSNR, at most 0.05 dB more.",
)
@click.option(
    "-e",
    "--effort",
    type=click.IntRange(1, 9),
    default=1,
    show_default=True,
    help="1 to 9: search longer for fewer bits at the same PSNR; decoding takes no longer.",
)
@click.option(
    "--tile",
    type=click.Choice(_SIDES),
    default=_AUTO,
    show_default=True,
    metavar="SIDE",
    help="auto, 0 for one tile, or the pixels along a tile: a power of two from 64 to 4096.",
)
@strip_option
@max_pixels_option
@max_seconds_option
@arguments
@click.pass_context
def compress(
    context: click.Context,
    /,
    quality: float | None,
    target_size: int | None,
    target_bpp: float | None,
    target_psnr: float | None,
    effort: int,
    tile: str,
    strip: frozenset[str],
    max_pixels: int | None,
    max_seconds: float | None,
    **shared: Any,
) -> None:
    """Compress pictures, in any format that Pillow reads, to .aec files.

    Without -o, photo.jpg becomes photo.aec in the same folder. Several inputs take a folder as
    OUT. The name - stands for standard input or output. An existing output is an error without
    --force.

    The ICC profile, EXIF and XMP go along. With --strip a picture looks the same without them:
    without EXIF it is turned upright, without its profile converted to sRGB.

    With a target, a few files are made of each picture to find it.
    """
    aims = [aim for aim in (target_size, target_bpp, target_psnr) if aim is not None]
    if len(aims) + (quality is not None) > 1:
        raise click.UsageError("--quality and the targets exclude each other; give one of them")
    batch = Batch(**shared)
    limits = limits_of(max_pixels, max_seconds)
    jobs = batch.plan(".aec")

    def convert(job: Job) -> Output:
        picture = _opened(read_input(job.source, _check_start), strip, limits)
        codec = batch.codec()
        start = time.perf_counter()
        side = None if tile == _AUTO else int(tile)
        psnr: float | None = None
        if aims:
            reached = codec.compress_to(
                picture,
                size=target_size,
                bpp=target_bpp,
                psnr=target_psnr,
                effort=effort,
                tile=side,
                progress=batch.progress,
                limits=limits,
            )
            coded, found = reached.data, reached.quality
            psnr = reached.value if target_psnr is not None else None
        else:
            found = 75.0 if quality is None else quality
            coded = codec.compress(
                picture,
                quality=found,
                effort=effort,
                tile=side,
                progress=batch.progress,
                limits=limits,
            )
        seconds = time.perf_counter() - start
        size = picture.width, picture.height
        row = Row(*size, len(coded), seconds, found, reached=bool(aims), psnr=psnr)
        return Output(coded, row)

    context.exit(batch.run(jobs, convert))


def _opened(data: bytes, strip: Collection[str], limits: Limits) -> Image.Image:
    """Returns a picture, refused before its pixels are read when it has too many."""
    from PIL import Image

    from ..codec.pictures import open_picture

    usual = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = (limits.max_pixels + 1) // 2  # more than twice that is an error
    try:
        return open_picture(data, strip)
    except ImageError as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            raise LimitError(
                f"the picture is over the limit max_pixels={limits.max_pixels}"
            ) from error
        raise
    finally:
        Image.MAX_IMAGE_PIXELS = usual
