"""The options of `aec compress` and `aec decompress` for parts, sizes, damage and limits."""

import errno
import io
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import aec
from aec.format.container import open_info
from aec.format.header import HEADER_SIZE

running = runpy.run_path(str(Path(__file__).with_name("running.py")))
aec_run = running["aec_run"]
command = running["command"]
names = running["names"]
posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
Array = NDArray[np.uint8]
ORIENTATION = 0x0112
SIZE = 320, 192  # 3 x 2 tiles of 128
LOST = 5  # the tile that damage hits


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    with Image.open(Path(__file__).parent / "images" / "astronaut.png") as image:
        photo = image.convert("RGB").crop((100, 0, 100 + SIZE[0], SIZE[1]))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    photo.info = {"exif": exif.tobytes(), "xmp": b"<x/>"}
    return photo


@pytest.fixture(scope="module")
def data(codec: aec.Codec, photo: Image.Image) -> bytes:
    return codec.compress(photo, quality=50, tile=128)


def hit(data: bytes, number: int = LOST) -> bytes:
    """The file with a byte of one tile changed."""
    chunk = [chunk for chunk in open_info(data).chunks if chunk.type == "TILE"][number]
    broken = bytearray(data)
    broken[chunk.offset + 16] ^= 1
    return bytes(broken)


@pytest.fixture
def folder(
    tmp_path: Path, photo: Image.Image, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Is the working folder of the test, with a picture, a sound file and a damaged one in it."""
    monkeypatch.chdir(tmp_path)
    photo.save("photo.png", exif=photo.info["exif"])
    Path("sound.aec").write_bytes(data)
    Path("bad.aec").write_bytes(hit(data))
    return tmp_path


def pixels(name: str | io.BytesIO) -> Array:
    with Image.open(name) as image:
        return np.array(image)


# Tiles


@pytest.mark.parametrize(("tile", "count"), [("auto", 1), ("0", 1), ("64", 15), ("256", 2)])
def test_compress_cuts_tiles_as_asked(folder: Path, tile: str, count: int) -> None:
    aec_run("compress", "photo.png", "-o", "a.aec", "--tile", tile)
    info = json.loads(aec_run("info", "a.aec", "--json").stdout)
    assert info["tile_log2"] == (int(tile).bit_length() - 1 if count > 1 else 0)
    assert [chunk["type"] for chunk in info["chunks"]].count("TILE") == count
    aec_run("verify", "a.aec")


# Regions and scales


def test_a_region_is_that_part_of_the_picture(folder: Path, data: bytes) -> None:
    whole = np.asarray(aec.decompress(data))
    for left, top, width, height in ((0, 0, 1, 1), (100, 60, 90, 131), (319, 191, 1, 1)):
        region = f"{left},{top},{width},{height}"
        result = aec_run("decompress", "sound.aec", "-o", "a.png", "--region", region, "-f")
        assert np.array_equal(pixels("a.png"), whole[top : top + height, left : left + width])
        bpp = 8 * len(data) / (SIZE[0] * SIZE[1])
        line = f"sound.aec -> a.png  {width}x{height}  {len(data)} bytes  {bpp:.3f} bpp  "
        assert result.stderr.startswith(line)


def test_a_region_needs_only_its_tiles(folder: Path, codec: aec.Codec, data: bytes) -> None:
    far, near = "0,0,10,10", "130,130,20,20"  # the damaged tile is far enough from the first
    aec_run("decompress", "bad.aec", "-o", "a.png", "--region", far)
    assert np.array_equal(pixels("a.png"), np.asarray(codec.decompress(data))[:10, :10])
    aec_run("decompress", "bad.aec", "-o", "b.png", "--region", near, code=4)
    aec_run("decompress", "bad.aec", "-o", "b.png", code=4)
    assert not Path("b.png").exists()


def test_a_region_from_a_pipe(folder: Path, data: bytes) -> None:
    options: dict[str, Any] = {"capture_output": True, "check": True, "timeout": 300}
    args = ("decompress", "-", "-o", "-", "--region", "8,16,50,40", "--quiet")
    done = subprocess.run(command(*args), input=data, **options)
    whole = np.asarray(aec.decompress(data))
    assert np.array_equal(pixels(io.BytesIO(done.stdout)), whole[16:56, 8:58])


@posix
def test_a_region_from_a_named_pipe(folder: Path, data: bytes) -> None:
    os.mkfifo("pipe")
    args = ("decompress", "pipe", "-o", "a.png", "--region", "0,0,9,7", "--quiet")
    process = subprocess.Popen(command(*args))
    Path("pipe").write_bytes(data)
    assert process.wait(300) == 0
    assert pixels("a.png").shape == (7, 9, 3)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_a_smaller_picture(folder: Path, codec: aec.Codec, data: bytes, scale: int) -> None:
    aec_run("decompress", "sound.aec", "-o", "a.png", "--scale", f"1/{scale}")
    assert np.array_equal(pixels("a.png"), np.asarray(codec.decompress(data, scale=scale)))
    assert pixels("a.png").shape[:2] == (SIZE[1] // scale, SIZE[0] // scale)
    args = ("--scale", f"1/{scale}", "--region", "128,64,33,20")
    aec_run("decompress", "sound.aec", "-o", "b.png", *args)
    left, top, width, height = 128 // scale, 64 // scale, -(-33 // scale), -(-20 // scale)
    cut = pixels("a.png")[top : top + height, left : left + width]
    assert np.array_equal(pixels("b.png"), cut)


@pytest.mark.parametrize("part", [(), ("--region", "32,64,100,80"), ("--scale", "1/2")])
def test_a_part_is_turned_as_the_whole_is(folder: Path, part: tuple[str, ...]) -> None:
    aec_run("decompress", "sound.aec", "-o", "kept.png", *part)
    aec_run("decompress", "sound.aec", "-o", "bare.png", *part, "--strip", "exif")
    aec_run("decompress", "sound.aec", "-o", "bare.ppm", *part)
    with Image.open("kept.png") as image:
        assert image.getexif()[ORIENTATION] == 6 and image.info["xmp"] == b"<x/>"
    turned = np.rot90(pixels("kept.png"), -1)
    assert np.array_equal(pixels("bare.png"), turned)
    assert np.array_equal(pixels("bare.ppm"), turned)


def test_a_region_outside_the_picture_is_wrong_usage(folder: Path) -> None:
    args = ("sound.aec", "bad.aec", "-o", "out/", "--region", "300,100,21,10", "--json")
    result = aec_run("decompress", *args, code=2)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["ok"] for row in rows] == [False, False]
    assert "region 300,100,21,10 is not inside the picture" in rows[0]["error"]
    assert "Traceback" not in result.stderr and names(folder / "out") == []


def test_a_region_of_what_is_no_file_of_ours(folder: Path) -> None:
    result = aec_run("decompress", "photo.png", "-o", "a.png", "--region", "0,0,1,1", code=4)
    assert "it looks like a PNG); did you mean aec compress?" in result.stderr
    Path("short.aec").write_bytes(Path("sound.aec").read_bytes()[: HEADER_SIZE + 5])
    for name, code in (("none.aec", 1), (".", 1), ("short.aec", 4)):
        aec_run("decompress", name, "-o", "a.png", "--region", "0,0,1,1", code=code)
    assert not Path("a.png").exists()


# Damage


def test_an_intact_file_is_as_without_the_option(folder: Path) -> None:
    aec_run("decompress", "sound.aec", "-o", "a.png")
    Path("b.mask.png").touch()
    result = aec_run("decompress", "sound.aec", "-o", "b.png", "--allow-partial")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert "warning" not in result.stderr and not Path("b.mask.png").read_bytes()
    aec_run("decompress", "sound.aec", "-o", "c.png", "--allow-partial")
    assert not Path("c.mask.png").exists()


def test_what_is_left_comes_with_a_mask(folder: Path, codec: aec.Codec, data: bytes) -> None:
    result = aec_run("decompress", "bad.aec", "--allow-partial", code=3)
    warning, line = result.stderr.splitlines()
    assert warning.startswith("aec: bad.aec: warning: 5 of 6 tiles are intact: CRC-32 of chunk")
    assert warning.endswith(" (mask: bad.mask.png)")
    assert line.startswith("bad.aec -> bad.png  320x192  ")
    recovered = codec.recover(hit(data))
    assert np.array_equal(pixels("bad.png"), np.asarray(recovered.picture))
    mask = pixels("bad.mask.png")
    assert np.array_equal(mask, np.asarray(recovered.mask))
    assert set(np.unique(mask)) == {0, 128, 255} and not mask[128:, 256:].any()
    whole = np.asarray(codec.decompress(data))
    assert np.array_equal(pixels("bad.png")[mask == 255], whole[mask == 255])
    with Image.open("bad.png") as image:
        assert image.getexif()[ORIENTATION] == 6


@pytest.mark.parametrize("options", [("-o", "a.ppm"), ("-o", "a.tif"), ("--strip", "all")])
def test_the_mask_is_turned_with_the_pixels(folder: Path, options: tuple[str, ...]) -> None:
    aec_run("decompress", "bad.aec", "--allow-partial", "-o", "kept.png", code=3)
    out = (*options, "-o", "a.png") if "-o" not in options else options
    aec_run("decompress", "bad.aec", "--allow-partial", *out, code=3)
    assert np.array_equal(pixels("a.mask.png"), np.rot90(pixels("kept.mask.png"), -1))
    assert np.array_equal(pixels(out[-1]), np.rot90(pixels("kept.png"), -1))


def test_the_mask_has_the_size_of_a_smaller_picture(folder: Path) -> None:
    aec_run("decompress", "bad.aec", "--allow-partial", "--scale", "1/4", code=3)
    assert pixels("bad.mask.png").shape == pixels("bad.png").shape[:2] == (48, 80)


def test_standard_output_takes_the_picture_only(folder: Path, codec: aec.Codec) -> None:
    args = ("decompress", "bad.aec", "-o", "-", "--allow-partial", "--quiet")
    before = names(folder)
    done = subprocess.run(command(*args), capture_output=True, check=False, timeout=300)
    assert done.returncode == 3
    assert done.stderr.count(b"\n") == 1 and b"(no mask was written)" in done.stderr
    expected = codec.recover(Path("bad.aec").read_bytes()).picture
    assert np.array_equal(pixels(io.BytesIO(done.stdout)), np.asarray(expected))
    assert names(folder) == before


def test_json_tells_a_part_from_the_whole(folder: Path) -> None:
    args = ("sound.aec", "bad.aec", "--allow-partial", "--json", "-o", "out/")
    rows = [json.loads(s) for s in aec_run("decompress", *args, code=3).stdout.splitlines()]
    assert rows[0]["ok"] and rows[0]["partial"] is None
    assert not rows[1]["ok"] and rows[1]["width"] == SIZE[0]
    partial = rows[1]["partial"]
    assert (partial["tiles_ok"], partial["tiles_total"]) == (5, 6)
    assert partial["mask"] == os.path.join("out/", "bad.mask.png")
    assert rows[1]["error"] == f"5 of 6 tiles are intact: {partial['reason']}"
    assert names(folder / "out") == ["bad.mask.png", "bad.png", "sound.png"]


def test_a_lost_end_alone_needs_no_mask(folder: Path, data: bytes) -> None:
    Path("end.aec").write_bytes(data[:-5])
    aec_run("decompress", "end.aec", code=4)
    result = aec_run("decompress", "end.aec", "--allow-partial", code=3)
    assert "warning: 6 of 6 tiles are intact: " in result.stderr
    assert "(no mask was written)" in result.stderr
    assert np.array_equal(pixels("end.png"), np.asarray(aec.decompress(data)))
    assert not Path("end.mask.png").exists()


def test_nothing_left_is_an_error(folder: Path, codec: aec.Codec, photo: Image.Image) -> None:
    whole = codec.compress(photo, tile=0)
    Path("one.aec").write_bytes(whole[:-40])
    Path("header.aec").write_bytes(whole[:20])
    for name in ("one.aec", "header.aec", "photo.png"):
        aec_run("decompress", name, "-o", "a.png", "--allow-partial", code=4)
    assert not Path("a.png").exists() and not Path("a.mask.png").exists()


def test_a_mask_that_is_there_is_kept_or_replaced_as_asked(folder: Path) -> None:
    Path("bad.mask.png").write_text("mine")
    result = aec_run("decompress", "bad.aec", "--allow-partial", code=1)
    assert "bad.mask.png exists; replace it with --force" in result.stderr
    assert Path("bad.mask.png").read_text() == "mine" and not Path("bad.png").exists()
    aec_run("decompress", "bad.aec", "--allow-partial", "--force", code=3)
    assert pixels("bad.mask.png").shape == SIZE[::-1]


def test_a_batch_with_damage_has_the_code_of_what_failed(folder: Path) -> None:
    Path("text.aec").write_text("no picture")
    args = ("sound.aec", "bad.aec", "text.aec", "--allow-partial", "-o", "out/")
    result = aec_run("decompress", *args, code=4)
    assert result.stderr.splitlines()[-1] == "1 done, 1 partial, 0 skipped, 1 failed"


# Limits


def test_more_pixels_than_allowed(folder: Path, data: bytes) -> None:
    count = SIZE[0] * SIZE[1]
    for args in (
        ("compress", "photo.png", "-o", "a.aec"),
        ("decompress", "sound.aec", "-o", "a.png"),
        ("info", "sound.aec"),
        ("verify", "sound.aec"),
    ):
        for bound in (count - 2, count - 1):
            result = aec_run(*args, "--max-pixels", bound, code=5)
            assert f"max_pixels={bound}" in result.stderr
        aec_run(*args, "--max-pixels", count)
    region = ("-o", "b.png", "--region", "0,0,10,10")
    aec_run("decompress", "sound.aec", *region, "--max-pixels", 128 * 128)
    aec_run("decompress", "bad.aec", "--allow-partial", "--max-pixels", 9, code=5)


def test_compress_refuses_before_it_reads_the_pixels(folder: Path) -> None:
    whole = Path("photo.png").read_bytes()
    Path("half.png").write_bytes(whole[: len(whole) // 2])
    usual = Image.MAX_IMAGE_PIXELS
    aec_run("compress", "half.png", "--max-pixels", 1000, code=5)
    assert usual == Image.MAX_IMAGE_PIXELS
    aec_run("compress", "half.png", code=4)


def test_more_seconds_than_allowed(folder: Path) -> None:
    for args in (
        ("compress", "photo.png", "-o", "a.aec"),
        ("decompress", "sound.aec", "-o", "a.png"),
        ("verify", "sound.aec"),
    ):
        result = aec_run(*args, "--max-seconds", 1e-9, code=5)
        assert "max_seconds" in result.stderr
        aec_run(*args, "--max-seconds", 600)


@posix
@pytest.mark.parametrize("extension", ["png", "ppm", "tif"])
def test_a_full_disk_is_told_from_what_a_format_cannot_hold(folder: Path, extension: str) -> None:
    code = """
import resource, signal, sys
from aec.cli.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
main()
"""
    args = ("decompress", "sound.aec", "-o", f"a.{extension}")
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, check=False)
    message = f"aec: sound.aec: cannot write a.{extension}: {os.strerror(errno.EFBIG)}\n"
    assert (done.returncode, done.stderr.decode()) == (1, message)
    assert names(folder) == ["bad.aec", "photo.png", "sound.aec"]


def test_a_format_that_fails_half_way_leaves_nothing(folder: Path) -> None:
    result = aec_run("decompress", "bad.aec", "-o", "a.xbm", "--allow-partial", code=4)
    assert "Pillow cannot write it as XBM" in result.stderr
    assert names(folder) == ["bad.aec", "photo.png", "sound.aec"]
