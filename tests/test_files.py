import os
import runpy
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aec.cli import files
from aec.cli.files import is_taken, open_input, read_input, write_atomic, write_output
from aec.format.errors import LimitError

faults = runpy.run_path(str(Path(__file__).with_name("faults.py")))
no_links, writes = faults["no_links"], faults["writes"]
names = runpy.run_path(str(Path(__file__).with_name("running.py")))["names"]
posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
OLD, NEW = b"what was there", b"what comes instead" * 1000


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_new_file_is_written(tmp_path: Path, overwrite: bool) -> None:
    for data in (b"", NEW):
        path = tmp_path / f"{len(data)}.aec"
        write_atomic(path, data, overwrite=overwrite)
        assert path.read_bytes() == data
    assert names(tmp_path) == ["0.aec", "18000.aec"]


def test_an_existing_file_is_replaced_only_on_request(tmp_path: Path) -> None:
    path = tmp_path / "a.aec"
    path.write_bytes(OLD)
    with pytest.raises(FileExistsError):
        write_atomic(path, NEW, overwrite=False)
    assert path.read_bytes() == OLD
    write_atomic(path, NEW, overwrite=True)
    assert path.read_bytes() == NEW
    assert names(tmp_path) == ["a.aec"]


@pytest.mark.parametrize("there", [False, True])
def test_a_file_system_without_links_keeps_the_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "a.aec"
    if there:
        path.write_bytes(OLD)
        with pytest.raises(FileExistsError):
            write_atomic(path, NEW, overwrite=False)
    else:
        write_atomic(path, NEW, overwrite=False)
    assert path.read_bytes() == (OLD if there else NEW)
    assert names(tmp_path) == ["a.aec"]


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_atomic(tmp_path / "new", NEW, overwrite=False)
        (tmp_path / "old").touch(mode=0o600)
        write_atomic(tmp_path / "old", NEW, overwrite=True)
    finally:
        os.umask(before)
    for name in ("new", "old"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask


@posix
def test_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(OLD)
    for link, points_to in (("link", "target"), ("dangling", "nowhere")):
        path = tmp_path / link
        path.symlink_to(points_to)
        assert is_taken(str(path))
        with pytest.raises(FileExistsError):
            write_atomic(path, NEW, overwrite=False)
        write_atomic(path, NEW, overwrite=True)
        assert not path.is_symlink() and path.read_bytes() == NEW
    assert target.read_bytes() == OLD
    assert names(tmp_path) == ["dangling", "link", "target"]


@posix
def test_devices_and_pipes_are_written_to_and_stay(tmp_path: Path) -> None:
    assert not is_taken(os.devnull)
    for overwrite in (False, True):
        write_atomic(os.devnull, NEW, overwrite=overwrite)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_atomic(pipe, NEW, overwrite=True)
    reader.join()
    assert got == [NEW]
    assert names(tmp_path) == ["pipe"]


def test_a_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for overwrite in (False, True):
        with pytest.raises(OSError):
            write_atomic(tmp_path / "folder", NEW, overwrite=overwrite)
    assert names(tmp_path) == ["folder"]


def test_long_names_leave_room_for_the_temporary_one(tmp_path: Path) -> None:
    for name in ("a" * 255, "\u00e9" * 127):
        try:
            (tmp_path / name).touch()
        except OSError:
            continue  # a file system with a lower bound
        write_atomic(tmp_path / name, NEW, overwrite=True)
        assert (tmp_path / name).read_bytes() == NEW


def test_a_relative_name_is_written_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomic("a.aec", NEW, overwrite=False)
    assert names(tmp_path) == ["a.aec"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_any_failing_call_leaves_everything_as_it_was(
    tmp_path: Path, links: bool, there: bool, error: BaseException
) -> None:
    path = tmp_path / "a.aec"

    def write() -> None:
        write_atomic(path, NEW, overwrite=there)

    calls, raised = writes(write, links, -1, error)
    assert raised is None and path.read_bytes() == NEW
    assert calls.count("write") > 20
    published = max(i for i, call in enumerate(calls) if call in ("link", "replace"))
    for at in range(published + 1):
        path.unlink(missing_ok=True)
        if there:
            path.write_bytes(OLD)
        _, raised = writes(write, links, at, error)
        if raised is None:  # the link could not be made, and the other way worked
            assert calls[at] == "link" and isinstance(error, OSError)
            assert path.read_bytes() == NEW
        else:
            assert raised is error
            assert (path.read_bytes() == OLD) if there else not path.exists(), calls[at]
        assert names(tmp_path) == (["a.aec"] if path.exists() else [])


def test_what_a_function_writes_is_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def write(file: Any) -> None:
        file.write(b"....")
        file.seek(1)
        file.write(b"ab")

    write_atomic(path, write, overwrite=False)
    assert path.read_bytes() == b".ab."

    def fail(file: Any) -> None:
        file.write(NEW)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_atomic(path, fail, overwrite=True)
    assert path.read_bytes() == b".ab." and names(tmp_path) == ["a"]


def test_a_folder_that_cannot_be_synced_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_folders(descriptor: int, real: Callable[[int], None] = os.fsync) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", no_folders)
    write_atomic(tmp_path / "a.aec", NEW, overwrite=False)
    assert (tmp_path / "a.aec").read_bytes() == NEW


@pytest.mark.parametrize("links", [True, False])
def test_of_many_writers_one_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "a.aec"
    winners: list[bytes] = []

    def write(data: bytes) -> None:
        try:
            write_atomic(path, data, overwrite=False)
        except FileExistsError:
            return
        winners.append(data)

    writers = [threading.Thread(target=write, args=(bytes([i]) * 5000,)) for i in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert winners == [path.read_bytes()]
    assert names(tmp_path) == ["a.aec"]


def python(code: str, *args: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@posix
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from aec.cli.files import write_atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomic(sys.argv[1], bytes(100_000), overwrite=False)
except OSError as error:
    print(error.errno)
"""
    process = python(code, tmp_path / "a.aec")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert out.strip() == b"27"  # EFBIG, what this way of running out of space gives
    assert names(tmp_path) == []


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", 1)])
def test_a_signal_in_the_middle_of_a_write_leaves_nothing(tmp_path: Path, number: int) -> None:
    # The program as it is, with another command: the signal has to pass through all of it.
    code = """
import os, sys, time
from aec.cli import files, main

@main.program.command()
def write():
    files.write_atomic(path, bytes(100), overwrite=False)

def slow(descriptor):
    print("half way", flush=True)
    time.sleep(60)

os.fsync = slow
main.LazyGroup.get_command = lambda self, context, name: write
path = sys.argv[1]
sys.argv[1] = "write"
main.main()
"""
    process = python(code, tmp_path / "a.aec")
    assert process.stdout is not None
    assert process.stdout.readline() == b"half way\n"
    assert len(names(tmp_path)) == 1  # the temporary file, under another name
    assert not (tmp_path / "a.aec").exists()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert b"Traceback" not in err
    assert names(tmp_path) == []


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do all")
def test_a_folder_without_permission_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(PermissionError):
        write_atomic(folder / "a.aec", NEW, overwrite=False)


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.aec"
    path.write_bytes(NEW)
    assert read_input(str(path)) == NEW
    assert read_input(str(path), max_bytes=len(NEW)) == NEW
    with pytest.raises(LimitError, match="longer than 17999 bytes"):
        read_input(str(path), max_bytes=len(NEW) - 1)
    with pytest.raises(FileNotFoundError):
        read_input(str(tmp_path / "none"))
    with pytest.raises(IsADirectoryError):
        read_input(str(tmp_path))


def test_the_first_part_decides_whether_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "film"
    path.write_bytes(NEW)
    monkeypatch.setattr(files, "READ_SIZE", 100)
    seen: list[bytes] = []

    def refuse(start: bytes) -> None:
        seen.append(start)
        raise ValueError

    with pytest.raises(ValueError):
        read_input(str(path), refuse)
    assert seen == [NEW[:100]]
    assert read_input(str(path), seen.append) == NEW
    assert len(seen) == 2


def test_a_file_is_opened_once_its_start_is_right(tmp_path: Path) -> None:
    path = tmp_path / "a.aec"
    path.write_bytes(NEW)
    seen: list[bytes] = []
    with open_input(str(path), seen.append) as file:
        assert file.read() == NEW
        assert file.seek(5) == 5 and file.read(3) == NEW[5:8]
    assert NEW.startswith(seen[0]) and seen[0]

    def refuse(_start: bytes) -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"), open_input(str(path), refuse):
        pass
    for name, error in (("none", FileNotFoundError), (".", IsADirectoryError)):
        with pytest.raises(error), open_input(str(tmp_path / name)):
            pass


def test_standard_streams() -> None:
    code = """
from aec.cli.files import read_input, write_output
write_output("-", read_input("-")[::-1], overwrite=False)
"""
    process = subprocess.run(
        [sys.executable, "-c", code], input=bytes(range(256)) * 999, capture_output=True, check=True
    )
    assert process.stdout == (bytes(range(256)) * 999)[::-1]


def test_write_output_to_a_name(tmp_path: Path) -> None:
    write_output(str(tmp_path / "a"), NEW, overwrite=False)
    assert (tmp_path / "a").read_bytes() == NEW
