"""The command line with the codec behind it: nothing here replaces any part of either."""

import io
import json
import os
import runpy
import signal
import subprocess
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import aec
from aec.codec.pictures import open_picture
from aec.format.header import FIELDS, HEADER_SIZE

running = runpy.run_path(str(Path(__file__).with_name("running.py")))
aec_run = running["aec_run"]
command = running["command"]
posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
Array = NDArray[np.uint8]


@pytest.fixture(scope="session")
def photo() -> Array:
    with Image.open(Path(__file__).parent / "images" / "astronaut.png") as image:
        return np.array(image.convert("RGB").crop((150, 30, 310, 130)))


@pytest.fixture
def folder(tmp_path: Path, photo: Array, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Is the working folder of the test, with a colour and a gray picture in it."""
    Image.fromarray(photo).save(tmp_path / "photo.png")
    Image.fromarray(photo[:70, :50, 1]).save(tmp_path / "gray.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def psnr(one: Array, other: Array) -> float:
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return float(10 * np.log10(255**2 / (error + 1e-9)))


def test_there_and_back(folder: Path, photo: Array) -> None:
    result = aec_run("compress", "photo.png", "-q", 90)
    data = (folder / "photo.aec").read_bytes()
    assert result.stdout == ""
    start = f"photo.png -> photo.aec  160x100  {len(data)} bytes  {len(data) / 2000:.3f} bpp  "
    assert result.stderr.startswith(start)
    assert data == aec.compress(Image.fromarray(photo), quality=90)

    aec_run("decompress", "photo.aec", "-o", "back.png")
    with Image.open("back.png") as image:
        assert image.mode == "RGB"
        back = np.array(image)
    assert back.shape == photo.shape
    assert psnr(back, photo) > 24
    assert np.array_equal(back, np.asarray(aec.decompress(data)))


def test_default_names_go_back_beside_the_input(folder: Path) -> None:
    aec_run("compress", "photo.png", "gray.png")
    for name in ("photo.png", "gray.png"):
        (folder / name).unlink()
    aec_run("decompress", "photo.aec", "gray.aec")
    assert sorted(os.listdir()) == ["gray.aec", "gray.png", "photo.aec", "photo.png"]


def test_gray_stays_gray(folder: Path) -> None:
    aec_run("compress", "gray.png")
    aec_run("decompress", "gray.aec", "--force")
    with Image.open("gray.png") as image:
        assert (image.mode, image.size) == ("L", (50, 70))


def test_quality_sets_the_size(folder: Path) -> None:
    sizes = []
    for quality in (0, 30, 75, 100):
        aec_run("compress", "photo.png", "-q", quality, "-o", f"{quality}.aec")
        sizes.append(os.path.getsize(f"{quality}.aec"))
        row = json.loads(aec_run("info", "--json", f"{quality}.aec").stdout)
        assert abs(row["quality"] - quality) < 0.2
        assert row["total_bytes"] == sizes[-1]
    assert sizes == sorted(set(sizes))
    aec_run("compress", "photo.png")
    assert os.path.getsize("photo.aec") == sizes[2]


@pytest.mark.parametrize("height", [1, 63, 65])
@pytest.mark.parametrize("width", [1, 64])
def test_any_size_comes_back(folder: Path, photo: Array, width: int, height: int) -> None:
    Image.fromarray(photo[:height, :width]).save("cut.png")
    aec_run("compress", "cut.png")
    aec_run("decompress", "cut.aec", "-o", "back.png")
    with Image.open("back.png") as image:
        assert image.size == (width, height)


@pytest.mark.parametrize("extension", ["png", "ppm", "bmp", "tif", "webp", "jpg", "PNG"])
def test_output_formats(folder: Path, extension: str) -> None:
    aec_run("compress", "photo.png")
    aec_run("decompress", "photo.aec", "-o", f"back.{extension}")
    aec_run("decompress", "photo.aec", "--format", extension, "-o", "out/")
    expected = np.asarray(aec.decompress((folder / "photo.aec").read_bytes()))
    for name in (f"back.{extension}", f"out/photo.{extension.lower()}"):
        back = np.asarray(open_picture(name))
        if extension == "jpg":
            assert psnr(back, expected) > 35
        else:
            assert np.array_equal(back, expected)


def test_a_format_that_cannot_hold_the_picture_is_an_error(folder: Path) -> None:
    aec_run("compress", "photo.png")
    result = aec_run("decompress", "photo.aec", "-o", "back.xbm", code=4)
    assert "aec: photo.aec: Pillow cannot write it as XBM: cannot write mode RGB" in result.stderr
    assert not Path("back.xbm").exists()


NUMBERS = ["bytes", "bpp", "width", "height", "seconds", "quality", "psnr"]


def test_json_describes_the_coded_file(folder: Path) -> None:
    for verb, source, target, quality in (
        ("compress", "photo.png", "photo.aec", 40.0),
        ("decompress", "photo.aec", "back.png", 40.0),
    ):
        options = ["-q", "40"] if verb == "compress" else []
        row = json.loads(aec_run(verb, source, "-o", target, "--json", *options).stdout)
        size = os.path.getsize("photo.aec")
        assert list(row)[:5] == ["input", "output", "ok", "skipped", "error"]
        assert list(row)[5:] == [*NUMBERS, "partial"]
        assert (row["input"], row["output"]) == (source, target)
        assert (row["ok"], row["skipped"], row["error"]) == (True, False, None)
        assert (row["width"], row["height"], row["bytes"]) == (160, 100, size)
        assert row["bpp"] == pytest.approx(size * 8 / 16000)
        assert abs(row["quality"] - quality) < 0.2
        assert 0 < row["seconds"] < 60


def test_one_bad_file_does_not_stop_the_others(folder: Path) -> None:
    (folder / "bad.png").write_text("no picture")
    result = aec_run("compress", "bad.png", "photo.png", "none.png", "gray.png", code=1)
    lines = result.stderr.splitlines()
    assert lines[0] == "aec: bad.png: not a picture in a format that Pillow reads"
    assert lines[1].startswith("photo.png -> photo.aec")
    assert lines[2] == "aec: none.png: No such file or directory"
    assert lines[3].startswith("gray.png -> gray.aec")
    assert lines[4] == "2 done, 0 skipped, 2 failed"


def test_a_second_run_does_only_what_is_left(folder: Path) -> None:
    aec_run("compress", "photo.png")
    before = os.stat("photo.aec")
    result = aec_run("compress", "photo.png", "gray.png", "--skip-existing")
    assert "photo.png: skipped, photo.aec exists" in result.stderr
    assert os.stat("photo.aec") == before and Path("gray.aec").exists()
    aec_run("compress", "photo.png", "--skip-existing")
    aec_run("compress", "photo.png", code=1)
    aec_run("compress", "photo.png", "--force")


def test_a_device_that_is_not_there_is_one_message(folder: Path) -> None:
    result = aec_run("compress", "photo.png", "gray.png", "--device", "cuda:99", code=8)
    (line,) = result.stderr.splitlines()
    assert line.startswith("aec: cannot start the codec: ") and "cuda:99" in line


def test_a_warning_of_the_codec_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aec.codec import api

    real = api.Codec

    def with_warning(**options: Any) -> api.Codec:
        warnings.warn("this device is slow", stacklevel=1)
        return real(**options)

    monkeypatch.setattr(api, "Codec", with_warning)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = aec_run("compress", "photo.png", "gray.png", "--quiet")
    assert result.stderr == "aec: warning: this device is slow\n"


def test_a_file_of_another_model_is_refused(folder: Path) -> None:
    aec_run("compress", "photo.png")
    data = bytearray(Path("photo.aec").read_bytes())
    model_id = next(field for field in FIELDS if field.name == "model_id")
    data[model_id.offset] ^= 0xFF
    data[HEADER_SIZE - 4 : HEADER_SIZE] = zlib.crc32(data[: HEADER_SIZE - 4]).to_bytes(4, "little")
    Path("other.aec").write_bytes(data)
    result = aec_run("decompress", "other.aec", code=6)
    assert result.stderr.startswith("aec: other.aec: ") and "model" in result.stderr
    assert result.stderr.count("\n") == 1 and not Path("other.png").exists()


def test_pipes(folder: Path, photo: Array) -> None:
    options: dict[str, Any] = {"capture_output": True, "check": True, "timeout": 300}
    png = (folder / "photo.png").read_bytes()
    coded = subprocess.run(command("compress", "-", "-q", "90"), input=png, **options)
    assert coded.stdout == aec.compress(photo, quality=90)
    assert coded.stderr.startswith(b"- -> -  160x100  ")
    back = subprocess.run(
        command("decompress", "-", "-o", "-", "--format", "ppm", "--quiet"),
        input=coded.stdout,
        **options,
    )
    assert back.stderr == b"" and back.stdout.startswith(b"P6")
    with Image.open(io.BytesIO(back.stdout)) as image:
        assert np.array_equal(np.asarray(image), np.asarray(aec.decompress(coded.stdout)))


@posix
def test_a_reader_that_goes_away_is_met_with_silence(folder: Path) -> None:
    aec_run("compress", "photo.png")
    process = subprocess.Popen(
        command("decompress", "photo.aec", "-o", "-", "--format", "bmp"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(300) == 1
    process.stderr.close()


@posix
def test_ctrl_c_leaves_only_whole_files(folder: Path) -> None:
    inputs = []
    for i in range(400):
        path = folder / "many" / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(folder / "photo.png")
        inputs.append(path)
    process = subprocess.Popen(
        command("compress", *inputs, "-o", "out/"), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    out = folder / "out"
    while not (out.is_dir() and any(out.glob("*.aec"))) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "aec: interrupted" and "Traceback" not in err
    written = list(out.iterdir())
    assert 0 < len(written) < 400
    for path in written:
        assert path.suffix == ".aec" and not path.name.startswith(".")
        assert aec.open_info(path).width == 160
