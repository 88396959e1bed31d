"""Ends batches of `aec` at random moments, or lets the disk fail, and looks at what stays.

    python tests/kill_batch.py --count 200 [--real 10] [--seed 1]

A round compresses or decompresses a folder of small pictures, with or without old outputs, and ends
by SIGKILL, SIGINT or SIGTERM, or meets a file size limit, a full disk, /dev/full, or a folder that
it may not write to. Afterwards each output is absent, old or whole: byte for byte what a run in
peace writes. Temporary files stay only after SIGKILL. The program is the real one; to meet the
batch and not the import of torch, it is forked from a process that has imported everything (and
computed nothing: threads do not survive a fork), and uses a tiny model. `--real` adds rounds with
processes started as users start them. Linux only; what the system does not allow (a mount) is
skipped and said. The exit code is 1 when something is wrong.
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


class Skipped(Exception):
    """Says that the system does not allow a kind of round."""


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
        self.pictures = folder / "pictures"
        self.pictures.mkdir()
        for number in range(PICTURES):
            size = (*chance.integers(60, 200, 2), 3)
            pixels = chance.integers(0, 256, size, dtype=np.uint8)
            Image.fromarray(pixels).save(self.pictures / f"p{number}.png")
        self.coded = folder / "coded"
        self.decoded = folder / "decoded"
        self.seconds = {
            "compress": self._peace(self.pictures, self.coded, "compress"),
            "decompress": self._peace(self.coded, self.decoded, "decompress"),
        }

    def _peace(self, source: Path, target: Path, command: str) -> float:
        start = time.monotonic()
        run = self.run([command, *self._inputs(source), "-o", f"{target}/", "--quiet"])
        code, text = run.wait()
        assert code == 0, text
        return time.monotonic() - start

    def _inputs(self, folder: Path) -> list[str]:
        return sorted(map(str, folder.iterdir()))

    def round(self, number: int, kind: str) -> None:
        """One run, one trouble, one look."""
        command = self.rng.choice(("compress", "decompress"))
        source, whole = {
            "compress": (self.pictures, self.coded),
            "decompress": (self.coded, self.decoded),
        }[command]
        expected = {path.name: path.read_bytes() for path in whole.iterdir()}
        target = self.folder / "target"
        target.mkdir()
        mounted = False
        try:
            if kind == "full disk":
                size = self.rng.randrange(4096, 4096 + sum(map(len, expected.values())))
                mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(target)]
                if subprocess.run(mount, capture_output=True).returncode:
                    raise Skipped(kind)
                mounted = True
            force = kind != "full disk" and self.rng.random() < 0.5
            if force:
                for name in expected:
                    (target / name).write_bytes(OLD)
            arguments = [command, *self._inputs(source), "-o", f"{target}/", "--quiet"]
            arguments += ["--force"] if force else []
            code, text = self._trouble(kind, command, arguments, target, expected)
            self._look(
                f"round {number}, {kind}, {command}", target, expected, force, kind, code, text
            )
            self.counts[f"{kind}: exit code {code}"] += 1
        except Skipped:
            self.counts[f"{kind}: skipped"] += 1
        finally:
            target.chmod(0o700)
            if mounted:
                subprocess.run(["umount", str(target)], check=True)
            shutil.rmtree(target)

    def _trouble(
        self,
        kind: str,
        command: str,
        arguments: list[str],
        target: Path,
        expected: dict[str, bytes],
    ) -> tuple[int, str]:
        if kind in SIGNALS:
            run = self.run(arguments)
            time.sleep(self.rng.uniform(0, 1.1 * self.seconds[command]))
            start = time.monotonic()
            run.send(SIGNALS[kind])
            code, text = run.wait()
            if code:
                self.slowest = max(self.slowest, time.monotonic() - start)
            return code, text
        assert self.run is Child
        if kind == "file size limit":
            most = self.rng.randrange(max(map(len, expected.values())))
            return Child(
                arguments, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            ).wait()
        if kind == "/dev/full":
            one = [command, arguments[1], "-o", "/dev/full", "--quiet"]
            return Child([*one, *(["--format", "png"] if command == "decompress" else [])]).wait()
        if kind == "locked folder":
            target.chmod(0o500)
            return Child(arguments, drop_override if os.geteuid() == 0 else None).wait()
        return Child(arguments).wait()

    def _look(
        self,
        what: str,
        target: Path,
        expected: dict[str, bytes],
        force: bool,
        kind: str,
        code: int,
        text: str,
    ) -> None:
        """Notes whatever should not be there."""

        def wrong(message: str) -> None:
            self.wrong.append(f"{what}: {message}")

        for path in target.iterdir():
            if TEMPORARY in path.name and kind == "SIGKILL":
                self.counts["temporary files after SIGKILL"] += 1
            elif path.name not in expected:
                wrong(f"{path.name} is left over")
        missing = 0
        for name, new in expected.items():
            path = target / name
            found = path.read_bytes() if path.exists() else None
            state = {None: "absent", new: "new", OLD: "old"}.get(found, "half")
            self.counts[f"outputs {state}"] += 1
            missing += state != "new"
            if state != "new" and state != ("old" if force else "absent"):
                wrong(f"{name} is {state}")
        if missing and not code:
            wrong(f"exit code 0 with {missing} outputs missing")
        if kind in FAULTS and missing and kind != "/dev/full" and code != 1:
            wrong(f"exit code {code}: {text}")
        if kind == "/dev/full" and code != 1:
            wrong(f"exit code {code}: {text}")
        if code == -signal.SIGALRM:
            wrong("hangs")
        if self.run is Child and "Traceback" in text:
            wrong(text)


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
