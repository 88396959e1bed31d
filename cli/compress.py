"""The command ``aec compress``."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any

import click

from ..format.errors import ImageError
from ..format.header import SIGNATURE
from .batch import Batch, arguments
from .codes import EXIT_CODES
from .files import read_input
from .naming import Job
from .report import Row
from .strip import strip_option

__all__ = ["compress"]


def _check_quality(_context: click.Context, _option: click.Parameter, value: float) -> float:
    if math.isnan(value):  # compares false with every bound, and so passes a range
        raise click.BadParameter("nan is not a number from 0 to 100")
    return value


def _check_start(start: bytes) -> None:
    if not start:
        raise ImageError("the file is empty")
    if start.startswith(SIGNATURE):
        raise ImageError("already an aec file; did you mean aec decompress?")


@click.command(short_help="Compress pictures to .aec files.", epilog=EXIT_CODES)
@click.option(
    "-q",
    "--quality",
    type=click.FloatRange(0, 100),
    default=75.0,
    show_default=True,
    callback=_check_quality,
    help="0 to 100, higher is better; 100 is the best this codec gives and is not lossless.",
)
@strip_option
@arguments
@click.pass_context
def compress(
    context: click.Context, /, quality: float, strip: frozenset[str], **shared: Any
) -> None:
    """Compress pictures, in any format that Pillow reads, to .aec files.

    Without -o, photo.jpg becomes photo.aec in the same folder. Several inputs take a folder as
    OUT. The name - stands for standard input or output. An existing output is an error without
    --force.

    The ICC profile, EXIF and XMP go along. With --strip a picture looks the same without them:
    without EXIF it is turned upright, without its profile converted to sRGB.
    """
    batch = Batch(**shared)
    jobs = batch.plan(".aec")

    def convert(job: Job) -> tuple[bytes, Row]:
        from ..codec.pictures import open_picture

        picture = open_picture(read_input(job.source, _check_start), strip)
        codec = batch.codec()
        start = time.perf_counter()
        coded = codec.compress(picture, quality=quality)
        seconds = time.perf_counter() - start
        return coded, Row(picture.width, picture.height, len(coded), seconds, quality)

    with warnings.catch_warnings():
        # Pillow warns of odd metadata and of large pictures. Neither says anything about the
        # result, and the text would stand between the lines about the files.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        code = batch.run(jobs, convert)
    context.exit(code)
