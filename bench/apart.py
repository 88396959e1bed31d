"""Calls in a process of their own, and the memory that such a process takes."""

from __future__ import annotations

import ctypes
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["apart", "peak", "peak_of"]

_T = TypeVar("_T")

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")  # 5 starts the peak anew


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what a function returns in a new process; all must survive pickling. Raises
    RuntimeError, with the last line that it said, when the process fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=pickle.dumps((function, arguments)),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise RuntimeError(said[-1] if said else f"ended with exit code {done.returncode}")
    return pickle.loads(done.stdout)


def peak() -> int:
    """Returns the most bytes of memory that this process has held."""
    # On Linux the other way counts what the process before it held that started this one.
    with suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    import resource  # not on every system

    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else 1024 * found


def peak_of(call: Callable[[], _T]) -> tuple[_T, int, int]:
    """Returns what a call returns, the bytes that the process held before, and those at the peak of
    the call. Where `peak` cannot start anew, both count from the start of the process.
    """
    with suppress(AttributeError, OSError, TypeError):  # not every system has it
        ctypes.CDLL(None).malloc_trim(0)  # or the call would take what is free already, unseen
    with suppress(OSError):
        CLEAR.write_text("5")
    before = peak()
    return call(), before, peak()


if __name__ == "__main__":
    called, given = pickle.load(sys.stdin.buffer)
    sys.stdout.buffer.write(pickle.dumps(called(*given)))
