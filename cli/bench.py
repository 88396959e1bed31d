"""The group ``aec bench``, with its commands ``rd``, ``speed`` and ``exact``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..format.errors import AecError, BackendMismatchError
from .bench_tiles import memory, tiles
from .codes import EXIT_CODES, FAILED, OK, code_of
from .files import STANDARD
from .measuring import Place, arguments, give_up, model_option, numbers, reason, report
from .naming import shown
from .report import complain
from .tables import bd_rate_line, rd_table, speed_text

if TYPE_CHECKING:
    from ..bench.metrics import Curve
    from ..bench.rd import Result

__all__ = ["bench"]

QUALITIES = "5,20,35,50,65,80,95"


@click.group(short_help="Measure rate, distortion and speed.", epilog=EXIT_CODES)
def bench() -> None:
    """Measure what files cost, what they are worth, and how long they take.

    A picture that is left out counts as failed.
    """


bench.add_command(memory)
bench.add_command(tiles)


def _names(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    from ..bench.codecs import CODECS

    if value is None:
        return None
    names = tuple(dict.fromkeys(value.split(",")))
    for name in names:
        if name not in CODECS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(CODECS)}")
    return names


@bench.command(short_help="Bits against distortion, beside other codecs.")
@arguments
@click.option(
    "--codecs",
    callback=_names,
    help="What to compare, with commas: aec, jpeg, webp, avif, avif-slow, jxl, jxl-slow, heic, "
    "jp2.  [default: all that are installed]",
)
@click.option(
    "--qualities",
    default=QUALITIES,
    show_default=True,
    callback=numbers,
    help="Qualities of aec; the other codecs run through their own.",
)
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="CompressAI result (JSON) of the same pictures to give BD-rates against; repeatable.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Pictures at a time; more than one spoils the times.",
)
@click.pass_context
def rd(
    context: click.Context,
    /,
    codecs: Sequence[str] | None,
    qualities: Sequence[float],
    anchors: Sequence[str],
    jobs: int,
    **shared: Any,
) -> None:
    """Code every picture of FOLDER with every codec, and print means over the pictures.

    Bits are those of whole files. PSNR is of 8-bit RGB, with one error over all three channels.
    The BD-rate says how many percent more bits a codec takes for the same PSNR than another one
    (less if negative), over the PSNRs that both reach: PCHIP through the points of the means.
    """
    place = Place(**shared)
    place.check_out()
    try:
        from ..bench.codecs import make_all
        from ..bench.metrics import bjontegaard, read_curve
        from ..bench.rd import run
        from ..bench.runs import environment, find_pictures, finite

        if anchors or codecs is None or ("jpeg" in codecs and len(codecs) > 1):
            bjontegaard()  # better missed now than when all is measured
        curves = [read_curve(path) for path in anchors]
        paths = find_pictures(place.folder)
        made = make_all(codecs, qualities, device=place.device, model=place.model)
    except (AecError, ImportError, OSError, RuntimeError, ValueError) as error:
        give_up(reason(error), code_of(error))
    result = run(paths, made, jobs=jobs, report=report)
    done = len(paths) - len(result.skipped)
    rates: list[dict[str, Any]] = []
    if done:
        text = f"means over {done} of {len(paths)} pictures, {jobs} at a time\n{rd_table(result)}"
        lines, rates = _bd_rates(result, curves)
        click.echo("\n".join([text, *lines]), err=place.out == STANDARD)
    else:
        complain(f"no picture of {shown(place.folder)} could be measured")
    facts: dict[str, Any] = {"environment": environment(), "jobs": jobs, "bd_rates": rates}
    place.write(finite(facts | result.as_dict()))
    context.exit(FAILED if result.skipped or not done else OK)


def _bd_rates(result: Result, anchors: Sequence[Curve]) -> tuple[list[str], list[dict[str, Any]]]:
    """The BD-rates of all codecs against JPEG and the published curves, for people and programs."""
    from ..bench.metrics import bd_rate

    lines, found = [], []
    curves = [result.curve(codec.name) for codec in result.codecs]
    jpeg = [curve for curve in curves if curve.name == "jpeg"]
    for anchor in (*jpeg, *anchors):
        for curve in curves:
            if curve is anchor:
                continue
            try:
                rate = bd_rate(curve, anchor)
            except ValueError as error:
                lines.append(f"BD-rate of {curve.name} against {anchor.name}: none, as {error}")
            else:
                lines.append(bd_rate_line(rate))
                found.append(asdict(rate))
    return lines, found


@bench.command(short_help="Time, where it goes, and what the model costs.")
@arguments
@click.option(
    "-q",
    "--quality",
    type=click.FloatRange(0, 100),
    default=50.0,
    show_default=True,
    help="Quality of aec.",
)
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Runs each.")
@click.option("--threads", type=click.IntRange(1), help="Threads of each codec that has several.")
@click.pass_context
def speed(
    context: click.Context,
    /,
    quality: float,
    repeat: int,
    threads: int | None,
    **shared: Any,
) -> None:
    """Time the pictures of FOLDER one by one, with JPEG and AVIF in the same run.

    Times are medians of the runs of each picture. A multiply-add is one weight times one value.
    """
    if math.isnan(quality):  # compares false with every bound, and so passes a range
        raise click.BadParameter("nan is not a number from 0 to 100")
    place = Place(**shared)
    place.check_out()
    try:
        from ..bench.codecs import Aec, Avif, Jpeg
        from ..bench.runs import find_pictures, finite
        from ..bench.speed import run

        paths = find_pictures(place.folder)
        codec = Aec([quality], device=place.device, model=place.model)
        others = [Jpeg("4:2:0"), Avif(threads, speed=4)]
    except (AecError, ImportError, OSError, RuntimeError, ValueError) as error:
        give_up(reason(error), code_of(error))
    result = run(paths, codec, others, repeat=repeat, threads=threads, report=report)
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
