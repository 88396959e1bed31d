"""Tables of benchmark results for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .naming import shown

if TYPE_CHECKING:
    from ..bench.bd import BdRate
    from ..bench.rd import Result

__all__ = ["aligned", "bd_rate_line", "rd_table", "speed_text"]

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
    """Returns the means of `aec bench rd`."""
    from ..bench.metrics import METRICS

    kinds = [METRICS[key] for key in result.metrics]
    heads = [f"{kind.label} {kind.unit}".strip() for kind in kinds]
    rows = [("codec", "setting", "bpp", *heads, "encode s", "decode s")]
    for codec in result.codecs:
        for m in result.means(codec.name):
            values = [f"{kind.on_curve(m.values[kind.key]):.3f}" for kind in kinds]
            times = f"{m.encode_seconds:.4f}", f"{m.decode_seconds:.4f}"
            rows.append((codec.name, f"{m.setting:g}", f"{m.bpp:.4f}", *values, *times))
    return aligned(rows)


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
        lines += [_pictures(result), "", _totals(result), "", "share of decoding"]
        shares = result["total"]["stage_share"]
        lines.append(aligned([(f"  {s}", f"{100 * share:.1f} %") for s, share in shares.items()]))
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
        rows.append((shown(row["image"]), f"{row['width']}x{row['height']}", *times))
    return aligned(rows)


def _totals(result: dict[str, Any]) -> str:
    total = result["total"]
    heads = ("all pictures", "setting", "bpp", "encode s", "decode s", "encode MP/s", "decode MP/s")
    rows = [(*heads, "aec encodes in", "aec decodes in")]
    for name, setting in result["settings"].items():
        part = total[name]
        rows.append(
            (
                name,
                f"{setting:g}",
                f"{8e-6 * part['bytes'] / total['megapixels']:.3f}",
                *(f"{part[f'{way}_seconds']:.4f}" for way in WAYS),
                *(f"{part[f'{way}_megapixels_per_second']:.3f}" for way in WAYS),
                *(_ratio(part, way) for way in WAYS),
            )
        )
    return aligned(rows)


def _ratio(part: dict[str, Any], way: str) -> str:
    low, high = part[f"aec_{way}_ratio_range"]
    return f"{part[f'aec_{way}_ratio']:.3g} x ({low:.3g} to {high:.3g})"
