"""Files that belong together: all of them appear, or none does."""

import os
import runpy
from pathlib import Path

import pytest

from aec.cli.files import write_together

faults = runpy.run_path(str(Path(__file__).with_name("faults.py")))
no_links, writes = faults["no_links"], faults["writes"]
names = runpy.run_path(str(Path(__file__).with_name("running.py")))["names"]
OLD, NEW = b"what was there", b"what comes instead" * 1000


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("there", [(), ("a",), ("b",), ("a", "b")])
def test_files_appear_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool, there: tuple[str, ...]
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    for name in there:
        (tmp_path / name).write_bytes(OLD)
    contents = {str(tmp_path / "a"): NEW, str(tmp_path / "b"): NEW[1:]}
    if there:
        with pytest.raises(FileExistsError):
            write_together(contents, overwrite=False)
        assert names(tmp_path) == [*there]
        assert all((tmp_path / name).read_bytes() == OLD for name in there)
    write_together(contents, overwrite=bool(there))
    assert (tmp_path / "a").read_bytes() == NEW and (tmp_path / "b").read_bytes() == NEW[1:]
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_when_one_fails_both_are_as_before(
    tmp_path: Path, links: bool, there: bool, error: BaseException
) -> None:
    paths = tmp_path / "a", tmp_path / "b"
    old = OLD if there else None

    def run(at: int) -> tuple[list[str], BaseException | None]:
        for path in paths:
            path.unlink(missing_ok=True)
            if there:
                path.write_bytes(OLD)
        contents = {str(path): b"new" for path in paths}
        return writes(lambda: write_together(contents, overwrite=there), links, at, error)

    calls, raised = run(-1)
    assert raised is None and [path.read_bytes() for path in paths] == [b"new", b"new"]
    published = max(i for i, call in enumerate(calls) if call in ("link", "replace"))
    for at in range(published + 1):
        _, raised = run(at)
        found = [path.read_bytes() if path.exists() else None for path in paths]
        if raised is None:  # a link could not be made, and the other way worked
            assert calls[at] == "link" and isinstance(error, OSError)
            assert found == [b"new", b"new"]
        else:
            assert raised is error
            assert found == [old, old], calls[at]
        assert names(tmp_path) == [path.name for path in paths if path.exists()]


def test_a_folder_in_the_way_of_one_keeps_both_as_they_were(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / other).write_bytes(OLD)
        with pytest.raises(OSError):
            contents = {str(tmp_path / "a"): NEW, str(tmp_path / "b"): NEW}
            write_together(contents, overwrite=True)
        assert (tmp_path / other).read_bytes() == OLD
        assert names(tmp_path) == ["a", "b"]
        (tmp_path / name).rmdir()
        (tmp_path / other).unlink()
