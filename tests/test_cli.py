import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

import aec
from aec.cli import main as program
from aec.cli.batch import Batch
from aec.cli.naming import Job
from aec.cli.report import Row
from aec.format.container import Tile, write_file
from aec.format.errors import FormatError, ImageError
from aec.format.header import Header

posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
ROW = Row(width=8, height=4, bytes=5, seconds=0.25, quality=75.0)


def aec_run(*args: object, **options: Any) -> Result:
    return CliRunner().invoke(
        program.program, [str(arg) for arg in args], prog_name="aec", **options
    )


def aec_process(*args: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "aec", *map(str, args)]
    return subprocess.run(command, capture_output=True, check=False, timeout=120, **options)


def picture(path: Path, mode: str = "RGB") -> Path:
    Image.new(mode, (8, 4)).save(path)
    return path


def coded(width: int = 768, height: int = 512, **fields: Any) -> bytes:
    """Returns a file whose container is sound; its tile holds no picture."""
    header = Header(width, height, quality=191, model_id=bytes(range(8)), **fields)
    return write_file(header, [Tile(0, zlib.crc32(b""), bytes(400))])


def batch(*inputs: object, **changes: Any) -> Batch:
    arguments: dict[str, Any] = {
        "output": None,
        "force": False,
        "skip_existing": False,
        "device": "cpu",
        "as_json": False,
        "quiet": False,
        "no_progress": False,
    }
    return Batch(inputs=tuple(map(str, inputs)), **(arguments | changes))


def copy(job: Job) -> tuple[bytes, Row]:
    return Path(job.source).read_bytes(), ROW


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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
        result = aec_run(name, "--help")
        assert result.exit_code == 0 and result.output.startswith(f"Usage: aec {name} ")
        assert f"{name}  " in aec_run("--help").output
    assert aec_run("unheard-of").exit_code == 2


def test_run_returns_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert program.run(["--version"]) == 0
    assert program.run(["info", str(tmp_path / "none")]) == 3
    assert program.run(["compress"]) == 2
    assert "Missing argument" in capsys.readouterr().err

    def interrupted(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "import_module", interrupted)
    assert program.run(["info", "x"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "aec: interrupted"


def test_the_process_ends_with_the_exit_code(tmp_path: Path) -> None:
    done = aec_process("info", "none.aec", cwd=tmp_path)
    assert done.returncode == 3
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
        "info",
    ],
)
def test_wrong_usage_is_found_before_any_work(tmp_path: Path, args: str) -> None:
    result = aec_run(*args.split())
    assert result.exit_code == 2, result.output
    assert "Error: " in result.stderr and not result.stdout


@pytest.mark.parametrize("extension", ["unheard-of", "aec", "hdr", ""])
def test_an_unwritable_format_is_named(extension: str) -> None:
    result = aec_run("decompress", "a.aec", "-o", f"b.{extension}" if extension else "b")
    assert result.exit_code == 2
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
    assert done.returncode == 3 and done.stdout == b""
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
    assert done.returncode == 3
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
    result = aec_run("compress", tmp_path / "a.png")
    assert result.exit_code == 3
    assert "a.aec exists; replace it with --force, or use --skip-existing" in result.stderr
    assert (tmp_path / "a.aec").read_text() == "mine"
    result = aec_run("compress", tmp_path / "a.png", "--skip-existing")
    assert result.exit_code == 3
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


# info


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


def test_info_lists_several_files(tmp_path: Path) -> None:
    for name, data in (("a.aec", coded()), ("long-name.aec", coded(64, 64, flags=1)), ("c", b"x")):
        (tmp_path / name).write_bytes(data)
    done = aec_process("info", "a.aec", "c", "long-name.aec", cwd=tmp_path)
    assert done.returncode == 1
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
    result = aec_run("info", "--json", tmp_path / "a.aec", tmp_path / "b.aec", tmp_path)
    assert result.exit_code == 1
    sound, short, folder = map(json.loads, result.stdout.splitlines())
    assert sound["ok"] and sound["width"] == 768 and sound["chunks"][0]["type"] == "TILE"
    assert not short["ok"] and short["error"] and short["input"] == str(tmp_path / "b.aec")
    assert folder["error"] == "is a folder; name the files in it"


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


# Batches


@pytest.mark.parametrize(
    ("bad", "code"), [((), 0), (("b",), 1), (("a", "c"), 1), (("a", "b", "c"), 3)]
)
def test_a_batch_goes_on_after_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: tuple[str, ...], code: int
) -> None:
    for name in "abc":
        (tmp_path / name).write_text(name)

    def convert(job: Job) -> tuple[bytes, Row]:
        if Path(job.source).name in bad:
            raise ImageError("no good\nat all")
        return copy(job)

    work = batch(*(tmp_path / name for name in "abc"), output=f"{tmp_path}/new/deep/")
    assert work.run(work.plan(".aec"), convert) == code
    assert names(tmp_path / "new" / "deep") == [f"{x}.aec" for x in "abc" if x not in bad]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[-1] == f"{3 - len(bad)} done, 0 skipped, {len(bad)} failed"
    for name, line in zip("abc", lines, strict=False):
        path = tmp_path / name
        target = os.path.join(f"{tmp_path}/new/deep/", f"{name}.aec")
        if name in bad:
            assert line == f"aec: {path}: no good at all"
        else:
            assert line == f"{path} -> {target}  8x4  5 bytes  1.250 bpp  0.25 s"


def test_finished_files_are_skipped_or_replaced_as_asked(tmp_path: Path) -> None:
    for name in ("a", "b", "a.aec"):
        (tmp_path / name).write_text(f"this is {name}")
    inputs = (tmp_path / "a", tmp_path / "b")

    def run(**options: Any) -> int:
        work = batch(*inputs, **options)
        return work.run(work.plan(".aec"), copy)

    assert run(skip_existing=True) == 0
    assert (tmp_path / "a.aec").read_text() == "this is a.aec"
    assert (tmp_path / "b.aec").read_text() == "this is b"
    assert run() == 3
    assert run(skip_existing=True) == 3
    assert run(force=True) == 0
    assert (tmp_path / "a.aec").read_text() == "this is a"


def test_json_has_a_line_for_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "b.aec", "c"):
        (tmp_path / name).touch()

    def convert(job: Job) -> tuple[bytes, Row]:
        if job.source.endswith("c"):
            raise ImageError("no good")
        return copy(job)

    work = batch(*(tmp_path / name for name in "abc"), as_json=True, skip_existing=True)
    assert work.run(work.plan(".aec"), convert) == 1
    out, err = capsys.readouterr()
    assert err == f"aec: {tmp_path / 'c'}: no good\n"
    nothing = dict.fromkeys(("bytes", "bpp", "width", "height", "seconds", "quality"))
    numbers = dict(bytes=5, bpp=1.25, width=8, height=4, seconds=0.25, quality=75.0)
    expected = [
        {"ok": True, "skipped": False, "error": None, **numbers},
        {"ok": True, "skipped": True, "error": None, **nothing},
        {"ok": False, "skipped": False, "error": "no good", **nothing},
    ]
    rows = [json.loads(line) for line in out.splitlines()]
    for name, row, fields in zip("abc", rows, expected, strict=True):
        path = str(tmp_path / name)
        assert row == {"input": path, "output": f"{path}.aec", **fields}


def test_quiet_leaves_only_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").touch()
    work = batch(tmp_path / "a", tmp_path / "none", quiet=True)
    assert work.run(work.plan(".aec"), copy) == 1
    assert capsys.readouterr().err == f"aec: {tmp_path / 'none'}: No such file or directory\n"


def test_a_failing_write_names_the_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("new")
    (tmp_path / "a.aec").write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    work = batch(tmp_path / "a", force=True, quiet=True)
    assert work.run(work.plan(".aec"), copy) == 3
    path = tmp_path / "a"
    message = f"aec: {path}: cannot write {path}.aec: No space left on device\n"
    assert capsys.readouterr().err == message
    assert (tmp_path / "a.aec").read_text() == "old"
    assert names(tmp_path) == ["a", "a.aec"]


def test_an_output_that_appears_during_the_work_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").touch()

    def convert(job: Job) -> tuple[bytes, Row]:
        Path(job.target).write_text("somebody else's")
        return copy(job)

    work = batch(tmp_path / "a")
    assert work.run(work.plan(".aec"), convert) == 3
    assert "exists; replace it with --force" in capsys.readouterr().err
    assert (tmp_path / "a.aec").read_text() == "somebody else's"


def test_a_folder_that_cannot_be_made_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").touch()
    work = batch(tmp_path / "a", output=f"{tmp_path}/a/out/")
    assert work.run(work.plan(".aec"), copy) == 3
    err = capsys.readouterr().err
    assert "cannot make the folder" in err and err.count("\n") == 1


@pytest.mark.parametrize("error", [RuntimeError("odd"), MemoryError()])
def test_an_error_nobody_foresaw_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    for name in "ab":
        (tmp_path / name).touch()

    def convert(job: Job) -> tuple[bytes, Row]:
        if job.source.endswith("a"):
            raise error
        return copy(job)

    work = batch(tmp_path / "a", tmp_path / "b", quiet=True)
    assert work.run(work.plan(".aec"), convert) == 1
    err = capsys.readouterr().err
    if isinstance(error, RuntimeError):
        assert "internal error, please report it: RuntimeError: odd" in err
        assert "Traceback" in err  # this is for us
    else:
        assert err == f"aec: {tmp_path / 'a'}: not enough memory\n"


def test_ctrl_c_stops_the_batch_and_keeps_what_is_done(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).touch()

    def convert(job: Job) -> tuple[bytes, Row]:
        if job.source.endswith("b"):
            raise KeyboardInterrupt
        return copy(job)

    work = batch(*(tmp_path / name for name in "abc"))
    with pytest.raises(KeyboardInterrupt):
        work.run(work.plan(".aec"), convert)
    assert names(tmp_path) == ["a", "a.aec", "b", "c"]


# Terminals


def in_terminal(code: str, stream: str, **options: Any) -> tuple[int, bytes]:
    """Runs code with one of its standard streams on a terminal; returns what appears there."""
    import pty  # unknown to Windows

    primary, secondary = pty.openpty()
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    streams |= {"stderr": subprocess.PIPE, stream: secondary}
    process = subprocess.Popen([sys.executable, "-c", code], **streams, **options)
    os.close(secondary)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    seen = b""
    try:
        while block := os.read(primary, 4096):
            seen += block
    except OSError:
        pass  # how Linux says that the other side is closed
    os.close(primary)
    return process.returncode, seen if stream == "stderr" else (out or b"") + err


@posix
@pytest.mark.parametrize(
    ("args", "stream"), [("['compress', 'a.png', '-o', '-']", "stdout"), ("['info', '-']", "stdin")]
)
def test_bytes_and_terminals_are_kept_apart(args: str, stream: str, tmp_path: Path) -> None:
    code = f"import sys; from aec.cli.main import run; sys.exit(run({args}))"
    status, text = in_terminal(code, stream, cwd=tmp_path)
    assert status == 2
    assert b"is a terminal" in text


@posix
def test_a_terminal_shows_where_the_work_is(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).touch()
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_cli import batch, copy
work = batch("a", "b", "none")
work.run(work.plan(".aec"), copy)
"""
    _, seen = in_terminal(code, "stderr", cwd=tmp_path)
    text = seen.decode()
    assert text.index("[1/3] a\r") < text.index("a -> a.aec") < text.index("[2/3] b\r")
    assert "aec: none: No such file" in text
    # Every line that stays was written over nothing but blanks.
    for line in text.replace("\r\n", "\n").split("\n"):
        *overwritten, last = line.split("\r")
        assert all(part.startswith("[") or not part.strip() for part in overwritten), line
        assert not last.startswith("[")


def test_progress_goes_to_terminals_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown(stderr_is_a_terminal: bool, **options: Any) -> bool:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: stderr_is_a_terminal)
        for name in ("a", "b"):
            (tmp_path / name).touch()
        work = batch(tmp_path / "a", tmp_path / "b", force=True, **options)
        work.run(work.plan(".aec"), copy)
        return "[1/2]" in capsys.readouterr().err

    assert shown(True)
    assert not shown(False)
    assert not shown(True, no_progress=True)
    assert not shown(True, quiet=True)
