"""Parts of .aec files as spec.md lays them out, for files that no writer makes.

The same bytes on every machine: no floats, and no compressor whose choices differ by version.
Everything has the checksums that it should have, and nothing else is checked.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import reference_decoder as reference

SIGNATURE = bytes.fromhex("91 41 45 43 0D 0A 1A 0A")
PNG = b"\x89PNG\r\n\x1a\n"
GRAY, ALPHA = 1, 2

Chunk = tuple[str, bytes]
AEND: Chunk = ("AEND", b"")


@dataclass(frozen=True)
class Vector:
    """The bytes of a file and what it is there for; of one that must be refused, the error in
    `aec` and the requirement that it breaks.
    """

    about: str
    data: bytes
    error: str = ""
    breaks: str = ""


def draws(seed: int) -> Iterator[int]:
    """Numbers from 0 to 255, from the generator of S-155 with another start."""
    e = seed
    while True:
        e = (1664525 * e + 1013904223) % 2**32
        yield e >> 24


# Containers


def u32(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def pack_chunk(type: str, payload: bytes = b"") -> bytes:
    body = u32(len(payload)) + type.encode() + payload
    return body + u32(zlib.crc32(body)) if payload else body


@dataclass(frozen=True)
class File:
    """The header's fields and the chunks; `data` gives the bytes, every crc right."""

    width: int
    height: int
    quality: int
    model_id: bytes
    flags: int = 0
    tile_log2: int = 0
    version: int = 1
    chunks: tuple[Chunk, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> "File":
        """The parts of a sound file."""
        version, flags, quality, tile_log2, width, height = struct.unpack_from("<4B2I", data, 8)
        chunks, at = [], 32
        while at < len(data):
            (length,) = struct.unpack_from("<I", data, at)
            chunks.append((data[at + 4 : at + 8].decode(), data[at + 8 : at + 8 + length]))
            at += 12 + length if length else 8
        return cls(width, height, quality, data[20:28], flags, tile_log2, version, tuple(chunks))

    def header(self) -> bytes:
        fields = (self.version, self.flags, self.quality, self.tile_log2, self.width, self.height)
        head = SIGNATURE + struct.pack("<4B2I", *fields) + self.model_id
        return head + u32(zlib.crc32(head))

    def data(self) -> bytes:
        return self.header() + b"".join(pack_chunk(*chunk) for chunk in self.chunks)

    def but(self, **fields: int | bytes) -> "File":
        """The same file with other fields in its header."""
        return replace(self, **fields)  # type: ignore[arg-type]

    def having(self, chunks: Iterable[Chunk]) -> "File":
        """The same header with other chunks."""
        return replace(self, chunks=tuple(chunks))

    def payload(self, type: str) -> bytes:
        """That of the first chunk of a type."""
        return next(payload for name, payload in self.chunks if name == type)

    def before(self, type: str, *chunks: Chunk) -> "File":
        """The file with chunks in front of the first one of a type."""
        at = next(n for n, chunk in enumerate(self.chunks) if chunk[0] == type)
        return self.having([*self.chunks[:at], *chunks, *self.chunks[at:]])

    def without(self, type: str) -> "File":
        """The file without the chunks of a type."""
        return self.having(chunk for chunk in self.chunks if chunk[0] != type)

    def changed(self, type: str, payload: bytes, nth: int = 0) -> "File":
        """The file with another payload in one of the chunks of a type."""
        at = [n for n, chunk in enumerate(self.chunks) if chunk[0] == type][nth]
        return self.having([*self.chunks[:at], (type, payload), *self.chunks[at + 1 :]])

    def tiled(self, tile_log2: int, alpha: bool = True) -> "File":
        """A file of one tile as one of several tiles that has only one, with alpha or opaque."""
        lengths, tiles = [], []
        for type, payload in self.chunks:
            if type == "TILE" or (type == "ALPH" and alpha):
                lengths.append(4 + len(payload))
                tiles.append((type, u32(0) + payload))
        if self.flags & ALPHA and not alpha:
            lengths = [0, *lengths]
        own = [chunk for chunk in self.chunks if chunk[0] in ("iCCP", "eXIf", "xMPd")]
        index = ("TIDX", u32(*lengths))
        return self.but(tile_log2=tile_log2).having([*own, index, *tiles, ("AEND", b"")])


# Planes of alpha


def ramp(width: int, height: int) -> list[bytes]:
    """Rows of a plane with something in it."""
    return [bytes((5 * x + 11 * y) % 256 for x in range(width)) for y in range(height)]


def filtered(rows: list[bytes]) -> bytes:
    """The rows of a PNG: the five filters in turn, each in front of its row."""
    out, above = b"", bytes(len(rows[0]))
    for y, row in enumerate(rows):
        out += bytes([y % 5])
        for x, value in enumerate(row):
            left, corner = (row[x - 1], above[x - 1]) if x else (0, 0)
            near = left + above[x] - corner
            paeth = min((left, above[x], corner), key=lambda sample: abs(near - sample))
            guess = (0, left, above[x], (left + above[x]) // 2, paeth)[y % 5]
            out += bytes([(value - guess) % 256])
        above = row
    return out


def plain(rows: list[bytes]) -> bytes:
    """The rows of a PNG without filters."""
    return b"".join(b"\0" + row for row in rows)


def stored(data: bytes) -> bytes:
    """A zlib stream that packs nothing (less than 64 KiB)."""
    sizes = struct.pack("<2H", len(data), 0xFFFF ^ len(data))
    return b"\x78\x01\x01" + sizes + data + struct.pack(">I", zlib.adler32(data))


def png_chunk(type: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + type + body + struct.pack(">I", zlib.crc32(type + body))


def head(width: int, height: int, *kind: int) -> bytes:
    """IHDR; by default of 8 bits, gray, not interlaced."""
    return png_chunk(b"IHDR", struct.pack(">2I5B", width, height, *(kind or (8, 0, 0, 0, 0))))


def png(first: bytes, *parts: bytes, after: bytes = b"") -> bytes:
    """A stream of an IHDR, an IDAT for each part, what comes after them, and IEND."""
    data = b"".join(png_chunk(b"IDAT", part) for part in parts)
    return PNG + first + data + after + png_chunk(b"IEND", b"")


def plane(width: int, height: int) -> bytes:
    """A sound stream with something in it."""
    return png(head(width, height), stored(plain(ramp(width, height))))


# Tiles


class Author:
    """Takes the place of a coder, makes up the symbols that it is asked for, and can write them.

    Values are from -spread to spread, with one far away for each `rare` draws out of 256; in as
    many cases a value is escaped that need not be.
    """

    def __init__(self, seed: int, spread: int = 1, rare: int = 0) -> None:
        self._draws = draws(seed)
        self._spread = spread
        self._rare = rare
        self._written: list[tuple[int, int]] = []  # F and f of each symbol

    def group(self, count: int, reach: int, sums: list[int]) -> list[int]:
        """Values of a group, see `reference.Ans.group`."""
        values, large = [], []
        for _ in range(count):
            value = next(self._draws) % (2 * self._spread + 1) - self._spread
            if next(self._draws) < self._rare:
                value = next(self._draws) * 256 + next(self._draws) - 32768
            escape = abs(value) > reach or next(self._draws) < self._rare
            symbol = 2 * reach + 1 if escape else value + reach
            self._written.append((sums[symbol], sums[symbol + 1] - sums[symbol]))
            values.append(value)
            if escape:
                large.append((256 * (value + 32768), 256))
        self._written += large
        return values

    def words(self) -> bytes:
        """All symbols in words, as the encoder below S-114 goes about it."""
        x, words = 0, []
        for first, frequency in reversed(self._written):
            if x >> 40 >= frequency:
                words.append(x % 2**32)
                x >>= 32
            x = (x // frequency << 24) + first + x % frequency
        while x:
            words.append(x % 2**32)
            x >>= 32
        return u32(*words)


class Writer:
    """Writes tiles of symbols that nobody measured."""

    def __init__(self, weights: reference.Weights) -> None:
        self.tensors = weights.tensors
        self.model_id = weights.id

    def tile(self, quality: int, width: int, height: int, author: Author) -> bytes:
        """Symbol CRC and words of the symbols of an author."""
        network = reference.Network(self.tensors, quality)
        _, z, residuals = reference.symbols_to_y(network, author, height, width)
        return u32(reference.symbol_crc(z, residuals)) + author.words()

    def tile_of(self, quality: int, width: int, height: int, words: bytes) -> bytes:
        """Symbol CRC and words, where these are given, whatever they mean."""
        network = reference.Network(self.tensors, quality)
        _, z, residuals = reference.symbols_to_y(network, reference.Ans(words), height, width)
        return u32(reference.symbol_crc(z, residuals)) + words

    def file(
        self, quality: int, width: int, height: int, tile: bytes, *chunks: Chunk, flags: int = 0
    ) -> File:
        """A file of one tile, with chunks in front of it."""
        base = File(width, height, quality, self.model_id, flags)
        return base.having([*chunks, ("TILE", tile), ("AEND", b"")])
