"""What `aec bench rd --out DIR` writes: tables, curves, and a page that shows all of it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from .bd import BdRate, Curve, bd_rate, curve_of, has_metric
from .chart import Line, chart, style
from .codecs import EFFORTS, OTHERS
from .metrics import METRICS
from .plot import png
from .rd import Result
from .runs import finite

__all__ = ["report_files"]


def report_files(
    result: Result,
    published: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    views: Sequence[Mapping[str, Any]],
    bpp: float,
) -> dict[str, bytes]:
    """Returns the contents of all files by their names, the page last: the result with the facts
    that go with it, its rows, a result of CompressAI a codec, and the curves of each metric beside
    published results; the page shows views of the pictures at about `bpp`, too.
    """
    files = {
        "result.json": _json({**facts, **result.as_dict()}),
        "points.csv": points_csv(result).encode(),
    }
    for codec in result.codecs:
        files[f"compressai-{codec.name}.json"] = _json(result.codec_dict(codec))
    charts = []
    for key in result.metrics:
        lines = lines_of(result, published, key)
        if not any(line.points for line in lines if line.kind != "published"):
            continue
        files[f"curves-{key}.svg"] = chart(key, lines).encode()
        image = png(key, lines)
        if image is not None:
            files[f"curves-{key}.png"] = image
        charts.append((key, chart(key, lines, alone=False)))
    files["report.html"] = page(result, published, facts, views, bpp, charts).encode()
    return files


def _json(content: Any) -> bytes:
    return (json.dumps(finite(content), indent=1, allow_nan=False) + "\n").encode()


def points_csv(result: Result) -> str:
    """Returns a row for every picture, codec and setting."""
    file = io.StringIO()
    rows = [
        {"codec": codec.name, **point.as_row()}
        for codec in result.codecs
        for point in result.points[codec.name]
    ]
    writer = csv.DictWriter(file, list(rows[0]) if rows else ["codec"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(finite(rows))
    return file.getvalue()


def lines_of(result: Result, published: Sequence[Mapping[str, Any]], metric: str) -> list[Line]:
    """Returns all curves of a metric, the measured ones first."""
    points: list[tuple[float, float, float | None]]
    lines = []
    for codec in result.codecs:
        curve = result.curve(codec.name, metric)
        settings = [mean.setting for mean in result.means(codec.name)]
        points = list(zip(curve.bpp, curve.values, settings, strict=True))
        if codec.name in EFFORTS:
            lines.append(Line(codec.name, "ours", codec.name, points))
        else:
            hue = OTHERS.index(codec.name) if codec.name in OTHERS else 0
            lines.append(Line(codec.name, "codec", codec.name, points, hue))
    for number, one in enumerate(published):
        if has_metric(one, metric):
            curve = curve_of(one, metric)
            points = [(x, y, None) for x, y in zip(curve.bpp, curve.values, strict=True)]
            title = str(one.get("title", one["name"]))
            lines.append(Line(_name(one), "published", title, points, number))
    return lines


def _name(published: Mapping[str, Any]) -> str:
    """How the page calls a published curve: never as what was measured."""
    return f"published {published['name']}"


def all_rates(result: Result, published: Sequence[Mapping[str, Any]]) -> list[BdRate]:
    """Returns the BD-rates of every curve against every other one, by metric, where there are."""
    rates = []
    for key in result.metrics:
        curves = [result.curve(codec.name, key) for codec in result.codecs]
        for one in published:
            if has_metric(one, key):
                curve = curve_of(one, key)
                curves.append(Curve(_name(one), curve.bpp, curve.values, key))
        for test in curves:
            for anchor in curves:
                if test is anchor:
                    continue
                try:
                    rates.append(bd_rate(test, anchor))
                except ValueError:
                    continue  # the page shows that there is none
    return rates


def page(
    result: Result,
    published: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    views: Sequence[Mapping[str, Any]],
    bpp: float,
    charts: Sequence[tuple[str, str]],
) -> str:
    """Returns the page: HTML that asks for nothing from elsewhere."""
    count = len(result.ids)
    data = {
        "metrics": [
            {"key": key, "label": METRICS[key].label, "unit": METRICS[key].unit}
            for key in result.metrics
        ],
        "codecs": [codec.name for codec in result.codecs],
        "published": [
            {"name": _name(one), "title": one.get("title", one["name"])} for one in published
        ],
        "rates": [asdict(rate) for rate in all_rates(result, published)],
        "views": views,
    }
    figures = [
        f'<figure class="curves" data-metric="{key}"{"" if number == 0 else " hidden"}>{svg}'
        f"<figcaption>{escape(METRICS[key].about)}.</figcaption></figure>"
        for number, (key, svg) in enumerate(charts)
    ]
    tabs = [
        f'<button type="button" data-metric="{key}" aria-pressed="{str(number == 0).lower()}">'
        f"{METRICS[key].label}</button>"
        for number, (key, _) in enumerate(charts)
    ]
    environment = facts.get("environment", {})
    machine = ", ".join(f"{key} {value}" for key, value in environment.items())
    jobs = facts.get("jobs", 1)
    parts = {
        "style": style() + _part("report.css"),
        "script": _part("report.js"),
        "data": json.dumps(finite(data), allow_nan=False).replace("<", "\\u003c"),
        "count": f"{count} picture{'' if count == 1 else 's'}",
        "bpp": f"{bpp:g}",
        "tabs": "".join(tabs),
        "figures": "".join(figures),
        "codecs": _rows((codec.name, codec.description) for codec in result.codecs),
        "published": _rows((str(o.get("title", o["name"])), str(o["source"])) for o in published)
        if published
        else "",
        "points": points_table(result),
        "falls": falls_table(result),
        "metrics": _rows((METRICS[key].label, METRICS[key].about) for key in result.metrics),
        "machine": escape(f"{machine}; {jobs} picture{'' if jobs == 1 else 's'} at a time"),
        "skipped": _rows(result.skipped.items()) if result.skipped else "",
    }
    text = _part("report.html")
    for name, part in parts.items():
        empty = "" if part else " hidden"
        text = text.replace(f"[[hidden {name}]]", empty)
    # One pass from the front, so that no part can be taken for a place for another one.
    pieces = text.split("[[")
    return pieces[0] + "".join(
        parts[name] + rest for name, _, rest in (piece.partition("]]") for piece in pieces[1:])
    )


def points_table(result: Result) -> str:
    """Returns a row for every codec and setting: means, and the picture of the lowest PSNR."""
    kinds = [METRICS[key] for key in result.metrics]
    rows = []
    for codec in result.codecs:
        for m in result.means(codec.name):
            values = [f"{kind.on_curve(m.values[kind.key]):.2f}" for kind in kinds]
            worst = (f"{m.worst.psnr:.2f}", m.worst.image) if m.worst else ("\N{EN DASH}",) * 2
            rows.append((codec.name, f"{m.setting:g}", f"{m.bpp:.3f}", *values, *worst))
    heads = (f"{kind.label} {kind.unit}".strip() for kind in kinds)
    return _table(("codec", "setting", "bpp", *heads, "lowest PSNR dB", "of"), rows)


def falls_table(result: Result) -> str:
    """Returns the steps at which a codec does not go up with its setting; nothing for none."""
    rows = [
        (
            codec.name,
            fall.image,
            *("{:g} to {:g}".format(*pair) for pair in (fall.settings, fall.bytes)),
            "{:.2f} to {:.2f}".format(*fall.psnr),
        )
        for codec in result.codecs
        for fall in result.falls(codec.name)
    ]
    return _table(("codec", "picture", "settings", "bytes", "PSNR dB"), rows) if rows else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head, *body = (
        "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row)
        for tag, row in (("th", heads), *(("td", row) for row in rows))
    )
    lines = "".join(f"<tr>{line}</tr>" for line in body)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _part(name: str) -> str:
    return (Path(__file__).parent / "page" / name).read_text(encoding="utf-8")


def _rows(rows: Any) -> str:
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows)
