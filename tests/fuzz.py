"""Feeds mutants of .aec files to the readers and to the decoder, and counts what becomes of them.

    python tests/fuzz.py --what container --count 1000000
    python tests/fuzz.py --what decode --count 20000 --jobs 2 [--model FOLDER | --model shipped]

`container` needs no torch: strict reader, `open_info`, reader of a part, tolerant reader. `decode`
decodes with a tiny model, or the one named: four in five of its mutants have other words in one
tile and right checksums, the others edits of all kinds. A finding is an error that is not an
AecError, a call that takes too long, memory that does not come back, readers that contradict each
other, or damage that nobody notices; its file is saved, named by seed and number. The exit code is
1 when there are any. Time is that of the processor, so a busy machine does not matter.
"""

import argparse
import io
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import samples
from layout import parse
from mutator import Mutant, Mutator

from aec.format.container import open_info, read_file
from aec.format.errors import AecError
from aec.format.limits import Limits
from aec.format.reader import PartReader

CONTAINER_SECONDS = 0.05
DECODE_SECONDS = 0.5
GROWTH = 32 << 10  # KiB, of the peak of a process, for a mutant and for all after the first ones
WARM_UP = {"container": 2000, "decode": 50}
BLOCK = 2500
MAX_TILES = 16  # that are asked of a reader one by one
VERIFY_EVERY, RECOVER_EVERY = 4, 3  # mutants of the decoder; these take most of the time
SEEN = {"flip", "set", "delete", "insert"}  # edits that no checksum may miss


@dataclass
class Tally:
    """What became of many mutants: counts by reader and class, findings, the longest times (s), and
    by how much (KiB) the peak of the memory grew.
    """

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[str, bytes]] = field(default_factory=list)
    worst: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    growth: int = 0

    def add(self, other: "Tally") -> None:
        """Takes in the counts of another one."""
        self.counts += other.counts
        self.findings += other.findings
        self.seconds += other.seconds
        self.growth = max(self.growth, other.growth)
        for name, seconds in other.worst.items():
            self.worst[name] = max(seconds, self.worst.get(name, 0.0))

    def call(
        self, name: str, limit: float, data: bytes, call: Callable[[], Any]
    ) -> tuple[Any, str, AecError | None]:
        """Result, class of the error or "ok", and the error of one call, counted and timed."""
        start = time.process_time()
        result, error, outcome = None, None, "ok"
        try:
            result = call()
        except AecError as caught:
            error, outcome = caught, type(caught).__name__
        except KeyboardInterrupt:
            raise
        except BaseException as caught:  # panics of extension modules are no Exception
            outcome = type(caught).__name__
            self.findings.append((f"{name} raises {outcome}: {caught}", data))
        seconds = time.process_time() - start
        self.counts[f"{name} {outcome}"] += 1
        self.worst[name] = max(seconds, self.worst.get(name, 0.0))
        if seconds > limit:
            self.findings.append((f"{name} takes {seconds:.3f} s", data))
        return result, outcome, error


def region_of(data: bytes) -> tuple[int, int, int, int]:
    """A part of the picture in any sense that the header's sides can have."""
    width, height = (int.from_bytes(data[at : at + 4], "little") for at in (12, 16))
    if not width or not height or len(data) < 20:
        return 0, 0, 1, 1
    return width // 3, height // 3, max(1, width // 3), max(1, height // 3)


def read_part(data: bytes, tolerant: bool) -> tuple[Any, list[AecError], dict[int, Any]]:
    """Header, damage and tiles (errors in their places) that a reader of a part finds."""
    region = None if tolerant else region_of(data)
    with PartReader(io.BytesIO(data), region=region, tolerant=tolerant) as reader:
        grid = reader.header.grid
        if region is None:
            numbers = list(range(min(grid.count, MAX_TILES)))
        else:
            numbers = grid.touching(*region)[:MAX_TILES]
        tiles: dict[int, Any] = {}
        for number in numbers:
            try:
                tiles[number] = reader.tile(number)
            except AecError as error:
                if not tolerant:
                    raise
                tiles[number] = error
        return reader.header, list(reader.damage) if tolerant else [], tiles


class ContainerFuzz:
    """Judges mutants by all readers of the container."""

    def __init__(self, seed: int) -> None:
        self.mutator = Mutator(samples.containers(), seed)
        self.known = {
            (chunk.type, bytes(chunk.payload))
            for source in self.mutator.sources
            for chunk in parse(source)[1]
        }

    def judge(self, number: int, tally: Tally) -> None:
        """Counts what becomes of one mutant."""
        mutant = self.mutator.mutant(number)
        data = mutant.data

        def call(name: str, work: Callable[[], Any]) -> tuple[Any, str, AecError | None]:
            return tally.call(name, CONTAINER_SECONDS, data, work)

        container, _, error = call("read_file", lambda: read_file(data))
        _, _, said = call("open_info", lambda: open_info(data))
        if repr(error) != repr(said):
            tally.findings.append((f"read_file: {error!r}, open_info: {said!r}", data))
        part, _, _ = call("region", lambda: read_part(data, False))
        whole, _, _ = call("tolerant", lambda: read_part(data, True))
        changed = data != self.mutator.sources[mutant.source]
        noticed = mutant.fixed or len(mutant.edits) > 1 or not SEEN.issuperset(mutant.edits)
        if container is not None:
            tally.counts["accepted, changed" if changed else "accepted, unchanged"] += 1
            if changed and not noticed:
                tally.findings.append((f"{mutant.edits} not noticed", data))
            self._compare(container, part, whole, tally, data)
        if not mutant.fixed and whole is not None:
            self._known(whole, tally, data)

    def _compare(self, container: Any, part: Any, whole: Any, tally: Tally, data: bytes) -> None:
        """What the strict reader accepts, the others return without complaint."""
        tiles = {tile.number: tile for tile in container.tiles}
        for name, found in (("region", part), ("tolerant", whole)):
            if found is None or found[1] or any(tiles[n] != t for n, t in found[2].items()):
                tally.findings.append((f"{name} differs from read_file", data))

    def _known(self, whole: Any, tally: Tally, data: bytes) -> None:
        """Without new checksums, no tile comes out that was in no sound file."""
        header, _, tiles = whole
        for number, tile in tiles.items():
            if isinstance(tile, AecError):
                continue
            mark = number.to_bytes(4, "little") if header.tile_log2 else b""
            payload = mark + tile.symbol_crc.to_bytes(4, "little") + tile.payload
            plane = None if tile.alpha is None else (b"ALPH", mark + tile.alpha)
            if (b"TILE", payload) not in self.known or (plane and plane not in self.known):
                tally.findings.append((f"tile {number} is none of the sound ones", data))


class DecodeFuzz:
    """Judges mutants by the whole decoder."""

    def __init__(self, seed: int, model: str | None) -> None:
        import aec

        limits = Limits(max_pixels=200_000, max_side=4096, max_seconds=10)
        with tempfile.TemporaryDirectory() as folder:
            path = None if model == "shipped" else model or samples.small_model(Path(folder))
            self.codec = aec.Codec(device="cpu", model=path, limits=limits)
        sources = list(samples.pictures(self.codec))
        self.mutator = Mutator(sources, seed)
        self.clean = [self.codec.decompress(source) for source in sources]

    def judge(self, number: int, tally: Tally) -> None:
        """Counts what becomes of one mutant."""
        words = number % 5 != 0
        mutant = self.mutator.payload_mutant(number) if words else self.mutator.mutant(2 * number)
        data, kind = mutant.data, "words" if words else "edits"

        def call(name: str, work: Callable[[], Any]) -> tuple[Any, str, AecError | None]:
            return tally.call(f"{kind}: {name}", DECODE_SECONDS, data, work)

        picture, outcome, error = call("decompress", lambda: self.codec.decompress(data))
        if number % VERIFY_EVERY == 0:
            _, _, said = call("verify", lambda: self.codec.verify(data))
            if repr(error) != repr(said):
                tally.findings.append((f"decompress: {error!r}, verify: {said!r}", data))
        changed = data != self.mutator.sources[mutant.source]
        tally.counts[f"{kind}: {'changed' if changed else 'unchanged'}"] += 1
        if words and changed and outcome == "ok":
            tally.findings.append(("other words, no error", data))
        elif words and changed:
            tally.counts["words: detected"] += 1
        if number % RECOVER_EVERY == 1:
            region = region_of(data)
            part, _, _ = call("region", lambda: self.codec.decompress(data, region=region))
            if part is not None and (words or picture is not None):
                whole = self.clean[mutant.source] if words else picture
                left, top, width, height = region
                wanted = whole.crop((left, top, left + width, top + height))
                if part.tobytes() != wanted.tobytes():
                    tally.findings.append(("a region has other pixels than the picture", data))
        if number % RECOVER_EVERY:
            return
        rest, _, _ = call("recover", lambda: self.codec.recover(data))
        if words and changed and rest is not None:
            self._confined(mutant, rest, tally)
        if picture is not None and rest is not None:
            same = rest.picture.tobytes() == picture.tobytes()
            if not same or rest.errors or rest.tiles_ok != rest.tiles_total:
                tally.findings.append(("recover differs from decompress", data))
        if picture is not None and rest is None:
            tally.findings.append(("recover fails where decompress does not", data))

    def _confined(self, mutant: Mutant, rest: Any, tally: Tally) -> None:
        """One tile is lost, and pixels that are said to be exact are."""
        import numpy as np

        exact = np.asarray(rest.mask) == 255
        clean, found = np.asarray(self.clean[mutant.source]), np.asarray(rest.picture)
        if rest.tiles_ok != rest.tiles_total - 1 or not (clean[exact] == found[exact]).all():
            tally.findings.append(("recovered pixels are not those of the picture", mutant.data))


_fuzz: ContainerFuzz | DecodeFuzz
_peak: int


def prepare(what: str, seed: int, model: str | None, warm_up: int) -> None:
    """Makes the sound files of this process, and fills the caches whose growth is no leak."""
    global _fuzz, _peak
    _fuzz = ContainerFuzz(seed) if what == "container" else DecodeFuzz(seed, model)
    for number in range(warm_up):
        _fuzz.judge(number, Tally())
    _peak = peak()


def peak() -> int:
    """The most memory (KiB) that this process has had; 0 where the system does not say it."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def work(numbers: range) -> Tally:
    """Judges these mutants."""
    tally = Tally()
    start = time.process_time()
    for number in numbers:
        found, before = len(tally.findings), peak()
        _fuzz.judge(number, tally)
        if peak() - before > GROWTH:
            tally.findings.append(("takes memory", b""))
        tally.findings[found:] = [(f"{number}: {w}", d) for w, d in tally.findings[found:]]
    tally.growth = peak() - _peak
    if tally.growth > GROWTH:
        tally.findings.append((f"{numbers[-1]}: memory has grown", b""))
    tally.seconds = time.process_time() - start
    return tally


def fuzz(what: str, count: int, seed: int, jobs: int = 1, model: str | None = None) -> Tally:
    """Judges `count` mutants in `jobs` processes."""
    own = (what, seed, model, min(WARM_UP[what], count // 10))
    blocks = [range(at, min(at + BLOCK, count)) for at in range(0, count, BLOCK)]
    total = Tally()
    if jobs == 1:
        prepare(*own)
        for block in blocks:
            total.add(work(block))
        return total
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, prepare, own) as pool:
        for tally in pool.imap_unordered(work, blocks):
            total.add(tally)
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--what", choices=("container", "decode"), default="container")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--model", help="a model folder, or `shipped` for that of the package")
    parser.add_argument("--save", type=Path, default=Path("findings"), help="folder for findings")
    options = parser.parse_args()
    tally = fuzz(options.what, options.count, options.seed, options.jobs, options.model)
    for name, count in sorted(tally.counts.items()):
        print(f"{count:10d}  {name}")
    for name, seconds in sorted(tally.worst.items()):
        print(f"{1000 * seconds:10.2f}  ms at most in {name}")
    detected, changed = tally.counts["words: detected"], tally.counts["words: changed"]
    if changed:
        print(f"{100 * detected / changed:10.4f}  % of changed words detected")
    print(f"{tally.growth / 1024:10.1f}  MiB more at the peak than after the first mutants")
    print(f"{tally.seconds:10.1f}  s of the processor for {options.count} mutants")
    print(f"{len(tally.findings):10d}  findings")
    for what, data in tally.findings[:100]:
        options.save.mkdir(parents=True, exist_ok=True)
        path = options.save / f"{options.what}-{options.seed}-{what.partition(':')[0]}.aec"
        path.write_bytes(data)
        print(f"{path}: {what}")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
