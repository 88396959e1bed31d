"""Draws rate-distortion curves as SVG: for a file of its own, or to be part of a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from .metrics import METRICS

__all__ = ["Line", "chart", "style"]

WIDTH, HEIGHT = 960, 500
LEFT, TOP, RIGHT, BOTTOM = 64, 24, 740, 444
LEGEND, STEP = 772, 22

HUES, DASHES = 8, 6
"""How many colours the style has for other codecs than this one, and dashes for published ones."""


@dataclass(frozen=True)
class Line:
    """Describes one curve of a chart: "ours", "codec" or "published", what people read beside it,
    and its points: bits per pixel, value, and the setting where there is one.
    """

    name: str
    kind: str
    label: str
    points: Sequence[tuple[float, float, float | None]]
    hue: int = 0  # of a published curve, its dashes


def style() -> str:
    """Returns the CSS of all charts, light and dark."""
    return (Path(__file__).parent / "page" / "chart.css").read_text(encoding="utf-8")


def chart(metric: str, lines: Sequence[Line], *, alone: bool = True) -> str:
    """Returns a chart of values of a metric over bits per pixel; the rates are on a logarithmic
    axis, so that one horizontal distance is one ratio of sizes everywhere. Its ranges are those
    of the measured curves. `alone` says that it has to carry its style with it.
    """
    kind = METRICS[metric]
    lines = [_finite(line) for line in lines]
    shown = [p for line in lines if line.kind != "published" for p in line.points]
    if not shown:
        raise ValueError(f"no curve of {kind.label} has a point")
    low, high = min(p[0] for p in shown), max(p[0] for p in shown)
    x = _Axis(math.log(low * 0.94), math.log(high * 1.06), LEFT, RIGHT)
    floor, top = min(p[1] for p in shown), max(p[1] for p in shown)
    if kind.floor is not None:
        floor = max(floor, kind.floor)
    margin = 0.03 * (top - floor) or 1
    y = _Axis(floor - margin, top + margin, BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'data-metric="{metric}" role="img" aria-label="{kind.label} over bits per pixel">',
        f"<style>{style()}</style>" if alone else "",
        '<rect class="paper" width="100%" height="100%"/>' if alone else "",
        f'<clipPath id="plot-{metric}"><rect x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" '
        f'height="{BOTTOM - TOP}"/></clipPath>',
    ]
    for value, text in _rates(low, high):
        at = x.at(math.log(value))
        parts.append(f'<path class="grid" d="M{at:.1f} {TOP}V{BOTTOM}"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{BOTTOM + 20}">{text}</text>')
    for value, text in _ticks(y.low, y.high):
        at = y.at(value)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{RIGHT}"/>')
        parts.append(f'<text class="tick left" x="{LEFT - 10}" y="{at + 4:.1f}">{text}</text>')
    unit = f", {kind.unit}" if kind.unit else ""
    parts.append(f'<text class="axis" x="{LEFT}" y="14">{kind.label}{unit}</text>')
    parts.append(f'<text class="axis end" x="{RIGHT}" y="{BOTTOM + 42}">bits per pixel</text>')
    parts.append(f'<g clip-path="url(#plot-{metric})">')
    # The most important one is drawn last, over the others.
    order = {"published": 0, "codec": 1, "ours": 2}
    for line in sorted(lines, key=lambda line: order[line.kind]):
        parts.append(_curve(line, x, y))
    parts += ["</g>", _legend(lines), "</svg>"]
    return "\n".join(part for part in parts if part)


class _Axis:
    """Says where on the drawing a value is."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def at(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)


def _finite(line: Line) -> Line:
    points = [p for p in line.points if p[0] > 0 and math.isfinite(p[0]) and math.isfinite(p[1])]
    return Line(line.name, line.kind, line.label, sorted(points, key=lambda p: p[0]), line.hue)


def _curve(line: Line, x: _Axis, y: _Axis) -> str:
    places = [(x.at(math.log(rate)), y.at(value)) for rate, value, _ in line.points]
    path = "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
    dots = []
    for (a, b), (rate, value, setting) in zip(places, line.points, strict=True):
        inside = LEFT <= a <= RIGHT and TOP <= b <= BOTTOM
        which = "" if setting is None else f' data-setting="{setting:g}"'
        if inside:
            radius = 3.6 if line.kind == "ours" else 2.4
            dots.append(
                f'<circle class="dot" cx="{a:.1f}" cy="{b:.1f}" r="{radius}" '
                f'data-bpp="{rate:.4f}" data-value="{value:.3f}"{which}/>'
            )
    name = escape(line.name, quote=True)
    return (
        f'<g class="curve {_class(line)}" data-name="{name}" '
        f'data-label="{escape(line.label, quote=True)}">'
        f'<path class="line" d="M{path}"/>{"".join(dots)}</g>'
        if places
        else ""
    )


def _class(line: Line) -> str:
    if line.kind == "published":
        return f"published dash{line.hue % DASHES}"
    return f"codec hue{line.hue % HUES}" if line.kind == "codec" else line.kind


def _legend(lines: Sequence[Line]) -> str:
    parts = ['<g class="legend">']
    at = TOP + 8
    for heading, kinds in (("", ("ours", "codec")), ("published", ("published",))):
        group = [line for line in lines if line.kind in kinds and line.points]
        if heading and group:
            at += 14
            parts.append(f'<text class="axis" x="{LEGEND}" y="{at + 4}">{heading}</text>')
            at += STEP
        for line in group:
            parts.append(
                f'<g class="key {_class(line)}" data-name="{escape(line.name, quote=True)}">'
                f'<path class="line" d="M{LEGEND} {at}h26"/>'
                f'<text x="{LEGEND + 36}" y="{at + 4}">{escape(line.label)}</text></g>'
            )
            at += STEP
    return "\n".join([*parts, "</g>"])


def _rates(low: float, high: float) -> list[tuple[float, str]]:
    """Rates of 1, 2 and 5 times a power of ten within a range, or of 1 to 9 where those are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9)):
        found = [digit * 10.0**decade for decade in decades for digit in digits]
        found = [value for value in found if low <= value <= high]
        if len(found) > 2:
            break
    return [(value, f"{value:.3g}") for value in found]


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """About six round values within a range."""
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= raw)
    first = math.ceil(low / step)
    return [(n * step, f"{n * step:.10g}") for n in range(first, math.floor(high / step) + 1)]
