"""The report of the benchmark: its files, its numbers, and what its page does in a browser."""

import base64
import csv
import json
import re
import runpy
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from aec.bench import bd, chart, codecs, plot, published, views
from aec.bench.cache import Cache
from aec.bench.metrics import METRICS
from aec.bench.rd import run

TESTS = Path(__file__).parent
aec_run = runpy.run_path(str(TESTS / "running.py"))["aec_run"]
browser = runpy.run_path(str(TESTS / "browser.py"))
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Is a folder with pictures and the report on them, with published curves."""
    base = tmp_path_factory.mktemp("report")
    (base / "pictures").mkdir()
    with Image.open(TESTS / "images" / "astronaut.png") as image:
        image.convert("RGB").crop((120, 10, 300, 180)).save(base / "pictures" / "<a>.png")
        image.convert("L").crop((200, 10, 380, 180)).save(base / "pictures" / "b.png")
    (base / "pictures" / "broken.png").write_bytes(b"no picture")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "is_kodak", lambda ids: len(ids) == 2)
        for codec in (codecs.Jpeg, codecs.WebP):
            patch.setattr(codec, "settings", (10, 40, 70, 95))
        done = aec_run(
            *("bench", "rd", base / "pictures", "--codecs", "aec,jpeg,webp", "--device", "cpu"),
            *("--qualities", "10,40,70,95", "--cache", base / "cache", "--out", base / "out"),
            code=1,
        )
    assert f"files in {base / 'out'}, to look at: report.html" in done.stdout
    return base


def test_tables(folder: Path) -> None:
    out = folder / "out"
    result = json.loads((out / "result.json").read_text())
    assert list(result["skipped"]) == ["broken.png"]
    rows = list(csv.DictReader((out / "points.csv").read_text().splitlines()))
    assert len(rows) == 2 * 3 * 4
    first = result["codecs"]["aec"]["images"][0]
    assert {"codec": "aec", **{k: str(v) for k, v in first.items()}} == rows[0]
    assert {"psnr", "psnr_y", "ms_ssim", "ssimulacra2"} <= set(rows[0])
    for name in ("aec", "jpeg", "webp"):
        (ours,) = bd.read_results(out / f"compressai-{name}.json")
        assert ours["results"] == result["codecs"][name]["results"]
        for key in METRICS:
            assert bd.has_metric(ours, key)


def test_curves(folder: Path) -> None:
    for key in METRICS:
        root = ElementTree.parse(folder / "out" / f"curves-{key}.svg").getroot()
        groups = {g.get("data-name"): g for g in root.iter(f"{SVG}g") if g.get("data-name")}
        assert {"aec", "jpeg", "webp"} <= set(groups)
        (ours,) = (g for g in root.iter(f"{SVG}g") if g.get("class") == "curve ours")
        dots = [dot for dot in ours if dot.tag == f"{SVG}circle"]
        curve = bd.read_curve(folder / "out" / "compressai-aec.json", key)
        shown = [(float(d.get("data-bpp", 0)), float(d.get("data-value", 0))) for d in dots]
        expected = [(x, y) for x, y in zip(curve.bpp, curve.values, strict=True) if y > 0]
        assert shown == [(round(x, 4), round(y, 3)) for x, y in expected]
        assert [d.get("data-setting") for d in dots][-1] == "95"
        assert ("published vtm" in groups) == (key in ("psnr-rgb", "ms-ssim-rgb"))
        if plot.png(key, [chart.Line("a", "codec", "a", [(1, 1, None), (2, 2, None)])]):
            with Image.open(folder / "out" / f"curves-{key}.png") as image:
                assert image.size == (1440, 750)


def test_chart_leaves_out_what_it_cannot_draw() -> None:
    line = chart.Line("<a&b>", "codec", '"x"', [(0.1, 30, 5), (0.2, float("inf"), 6)])
    far = chart.Line("far", "published", "far", [(0.01, 10, None), (90, 90, None)])
    text = chart.chart("psnr-rgb", [line, far])
    ElementTree.fromstring(text)
    assert text.count("<circle") == 1
    with pytest.raises(ValueError, match="no curve of PSNR has a point"):
        chart.chart("psnr-rgb", [far])


def page_data(folder: Path) -> tuple[str, dict[str, Any]]:
    text = (folder / "out" / "report.html").read_text(encoding="utf-8")
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    return text, json.loads(found)


def test_page_needs_nothing_else(folder: Path) -> None:
    text, data = page_data(folder)
    assert "[[" not in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "url(http" not in text and "@import" not in text
    assert "<a>" not in text.replace("\\u003ca>", "")
    assert data["codecs"] == ["aec", "jpeg", "webp"]
    rate = next(r for r in data["rates"] if (r["test"], r["anchor"]) == ("aec", "jpeg"))
    curves = [bd.read_curve(folder / "out" / f"compressai-{n}.json") for n in ("aec", "jpeg")]
    assert rate["percent"] == pytest.approx(bd.bd_rate(*curves).percent)


def test_views_are_what_the_codecs_give(folder: Path) -> None:
    _, data = page_data(folder)
    for picture, name in zip(data["views"], ("<a>.png", "b.png"), strict=True):
        assert picture["name"] == name
        original, ours, jpeg, webp = picture["views"]
        with Image.open(folder / "pictures" / name) as image:
            assert decoded(original) == image.convert("RGB").tobytes()
            file = codecs.WebP().encode(image, webp["setting"])
            assert decoded(webp) == codecs.WebP().decode(file).convert("RGB").tobytes()
        assert (webp["bytes"], webp["bpp"]) == (len(file), 8 * len(file) / (180 * 170))
        assert ours["bpp"] == pytest.approx(0.3, rel=0.05)  # every quality is one of aec
        assert set(jpeg["values"]) == set(METRICS)


def decoded(view: dict[str, Any]) -> bytes:
    head, _, text = view["src"].partition(",")
    assert head == "data:image/webp;base64"
    with Image.open(BytesIO(base64.b64decode(text))) as image:
        return image.convert("RGB").tobytes()


def test_views_come_from_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = codecs.WebP()
    paths = [folder / "pictures" / "b.png"]
    cache = Cache(folder / "other")
    viewer = views.viewer(run(paths, [codec], cache=cache), 0.5, cache)
    first = viewer(paths[0])
    monkeypatch.setattr(views, "code", None)
    assert viewer(paths[0]) == json.loads(json.dumps(first), object_hook=tuples)


def tuples(found: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if k in ("size", "box") else v for k, v in found.items()}


def test_middle_of_large_pictures() -> None:
    assert views.box_of(100, 50, 5000) == (0, 0, 100, 50)
    left, top, right, bottom = views.box_of(1000, 500, 5000)
    assert (right - left, bottom - top) == (100, 50)
    assert (left, top) == (450, 225)
    assert views.box_of(100000, 1, 10)[1::2] == (0, 1)


def test_no_published_curve_beside_other_pictures(folder: Path, tmp_path: Path) -> None:
    arguments = ("--codecs", "webp", "--cache", folder / "cache", "--metrics", "psnr-rgb")
    out = tmp_path / "out"
    aec_run("bench", "rd", folder / "pictures", *arguments, "--out", out, code=1)
    text = (out / "report.html").read_text(encoding="utf-8")
    assert "vtm" not in text
    assert "<div hidden><h3>Published curves" in text
    done = aec_run("bench", "rd", folder / "pictures", *arguments, "--out", out, code=1)
    assert "report.html exists; replace it with --force" in done.stderr


@pytest.fixture
def page(folder: Path, tmp_path: Path) -> Iterator[Any]:
    program = browser["find"]()
    if program is None:
        pytest.skip("no Chromium is installed")
    try:
        page = browser["Page"](program, tmp_path, (folder / "out" / "report.html").as_uri())
    except (OSError, RuntimeError) as error:  # TimeoutError is one, too
        pytest.skip(f"Chromium does not start here: {error}")
    yield page
    page.close()


def test_page_in_a_browser(page: Any, folder: Path) -> None:
    _, data = page_data(folder)
    shown = "document.getElementById('stage').dataset.shown"
    assert page.run(shown) == "aec"

    # A value read off a curve: the third point of aec, under the mouse.
    page.run("document.getElementById('curves').scrollIntoView()")
    x, y = page.run(
        "(() => { const b = document.querySelectorAll('figure:not([hidden]) .curve.ours .dot')[2]"
        ".getBoundingClientRect(); return [b.x + b.width / 2 + 1, b.y + b.height / 2 + 1] })()"
    )
    page.mouse("mouseMoved", x, y)
    page.wait("!document.getElementById('tip').hidden")
    curve = bd.read_curve(folder / "out" / "compressai-aec.json")
    text = page.run("document.getElementById('tip').textContent")
    assert text == f"aec, setting 70{curve.bpp[2]:.3f} bpp, {curve.values[2]:.2f} dB"

    # Another metric, another anchor.
    page.run("document.querySelector('button[data-metric=ssimulacra2]').click()")
    assert page.run("document.querySelector('figure:not([hidden])').dataset.metric") == (
        "ssimulacra2"
    )
    page.run(
        "(() => { const s = document.getElementById('anchor'); s.value = 'webp';"
        " s.dispatchEvent(new Event('change')) })()"
    )
    rate = next(r for r in data["rates"] if (r["test"], r["anchor"]) == ("jpeg", "webp"))
    cell = page.run("document.querySelectorAll('#rates tbody tr')[1].cells[1].textContent")
    assert f"{abs(rate['percent']):.1f}" in cell

    # Codecs are chosen, and flipped by key and mouse; the pixels are those of the view.
    page.run("document.querySelector('#names button:nth-child(2)').click()")
    page.run("document.querySelector('button[data-view=webp]').click()")
    assert page.run(shown) == "webp"
    page.run("document.getElementById('stage').focus()")
    page.key(" ")
    assert page.run(shown) == "original"
    page.key(" ")
    page.key("ArrowLeft")
    assert page.run(shown) == "jpeg"
    page.run("document.getElementById('stage').click()")
    assert page.run(shown) == "original"
    page.run("document.getElementById('stage').scrollIntoView()")
    where = "document.getElementById('stage').getBoundingClientRect()"
    x, y = page.run(f"[{where}.x + 200, {where}.y + 60]")
    for kind, moved in (("mousePressed", 0), ("mouseMoved", 30), ("mouseReleased", 30)):
        page.mouse(kind, x + moved, y)
    assert page.run(shown) == "original"  # to drag is not to flip
    for kind in ("mousePressed", "mouseReleased"):
        page.mouse(kind, x, y)
    page.wait(f"{shown} === 'jpeg'")
    page.run("document.querySelector('button[data-view=aec]').click()")
    page.wait("document.getElementById('over').complete")
    pixels = page.run(
        "(() => { const i = document.getElementById('over'), c = document.createElement('canvas');"
        " c.width = i.naturalWidth; c.height = i.naturalHeight; const g = c.getContext('2d');"
        " g.drawImage(i, 0, 0); return [...g.getImageData(0, 0, 4, 4).data] })()"
    )
    expected = np.frombuffer(decoded(data["views"][1]["views"][1]), np.uint8).reshape(170, 180, 3)
    assert np.array_equal(np.reshape(pixels, (4, 4, 4))[..., :3], expected[:4, :4])

    # Zoom, and the slider under the mouse.
    page.run("document.querySelector('button[data-zoom=\"2\"]').click()")
    assert page.run("document.getElementById('sheet').offsetWidth") == 360
    page.run("document.querySelector('button[data-mode=slide]').click()")
    page.run("document.getElementById('stage').scrollIntoView()")
    box = page.run(
        "(() => { const b = document.getElementById('sheet').getBoundingClientRect();"
        " return [b.x, b.y] })()"
    )
    page.mouse("mousePressed", box[0] + 90, box[1] + 50)
    page.mouse("mouseReleased", box[0] + 90, box[1] + 50)
    page.wait("document.getElementById('over').style.clipPath.includes(' 25%')")
    assert page.run("document.getElementById('left').textContent") == "original"

    assert page.complaints() == []
    assert page.requests() == [(folder / "out" / "report.html").as_uri()]
