"""Batches: what becomes of each file, what is said about it, and the exit code."""

import json
import os
import runpy
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from aec.cli.batch import Output
from aec.cli.naming import Job
from aec.cli.report import Partial, Row
from aec.format.errors import ImageError

running = runpy.run_path(str(Path(__file__).with_name("running.py")))
batch = running["batch"]
names = running["names"]
posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
ROW = Row(width=8, height=4, bytes=5, seconds=0.25, quality=75.0)


def copy(job: Job) -> Output:
    return Output(Path(job.source).read_bytes(), ROW)


@pytest.mark.parametrize(
    ("bad", "code"), [((), 0), (("b",), 4), (("a", "c"), 4), (("a", "b", "c"), 4)]
)
def test_a_batch_goes_on_after_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: tuple[str, ...], code: int
) -> None:
    for name in "abc":
        (tmp_path / name).write_text(name)

    def convert(job: Job) -> Output:
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
    assert run() == 1
    assert run(skip_existing=True) == 0
    assert run(force=True) == 0
    assert (tmp_path / "a.aec").read_text() == "this is a"


def test_json_has_a_line_for_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "b.aec", "c"):
        (tmp_path / name).touch()

    def convert(job: Job) -> Output:
        if job.source.endswith("c"):
            raise ImageError("no good")
        return copy(job)

    work = batch(*(tmp_path / name for name in "abc"), as_json=True, skip_existing=True)
    assert work.run(work.plan(".aec"), convert) == 4
    out, err = capsys.readouterr()
    assert err == f"aec: {tmp_path / 'c'}: no good\n"
    nothing = dict.fromkeys(("bytes", "bpp", "width", "height", "seconds", "quality", "psnr"))
    numbers = dict(bytes=5, bpp=1.25, width=8, height=4, seconds=0.25, quality=75.0, psnr=None)
    expected = [
        {"ok": True, "skipped": False, "error": None, **numbers},
        {"ok": True, "skipped": True, "error": None, **nothing},
        {"ok": False, "skipped": False, "error": "no good", **nothing},
    ]
    rows = [json.loads(line) for line in out.splitlines()]
    for name, row, fields in zip("abc", rows, expected, strict=True):
        path = str(tmp_path / name)
        assert row == {"input": path, "output": f"{path}.aec", "partial": None, **fields}


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
    assert work.run(work.plan(".aec"), copy) == 1
    path = tmp_path / "a"
    message = f"aec: {path}: cannot write {path}.aec: No space left on device\n"
    assert capsys.readouterr().err == message
    assert (tmp_path / "a.aec").read_text() == "old"
    assert names(tmp_path) == ["a", "a.aec"]


def test_an_output_that_appears_during_the_work_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").touch()

    def convert(job: Job) -> Output:
        Path(job.target).write_text("somebody else's")
        return copy(job)

    work = batch(tmp_path / "a")
    assert work.run(work.plan(".aec"), convert) == 1
    assert "exists; replace it with --force" in capsys.readouterr().err
    assert (tmp_path / "a.aec").read_text() == "somebody else's"


def test_a_folder_that_cannot_be_made_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").touch()
    work = batch(tmp_path / "a", output=f"{tmp_path}/a/out/")
    assert work.run(work.plan(".aec"), copy) == 1
    err = capsys.readouterr().err
    assert "cannot make the folder" in err and err.count("\n") == 1


@pytest.mark.parametrize(("error", "code"), [(RuntimeError("odd"), 1), (MemoryError(), 8)])
def test_an_error_nobody_foresaw_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    for name in "ab":
        (tmp_path / name).touch()

    def convert(job: Job) -> Output:
        if job.source.endswith("a"):
            raise error
        return copy(job)

    work = batch(tmp_path / "a", tmp_path / "b", quiet=True)
    assert work.run(work.plan(".aec"), convert) == code
    err = capsys.readouterr().err
    if isinstance(error, RuntimeError):
        assert "internal error, please report it: RuntimeError: odd" in err
        assert "Traceback" in err  # this is for us
    else:
        assert err == f"aec: {tmp_path / 'a'}: not enough memory\n"


def test_a_warning_during_the_work_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").touch()

    def convert(job: Job) -> Output:
        for _ in range(2):
            warnings.warn("short of memory", stacklevel=1)
        return copy(job)

    work = batch(tmp_path / "a", quiet=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert work.run(work.plan(".aec"), convert) == 0
    assert capsys.readouterr().err == "aec: warning: short of memory\n"


@pytest.mark.parametrize("force", [True, False])
def test_a_mask_is_written_with_its_picture_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], force: bool
) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "a.mask.png").write_text("old")

    def convert(job: Job) -> Output:
        return Output(b"picture", ROW, Partial(1, 2, "a hole"), b"mask")

    work = batch(tmp_path / "a", force=force, quiet=True)
    assert work.run(work.plan(".png", masks=True), convert) == (3 if force else 1)
    err = capsys.readouterr().err
    if force:
        assert f"a: warning: 1 of 2 tiles are intact: a hole (mask: {tmp_path}" in err
        assert (tmp_path / "a.png").read_text() == "picture"
        assert (tmp_path / "a.mask.png").read_text() == "mask"
    else:
        assert "a.mask.png exists; replace it with --force" in err
        assert names(tmp_path) == ["a", "a.mask.png"]
        assert (tmp_path / "a.mask.png").read_text() == "old"


def test_ctrl_c_stops_the_batch_and_keeps_what_is_done(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).touch()

    def convert(job: Job) -> Output:
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
from test_batch import batch, copy
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
