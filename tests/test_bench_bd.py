"""Stored results and published curves, and the BD-rates between them."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aec.bench import bd, published
from aec.bench.metrics import METRICS

TESTS = Path(__file__).parent
aec_run = runpy.run_path(str(TESTS / "running.py"))["aec_run"]
MEASURED = TESTS.parent / "bench" / "results" / "kodak.json"


@pytest.mark.parametrize("name", published.published_names())
def test_published_curves_rise_and_name_their_source(name: str) -> None:
    content = published.published(name)
    assert content["name"] == name
    assert content["title"] and content["source"]
    for key in METRICS:
        if bd.has_metric(content, key):
            curve = bd.curve_of(content, key)
            assert bd.bd_rate(curve, curve).percent == pytest.approx(0, abs=1e-9)
    assert bd.has_metric(content, "psnr-rgb")


def test_drawn_curves_are_there() -> None:
    assert set(published.DRAWN) <= set(published.published_names())
    with pytest.raises(ValueError, match="'vvc' is none of the published curves"):
        published.published("vvc")


def test_vtm_against_jpeg_and_itself() -> None:
    done = aec_run("bench", "bd", MEASURED, "vtm", "--anchor", "jpeg", "--metrics", "psnr-rgb")
    (line,) = (line for line in done.stdout.splitlines() if "of vtm" in line)
    assert line.startswith("BD-rate of vtm against jpeg: -6")
    rates = json.loads(aec_run("bench", "bd", "elic", MEASURED, "--anchor", "vtm", "--json").stdout)
    found = {rate["test"]: rate["percent"] for rate in rates if rate["metric"] == "psnr-rgb"}
    assert found["elic"] == pytest.approx(-7, abs=1)
    assert found["jpeg"] > 150
    assert {"aec", "jpeg", "webp", "elic"} <= set(found)


def result(name: str, **values: list[float | None]) -> dict[str, Any]:
    return {"name": name, "results": {"bpp": [0.1, 0.2, 0.4], **values}}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    one = result("one", **{"psnr-rgb": [30, 32, 35], "ms-ssim-rgb": [0.9, 0.99, 0.999]})
    two = result("two", **{"psnr-rgb": [29, 32, 36], "ms-ssim-db-rgb": [10, 20, 30]})
    three = result("three", **{"psnr-rgb": [None, 32, 36]})
    Path("one.json").write_text(json.dumps(one))
    Path("rest.json").write_text(json.dumps({"codecs": {"two": two, "three": three}}))
    return tmp_path


def test_every_metric_that_both_have(files: Path) -> None:
    done = aec_run("bench", "bd", "rest.json", "--anchor", "one.json", "--json")
    first, second = json.loads(done.stdout)
    assert (first["test"], first["anchor"], first["metric"]) == ("two", "one", "psnr-rgb")
    assert (first["low"], first["high"], first["test_points"]) == (30, 35, 3)
    assert second["metric"] == "ms-ssim-rgb"
    assert second["percent"] == pytest.approx(0, abs=1e-6)  # the two ways to write it are the same
    text = aec_run("bench", "bd", "rest.json", "one.json", "--anchor", "two").stdout
    assert text.splitlines()[1] == (
        "BD-rate of one against two: -0.0 %, MS-SSIM from 10.00 to 30.00 dB, with 3 and 3 points"
    ) or text.splitlines()[1].startswith("BD-rate of one against two: +0.0 %, MS-SSIM from 10.00")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("one.json", "--anchor", "four"), 1, "'four' is none of the published curves"),
        (("four.json", "--anchor", "one.json"), 2, "neither a file nor one of the published"),
        (("one.json", "--anchor", "rest.json"), 1, "rest.json stands for 2 results"),
        (("one.json", "--anchor", "empty.json"), 1, "empty.json holds no result of aec bench rd"),
        (("one.json", "--anchor", "one"), 1, "no metric that"),
        (("one.json", "--anchor", "vtm", "--metrics", "ssim"), 2, "none of psnr-rgb"),
    ],
)
def test_what_cannot_be_compared(
    files: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    Path("empty.json").write_text("{}")
    assert message in aec_run("bench", "bd", *arguments, code=code).output


def test_other_pictures(files: Path) -> None:
    mine = result("mine", **{"psnr-rgb": [30, 32, 35]}) | {"images": [{"image": "a.png"}]}
    Path("mine.json").write_text(json.dumps(mine))
    done = aec_run("bench", "bd", "mine.json", "--anchor", "vtm", code=1)
    assert "vtm and mine are of different pictures" in done.stderr
    assert "BD-rate of one" in aec_run("bench", "bd", "one.json", "--anchor", "mine.json").stdout
    (files / "pictures").mkdir()
    Image.new("RGB", (16, 16)).save(files / "pictures" / "kodim01.png")
    done = aec_run(
        "bench", "rd", "pictures", "--codecs", "webp", "--no-cache", "--anchor", "vtm", code=1
    )
    assert "the published curves are of the 24 pictures of Kodak" in done.stderr
