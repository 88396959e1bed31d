"""Draws rate-distortion curves as PNG, with matplotlib where it is installed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib import import_module

from .chart import Line
from .metrics import METRICS

__all__ = ["png"]

ACCENT, SOFT = "#c8401a", "#687180"
HUES = ("#4a6fa5", "#a88a2c", "#6fae86", "#2f7d51", "#a98cc4", "#74509b", "#4b5361", "#a3917f")
DASHES = ((5, 5), (1, 3), (11, 4), (8, 3, 1, 3), (3, 2), (8, 3, 1, 3, 1, 3))


def png(metric: str, lines: Sequence[Line]) -> bytes | None:
    """Returns the curves of a metric as a picture, or None without matplotlib."""
    try:
        figures = import_module("matplotlib.figure")
        tickers = import_module("matplotlib.ticker")
    except ImportError:
        return None
    kind = METRICS[metric]
    figure = figures.Figure(figsize=(9.6, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(tickers.LogLocator(10, (1, 2, 5)))
    axes.xaxis.set_major_formatter(tickers.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(tickers.NullLocator())
    axes.grid(color="#e4e7ec")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=SOFT)
    axes.set_xlabel("bits per pixel", loc="right", color=SOFT)
    axes.set_ylabel(f"{kind.label}, {kind.unit}" if kind.unit else kind.label, color=SOFT)
    for line in lines:
        if line.kind == "published":
            dashes = (0, DASHES[line.hue % len(DASHES)])
            look = {"color": SOFT, "linestyle": dashes, "linewidth": 1, "zorder": 2}
        elif line.kind == "ours":
            look = {"color": ACCENT, "linewidth": 2.6, "marker": "o", "markersize": 5, "zorder": 4}
        else:
            hue = HUES[line.hue % len(HUES)]
            look = {"color": hue, "linewidth": 1.4, "marker": "o", "markersize": 3, "zorder": 3}
        axes.plot(
            [p[0] for p in line.points], [p[1] for p in line.points], label=line.label, **look
        )
    shown = [p for line in lines if line.kind != "published" for p in line.points]
    rates, values = [p[0] for p in shown], [p[1] for p in shown]
    axes.set_xlim(min(rates) * 0.94, max(rates) * 1.06)
    floor = min(values) if kind.floor is None else max(min(values), kind.floor)
    margin = 0.03 * (max(values) - floor) or 1
    axes.set_ylim(floor - margin, max(values) + margin)
    figure.legend(loc="outside right upper", frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
