"""Runs a fuzz target: under atheris where it is installed, else on seeded mutants.

    python tests/fuzz_targets/container.py -max_total_time=600 corpus/     (options of libFuzzer)
    python tests/fuzz_targets/container.py --plain 100000                  (without atheris)

A target is a function of bytes that may raise nothing; it lets AecErrors pass itself.
"""

import importlib.util
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # for layout, mutator, samples


def instrumented(*names: str) -> list[ModuleType]:
    """Imports modules of the package so that atheris, if it is there, sees their branches."""
    if "--plain" in sys.argv or importlib.util.find_spec("atheris") is None:
        return [importlib.import_module(name) for name in names]
    import atheris

    with atheris.instrument_imports(include=["aec"]):
        return [importlib.import_module(name) for name in names]


def drive(target: Callable[[bytes], None], seeds: Sequence[bytes]) -> None:
    """Calls the target for ever, or as often as the arguments say."""
    if "--plain" in sys.argv:
        _plain(target, seeds, int(sys.argv[sys.argv.index("--plain") + 1]))
        return
    import atheris

    arguments = list(sys.argv)
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds):
            (Path(folder) / str(number)).write_bytes(seed)
        # The first folder takes what is found, so the seeds come last.
        if all(argument.startswith("-") for argument in arguments[1:]):
            arguments.append(tempfile.mkdtemp())
        atheris.Setup([*arguments, folder, "-max_len=8192"], target)
        atheris.Fuzz()


def _plain(target: Callable[[bytes], None], seeds: Sequence[bytes], count: int) -> None:
    import mutator

    rng = random.Random(1)
    edits: list[Any] = [edit for _, edit in mutator.EDITS.values()]
    for _ in range(count):
        data = rng.choice(seeds)
        for edit in rng.choices(edits, k=rng.randrange(1, 5)):
            data = edit(rng, data, rng.choice(seeds))
        target(data)
    print(f"{count} inputs, nothing found")
