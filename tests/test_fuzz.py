"""A little of what the fuzzers do at length, and that they would notice if something were wrong.

See the docstrings of fuzz.py and fuzz_targets/driver.py for the long runs.
"""

import os
import subprocess
import sys
from pathlib import Path

import fuzz
import layout
import pytest
import samples
from mutator import EDITS, Mutator

from aec.format.container import read_file

TARGETS = Path(__file__).parent / "fuzz_targets"


def test_sound_files_are_sound_and_come_apart_without_loss() -> None:
    for source in samples.containers():
        assert len(read_file(source).tiles) >= 1
        assert layout.build(*layout.parse(source)) == source
        assert layout.repaired(source) == layout.reindexed(source) == source


def test_mutants_are_the_same_whenever_they_are_made() -> None:
    sources = samples.containers()
    forward, backward = Mutator(sources, 5), Mutator(sources, 5)
    some = [forward.mutant(number) for number in range(300)]
    assert some == [backward.mutant(number) for number in reversed(range(300))][::-1]
    assert {name for mutant in some for name in mutant.edits} == set(EDITS)
    assert sum(mutant.data != sources[mutant.source] for mutant in some) > 200
    assert [Mutator(sources, 6).mutant(number) for number in range(300)] != some


def test_half_of_the_mutants_have_right_checksums() -> None:
    mutator = Mutator(samples.containers(), 1)
    mutants = [mutator.mutant(number) for number in range(200)]
    assert [layout.repaired(m.data) == m.data for m in mutants if m.fixed] == [True] * 100
    assert sum(layout.repaired(m.data) != m.data for m in mutants if not m.fixed) > 50


@pytest.mark.spec("S-042", "S-043")
def test_the_readers_refuse_mutants_or_agree_on_them() -> None:
    tally = fuzz.fuzz("container", 3000, seed=1)
    assert not [what for what, _ in tally.findings]
    assert tally.counts["accepted, changed"] > 100  # or nothing behind the checksums was tried
    assert tally.counts["tolerant ok"] > 1000


@pytest.mark.spec("S-043", "S-114", "S-116")
def test_the_decoder_notices_other_words() -> None:
    tally = fuzz.fuzz("decode", 60, seed=1)
    assert not [what for what, _ in tally.findings]
    assert tally.counts["words: detected"] == tally.counts["words: changed"] > 40


@pytest.mark.parametrize("what", ["container", "decode"])
def test_a_fault_would_be_found(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def panics(*_args: object) -> None:
        raise type("PanicException", (BaseException,), {})("as an extension module does it")

    fuzz.prepare(what, 1, None, 0)
    reader = fuzz.PartReader if what == "container" else type(fuzz._fuzz.codec)
    monkeypatch.setattr(reader, "tile" if what == "container" else "verify", panics)
    found = [message for message, _ in fuzz.work(range(20)).findings]
    assert any("raises PanicException" in message for message in found)


def test_readers_that_differ_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fuzz.prepare("container", 1, None, 0)
    monkeypatch.setattr(fuzz, "open_info", lambda data: None)
    assert len(fuzz.work(range(20)).findings) > 5


@pytest.mark.parametrize("target", ["container", "index", "entropy"])
def test_the_fuzz_targets_run_without_atheris(target: str) -> None:
    done = subprocess.run(
        [sys.executable, str(TARGETS / f"{target}.py"), "--plain", "200"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "200 inputs, nothing found\n"
