"""Ends batches of `aec` at random moments, or lets the disk fail, and looks at what stays.

    python tests/kill_batch.py --count 200 [--real 10] [--seed 1]

A round compresses or decompresses a folder of small pictures, or damaged ones with --allow-partial,
with or without old outputs, and ends by SIGKILL, SIGINT or SIGTERM, or meets a file size limit, a
full disk, /dev/full, or a folder that it may not write to. Afterwards each output is absent, old or
whole: byte for byte what a run in peace writes. Temporary files stay after SIGKILL only. The
program is the real one; to meet the batch and not the import of torch, it is forked from a process
that has imported everything (and computed nothing: threads do not survive a fork), and uses a tiny
model. `--real` adds rounds with processes started as users start them. Linux only; what the system
does not allow (a mount) is skipped and said. The exit code is 1 when something is wrong.
"""

import argparse
import ctypes
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

from aec.cli import main as program
from aec.codec import loading

HERE = Path(__file__).parent
MAKE_MODEL = """
import pathlib, samples, sys
samples.small_model(pathlib.Path(sys.argv[1]))
"""
OLD = b"what was there before"
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM}
FAULTS = ("file size limit", "full disk", "/dev/full", "locked folder")
PICTURES = 10
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION = 0x20080522
TEMPORARY = ".aec-tmp-"
TIMEOUT = 100  # s; a run that hangs ends by SIGALRM, which is an exit code that is none of ours


def drop_override() -> None:
    """Makes permissions count for root, too, in this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    head = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capget(head, data):
        raise OSError(ctypes.get_errno(), "capget")
    data[0] &= ~(1 << CAP_DAC_OVERRIDE)
    if libc.capset(head, data):
        raise OSError(ctypes.get_errno(), "capset")


class Child:
    """A run of the program in a forked process, its messages in a pipe."""

    def __init__(self, arguments: list[str], before: Callable[[], None] | None = None) -> None:
        self.pipe, theirs = os.pipe()
        self.start = time.monotonic()
        self.id = os.fork()
        if self.id:
            os.close(theirs)
            return
        code = 99
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.alarm(TIMEOUT)
            os.dup2(theirs, 1)
            os.dup2(theirs, 2)
            if before is not None:
                before()
            sys.argv = ["aec", *arguments]
            program.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)

    def send(self, number: int) -> None:
        os.kill(self.id, number)

    def wait(self) -> tuple[int, str]:
        """Exit code (negative: the signal that ended it) and messages."""
        blocks = []
        while block := os.read(self.pipe, 1 << 16):
            blocks.append(block)
        os.close(self.pipe)
        _, status = os.waitpid(self.id, 0)
        return os.waitstatus_to_exitcode(status), b"".join(blocks).decode(errors="replace")


class Process:
    """The same started as a program of its own, with the shipped weights."""

    def __init__(self, arguments: list[str]) -> None:
        self.start = time.monotonic()
        command = [sys.executable, "-m", "aec", *arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True)

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> tuple[int, str]:
        """Exit code (negative: the signal that ended it) and messages."""
        text, _ = self.process.communicate()
        return self.process.returncode, text


@dataclass
class Task:
    """What a run does, what it writes in peace, and how long (s) that takes."""

    arguments: list[str]
    sources: list[str]
    whole: dict[str, bytes]
    code: int
    seconds: float

    def to(self, target: Path, *more: str) -> list[str]:
        """The arguments of a run with its outputs in this folder."""
        return [*self.arguments, *self.sources, "-o", f"{target}/", "--quiet", *more]


@dataclass
class Round:
    """One run under one kind of trouble, and how it ended."""

    name: str
    kind: str
    task: Task
    target: Path
    force: bool
    code: int = 0
    text: str = ""


class Bench:
    """Pictures, their outputs in peace, and the rounds."""

    def __init__(self, folder: Path, seed: int, run: type[Child] | type[Process]) -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        self.run = run
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest = 0.0
        chance = np.random.default_rng(seed)
        pictures, damaged = folder / "pictures", folder / "damaged"
        pictures.mkdir()
        damaged.mkdir()
        for number in range(PICTURES):
            size = (*chance.integers(70, 200, 2), 3)
            pixels = chance.integers(0, 256, size, dtype=np.uint8)
            Image.fromarray(pixels).save(pictures / f"p{number}.png")
        compress = self._peace(pictures, folder / "coded", ["compress", "--tile", "64"])
        for name, data in compress.whole.items():
            middle = data.rindex(b"TILE") + 20  # a byte of the last tile
            changed = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
            (damaged / name).write_bytes(changed)
        partly = ["decompress", "--allow-partial"]
        self.tasks = [
            compress,
            self._peace(folder / "coded", folder / "decoded", ["decompress"]),
            self._peace(damaged, folder / "rescued", partly, code=3),
        ]

    def _peace(self, source: Path, target: Path, arguments: list[str], code: int = 0) -> Task:
        task = Task(arguments, sorted(map(str, source.iterdir())), {}, code, 0.0)
        start = time.monotonic()
        found, text = self.run(task.to(target)).wait()
        assert found == code, text
        task.seconds = time.monotonic() - start
        task.whole = {path.name: path.read_bytes() for path in target.iterdir()}
        return task

    def round(self, number: int, kind: str) -> None:
        """One run, one trouble, one look."""
        task = self.rng.choice(self.tasks)
        target = self.folder / "target"
        target.mkdir()
        mounted = False
        try:
            if kind == "full disk":
                size = self.rng.randrange(4096, 4096 + sum(map(len, task.whole.values())))
                mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(target)]
                if subprocess.run(mount, capture_output=True).returncode:
                    self.counts[f"{kind}: skipped"] += 1
                    return
                mounted = True
            name = f"round {number}, {kind}, {task.arguments}"
            force = not mounted and self.rng.random() < 0.5
            one = Round(name, kind, task, target, force)
            for name in task.whole if force else ():
                (target / name).write_bytes(OLD)
            one.code, one.text = self._trouble(one)
            self._look(one)
            self.counts[f"{kind}: exit code {one.code}"] += 1
        finally:
            target.chmod(0o700)
            if mounted:
                subprocess.run(["umount", str(target)], check=True)
            shutil.rmtree(target)

    def _trouble(self, one: Round) -> tuple[int, str]:
        task = one.task
        arguments = task.to(one.target, *(["--force"] if one.force else []))
        if one.kind in SIGNALS:
            run = self.run(arguments)
            time.sleep(self.rng.uniform(0, 1.1 * task.seconds))
            start = time.monotonic()
            run.send(SIGNALS[one.kind])
            code, text = run.wait()
            if code != task.code:
                self.slowest = max(self.slowest, time.monotonic() - start)
            return code, text
        assert self.run is Child
        if one.kind == "file size limit":
            most = self.rng.randrange(max(map(len, task.whole.values())))
            limits = most, most
            return Child(
                arguments, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            ).wait()
        if one.kind == "/dev/full":
            single = [*task.arguments, task.sources[0], "-o", "/dev/full", "--quiet"]
            return Child([*single, *(["--format", "png"] if "decompress" in single else [])]).wait()
        if one.kind == "locked folder":
            one.target.chmod(0o500)
            return Child(arguments, drop_override if os.geteuid() == 0 else None).wait()
        return Child(arguments).wait()

    def _look(self, one: Round) -> None:
        """Notes whatever should not be there."""

        def wrong(message: str) -> None:
            self.wrong.append(f"{one.name}: {message}")

        for path in one.target.iterdir():
            if TEMPORARY in path.name and one.kind == "SIGKILL":
                self.counts["temporary files after SIGKILL"] += 1
            elif path.name not in one.task.whole:
                wrong(f"{path.name} is left over")
        states = {}
        for name, new in one.task.whole.items():
            path = one.target / name
            found = path.read_bytes() if path.exists() else None
            states[name] = {None: "absent", new: "new", OLD: "old"}.get(found, "half")
            self.counts[f"outputs {states[name]}"] += 1
            if states[name] not in ("new", "old" if one.force else "absent"):
                wrong(f"{name} is {states[name]}")
        for name, state in states.items():
            mask = name.replace(".png", ".mask.png")
            if state == "new" and states.get(mask, "new") != "new":
                wrong(f"{name} is there without its mask")
        missing = set(states.values()) != {"new"}
        if missing and one.code == one.task.code:
            wrong(f"exit code {one.code}, but outputs are missing")
        if (one.kind == "/dev/full" or (one.kind in FAULTS and missing)) and one.code != 1:
            wrong(f"exit code {one.code}: {one.text}")
        if one.code == -signal.SIGALRM:
            wrong("hangs")
        if self.run is Child and "Traceback" in one.text:
            wrong(one.text)


def rounds(count: int, real: int, seed: int) -> int:
    """Runs them all and prints what became of them; returns the exit code."""
    wrong = []
    with tempfile.TemporaryDirectory(prefix="aec-kill-") as temporary:
        folder = Path(temporary)
        for name, run, number in (("forked", Child, count), ("real", Process, real)):
            if not number:
                continue
            place = folder / name
            place.mkdir()
            if run is Child:
                model = folder / "model"
                model.mkdir()
                make = [sys.executable, "-c", MAKE_MODEL, str(model)]
                subprocess.run(make, check=True, cwd=HERE)
                loading.DEFAULT_MODEL = model
                for module in ("codec.api", "cli.compress", "cli.decompress"):
                    import_module(f"aec.{module}")
            bench = Bench(place, seed, run)
            for at in range(number):
                kinds = list(SIGNALS) if run is Process or bench.rng.random() < 0.75 else FAULTS
                bench.round(at, bench.rng.choice(kinds))
            print(f"{number} rounds, {name}, {PICTURES} pictures each:")
            for what, times in sorted(bench.counts.items()):
                print(f"{times:8d}  {what}")
            print(f"{bench.slowest:8.2f}  s at most from the signal to the end")
            wrong += bench.wrong
    print(f"{len(wrong):8d}  wrong")
    for message in wrong[:20]:
        print(message)
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--real", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    return rounds(options.count, options.real, options.seed)


if __name__ == "__main__":
    sys.exit(main())
