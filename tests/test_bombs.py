"""Files that ask for far more than they are: refused before anything is set aside or loaded."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import bombs
import pytest
import samples

import aec
from aec.format.container import open_info, read_file
from aec.format.errors import FormatError, LimitError

MILLISECONDS, MIB = 200, 16  # ten times what is wanted of a machine that has nothing else to do
STRICT = ("read_file", "open_info", "open_info of a file")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    pytest.importorskip("resource", reason="needs a POSIX system")
    script = Path(bombs.__file__)
    out = subprocess.run([sys.executable, str(script)], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in out.stdout.splitlines()]


def test_bombs_are_small() -> None:
    assert len(bombs.BOMBS) >= 12
    assert all(len(data) < 1000 for data in (bombs.BOMBS | bombs.NOT_LIMITS).values())


@pytest.mark.spec("S-044")
@pytest.mark.parametrize("name", bombs.BOMBS)
def test_a_bomb_is_a_limit_error(name: str) -> None:
    for read in (read_file, open_info):
        with pytest.raises(LimitError):
            read(bombs.BOMBS[name])


@pytest.mark.spec("S-043")
@pytest.mark.parametrize("name", [n for n in bombs.NOT_LIMITS if "zeros" not in n])
def test_what_lies_about_less_is_a_format_error(name: str) -> None:
    for read in (read_file, open_info):
        with pytest.raises(FormatError):
            read(bombs.NOT_LIMITS[name])


def test_refusing_costs_neither_time_nor_memory(rows: list[dict[str, Any]]) -> None:
    *bombed, last = rows
    assert len(bombed) == len(bombs.READERS) * len(bombs.BOMBS | bombs.NOT_LIMITS)
    for row in bombed:
        assert row["ms"] < MILLISECONDS and row["MiB"] < MIB, row
        if row["bomb"] in bombs.BOMBS and row["reader"] in STRICT:
            assert row["outcome"] == "LimitError", row
    assert last["growth MiB"] < MIB
    assert last["heavy"] == []


COMMANDS = {
    "info": "LimitError",
    "verify": "LimitError",
    "decompress": "LimitError",
    "decompress --region 0,0,1,1": "region",
    "decompress --allow-partial": "tolerant",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_program_refuses_them_before_it_loads_torch(
    tmp_path: Path, command: str, rows: list[dict[str, Any]]
) -> None:
    names = []
    for name, data in bombs.BOMBS.items():
        # What is left of a file, or a part of it, may be sound: that is another test's matter.
        found = {row["reader"]: row["outcome"] for row in rows if row.get("bomb") == name}
        if found.get(COMMANDS[command], "LimitError") == "LimitError":
            names.append(str(tmp_path / f"{len(names)}.aec"))
            Path(names[-1]).write_bytes(data)
    assert len(names) >= 7
    code = """
import sys
import time
from aec.cli.main import run
command = sys.argv[1].split()
for name in sys.argv[2:]:
    assert run([*command, name]) == 5, name
heavy = {"torch", "numpy", "constriction", "safetensors"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", code, command, *names], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == len(names)
    assert sorted(map(str, tmp_path.iterdir())) == sorted(names)


def test_the_codec_refuses_them_before_it_computes(tmp_path: Path) -> None:
    codec = aec.Codec(device="cpu", model=samples.small_model(tmp_path))
    for data in bombs.BOMBS.values():
        for decode in (codec.decompress, codec.verify):
            start = time.process_time()
            with pytest.raises(LimitError):
                decode(data)
            assert 1000 * (time.process_time() - start) < MILLISECONDS
