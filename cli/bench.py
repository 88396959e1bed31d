"""The group ``aec bench``, with its commands ``speed``, ``exact`` and ``pictures``."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..format.errors import AecError, BackendMismatchError
from .bench_rd import bd, listed, rd
from .bench_tiles import memory, tiles
from .codes import EXIT_CODES, FAILED, OK, code_of
from .files import STANDARD, is_taken, write_together
from .measuring import Place, arguments, give_up, model_option, numbers, reason, report
from .naming import shown
from .report import explain
from .tables import speed_text

__all__ = ["bench"]


@click.group(short_help="Measure rate, distortion and speed.", epilog=EXIT_CODES)
def bench() -> None:
    """Measure what files cost, what they are worth, and how long they take.

    A picture that is left out counts as failed.
    """


bench.add_command(rd)
bench.add_command(bd)
bench.add_command(memory)
bench.add_command(tiles)


def sizes(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> tuple[float, ...]:
    try:
        found = tuple(map(float, value.split(","))) if value else ()
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not all(0.001 <= size <= 1000 for size in found):
        raise click.BadParameter("sizes run from 0.001 to 1000 megapixels")
    return found


@bench.command(short_help="Time, where it goes, memory, and what the model costs.")
@arguments
@click.option(
    "-q",
    "--quality",
    type=click.FloatRange(0, 100),
    default=50.0,
    show_default=True,
    help="Quality of aec.",
)
@click.option(
    "--codecs",
    callback=listed("speed"),
    help="The other codecs, with commas: jpeg, webp, avif, jxl, heic, jp2, and of CompressAI, with "
    "random weights, mbt2018-mean and cheng2020-anchor.  [default: jpeg,webp,avif,jxl, if "
    "installed]",
)
@click.option(
    "--megapixels",
    callback=sizes,
    help="Sizes, with commas, of mosaics of the pictures to take in their place, as 0.1,1,10.",
)
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Runs each.")
@click.option("--threads", type=click.IntRange(1), help="Threads of each codec that has several.")
@click.option("--no-memory", is_flag=True, help="Leave out the peak of memory.")
@click.pass_context
def speed(
    context: click.Context,
    /,
    quality: float,
    codecs: Sequence[str] | None,
    megapixels: Sequence[float],
    repeat: int,
    threads: int | None,
    no_memory: bool,
    **shared: Any,
) -> None:
    """Time the pictures of FOLDER one by one, with other codecs in turn in the same run.

    Times are medians of the runs of each picture, ratios have the least and the greatest of the
    runs beside them. Memory is what a codec takes at its peak to encode the largest picture, or
    each size, and to decode it, the decoded picture included, measured in processes of its own,
    besides what they held before. A multiply-add is one weight times one value.
    """
    if math.isnan(quality):  # compares false with every bound, and so passes a range
        raise click.BadParameter("nan is not a number from 0 to 100")
    place = Place(**shared)
    place.check_out()
    try:
        from ..bench.codecs import Aec
        from ..bench.runs import find_pictures, finite
        from ..bench.speed import others, run

        paths = find_pictures(place.folder)
        codec = Aec([quality], device=place.device, model=place.model)
        beside = others(codecs, threads)
    except (AecError, ImportError, OSError, RuntimeError, ValueError) as error:
        give_up(reason(error), code_of(error))
    result = run(
        paths,
        codec,
        beside,
        megapixels=megapixels,
        repeat=repeat,
        threads=threads,
        memory=not no_memory,
        report=report,
    )
    click.echo(speed_text(result), err=place.out == STANDARD)
    place.write(finite(result))
    context.exit(FAILED if result["skipped"] or not result["pictures"] else OK)


@bench.command(short_help="Whether all settings decode to the same pixels.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--qualities",
    default="5,50,95",
    show_default=True,
    callback=numbers,
    help="Qualities of the files.",
)
@model_option
@click.pass_context
def exact(
    context: click.Context, /, folder: str, qualities: Sequence[float], model: Path | None
) -> None:
    """Compress the pictures of FOLDER, and decode the files under every setting known to change
    the last bits of float arithmetic, and on every CUDA device: the pixels must be the same.
    """
    import tempfile

    import torch

    from ..bench.exact import Verdict, run
    from ..bench.runs import find_pictures, open_opaque
    from ..codec.api import Codec

    def say(verdict: Verdict) -> None:
        word = "same" if verdict.same else "DIFFERENT"
        click.echo(f"{verdict.name:<36} {word:<10} {verdict.seconds:6.1f} s")

    devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    try:
        codec = Codec(model=model, device="cpu")
        with tempfile.TemporaryDirectory() as name:
            files = 0
            for path in find_pictures(folder):
                picture = open_opaque(path)
                for quality in qualities:
                    data = codec.compress(picture, quality=quality)
                    Path(name, f"{path.stem}-{quality:g}.aec").write_bytes(data)
                    files += 1
            agreed = run(Path(name), model, devices, say)
    except (AecError, OSError, RuntimeError) as error:
        give_up(reason(error), code_of(error))
    click.echo(f"{files} files: {'one SHA-256 each' if agreed else 'NOT the same everywhere'}")
    if not files:
        context.exit(FAILED)
    context.exit(OK if agreed else code_of(BackendMismatchError()))


@bench.command(short_help="Draw pictures that are hard to code.")
@click.argument("folder", type=click.Path(file_okay=False))
@click.option("-f", "--force", is_flag=True, help="Replace pictures that exist.")
def pictures(folder: str, force: bool) -> None:
    """Write pictures that are hard to code into FOLDER as PNG, the same ones each time: text, a
    screen, line art, patterns of single pixels, noise, gradients, gray, dark and bright ones.
    """
    from ..bench.hard import PICTURES

    paths = {os.path.join(folder, f"{name}.png"): draw for name, draw in PICTURES.items()}
    for path in paths:
        if not force and is_taken(path):
            give_up(f"{shown(path)} exists; replace it with --force")
    files = {}
    try:
        for path, draw in paths.items():
            file = io.BytesIO()
            draw().save(file, "PNG")
            files[path] = file.getvalue()
        os.makedirs(folder, exist_ok=True)
        write_together(files, overwrite=force)
    except ImportError as error:  # a Pillow without FreeType
        give_up(reason(error))
    except OSError as error:
        give_up(f"cannot write to {shown(folder)}: {explain(error)}")
    click.echo(f"{len(files)} pictures in {shown(folder)}")
