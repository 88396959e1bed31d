"""The commands ``aec bench rd`` and ``aec bench bd``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..format.errors import AecError
from .codes import FAILED, OK, code_of
from .files import STANDARD
from .measuring import Place, TimeLeft, arguments, give_up, numbers, reason
from .naming import shown
from .report import complain
from .tables import bd_rate_line, falls_text, rd_table

if TYPE_CHECKING:
    from ..bench.bd import BdRate, Curve
    from ..bench.cache import Cache
    from ..bench.rd import Result

__all__ = ["bd", "listed", "rd"]

REPORT = "report.html"
QUALITIES = "5,20,35,50,65,80,95"


def listed(
    name: str,
) -> Callable[[click.Context, click.Parameter, str | None], tuple[str, ...] | None]:
    """Returns a callback for an option whose values, with commas, are those of a table of bench."""

    def callback(
        _context: click.Context, _option: click.Parameter, value: str | None
    ) -> tuple[str, ...] | None:
        from ..bench.codecs import CODECS
        from ..bench.metrics import METRICS

        if value is None:
            return None
        known: Iterable[str] = METRICS if name == "metrics" else CODECS
        if name == "speed":
            from ..bench.speed import BESIDE as known
        names = tuple(dict.fromkeys(value.split(",")))
        for one in names:
            if one not in known:
                raise click.BadParameter(f"{one!r} is none of {', '.join(known)}")
        return names

    return callback


def _results(
    _context: click.Context, _option: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """Lets names of files and of published curves pass."""
    from ..bench.published import published_names

    names = published_names()
    for name in value:
        if not os.path.isfile(name) and name not in names:
            raise click.BadParameter(
                f"{name!r} is neither a file nor one of the published curves {', '.join(names)}"
            )
    return value


def _read(name: str) -> list[dict[str, Any]]:
    """The results in a file, or the published one of this name; raises OSError or ValueError."""
    from ..bench.bd import read_results
    from ..bench.published import published

    return read_results(name) if os.path.isfile(name) else [published(name)]


@click.command(short_help="Bits against distortion, beside other codecs.")
@arguments
@click.option(
    "--codecs",
    callback=listed("codecs"),
    help="What to compare, with commas: aec, aec-slow, jpeg, webp, avif, avif-slow, jxl, jxl-slow, "
    "heic, jp2.  [default: all that are installed, but for aec-slow]",
)
@click.option(
    "--qualities",
    default=QUALITIES,
    show_default=True,
    callback=numbers,
    help="Qualities of aec; the other codecs run through their own.",
)
@click.option(
    "--metrics",
    callback=listed("metrics"),
    help="What to measure, with commas: psnr-rgb, psnr-y, ms-ssim-rgb, ssimulacra2.  "
    "[default: psnr-rgb, and with --out DIR all]",
)
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="FILE|NAME",
    callback=_results,
    help="CompressAI result (JSON) of the same pictures to give BD-rates against, or for Kodak "
    "the name of a published one, as vtm; repeatable.",
)
@click.option(
    "--view-bpp",
    type=click.FloatRange(0, min_open=True),
    default=0.3,
    show_default=True,
    help="Bits per pixel of the pictures to look at with --out DIR.",
)
@click.option(
    "--cache",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where measured points are kept, so that a run goes on where another one ended.  "
    "[default: aec/bench in ~/.cache, or in $XDG_CACHE_HOME]",
)
@click.option("--no-cache", is_flag=True, help="Measure all of it, and keep no point.")
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
    metrics: Sequence[str] | None,
    anchors: Sequence[str],
    view_bpp: float,
    cache: Path | None,
    no_cache: bool,
    jobs: int,
    **shared: Any,
) -> None:
    """Code every picture of FOLDER with every codec, and print means over the pictures, with the
    lowest PSNR of one beside them, and every step at which a codec does not go up with its setting.

    Bits are those of whole files. PSNR is of 8-bit RGB, with one error over all three channels.
    The BD-rate says how many percent more bits a codec takes for the same quality than another
    one (less if negative), over what both reach: PCHIP through the points of the means.

    With --out DIR, which is any name that does not end in .json, the results go into a folder: a
    page to look at (report.html), the curves as SVG and PNG, all points as CSV and JSON, and a
    result of CompressAI for each codec. For Kodak it has published curves beside the measured.
    """
    place = Place(**shared)
    place.check_out(os.path.join(str(place.out), REPORT) if place.is_folder else None)
    try:
        from ..bench.bd import bjontegaard, curve_of, has_metric
        from ..bench.cache import Cache, default_folder
        from ..bench.codecs import make_all
        from ..bench.metrics import METRICS, PSNR
        from ..bench.rd import run
        from ..bench.runs import environment, find_pictures, finite

        kinds = metrics or (tuple(METRICS) if place.is_folder else (PSNR,))
        if anchors or place.is_folder or codecs is None or {"jpeg"} < set(codecs):
            bjontegaard()  # better missed now than when all is measured
        paths = find_pictures(place.folder)
        if not all(os.path.isfile(name) for name in anchors):
            _check_kodak(paths)
        published = [result for name in anchors for result in _read(name)]
        curves = [
            curve_of(result, key)
            for key in kinds
            for result in published
            if key == PSNR or has_metric(result, key)  # PSNR is what none may lack
        ]
        made = make_all(codecs, qualities, device=place.device, model=place.model)
    except (AecError, ImportError, OSError, RuntimeError, ValueError) as error:
        give_up(reason(error), code_of(error))
    kept = None if no_cache else Cache(cache or default_folder())
    line = TimeLeft()
    result = run(
        paths, made, metrics=kinds, cache=kept, jobs=jobs, report=line.report, watch=line.watch
    )
    done = len(paths) - len(result.skipped)
    rates: list[BdRate] = []
    if done:
        lines = [f"means over {done} of {len(paths)} pictures, {jobs} at a time", rd_table(result)]
        if kept is not None and result.reused:
            count = sum(map(len, result.points.values()))
            lines.append(f"{result.reused} of {count} points, with their times, from {kept.folder}")
        for key in kinds:
            ours = [result.curve(codec.name, key) for codec in result.codecs]
            jpeg = [curve for curve in ours if curve.name == "jpeg"]
            _bd_rates(ours, [*jpeg, *(c for c in curves if c.metric == key)], lines, rates)
        lines.append(falls_text(result))
        click.echo("\n".join(lines), err=place.out == STANDARD)
    else:
        complain(f"no picture of {shown(place.folder)} could be measured")
    facts: dict[str, Any] = {"environment": environment(), "jobs": jobs, "reused": result.reused}
    facts["bd_rates"] = [asdict(rate) for rate in rates]
    if place.is_folder and done:
        files = _report(result, paths, published, facts, view_bpp, kept, jobs)
        place.write_folder(files)
        click.echo(f"{len(files)} files in {shown(str(place.out))}, to look at: {REPORT}")
    elif not place.is_folder:
        place.write(finite(facts | result.as_dict()))
    context.exit(FAILED if result.skipped or not done else OK)


def _report(
    result: Result,
    paths: Sequence[Path],
    published: Sequence[dict[str, Any]],
    facts: dict[str, Any],
    bpp: float,
    cache: Cache | None,
    jobs: int,
) -> dict[str, bytes]:
    """The files of the report; for it, every picture is coded once more by every codec."""
    from ..bench.published import DRAWN, is_kodak
    from ..bench.published import published as published_result
    from ..bench.rd import Progress
    from ..bench.report import report_files
    from ..bench.runs import spread
    from ..bench.views import viewer

    if is_kodak(result.ids):
        names = {one["name"] for one in published}
        published = [*published, *(published_result(n) for n in DRAWN if n not in names)]
    measured = [path for path in paths if path.name not in result.skipped]
    click.echo("pictures to look at", err=True)
    line = TimeLeft()
    views: list[dict[str, Any]] = []
    with spread(viewer(result, bpp, cache), measured, jobs) as found:
        for view in found:
            views.append(view)
            line.watch(Progress(len(views), len(measured), len(views), 0))
    return report_files(result, published, facts, views, bpp)


def _check_kodak(paths: Sequence[Path]) -> None:
    """Raises ValueError unless the pictures are those that the published curves are about."""
    from ..bench.published import is_kodak
    from ..bench.runs import open_opaque, picture_id

    if len(paths) != 24 or not is_kodak(picture_id(open_opaque(path)) for path in paths):
        raise ValueError("the published curves are of the 24 pictures of Kodak, and these are not")


def _bd_rates(
    tests: Sequence[Curve], anchors: Sequence[Curve], lines: list[str], rates: list[BdRate]
) -> None:
    """Adds the BD-rates of all curves against all anchors, as text and as numbers."""
    from ..bench.bd import bd_rate

    for anchor in anchors:
        for curve in tests:
            if curve is anchor:
                continue
            try:
                rate = bd_rate(curve, anchor)
            except ValueError as error:
                lines.append(f"BD-rate of {curve.name} against {anchor.name}: none, as {error}")
            else:
                lines.append(bd_rate_line(rate))
                rates.append(rate)


@click.command(short_help="BD-rates between results and published curves.")
@click.argument("results", nargs=-1, required=True, metavar="RESULT...", callback=_results)
@click.option(
    "--anchor",
    required=True,
    metavar="NAME|FILE",
    help="What to compare with: a codec in the results, a published curve, or a file with one.",
)
@click.option(
    "--metrics",
    callback=listed("metrics"),
    help="Which metrics, with commas.  [default: all that both curves have]",
)
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@click.pass_context
def bd(
    context: click.Context,
    /,
    results: Sequence[str],
    anchor: str,
    metrics: Sequence[str] | None,
    as_json: bool,
) -> None:
    """Print how many percent more bits the codecs of each RESULT take than an anchor for the same
    quality (less if negative).

    A RESULT is a file that `aec bench rd` or CompressAI wrote, or the name of a curve that was
    published for Kodak: vtm, elic and so on. Of the same pictures they all have to be.
    """
    lines: list[str] = []
    rates: list[BdRate] = []
    try:
        from ..bench.bd import bjontegaard, curve_of, has_metric
        from ..bench.metrics import METRICS
        from ..bench.published import check_same_pictures

        bjontegaard()
        found = [result for name in results for result in _read(name)]
        bases = [result for result in found if result["name"] == anchor] or _read(anchor)
        if len(bases) > 1:
            raise ValueError(f"{anchor} stands for {len(bases)} results")
        (base,) = bases
        check_same_pictures([base, *found])
        for key in metrics or METRICS:
            tests = [r for r in found if r is not base and has_metric(r, key)]
            if tests and has_metric(base, key):
                curves = [curve_of(result, key) for result in tests]
                _bd_rates(curves, [curve_of(base, key)], lines, rates)
    except (ImportError, OSError, ValueError) as error:
        give_up(reason(error), code_of(error))
    if as_json:
        click.echo(json.dumps([asdict(rate) for rate in rates], indent=1))
    else:
        click.echo("\n".join(lines or ["no metric that the anchor and another result have"]))
    context.exit(OK if rates else FAILED)
