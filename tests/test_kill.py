"""Batches that end in the middle: the script does the work, here are a dozen of its rounds."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def python(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *args]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)


@pytest.mark.skipif(sys.platform != "linux", reason="needs the capabilities and limits of Linux")
def test_outputs_are_absent_old_or_whole_whatever_ends_a_batch() -> None:
    script = Path(__file__).with_name("kill_batch.py")
    done = python(str(script), "--count", "12", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 rounds, forked" in done.stdout
    assert "outputs new" in done.stdout


def test_no_file_is_blamed_for_an_interrupt() -> None:
    """What interrupts the first look of constriction at numpy comes out as a panic of its own, and
    all panics in a decoder stand for a damaged file.
    """
    code = """
import numpy as np
from aec.codec.entropy import Decoder, make_tables

def interrupted(self, version):
    raise KeyboardInterrupt

np.lib.NumpyVersion.__init__ = interrupted
table = make_tables(np.array([2**24 - 3, 1, 1, 1]), np.array([1]))[0]
assert len(Decoder(bytes(range(1, 9))).get(3, table)) == 3
"""
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("swallow", ["raise Panic", "raise SystemExit(1)", "return"])
def test_a_signal_that_a_library_swallows_still_counts(number: int, swallow: str) -> None:
    code = f"""
import os
from aec.cli import main

class Panic(BaseException):
    pass

@main.program.command()
def swallows():
    try:
        os.kill(os.getpid(), {int(number)})
        for _ in range(1000):
            pass
    except BaseException:
        {swallow}

main.LazyGroup.get_command = lambda self, context, name: swallows
import sys
sys.argv[1:] = ["swallows"]
main.main()
"""
    done = python("-c", code)
    assert done.returncode == 128 + number
    assert "Traceback" not in done.stderr
