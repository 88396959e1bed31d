"""A run of the benchmark that was ended goes on: nothing is measured twice or stale."""

import json
import runpy
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aec.bench import codecs, rd, runs
from aec.bench.cache import Cache, default_folder, key_of
from aec.bench.metrics import METRICS
from aec.cli.measuring import TimeLeft, time_left

TESTS = Path(__file__).parent
RUNNING = runpy.run_path(str(TESTS / "running.py"))
aec_run, command = RUNNING["aec_run"], RUNNING["command"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    with Image.open(TESTS / "images" / "astronaut.png") as image:
        for number in range(6):
            part = image.convert("RGB").crop((40 * number, 30, 40 * number + 90, 110))
            part.save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path / "pictures"


def entries(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*/*.json"))


def without_times(result: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, codec in result["codecs"].items():
        rows = [{k: v for k, v in row.items() if "seconds" not in k} for row in codec["images"]]
        found[name] = rows, codec["results"]["bpp"], codec["results"]["psnr-rgb"]
    return found


def test_killed_run_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("bench", "rd", folder, "--codecs", "webp")
    run = subprocess.Popen(
        command(*arguments, "--cache", "kept"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    limit = time.monotonic() + 60
    while entries(Path("kept")) < 20 and time.monotonic() < limit:
        time.sleep(0.001)
    run.kill()
    run.communicate()
    before = entries(Path("kept"))
    assert 20 <= before < 6 * 19  # it was in the middle

    measured = []
    measure = rd.measure

    def counted(*args: Any) -> rd.Point:
        measured.append(args)
        return measure(*args)

    monkeypatch.setattr(rd, "measure", counted)
    done = aec_run(*arguments, "--cache", "kept", "--out", "resumed.json")
    assert f"{before} of 114 points, with their times, from kept" in done.stdout
    assert len(measured) == 114 - before
    assert entries(Path("kept")) == 114
    aec_run(*arguments, "--no-cache", "--out", "fresh.json")
    assert len(measured) == 2 * 114 - before
    resumed, fresh = (json.loads(Path(f"{n}.json").read_text()) for n in ("resumed", "fresh"))
    assert resumed["reused"] == before
    assert fresh["reused"] == 0
    assert without_times(resumed) == without_times(fresh)


def test_processes_share_a_cache(folder: Path) -> None:
    cache = Cache(folder.parent / "kept")
    paths = runs.find_pictures(folder)[:2]
    first = rd.run(paths, [codecs.WebP()], cache=cache, jobs=2)
    again = rd.run([paths[1], paths[0]], [codecs.WebP()], cache=cache)
    assert (first.reused, again.reused) == (0, 38)
    assert first.curve("webp") == again.curve("webp")
    assert [p.image for p in again.points["webp"]][::19] == ["1.png", "0.png"]


def test_key_is_of_all_that_a_point_depends_on(folder: Path) -> None:
    class Other(codecs.WebP):
        identity = ""

    codec, other = codecs.WebP(), Other()
    other.identity += "!"
    keys = {
        key_of(codec, "a", 5, ["psnr-rgb"]),
        key_of(other, "a", 5, ["psnr-rgb"]),
        key_of(codec, "b", 5, ["psnr-rgb"]),
        key_of(codec, "a", 6, ["psnr-rgb"]),
        key_of(codec, "a", 5, ["psnr-rgb", "psnr-y"]),
    }
    assert len(keys) == 5
    assert key_of(codec, "a", 5.0, ["psnr-rgb"]) in keys
    assert codecs.Jpeg().identity != codecs.Jpeg("4:2:0").identity
    assert codecs.Jxl.name == "jxl"
    picture = Image.new("RGB", (4, 6))
    ids = [picture, Image.new("RGB", (6, 4)), Image.new("L", (4, 18)), picture.copy()]
    assert len({runs.picture_id(one) for one in ids}) == 3


def test_identity_of_aec_names_model_and_source(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = codecs.Aec([50], device="cpu")
    assert str(codec.codec.model_id) in codec.identity
    assert "source " in codec.identity and "torch " in codec.identity


def test_new_version_of_a_metric(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(folder.parent / "kept")
    paths = runs.find_pictures(folder)[:1]
    rd.run(paths, [codecs.WebP()], cache=cache)
    changed = METRICS["psnr-rgb"].__class__("psnr-rgb", "psnr", "", "", "", lambda *_: 7.0, 2)
    monkeypatch.setitem(METRICS, "psnr-rgb", changed)
    result = rd.run(paths, [codecs.WebP()], cache=cache)
    assert (result.reused, result.points["webp"][0].psnr) == (0, 7)


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"bytes": 1}', b"\xff"])
def test_damaged_entries_are_measured_again(folder: Path, content: bytes) -> None:
    cache = Cache(folder.parent / "kept")
    paths = runs.find_pictures(folder)[:1]
    first = rd.run(paths, [codecs.WebP()], cache=cache)
    for path in cache.folder.glob("*/*.json"):
        path.write_bytes(content)
    again = rd.run(paths, [codecs.WebP()], cache=cache)
    assert again.reused == 0
    assert again.curve("webp") == first.curve("webp")


def test_cache_that_cannot_be_written_costs_nothing_else(folder: Path) -> None:
    cache = Cache(folder / "0.png")  # a file
    assert rd.run(runs.find_pictures(folder)[:1], [codecs.WebP()], cache=cache).skipped == {}


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    monkeypatch.setenv(name, str(tmp_path))
    assert default_folder() == tmp_path / "aec" / "bench"
    monkeypatch.setenv(name, "")
    assert default_folder().parts[-2:] == ("aec", "bench")


@pytest.mark.parametrize(
    ("progress", "seconds", "text"),
    [
        ((0, 24, 0, 0), 5, ""),
        ((4, 24, 0, 40), 5, ""),
        ((1, 3, 10, 0), 20, ", 40 s left"),
        ((2, 4, 10, 10), 600, ", 20 min left"),  # what was reused took no time, the rest will
        ((1, 24, 10, 0), 200, ", 1 h 16 min left"),
    ],
)
def test_time_left(progress: tuple[int, int, int, int], seconds: float, text: str) -> None:
    assert time_left(rd.Progress(*progress), seconds) == text


def test_line_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    line = TimeLeft()
    line.start -= 20
    line.watch(rd.Progress(1, 3, 10, 0))
    line.report("a.png", None)
    line.watch(rd.Progress(3, 3, 30, 0))
    text = capsys.readouterr().err
    assert "1 of 3 pictures, 40 s left" in text
    assert text.endswith("a.png\n\r\x1b[K")
