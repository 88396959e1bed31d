"""Makes damaged .aec files out of sound ones: seeded, and aware of the layout.

Mutant number n of a seed is the same on every machine and in every run, whichever were made before,
so a finding is named by two numbers. A mutant is a sound file after one to three edits: of bytes,
of header fields, of chunks, of what is inside them. In half of the mutants all checksums are right
again, and in half of these the lengths in the index too; without that, a checksum would end nearly
all of them and nothing behind it would ever be tried.
"""

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from layout import FIELDS, Frame, build, build_png, parse, parse_png, png_start, reindexed, repaired

TYPES = (
    b"TILE",
    b"TIDX",
    b"ALPH",
    b"AEND",
    b"iCCP",
    b"eXIf",
    b"xMPd",
    b"meTa",
    b"NEWC",
    b"\0\0\0\0",
)
BOMB = zlib.compress(bytes(1 << 22), 9)


Edit = Callable[[random.Random, bytes, bytes], bytes]
"""Takes a source of chance, a file and another one, and returns a damaged file."""


def _number(rng: random.Random, old: int, size: int) -> bytes:
    """A value that is likely to be mishandled, of `size` bytes."""
    top = 256**size
    near = (old + rng.choice((-4, -1, 1, 4)), old * 2, old ^ 1 << rng.randrange(8 * size))
    value = rng.choice((0, 1, top - 1, top - 2, top // 2, top // 2 - 1, *near, rng.randrange(top)))
    return (value % top).to_bytes(size, "little")


def _place(rng: random.Random, data: bytes) -> int:
    """An offset; often among the first bytes, where few bytes decide much."""
    bound = len(data) if rng.random() < 0.7 else min(len(data), 64)
    return rng.randrange(bound) if bound else 0


def flip(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8)) if out else 0):
        out[_place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(out)


def set_byte(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    at = _place(rng, data)
    value = rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))
    return data[:at] + bytes([value]) + data[at + 1 :]


def delete(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    at = _place(rng, data)
    return data[:at] + data[at + rng.choice((1, 2, 4, 8, rng.randrange(1, 64))) :]


def insert(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    at = _place(rng, data)
    new = rng.randbytes(rng.choice((1, 2, 4, 8, rng.randrange(1, 64))))
    return data[:at] + (new if rng.random() < 0.5 else bytes(len(new))) + data[at:]


def truncate(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    return data[: _place(rng, data)]


def tail(rng: random.Random, data: bytes, other: bytes) -> bytes:
    more = (b"\0", rng.randbytes(rng.randrange(1, 40)), other[rng.randrange(len(other)) :], data)
    return data + rng.choice(more)


def splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: _place(rng, data)] + other[_place(rng, other) :]


def move(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    start, to = _place(rng, data), _place(rng, data)
    block = data[start : start + rng.randrange(1, 64)]
    return data[:to] + block + data[to + rng.choice((0, len(block))) :]


def header_field(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    at, size = FIELDS[rng.choice(list(FIELDS))]
    old = int.from_bytes(data[at : at + size], "little")
    return data[:at] + _number(rng, old, size) + data[at + size :]


def _frames(change: Callable[[random.Random, list[Frame], list[Frame]], None]) -> Edit:
    """An edit of the list of chunks; a file without any stays as it is."""

    def edit(rng: random.Random, data: bytes, other: bytes) -> bytes:
        header, frames, rest = parse(data)
        if not frames:
            return data
        change(rng, frames, parse(other)[1] or frames)
        return build(header, frames, rest)

    return edit


def _pick(rng: random.Random, frames: list[Frame], *types: bytes) -> int | None:
    """The place of a chunk of these types, or of any."""
    places = [i for i, frame in enumerate(frames) if not types or frame.type in types]
    return rng.choice(places) if places else None


def _drop(rng: random.Random, frames: list[Frame], _other: list[Frame]) -> None:
    del frames[rng.randrange(len(frames))]


def _duplicate(rng: random.Random, frames: list[Frame], _other: list[Frame]) -> None:
    frame = rng.choice(frames)
    times = rng.choice((1, 1, 1, 200 if len(frame.payload) < 40 else 2))
    at = rng.randrange(len(frames) + 1)
    frames[at:at] = [frame.with_payload(frame.payload) for _ in range(times)]


def _swap(rng: random.Random, frames: list[Frame], _other: list[Frame]) -> None:
    a, b = rng.randrange(len(frames)), rng.randrange(len(frames))
    frames[a], frames[b] = frames[b], frames[a]


def _rename(rng: random.Random, frames: list[Frame], _other: list[Frame]) -> None:
    frame = rng.choice(frames)
    at = rng.randrange(4)
    case = frame.type[:at] + bytes([frame.type[at] ^ 0x20]) + frame.type[at + 1 :]
    frame.type = rng.choice((case, rng.choice(TYPES), rng.randbytes(4)))


def _transplant(rng: random.Random, frames: list[Frame], other: list[Frame]) -> None:
    at = rng.randrange(len(frames))
    frames[at : at + rng.choice((0, 1))] = [rng.choice(other)]


def _add(rng: random.Random, frames: list[Frame], _other: list[Frame]) -> None:
    payload = rng.choice((b"", b"\0", rng.randbytes(rng.randrange(1, 40)), bytes(8)))
    new = Frame(rng.choice(TYPES), b"", 0, b"").with_payload(payload)
    frames.insert(rng.randrange(len(frames) + 1), new)


def _length(rng: random.Random, frames: list[Frame], _other: list[Frame]) -> None:
    frame = rng.choice(frames)
    frame.length = int.from_bytes(_number(rng, frame.length, 4), "little")


def _payload(rng: random.Random, frames: list[Frame], _other: list[Frame]) -> None:
    at = rng.randrange(len(frames))
    frames[at] = frames[at].with_payload(_words(rng, frames[at].payload))


def _tile_head(rng: random.Random, frames: list[Frame], _other: list[Frame]) -> None:
    at = _pick(rng, frames, b"TILE", b"ALPH")
    if at is not None:
        payload = frames[at].payload
        field = rng.choice((0, 0, 4))
        old = int.from_bytes(payload[field : field + 4], "little")
        new = payload[:field] + _number(rng, old, 4) + payload[field + 4 :]
        frames[at] = frames[at].with_payload(new)


def _index(rng: random.Random, frames: list[Frame], _other: list[Frame]) -> None:
    at = _pick(rng, frames, b"TIDX")
    if at is None:
        return
    payload = frames[at].payload
    entries = [int.from_bytes(payload[i : i + 4], "little") for i in range(0, len(payload), 4)]
    entries = entries or [0]
    i, j = rng.randrange(len(entries)), rng.randrange(len(entries))
    match rng.randrange(6):
        case 0:
            entries[i], entries[j] = entries[j], entries[i]
        case 1:
            del entries[i]
        case 2:
            entries.insert(i, entries[j])
        case 3:  # the sum stays, the borders move
            entries[i], entries[j] = (entries[i] + 4) % 2**32, (entries[j] - 4) % 2**32
        case _:
            entries[i] = int.from_bytes(_number(rng, entries[i], 4), "little")
    frames[at] = frames[at].with_payload(b"".join(e.to_bytes(4, "little") for e in entries))


def _alpha(rng: random.Random, frames: list[Frame], _other: list[Frame]) -> None:
    at = _pick(rng, frames, b"ALPH")
    if at is None:
        return
    payload = frames[at].payload
    start = png_start(payload)
    chunks = parse_png(payload[start:])
    if not chunks:
        return
    i = rng.randrange(len(chunks))
    match rng.randrange(9):
        case 0:
            del chunks[i]
        case 1:
            chunks.insert(rng.randrange(len(chunks) + 1), chunks[i])
        case 2:
            chunks[i] = Frame(chunks[i].type, b"", 0, b"")
        case 3:
            chunks.insert(i, Frame(b"IDAT", b"", 0, b""))
        case 4:
            text = rng.choice((b"zTXt", b"tEXt", b"acTL", b"PLTE", b"iCCP"))
            chunks.insert(i, Frame(text, b"a\0\0" + BOMB, 3 + len(BOMB), b""))
        case 5:
            chunks[-2:-1] = [Frame(b"IDAT", BOMB, len(BOMB), b"")]
        case 6:
            chunks[i].length = int.from_bytes(_number(rng, chunks[i].length, 4), "little")
        case _:
            part = chunks[0] if rng.random() < 0.3 else chunks[i]
            changed = flip(rng, part.payload, b"")
            chunks[chunks.index(part)] = Frame(part.type, changed, len(changed), b"")
    frames[at] = frames[at].with_payload(payload[:start] + build_png(chunks))


EDITS: dict[str, tuple[int, Edit]] = {
    "flip": (6, flip),
    "set": (4, set_byte),
    "delete": (3, delete),
    "insert": (3, insert),
    "truncate": (3, truncate),
    "tail": (2, tail),
    "splice": (3, splice),
    "move": (2, move),
    "header": (8, header_field),
    "drop": (3, _frames(_drop)),
    "duplicate": (3, _frames(_duplicate)),
    "swap": (3, _frames(_swap)),
    "rename": (3, _frames(_rename)),
    "transplant": (4, _frames(_transplant)),
    "add": (3, _frames(_add)),
    "length": (5, _frames(_length)),
    "payload": (4, _frames(_payload)),
    "tile": (4, _frames(_tile_head)),
    "index": (5, _frames(_index)),
    "alpha": (5, _frames(_alpha)),
}
"""How often each edit is drawn, and what it does."""


def _words(rng: random.Random, data: bytes) -> bytes:
    """Other bytes; those that are words of four stay words in most cases."""
    word = 4 * rng.randrange(len(data) // 4 + 1)
    old = int.from_bytes(data[word : word + 4], "little")
    match rng.randrange(10):
        case 0:
            return data[:word] + _number(rng, old, 4) + data[word + 4 :]
        case 1:
            return data[:word] + data[word + 4 * rng.choice((1, 1, 2, 8)) :]
        case 2:
            return data[:word] + rng.randbytes(4 * rng.choice((1, 1, 2, 50))) + data[word:]
        case 3:
            return data[: -4 * rng.choice((1, 1, 2, 8))]
        case 4:
            return data + rng.choice((bytes(4), rng.randbytes(4), rng.randbytes(200)))
        case 5:
            return rng.choice(
                (b"", bytes(len(data)), b"\xff" * len(data), rng.randbytes(len(data)))
            )
        case 6:
            return rng.choice((delete, insert, set_byte))(rng, data, data)
        case _:
            return flip(rng, data, data)


@dataclass(frozen=True)
class Mutant:
    """A damaged file, the number of the sound one, the edits, and whether checksums are right."""

    data: bytes
    source: int
    edits: tuple[str, ...]
    fixed: bool


class Mutator:
    """Makes mutants of the sound files `sources`, told apart by a number."""

    def __init__(self, sources: Sequence[bytes], seed: int) -> None:
        self.sources = list(sources)
        self.seed = seed
        self._names = list(EDITS)
        self._weights = [weight for weight, _ in EDITS.values()]

    def mutant(self, number: int) -> Mutant:
        """The file after edits of all kinds; even numbers get their checksums made right."""
        rng = random.Random(self.seed << 40 | number)
        source = rng.randrange(len(self.sources))
        data = self.sources[source]
        edits = rng.choices(self._names, self._weights, k=rng.choice((1, 1, 1, 2, 3)))
        for name in edits:
            data = EDITS[name][1](rng, data, rng.choice(self.sources))
        fixed = number % 2 == 0
        if fixed:
            data = repaired(reindexed(data) if rng.random() < 0.5 else data)
        return Mutant(data, source, tuple(edits), fixed)

    def payload_mutant(self, number: int) -> Mutant:
        """The file with other words in one tile, and everything in the container right."""
        rng = random.Random(self.seed << 40 | 1 << 39 | number)
        source = rng.randrange(len(self.sources))
        header, frames, rest = parse(self.sources[source])
        at = _pick(rng, frames, b"TILE")
        assert at is not None
        start = 8 if header[11] else 4
        old = frames[at].payload
        new = old[:start] + _words(rng, old[start:])
        frames[at] = frames[at].with_payload(new)
        data = repaired(reindexed(build(header, frames, rest)))
        return Mutant(data, source, ("words",), True)
