"""The benchmark of speed: its stages, its sums, and the tables of its command."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, features

import aec
from aec.bench import codecs, runs, speed
from aec.codec import coding
from aec.codec.loading import load_weights

TESTS = Path(__file__).parent
aec_run = runpy.run_path(str(TESTS / "running.py"))["aec_run"]
avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Is a folder with a colour picture and a smaller gray one, beside the working folder."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with Image.open(TESTS / "images" / "astronaut.png") as image:
        image.convert("RGB").crop((150, 30, 270, 110)).save(pictures / "a.png")
        image.convert("L").crop((160, 35, 230, 100)).save(pictures / "b.png")
    monkeypatch.chdir(tmp_path)
    return pictures


@pytest.mark.parametrize("way", speed.WAYS)
def test_stages_are_the_whole_but_for_the_rest(way: str) -> None:
    codec = codecs.Aec([50], device="cpu")
    with Image.open(TESTS / "images" / "astronaut.png") as image:
        picture = image.convert("RGB").crop((100, 0, 420, 256))
    data = codec.encode(picture, 50)
    before = coding.EncoderSide.residual, coding.DecoderSide.residual
    calls = {"encode": lambda: codec.encode(picture, 50), "decode": lambda: codec.decode(data)}
    shares = []
    for _ in range(3):
        with speed.stage_clock(way, torch.device("cpu")) as seconds:
            _, total = runs.timed(calls[way])
        assert list(seconds) == list(speed.STAGES[way])
        assert all(part > 0 for part in seconds.values())
        assert sum(seconds.values()) < total  # no stage is part of another
        shares.append(sum(seconds.values()) / total)
    assert max(shares) > 0.7  # whatever else this machine does in one of the runs
    assert (coding.EncoderSide.residual, coding.DecoderSide.residual) == before


@avif
def test_speed_command(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"")
    threads = torch.get_num_threads()
    before = coding.DecoderSide.residual
    done = aec_run(
        *("bench", "speed", folder, "--repeat", 1, "--threads", 1, "--quality", 30),
        *("--device", "cpu", "--codecs", "avif", "--out", "out.json"),
        code=1,
    )
    assert (coding.DecoderSide.residual, torch.get_num_threads()) == (before, threads)
    out = json.loads(Path("out.json").read_text())
    assert list(out["skipped"]) == ["broken.png"]
    assert out["environment"]["torch_threads"] == 1
    total = out["total"]
    for way in speed.WAYS:
        share = total["stage_share"][way]
        assert list(share) == [*speed.STAGES[way], speed.OTHER]
        assert sum(share.values()) == pytest.approx(1)
        assert all(part > 0 for part in share.values())
        sums = {s: sum(row["stages"][way][s] for row in out["pictures"]) for s in share}
        assert share == pytest.approx({s: part / sum(sums.values()) for s, part in sums.items()})
    with Image.open(folder / "a.png") as a, Image.open(folder / "b.png") as b:
        bare = [aec.compress(i, quality=30, icc_profile=b"", device="cpu") for i in (a, b)]
    expected = sum(map(len, bare))
    assert total["aec"]["bytes"] == expected
    for name in ("aec", "avif"):
        for way in speed.WAYS:
            seconds = sum(row[name][f"{way}_seconds"] for row in out["pictures"])
            assert total[name][f"{way}_seconds"] == pytest.approx(seconds)
            ratio = total["aec"][f"{way}_seconds"] / seconds
            assert total[name][f"aec_{way}_ratio"] == pytest.approx(ratio)
            assert total[name][f"aec_{way}_ratio_range"] == pytest.approx([ratio, ratio])
            # the largest picture alone is coded once more for its memory
            assert total[name][f"{way}_memory_bytes"] > 0
            rows = [row[name].get(f"{way}_memory_bytes") for row in out["pictures"]]
            assert rows == [total[name][f"{way}_memory_bytes"], None]
    for row in out["pictures"]:
        with Image.open(folder / row["image"]) as image:
            image.info.clear()  # a profile would count
            options = {"speed": 4, "subsampling": "4:4:4", "max_threads": 1}
            image.save("direct.avif", quality=speed.BESIDE["avif"], **options)
        assert row["avif"]["bytes"] == Path("direct.avif").stat().st_size
    assert out["memory_of"] == ["a.png"] and out["sizes"] == []
    for name, size in out["file_bytes"].items():
        assert size == (TESTS.parent / "codec" / "weights" / name).stat().st_size
    weights = load_weights()
    encoder = sum(tensor.numel() for tensor in weights.encoder.values())
    found = {part: count for part, count in out["parameters"].items() if "encoder" in part}
    assert sum(found.values()) == encoder
    lines = done.stdout.splitlines()
    (head,) = (line for line in lines if line.startswith("all pictures"))
    assert re.split(r"\s{2,}", head)[3:] == [
        *("encode s", "decode s", "encode MP/s", "decode MP/s", "encode MiB", "decode MiB"),
        *("aec encodes in", "aec decodes in"),
    ]
    (row,) = (line.split() for line in lines if line.startswith("avif"))
    taken = total["avif"]["encode_memory_bytes"], total["avif"]["decode_memory_bytes"]
    assert row[7:9] == [f"{count / 2**20:.1f}" for count in taken]
    assert "MiB of a.png: at the peak, besides what the process held before" in lines
    for text in ("share of encoding", "share of decoding"):
        assert text in lines
    for stage in ("analysis", "choice and entropy coding", "synthesis"):
        assert any(re.fullmatch(rf"  {stage} +\d+\.\d %", line) for line in lines)
    assert "broken.png: left out: " in done.stderr


def test_speed_over_sizes_in_turn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for kind, name in ((codecs.Aec, "aec"), (codecs.WebP, "webp")):
        encode = kind.encode

        def noted(self: Any, *args: Any, name: str = name, encode: Any = encode) -> bytes:
            calls.append((name, args[0].size))
            return encode(self, *args)

        monkeypatch.setattr(kind, "encode", noted)
    taken = {"encode_memory_bytes": 3 * 2**20, "decode_memory_bytes": 8 * 2**20}

    def peaks(codec: object, opened: Any, *_: object) -> dict[str, int]:
        return {key: opened().width * count for key, count in taken.items()}

    monkeypatch.setattr(speed, "peaks", peaks)
    done = aec_run(
        *("bench", "speed", folder, "--repeat", 2, "--codecs", "webp", "--device", "cpu"),
        *("--megapixels", "0.006,0.024", "--out", "out.json"),
    )
    out = json.loads(Path("out.json").read_text())
    rows = {row["image"]: row for row in out["pictures"]}
    assert list(rows) == ["mosaic of 0.006 MP", "mosaic of 0.024 MP"]
    small, large = ((row["width"], row["height"]) for row in rows.values())
    assert (small, large) == ((95, 63), (190, 126))
    timed = [("aec", small), ("webp", small)] * 2
    assert any(calls[n : n + 4] == timed for n in range(len(calls)))
    for name in ("aec", "webp"):
        for row, total in zip(rows.values(), out["sizes"], strict=True):
            assert row[name]["encode_seconds"] == pytest.approx(sum(row[name]["encode_runs"]) / 2)
            assert (total["image"], total["pictures"]) == (row["image"], 1)
            assert total[name]["encode_seconds"] == row[name]["encode_seconds"]
            rate = row["width"] * row["height"] / 1e6 / row[name]["encode_seconds"]
            assert total[name]["encode_megapixels_per_second"] == pytest.approx(rate)
        low, high = out["total"][name]["aec_encode_ratio_range"]
        assert low <= high
    lines = done.stdout.splitlines()
    for name in ("aec", "webp"):
        cells = [re.split(r"\s{2,}", line) for line in lines if line.startswith(name)]
        assert [row[1:3] for row in cells] == [
            ["mosaic of 0.006 MP", "95x63"],
            ["mosaic of 0.024 MP", "190x126"],
        ]
        assert [row[9:11] for row in cells] == [["285.0", "760.0"], ["570.0", "1520.0"]]
        assert all(re.fullmatch(r"[\d.]+ x \([\d.]+ to [\d.]+\)", row[11]) for row in cells)
    assert any(re.fullmatch(r"share of encoding +95x63 +190x126", line) for line in lines)
    assert "MiB: at the peak, besides what the process held before" in lines


def test_speed_without_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> dict[str, int]:
        raise RuntimeError("no room")

    monkeypatch.setattr(speed, "peaks", fails)
    arguments = ("bench", "speed", folder, "--repeat", 1, "--codecs", "webp", "--device", "cpu")
    done = aec_run(*arguments, "--no-memory")
    assert "MiB" not in done.stdout
    done = aec_run(*arguments, code=1)
    assert "memory of webp, a.png: left out: no room" in done.stderr
    (row,) = (line.split() for line in done.stdout.splitlines() if line.startswith("webp"))
    assert row[7:9] == ["-", "-"]


@pytest.mark.parametrize(
    "option", [("--megapixels", "1,x"), ("--megapixels", "0"), ("--codecs", "x")]
)
def test_wrong_usage_of_speed(folder: Path, option: tuple[str, str]) -> None:
    aec_run("bench", "speed", folder, *option, code=2)
