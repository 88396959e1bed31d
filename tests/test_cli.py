import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import aec
from aec.cli import main as program
from aec.format.errors import FormatError

running = runpy.run_path(str(Path(__file__).with_name("running.py")))
aec_run = running["aec_run"]
aec_process = running["aec_process"]
coded = running["coded"]
names = running["names"]


def picture(path: Path, mode: str = "RGB") -> Path:
    Image.new(mode, (8, 4)).save(path)
    return path


# The program


@pytest.mark.parametrize(
    "args", ["--help", "--version", "compress --help", "decompress --help", "info FILE", "nothing"]
)
def test_these_start_without_torch_and_numpy(tmp_path: Path, args: str) -> None:
    (tmp_path / "a.aec").write_bytes(coded())
    code = """
import sys
from aec.cli.main import run
run(sys.argv[1:])
heavy = {"torch", "numpy", "PIL", "constriction", "safetensors"} & set(sys.modules)
assert not heavy, heavy
"""
    arguments = args.replace("FILE", str(tmp_path / "a.aec")).split()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def test_version() -> None:
    assert aec_run("--version").output == f"aec {aec.__version__}\n"


def test_help_names_every_command_and_warns_about_quality_100() -> None:
    text = aec_run("--help").output
    assert all(f"  {name}  " in text for name in program.COMMANDS)
    assert "not lossless" in " ".join(aec_run("compress", "--help").output.split())
    assert aec_run("compress", "-h").output == aec_run("compress", "--help").output


def test_every_command_is_there_and_has_a_short_help() -> None:
    for name in program.COMMANDS:
        assert aec_run(name, "--help").output.startswith(f"Usage: aec {name} ")
        assert f"{name}  " in aec_run("--help").output
    aec_run("unheard-of", code=2)


def test_run_returns_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert program.run(["--version"]) == 0
    assert program.run(["info", str(tmp_path / "none")]) == 1
    assert program.run(["compress"]) == 2
    assert "Missing argument" in capsys.readouterr().err

    def interrupted(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "import_module", interrupted)
    assert program.run(["info", "x"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "aec: interrupted"


def test_the_process_ends_with_the_exit_code(tmp_path: Path) -> None:
    done = aec_process("info", "none.aec", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.splitlines() == [b"aec: none.aec: No such file or directory"]


# Arguments


@pytest.mark.parametrize(
    "args",
    [
        "compress",
        "compress a.png -q 101",
        "compress a.png -q -1",
        "compress a.png -q nan",
        "compress a.png -q best",
        "compress a.png --device gpu",
        "compress a.png --device cuda:x",
        "compress a.png --device",
        "compress a.png -f --skip-existing",
        "compress a.png a.jpg",
        "compress a.png b.png -o out.aec",
        "compress a.png -o a.png",
        "compress a.png -o - --json",
        "compress - --json",
        "decompress a.aec -o a.aec",
        "decompress a.aec -o a.unheard-of",
        "decompress a.aec -o noextension",
        "decompress a.aec --format unheard-of",
        "decompress a.aec -o a.png --format jpg",
        "decompress a.aec --region 1,2,3",
        "decompress a.aec --region 1,2,3,0",
        "decompress a.aec --region -1,2,3,4",
        "decompress a.aec --region 1,2,3,4,5",
        "decompress a.aec --region 1,2,3,4 --allow-partial",
        "decompress a.aec --region 2,1,3,4 --scale 1/2",
        "decompress a.aec --scale 0.5",
        "decompress a.aec --scale 1/16",
        "decompress a.aec --max-pixels 0",
        "decompress a.aec --max-seconds 0",
        "decompress a.aec --max-seconds nan",
        "decompress a.aec a.mask.aec --allow-partial",
        "decompress a.aec --allow-partial -o a.jpg a.mask.png",
        "compress a.png --tile 100",
        "compress a.png --tile 8192",
        "compress a.png --max-pixels many",
        "verify a.aec --max-pixels -1",
        "info a.aec --max-pixels 0",
        "info",
    ],
)
def test_wrong_usage_is_found_before_any_work(tmp_path: Path, args: str) -> None:
    result = aec_run(*args.split(), code=2)
    assert "Error: " in result.stderr and not result.stdout


@pytest.mark.parametrize("extension", ["unheard-of", "aec", "hdr", ""])
def test_an_unwritable_format_is_named(extension: str) -> None:
    name = f"b.{extension}" if extension else "b"
    result = aec_run("decompress", "a.aec", "-o", name, code=2)
    assert (f"'.{extension}'" if extension else "needs a file extension") in result.stderr
    assert "png" in result.stderr


# Inputs that cannot be worked on, all found before the codec is loaded


def test_compress_says_what_is_wrong_with_each_input(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("Dear Sir or Madam")
    (tmp_path / "coded.bin").write_bytes(coded())
    image = picture(tmp_path / "inks.tif", "CMYK")
    whole = picture(tmp_path / "half.bmp").read_bytes()
    (tmp_path / "half.bmp").write_bytes(whole[: len(whole) // 2])
    expected = {
        "none.png": "No such file or directory",
        "folder": "is a folder; name the files in it",
        "empty.png": "the file is empty",
        "text.png": "not a picture in a format that Pillow reads",
        "coded.bin": "already an aec file; did you mean aec decompress?",
        image.name: "mode CMYK cannot be coded; convert it first",
        "half.bmp": "damaged or unreadable picture",
    }
    before = names(tmp_path)
    done = aec_process("compress", *expected, cwd=tmp_path)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1 and done.stdout == b""
    assert len(lines) == len(expected) + 1
    for line, (name, message) in zip(lines, expected.items(), strict=False):
        assert line.startswith(f"aec: {name}: {message}")
    assert lines[-1] == "0 done, 0 skipped, 7 failed"
    assert names(tmp_path) == before


def test_decompress_says_what_is_wrong_with_each_input(tmp_path: Path) -> None:
    sound = coded()
    broken = bytearray(sound)
    broken[60] ^= 1
    contents = {
        "empty.aec": (b"", "the file is empty"),
        "photo.jpg": (b"\xff\xd8\xff\xe0", "looks like a JPEG); did you mean aec compress?"),
        "picture.webp": (b"RIFF\0\0\0\0WEBP", "looks like a WebP)"),
        "image.avif": (b"\0\0\0\x20ftypavif", "looks like an AVIF)"),
        "text.aec": (b"Dear Sir or Madam,", "not an .aec file"),
        "short.aec": (sound[:-1], "TruncatedError"),
        "broken.aec": (bytes(broken), "ChecksumError"),
        "wide.aec": (coded(2**20, 1), "limit max_side"),
    }
    for name, (data, _) in contents.items():
        (tmp_path / name).write_bytes(data)
    done = aec_process("decompress", *contents, "--json", "-o", "out/", cwd=tmp_path)
    assert done.returncode == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    for row, line, (name, (data, message)) in zip(
        rows, done.stderr.decode().splitlines(), contents.items(), strict=True
    ):
        if message.endswith("Error"):  # the words are those of the format's own reader
            with pytest.raises(FormatError) as caught:
                aec.open_info(data)
            assert type(caught.value).__name__ == message
            message = str(caught.value)
        assert message in row["error"]
        assert line == f"aec: {name}: {row['error']}"
        assert row["input"] == name and row["ok"] is False and row["bytes"] is None
        assert row["output"] == os.path.join("out/", f"{Path(name).stem}.png")
    assert names(tmp_path / "out") == []


def test_an_existing_output_stops_the_file_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("never looked at")
    (tmp_path / "a.aec").write_text("mine")
    result = aec_run("compress", tmp_path / "a.png", code=1)
    assert "a.aec exists; replace it with --force, or use --skip-existing" in result.stderr
    assert (tmp_path / "a.aec").read_text() == "mine"
    result = aec_run("compress", tmp_path / "a.png", "--skip-existing")
    assert "skipped" in result.stderr
    assert (tmp_path / "a.aec").read_text() == "mine"


def test_pillow_does_not_warn_between_our_lines(tmp_path: Path) -> None:
    code = """
import sys
from PIL import Image
from aec.cli.main import main
Image.MAX_IMAGE_PIXELS = 20
main()
"""
    (tmp_path / "a.aec").touch()
    image = picture(tmp_path / "a.tif", "CMYK")
    done = subprocess.run(
        [sys.executable, "-c", code, "compress", image, "-o", tmp_path / "b.aec"],
        capture_output=True,
        check=False,
    )
    assert done.stderr.startswith(b"aec: ") and b"CMYK" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_surprising_file_name_is_printed_safely(tmp_path: Path) -> None:
    done = aec_process("info", "no\x1b[31m\nfile", cwd=tmp_path)
    assert b"\x1b" not in done.stderr and done.stderr.count(b"\n") == 1
    if os.name == "posix":
        name = b"no\xff"
        done = subprocess.run(
            [sys.executable, "-m", "aec", "info", name, "--json"], capture_output=True, check=False
        )
        row = json.loads(done.stdout)
        assert os.fsencode(row["input"]) == name
