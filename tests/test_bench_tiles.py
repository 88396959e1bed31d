"""The benchmarks of tiles and of memory, on small pictures."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import aec
from aec.bench import memory, tiles
from aec.bench.runs import find_pictures

TESTS = Path(__file__).parent
aec_run = runpy.run_path(str(TESTS / "running.py"))["aec_run"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with Image.open(TESTS / "images" / "astronaut.png") as image:
        image.convert("RGB").crop((100, 0, 250, 90)).save(pictures / "a.png")
        image.convert("L").crop((0, 100, 60, 260)).save(pictures / "b.png")
        image.convert("L").crop((0, 0, 60, 60)).save(pictures / "small.png")
    return pictures


def test_which_pixels_lie_at_borders() -> None:
    near = tiles.near_borders(100, 200, 64)
    rows, columns = near.all(axis=1), near.all(axis=0)
    assert np.flatnonzero(rows).tolist() == [*range(56, 72)]
    assert np.flatnonzero(columns).tolist() == [*range(56, 72), *range(120, 136), *range(184, 200)]
    assert not tiles.near_borders(64, 64, 64).any()


def test_tiles_against_the_whole(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = aec_run(
        "bench", "tiles", folder, "--side", "64", "--qualities", "50", "--out", out, code=1
    )
    assert "small.png: left out" in done.stderr and "quality" in done.stdout
    result = json.loads(out.read_text())
    assert [row["tiles"] for row in result["rows"]] == [6, 3]
    for row, mode in zip(result["rows"], ("RGB", "L"), strict=True):
        with Image.open(folder / row["image"]) as image:
            picture = image.convert(mode)
        for name, side in (("whole", 0), ("tiled", 64)):
            data = aec.compress(picture, quality=50, tile=side, icc_profile=b"", device="cpu")
            assert row[name]["bytes"] == len(data)
            error = np.asarray(aec.decompress(data, device="cpu")).astype(int) - picture
            assert row[name]["border_max"] <= np.abs(error).max()
            steps = [np.abs(np.diff(error, axis=axis)).swapaxes(0, axis) for axis in (0, 1)]
            border = [line.mean() for lines in steps for line in lines[63::64]]
            assert row[name]["border_step"] == pytest.approx(np.mean(border))
    total = result["total"]["50.0"]
    assert total["rate"] > 0 and total["border_step_ratio"] > 0


def test_a_seam_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = aec.Codec(device="cpu")
    decompress = codec.decompress

    def with_seam(data: bytes) -> Image.Image:
        pixels = np.array(decompress(data))
        if aec.open_info(data).tiles > 1:
            pixels[64:] = np.minimum(pixels[64:], 235) + 20
        return Image.fromarray(pixels)

    paths = [folder / "a.png"]
    plain = tiles.run(paths, codec, side=64, qualities=[50])["total"][50]
    monkeypatch.setattr(codec, "decompress", with_seam)
    seam = tiles.run(paths, codec, side=64, qualities=[50])["total"][50]
    assert seam["border_step_ratio"] > 1.5 * plain["border_step_ratio"]


def test_a_mosaic_has_no_gaps(folder: Path) -> None:
    paths = find_pictures(folder)
    whole = np.asarray(memory.mosaic(paths, 400, 300))
    assert whole.shape == (300, 400, 3)
    assert (whole.reshape(300, -1).std(axis=1) > 1).all(), "no row is empty"
    with Image.open(paths[0]) as first:
        assert np.array_equal(whole[:60, :150], np.asarray(first)[:60])


def test_memory_of_each_step(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = aec_run("bench", "memory", folder, "--size", "300x200", "--out", out)
    result = json.loads(out.read_text())
    assert list(result["steps"]) == list(memory.STEPS)
    for found in result["steps"].values():
        assert found["peak_bytes"] > 50 * 2**20 > found["picture_bytes"]
    assert result["steps"]["decode"]["picture_bytes"] == 4 * 300 * 200
    assert result["steps"]["eighth"]["picture_bytes"] == 4 * 38 * 25
    assert "the region takes" in done.stdout
    aec_run("bench", "memory", folder, "--size", "300", code=2)
