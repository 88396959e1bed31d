"""The benchmark: its numbers against hand-computed ones, its commands on small pictures."""

import io
import json
import math
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import aec
from aec.bench import bd, codecs, cost, exact, rd, report, runs, speed
from aec.bench.bd import Curve, bd_rate
from aec.bench.metrics import psnr
from aec.cli import tables
from aec.codec.decoder import Decoder, new_y_hat
from aec.codec.layers import Depthwise, Pointwise
from aec.codec.loading import load_weights

TESTS = Path(__file__).parent
aec_run = runpy.run_path(str(TESTS / "running.py"))["aec_run"]


@pytest.fixture
def photo() -> Image.Image:
    with Image.open(TESTS / "images" / "astronaut.png") as image:
        return image.convert("RGB").crop((150, 30, 270, 110))


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Is a folder with a colour picture, a gray one and a text, beside the working folder."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    photo.save(pictures / "a.png")
    photo.convert("L").crop((10, 5, 80, 70)).save(pictures / "b.png")
    (pictures / "notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return pictures


def test_psnr_by_hand() -> None:
    one = np.full((2, 3, 3), 100, np.uint8)
    other = one.copy()
    other[..., 1] = 101  # an error of 1 in a third of the samples
    assert psnr(one, other) == pytest.approx(10 * math.log10(3 * 255**2))
    assert psnr(np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)) == 0
    assert psnr(one, one) == math.inf
    with pytest.raises(ValueError, match=r"\(2, 3, 3\) and \(1, 3, 3\)"):
        psnr(one, one[:1])


def curve(name: str, psnrs: list[float], rate: Any) -> Curve:
    return Curve(name, tuple(10 ** rate(p) for p in psnrs), tuple(map(float, psnrs)))


ANCHOR = curve("anchor", [30, 32, 35, 40], lambda p: 0.05 * (p - 35))


def test_tenth_less_rate_is_minus_ten_percent() -> None:
    test = Curve("test", tuple(0.9 * bpp for bpp in ANCHOR.bpp), ANCHOR.values)
    rate = bd_rate(test, ANCHOR)
    assert rate.percent == pytest.approx(-10)
    assert (rate.test, rate.anchor, rate.low, rate.high) == ("test", "anchor", 30, 40)
    assert bd_rate(ANCHOR, test).percent == pytest.approx(100 / 0.9 - 100)


def test_bd_rate_of_straight_lines_over_a_partial_range_in_any_order() -> None:
    # log10 of the rates differs by 0.02 (p - 35) - 0.1, on average over 34 to 40 by -0.06.
    test = curve("test", [44, 38, 34], lambda p: 0.07 * (p - 35) - 0.1)
    rate = bd_rate(test, ANCHOR)
    assert rate.percent == pytest.approx(100 * (10**-0.06 - 1))
    assert (rate.low, rate.high, rate.test_points, rate.anchor_points) == (34, 40, 3, 4)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (Curve("t", (1.0,), (31.0,)), "fewer than two points"),
        (Curve("t", (1.0, 2.0), (40.0, 45.0)), "no range of PSNR in common"),
        (Curve("t", (1.0, 2.0, 3.0), (31.0, 33.0, 33.0)), "does not rise"),
        (Curve("t", (1.0, 2.0), (31.0, math.inf)), "finite PSNR"),
        (Curve("t", (0.0, 2.0), (31.0, 33.0)), "positive rate"),
    ],
)
def test_no_bd_rate(test: Curve, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bd_rate(test, ANCHOR)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting"),
        ("[1]", "list indices"),
        ('{"name": "x", "results": {"bpp": [1]}}', "lacks 'psnr-rgb'"),
        ('{"name": "x", "results": {"bpp": [1], "psnr-rgb": []}}', "1 rates and 0 values of PSNR"),
    ],
)
def test_curve_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        bd.read_curve(tmp_path / "x.json")


def test_means_and_points(folder: Path, photo: Image.Image) -> None:
    result = rd.run(runs.find_pictures(folder), [codecs.Jpeg("4:2:0")])
    assert [p.image for p in result.points["jpeg"] if p.setting == 50] == ["a.png", "b.png"]
    data = codecs.Jpeg("4:2:0").encode(photo, 50)
    first, second = (p for p in result.points["jpeg"] if p.setting == 50)
    assert (first.bytes, first.bpp) == (len(data), 8 * len(data) / (120 * 80))
    decoded = np.asarray(Image.open(io.BytesIO(data)), float)
    error = np.mean((decoded - np.asarray(photo, float)) ** 2)
    assert first.psnr == pytest.approx(10 * math.log10(255**2 / error))
    (mean,) = (m for m in result.means("jpeg") if m.setting == 50)
    assert mean.psnr == pytest.approx((first.psnr + second.psnr) / 2)
    assert mean.bpp == pytest.approx((first.bpp + second.bpp) / 2)


@pytest.fixture
def uneven() -> rd.Result:
    """Is a result on two pictures, in which a codec does not go up with its setting."""
    webp, jpeg = codecs.WebP(), codecs.Jpeg("4:2:0")
    result = rd.Result([webp, jpeg])

    def add(name: str, image: str, *points: tuple[int, float]) -> None:
        result.points.setdefault(name, []).extend(
            rd.Point(image, 8, 8, 10 * n, size, size / 8, {"psnr-rgb": psnr}, 0.1, 0.1)
            for n, (size, psnr) in enumerate(points, 1)
        )

    add("webp", "a.png", (100, 30), (90, 31), (90, 30.6), (95, 30))
    add("webp", "<b>.png", (20, 40), (20, 35), (30, math.inf))
    add("jpeg", "a.png", (10, 20), (10, 20), (20, 20))
    add("jpeg", "<b>.png", (5, 10), (6, 12), (7, 11.5))
    return result


def test_worst_picture_and_falls(uneven: rd.Result) -> None:
    worst = [mean.worst for mean in uneven.means("webp")]
    assert [(point.image, point.psnr) for point in worst if point] == [
        *[("a.png", psnr) for psnr in (30, 31, 30.6, 30)]
    ]
    assert uneven.falls("webp") == [
        ("a.png", (10, 20), (100, 90), (30, 31)),
        ("a.png", (30, 40), (90, 95), (30.6, 30)),
        ("<b>.png", (10, 20), (20, 20), (40, 35)),
    ]
    assert uneven.falls("jpeg") == []  # as many bytes are no fall, nor is half a decibel
    webp = uneven.as_dict()["codecs"]["webp"]
    assert webp["worst"][1] == {"image": "a.png", "psnr": 31}
    assert webp["falls"][0] == {
        "image": "a.png",
        "settings": (10, 20),
        "bytes": (100, 90),
        "psnr": (30, 31),
    }


def test_worst_picture_and_falls_are_shown(uneven: rd.Result) -> None:
    table = tables.rd_table(uneven).splitlines()
    assert " ".join(table[0].split()) == "codec setting bpp PSNR dB worst dB of encode s decode s"
    assert table[2].split()[3:6] == ["33.000", "31.000", "a.png"]
    text = tables.falls_text(uneven).splitlines()
    assert text[:2] == [
        "up with every setting, on every picture: jpeg",
        "webp: a higher setting takes fewer bytes, or loses more than 0.5 dB, on 2 pictures",
    ]
    assert " ".join(text[2].split()) == "a.png 10 to 20 100 to 90 bytes 30.00 to 31.00 dB"
    page = report.points_table(uneven) + report.falls_table(uneven)
    assert "<td>31.00</td><td>a.png</td>" in page
    assert "<td>&lt;b&gt;.png</td><td>10 to 20</td><td>20 to 20</td>" in page
    assert report.falls_table(rd.Result([])) == ""


def test_no_worst_picture_without_psnr(folder: Path) -> None:
    result = rd.run(runs.find_pictures(folder), [codecs.WebP()], metrics=["psnr-y"])
    assert result.as_dict()["codecs"]["webp"]["worst"][0] is None
    assert "worst" not in tables.rd_table(result)


def test_processes_find_the_same(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG")
    paths = runs.find_pictures(folder)
    one, two = (rd.run(paths, [codecs.Jpeg("4:2:0"), codecs.WebP()], jobs=jobs) for jobs in (1, 2))
    for name in ("jpeg", "webp"):
        assert one.curve(name) == two.curve(name)
    assert one.skipped == two.skipped
    assert list(one.skipped) == ["broken.png"]


def test_picture_that_one_codec_cannot_hold_is_left_out_for_all(tmp_path: Path) -> None:
    Image.new("RGB", (16400, 1)).save(tmp_path / "wide.png")
    result = rd.run(runs.find_pictures(tmp_path), [codecs.Jpeg("4:2:0"), codecs.WebP()])
    assert result.points == {"jpeg": [], "webp": []}
    assert result.skipped["wide.png"].startswith("webp: ")


def test_transparent_pictures_are_left_out(tmp_path: Path) -> None:
    Image.new("LA", (16, 16), (90, 70)).save(tmp_path / "clear.png")
    Image.new("RGBA", (16, 16), (90, 70, 7, 255)).save(tmp_path / "opaque.png")
    result = rd.run(runs.find_pictures(tmp_path), [codecs.Jpeg("4:2:0")])
    assert list(result.skipped) == ["clear.png"]
    assert "transparent pixels" in result.skipped["clear.png"]


def test_rd_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compressai", None)
    published = {"name": "old", "results": {"bpp": [0.01, 9], "psnr-rgb": [1, 90]}}
    Path("old.json").write_text(json.dumps(published))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    done = aec_run(
        *("bench", "rd", folder, "--codecs", "jpeg,aec", "--qualities", "80,20"),
        *("--anchor", "old.json", "--device", "cpu", "--out", "out.json"),
        code=1,
    )
    assert "broken.jpg: left out: " in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "means over 2 of 3 pictures, 1 at a time"
    assert lines[1].split() == [
        "codec",
        "setting",
        "bpp",
        "PSNR",
        "dB",
        "worst",
        "dB",
        "of",
        "encode",
        "s",
        "decode",
        "s",
    ]
    assert [line.split()[:2] for line in lines[2:23]] == [
        *(["jpeg", str(q)] for q in range(5, 100, 5)),
        *(["aec", q] for q in ("20", "80")),
    ]
    assert [line.partition(":")[0] for line in lines[23:27]] == [
        "BD-rate of aec against jpeg",
        "BD-rate of jpeg against old",
        "BD-rate of aec against old",
        "up with every setting, on every picture",
    ]
    assert re.fullmatch(r"aec +80 .* [ab]\.png .*", lines[22])
    out = json.loads(Path("out.json").read_text())
    assert list(out["skipped"]) == ["broken.jpg"]
    assert out["environment"]["torch"] == torch.__version__
    ours = out["codecs"]["aec"]
    with Image.open(folder / "a.png") as image:
        # Metadata is no part of what is compared.
        data = aec.compress(image, quality=20, icc_profile=b"", device="cpu")
    assert (ours["images"][0]["image"], ours["images"][0]["bytes"]) == ("a.png", len(data))
    keys = {"psnr-rgb", "bpp", "encoding_time", "decoding_time"}
    assert {key: len(row) for key, row in ours["results"].items()} == dict.fromkeys(keys, 2)
    Path("aec.json").write_text(json.dumps(ours))
    assert bd.read_curve("aec.json").bpp == tuple(ours["results"]["bpp"])


def test_lossless_points_are_null_in_json(folder: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (16, 16), (128, 128, 128)).save(folder / name)  # no coefficient is left
    text = aec_run("bench", "rd", folder, "--codecs", "jpeg", "--out", "-").stdout
    assert set(json.loads(text)["codecs"]["jpeg"]["results"]["psnr-rgb"]) == {None}


def test_missing_bjontegaard(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bjontegaard", None)
    with pytest.raises(ImportError, match=r"pip install 'aec-codec\[bench\]'"):
        bd_rate(ANCHOR, ANCHOR)
    done = aec_run("bench", "rd", folder, "--codecs", "jpeg,webp", code=1)
    assert "pip install 'aec-codec[bench]'" in done.stderr
    assert "means over 2" in aec_run("bench", "rd", folder, "--codecs", "webp").stdout


def test_missing_codec(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    for command in ("rd", "speed"):
        done = aec_run("bench", command, folder, "--codecs", "jxl", "--device", "cpu", code=1)
        (line,) = done.stderr.splitlines()
        message = "jxl needs the package pillow-jxl-plugin: pip install 'aec-codec[bench]'"
        assert line == f"aec: {message}"


@pytest.mark.parametrize("option", [("--codecs", "gif"), ("--qualities", "5,x"), ("--device", "x")])
def test_wrong_usage(folder: Path, option: tuple[str, str]) -> None:
    aec_run("bench", "rd", folder, *option, code=2)


def test_nothing_done(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    aec_run("bench", "rd", "empty", "--codecs", "jpeg", code=1)
    (tmp_path / "out.json").write_text("precious")
    for command in ("rd", "speed"):
        done = aec_run("bench", command, folder, "--out", "out.json", code=1)
        assert "out.json exists" in done.stderr
    aec_run("bench", "rd", folder, "--codecs", "jpeg", "--out", "out.json", "--force")
    assert "jpeg" in json.loads((tmp_path / "out.json").read_text())["codecs"]


def test_multiply_adds_by_hand() -> None:
    tensors = {"a.weight": torch.zeros(5, 3), "b.weight": torch.zeros(5, 3, 3)}
    ops = cost.CountingOps(tensors)
    out = ops.layer("b", ops.act(ops.layer("a", torch.empty(2, 4, 3))), depthwise=True)
    assert out.shape == (2, 4, 5)
    assert ops.layers == {"a": 2 * 4 * 3 * 5, "b": 2 * 4 * 5 * 9}
    with pytest.raises(ValueError, match="layer a"):
        ops.layer("a", out)
    with cost.Convolutions() as counted:
        Depthwise(5)(Pointwise(3, 5)(torch.zeros(1, 3, 2, 4)))
        torch.addmm(torch.zeros(5), torch.zeros(2, 3), torch.zeros(3, 5))
    assert counted.count == 2 * 4 * 3 * 5 + 2 * 4 * 5 * 9 + 2 * 3 * 5


def test_multiply_adds_are_those_of_the_decoder_that_runs() -> None:
    weights = load_weights()
    decoder = Decoder(weights.cfg, weights.decoder, torch.device("cpu"))
    with torch.inference_mode(), cost.Convolutions() as entropy:
        feature = decoder.features(torch.zeros(1, 1, weights.cfg.n_z), 0)
        y_hat = new_y_hat(feature, weights.cfg.m)
        for step in range(4):
            decoder.step(step, feature, y_hat)
    with torch.inference_mode(), cost.Convolutions() as synthesis:
        decoder.synthesis(y_hat, 0)
    counts = cost.multiply_adds(weights)
    assert counts["entropy path"] == entropy.count / 64**2
    assert counts["synthesis"] == synthesis.count / 64**2
    assert counts["encoder transforms"] > 0


def test_models_of_compressai(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compressai.zoo", None)
    done = aec_run("bench", "speed", folder, "--codecs", "mbt2018-mean", code=1)
    assert "mbt2018-mean needs the package compressai" in done.stderr
    monkeypatch.undo()
    pytest.importorskip("compressai")
    (codec,) = speed.others(["mbt2018-mean"])
    assert "random weights" in codec.description
    with Image.open(folder / "a.png") as image:
        assert codec.decode(codec.encode(image, 4)).size == image.size


def test_exact_command_decodes_under_each_setting(
    tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    # two settings of ten: each is a process
    monkeypatch.setattr(exact, "SETTINGS", (exact.SETTINGS[0], exact.SETTINGS[7]))
    photo.save(tmp_path / "a.png")
    result = aec_run("bench", "exact", tmp_path, "--qualities", "50")
    assert "1 files: one SHA-256 each" in result.output
    assert result.output.count("same") == 2 + result.output.count("device cuda")


def test_exact_notices_other_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts: list[exact.Verdict] = []
    results = iter(['{"a.aec": "00"}', '{"a.aec": "01"}'])
    monkeypatch.setattr(exact, "SETTINGS", exact.SETTINGS[:2])

    def worker(*args: object, **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(args, 0, next(results), "")

    monkeypatch.setattr(exact.subprocess, "run", worker)
    assert not exact.run(tmp_path, None, [], verdicts.append)
    assert [verdict.same for verdict in verdicts] == [True, False]
