"""Runs the program ``aec`` for the tests of its commands, and makes what they work on."""

import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from aec.cli.batch import Batch
from aec.cli.main import program
from aec.format.container import Tile, write_file
from aec.format.header import Header


def aec_run(*args: object, code: int = 0, **options: Any) -> Result:
    """Runs a command in this process; it has to end with this exit code."""
    runner = CliRunner()
    result = runner.invoke(program, [str(arg) for arg in args], prog_name="aec", **options)
    assert result.exit_code == code, result.output
    return result


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "aec", *map(str, args)]


def aec_process(*args: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Runs a command in a process of its own."""
    return subprocess.run(command(*args), capture_output=True, check=False, timeout=120, **options)


def coded(width: int = 768, height: int = 512, **fields: Any) -> bytes:
    """Returns a file whose container is sound; its tiles hold no picture."""
    header = Header(width, height, quality=191, model_id=bytes(range(8)), **fields)
    numbers = range(header.grid.count)
    return write_file(header, [Tile(n, zlib.crc32(b""), bytes(400)) for n in numbers])


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


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
