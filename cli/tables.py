"""Tables of benchmark results for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .naming import shown

if TYPE_CHECKING:
    from ..bench.bd import BdRate
    from ..bench.rd import Means, Result

__all__ = ["aligned", "bd_rate_line", "falls_text", "rd_table", "speed_text"]

WAYS = ("encode", "decode")


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Returns rows of equal length as lines, the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def rd_table(result: Result) -> str:
    """Returns the means of `aec bench rd`, with the lowest PSNR of a picture at each setting."""
    from ..bench.metrics import METRICS, PSNR

    kinds = [METRICS[key] for key in result.metrics]
    heads = [f"{kind.label} {kind.unit}".strip() for kind in kinds]
    if PSNR in result.metrics:
        heads += ["worst dB", "of"]
    rows = [("codec", "setting", "bpp", *heads, "encode s", "decode s")]
    for codec in result.codecs:
        for m in result.means(codec.name):
            values = [f"{kind.on_curve(m.values[kind.key]):.3f}" for kind in kinds]
            times = f"{m.encode_seconds:.4f}", f"{m.decode_seconds:.4f}"
            cells = *values, *_worst(m), *times
            rows.append((codec.name, f"{m.setting:g}", f"{m.bpp:.4f}", *cells))
    return aligned(rows)


def _worst(means: Means) -> tuple[str, ...]:
    return (f"{means.worst.psnr:.3f}", shown(means.worst.image)) if means.worst else ()


def falls_text(result: Result) -> str:
    """Returns where a codec does not go up with its setting."""
    from ..bench.rd import LOSS

    lines = []
    up = []
    for codec in result.codecs:
        falls = result.falls(codec.name)
        if not falls:
            up.append(codec.name)
            continue
        count = len({fall.image for fall in falls})
        lines.append(
            f"{codec.name}: a higher setting takes fewer bytes, or loses more than {LOSS:g} dB, on "
            f"{count} picture{'s' if count > 1 else ''}"
        )
        rows = []
        for fall in falls:
            settings, sizes = ("{:g} to {:g}".format(*p) for p in (fall.settings, fall.bytes))
            psnr = "{:.2f} to {:.2f} dB".format(*fall.psnr)
            rows.append((f"  {shown(fall.image)}", settings, f"{sizes} bytes", psnr))
        lines.append(aligned(rows))
    if up:
        lines.insert(0, f"up with every setting, on every picture: {', '.join(up)}")
    return "\n".join(lines)


def bd_rate_line(rate: BdRate) -> str:
    """Returns a BD-rate with what it is over."""
    from ..bench.metrics import METRICS

    kind = METRICS[rate.metric]
    unit = f" {kind.unit}" if kind.unit else ""
    return (
        f"BD-rate of {rate.test} against {rate.anchor}: {rate.percent:+.1f} %, {kind.label} from "
        f"{rate.low:.2f} to {rate.high:.2f}{unit}, with {rate.test_points} and "
        f"{rate.anchor_points} points"
    )


def speed_text(result: dict[str, Any]) -> str:
    """Returns the result of `aec bench speed`."""
    facts = result["environment"]
    lines = [
        f"torch {facts['torch']}, {facts['torch_threads']} threads, {facts['device']}; "
        f"medians of {result['repeat']}"
    ]
    if result["total"]:
        lines += [_sizes(result) if result["sizes"] else _pictures(result), ""]
        if not result["sizes"]:
            lines += [_totals(result), ""]
        if result["memory_of"]:
            where = "" if result["sizes"] else f" of {shown(result['memory_of'][0])}"
            lines += [f"MiB{where}: at the peak, besides what the process held before", ""]
        lines += _shares(result)
    lines += ["", "multiply-adds per pixel"]
    costs = result["multiply_adds_per_pixel"]
    lines.append(aligned([(f"  {part}", f"{count:.0f}") for part, count in costs.items()]))
    for title in ("parameters", "file_bytes"):
        counts = result[title] | {"all": sum(result[title].values())}
        lines.append(title.replace("_", " "))
        lines.append(aligned([(f"  {part}", str(count)) for part, count in counts.items()]))
    return "\n".join(lines)


def _pictures(result: dict[str, Any]) -> str:
    names = tuple(result["settings"])
    rows = [("picture", "size", *(f"{name} {way} s" for name in names for way in WAYS))]
    for row in result["pictures"]:
        times = [f"{row[name][f'{way}_seconds']:.4f}" for name in names for way in WAYS]
        rows.append((shown(row["image"]), _size(row), *times))
    return aligned(rows)


def _totals(result: dict[str, Any]) -> str:
    rows = [("all pictures", *_heads(result))]
    rows += [(name, *_cells(result, result["total"], name)) for name in result["settings"]]
    return aligned(rows)


def _sizes(result: dict[str, Any]) -> str:
    """One row for each size under the one before, so that one sees how a codec's numbers grow."""
    rows = [("codec", "picture", "size", *_heads(result))]
    for name in result["settings"]:
        for total in result["sizes"]:
            rows.append((name, total["image"], _size(total), *_cells(result, total, name)))
    return aligned(rows)


def _size(row: dict[str, Any]) -> str:
    return f"{row['width']}x{row['height']}"


def _heads(result: dict[str, Any]) -> tuple[str, ...]:
    units = ("s", "MP/s", "MiB") if result["memory_of"] else ("s", "MP/s")
    columns = [f"{way} {unit}" for unit in units for way in WAYS]
    return ("setting", "bpp", *columns, *(f"aec {way}s in" for way in WAYS))


def _cells(result: dict[str, Any], total: dict[str, Any], name: str) -> tuple[str, ...]:
    """What stands under `_heads` for a codec, in a sum over pictures."""
    part = total[name]
    cells = [
        f"{result['settings'][name]:g}",
        f"{8e-6 * part['bytes'] / total['megapixels']:.3f}",
        *(f"{part[f'{way}_seconds']:.4f}" for way in WAYS),
        *(f"{part[f'{way}_megapixels_per_second']:.3f}" for way in WAYS),
    ]
    if result["memory_of"]:
        cells += [_mib(part.get(f"{way}_memory_bytes")) for way in WAYS]
    return (*cells, *(_ratio(part, way) for way in WAYS))


def _mib(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:.1f}"


def _shares(result: dict[str, Any]) -> list[str]:
    """Where the time of aec goes, with a column for each size."""
    totals = result["sizes"] or [result["total"]]
    lines = []
    for way in WAYS:
        heads = [_size(total) if result["sizes"] else "" for total in totals]
        rows = [(f"share of {way[:-1]}ing", *heads)]
        for stage in totals[0]["stage_share"][way]:
            shares = (f"{100 * total['stage_share'][way][stage]:.1f} %" for total in totals)
            rows.append((f"  {stage}", *shares))
        lines.append(aligned(rows))
    return lines


def _ratio(part: dict[str, Any], way: str) -> str:
    low, high = part[f"aec_{way}_ratio_range"]
    return f"{part[f'aec_{way}_ratio']:.3g} x ({low:.3g} to {high:.3g})"
