"""Batches that end in the middle: the script does the work, here are a dozen of its rounds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="needs the capabilities and limits of Linux")
def test_outputs_are_absent_old_or_whole_whatever_ends_a_batch() -> None:
    script = Path(__file__).with_name("kill_batch.py")
    # More threads than one would not survive the fork.
    done = subprocess.run(
        [sys.executable, str(script), "--count", "12", "--seed", "3"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 rounds, forked" in done.stdout
    assert "outputs new" in done.stdout
