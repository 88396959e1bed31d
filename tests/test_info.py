"""`aec info`: what it says of a file, to people and to programs."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from aec.format.container import Tile, write_file
from aec.format.header import Header

running = runpy.run_path(str(Path(__file__).with_name("running.py")))
aec_run = running["aec_run"]
aec_process = running["aec_process"]
coded = running["coded"]
posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")


def test_info_describes_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.aec").write_bytes(coded())
    lines = aec_run("info", tmp_path / "a.aec").output.splitlines()
    values = dict(line.split("  ", 1) for line in lines)
    size = len(coded())
    assert {name: value.strip() for name, value in values.items()} == {
        "file": str(tmp_path / "a.aec"),
        "size": "768 x 512 pixels, RGB",
        "bytes": f"{size}, {8 * size / 768 / 512:.3f} bits per pixel",
        "quality": "74.9 of 100, index 191 of 255",
        "model": "0001020304050607",
        "format": "version 1",
        "chunk TILE": "404 bytes at offset 32",
        "chunk AEND": "0 bytes at offset 448",
    }


@pytest.mark.parametrize("count", [2, 40])
def test_info_sums_up_many_tiles(tmp_path: Path, count: int) -> None:
    header = Header(64 * count, 64, quality=191, model_id=bytes(8), tile_log2=6)
    data = write_file(header, [Tile(number, 0, bytes(12)) for number in range(count)])
    path = tmp_path / "a.aec"
    path.write_bytes(data)
    lines = aec_run("info", path).output.splitlines()
    values = [tuple(part.strip() for part in line.split("  ", 1)) for line in lines]
    assert ("tiles", f"{count} with sides of up to 64 pixels") in values
    first = 32 + 12 + 4 * count
    tiles = [("chunks TILE", f"40, {20 * 40} bytes at offset {first} and after")]
    if count == 2:
        tiles = [("chunk TILE", f"20 bytes at offset {first + at}") for at in (0, 32)]
    index = ("chunk TIDX", f"{4 * count} bytes at offset 32")
    end = ("chunk AEND", f"0 bytes at offset {len(data) - 8}")
    assert values[-len(tiles) - 2 :] == [index, *tiles, end]
    (row,) = map(json.loads, aec_run("info", "--json", path).stdout.splitlines())
    assert (row["tiles"], row["tile_side"]) == (count, 64)
    assert [c["type"] for c in row["chunks"]] == ["TIDX", *["TILE"] * count, "AEND"]


def test_info_lists_several_files(tmp_path: Path) -> None:
    for name, data in (("a.aec", coded()), ("long-name.aec", coded(64, 64, flags=1)), ("c", b"x")):
        (tmp_path / name).write_bytes(data)
    done = aec_process("info", "a.aec", "c", "long-name.aec", cwd=tmp_path)
    assert done.returncode == 4
    assert done.stderr.startswith(b"aec: c: not an .aec file") and done.stderr.count(b"\n") == 1
    head, *rows = (line.split() for line in done.stdout.decode().splitlines())
    assert head == ["file", "size", "mode", "quality", "bytes", "bpp", "model"]
    assert [row[:3] for row in rows] == [
        ["a.aec", "768x512", "RGB"],
        ["long-name.aec", "64x64", "L"],
    ]


def test_info_as_json(tmp_path: Path) -> None:
    for name, data in (("a.aec", coded()), ("b.aec", coded()[:-3])):
        (tmp_path / name).write_bytes(data)
    result = aec_run("info", "--json", tmp_path / "a.aec", tmp_path / "b.aec", tmp_path, code=1)
    sound, short, folder = map(json.loads, result.stdout.splitlines())
    assert sound["ok"] and sound["width"] == 768 and sound["chunks"][0]["type"] == "TILE"
    assert not short["ok"] and short["error"] and short["input"] == str(tmp_path / "b.aec")
    assert folder["error"] == "is a folder; name the files in it"


def test_info_of_a_picture_above_the_usual_limit(tmp_path: Path) -> None:
    (tmp_path / "a.aec").write_bytes(coded(20_000, 10_000, tile_log2=12))
    assert "max_pixels=178956970" in aec_run("info", tmp_path / "a.aec", code=5).stderr
    result = aec_run("info", tmp_path / "a.aec", "--max-pixels", 200_000_000)
    assert "20000 x 10000 pixels" in result.stdout


def test_info_reads_a_pipe() -> None:
    done = aec_process("info", "-", "--json", input=coded())
    assert done.returncode == 0
    assert json.loads(done.stdout)["width"] == 768


@posix
def test_a_closed_pipe_ends_the_program_quietly(tmp_path: Path) -> None:
    (tmp_path / "a.aec").write_bytes(coded())
    command = [sys.executable, "-m", "aec", "info", "--json"] + ["a.aec"] * 2000
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 1
    process.stderr.close()
