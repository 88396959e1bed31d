"""The reference decoder's first half, sections 2 and 3 of spec.md: bytes to tiles and alpha."""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


class Invalid(ValueError):
    """A file that a reader must refuse: the class of error (S-045), and the requirement."""

    def __init__(self, error: str, id: str, what: str) -> None:
        super().__init__(f"{error}: {what} [{id}]")
        self.error = error
        self.id = id


def must(holds: object, id: str, what: str, error: str = "FormatError") -> None:
    if not holds:
        raise Invalid(error, id, what)


# 2. Signature and header

SIGNATURE = bytes.fromhex("91 41 45 43 0D 0A 1A 0A")
GRAY, ALPHA = 1, 2


class Header(NamedTuple):
    flags: int
    quality: int
    tile_log2: int
    width: int
    height: int
    model_id: bytes

    def tiles(self) -> list[tuple[int, int, int, int]]:
        """Left, top, width and height of each tile (S-220)."""
        side = 2**self.tile_log2 if self.tile_log2 else max(self.width, self.height)
        return [
            (left, top, min(side, self.width - left), min(side, self.height - top))
            for top in range(0, self.height, side)
            for left in range(0, self.width, side)
        ]


def read_header(data: bytes) -> Header:
    must(SIGNATURE.startswith(data[:8]), "S-011", "another signature")
    must(len(data) < 9 or data[8] == 1, "S-012", "another version", "UnsupportedVersionError")
    must(len(data) >= 32, "S-041", "cut in the header", "TruncatedError")
    fields = struct.unpack_from("<3B2I8sI", data, 9)
    flags, quality, tile_log2, width, height, model_id, crc = fields
    must(crc == zlib.crc32(data[:28]), "S-018", "crc of the header", "ChecksumError")
    must(tile_log2 <= 12, "S-016", "tile_log2 out of range")
    must(1 <= width <= 2**24 and 1 <= height <= 2**24, "S-016", "sides out of range")
    must(flags < 4, "S-013", "unknown flags", "UnsupportedFeatureError")
    must(not 1 <= tile_log2 <= 5, "S-015", "tiles of less than 64 pixels")
    return Header(flags, quality, tile_log2, width, height, model_id)


# 3. Chunks

METADATA = ("iCCP", "eXIf", "xMPd")


class Tile(NamedTuple):
    symbol_crc: int
    words: bytes
    alpha: Pixels | None  # None where there is no such chunk


def read_chunks(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Types and payloads, up to AEND at the end of the data (S-020)."""
    at, type = 32, ""
    while type != "AEND":
        must(at < len(data), "S-029", "no AEND", "TruncatedError")
        must(at + 8 <= len(data), "S-041", "cut in a chunk", "TruncatedError")
        length, letters = struct.unpack_from("<I4s", data, at)
        must(letters.isalpha() and letters[2:3].isupper(), "S-022", f"the type {letters!r}")
        type, end = letters.decode(), at + 8 + length
        must(length or type == "AEND", "S-021", f"an empty chunk {type}")
        after = end + 4 if length else end
        must(after <= len(data), "S-041", f"cut in the chunk {type}", "TruncatedError")
        if length:
            id = "S-024" if letters[:1].islower() else "S-040"
            crc = struct.unpack_from("<I", data, end)[0]
            must(crc == zlib.crc32(data[at:end]), id, f"crc of the chunk {type}", "ChecksumError")
        yield type, data[at + 8 : end]
        at = after
    must(not length, "S-029", "a payload in AEND")
    must(at == len(data), "S-029", "bytes after AEND")


def read_file(data: bytes) -> tuple[Header, list[Tile]]:
    """The header and the tiles, once all of the container is checked."""
    header = read_header(data)
    reader = TiledReader(header) if header.tile_log2 else Reader(header)
    seen = []
    for type, payload in read_chunks(data):
        if type in ("TIDX", "ALPH", "TILE"):
            reader.take(type, payload)
        elif type == "AEND":
            must(len(reader.tiles) == len(reader.places), "S-027", "tiles are missing")
        elif type[0].isupper():
            raise Invalid("UnsupportedFeatureError", "S-023", f"unknown critical chunk {type}")
        else:
            reader.pass_by()
            must(not (type in METADATA and reader.tiles), "S-201", f"{type} after the tiles")
            seen.append(type)
    must(all(seen.count(type) <= 1 for type in METADATA), "S-201", "metadata twice")
    return header, reader.tiles


class Reader:
    """Takes the chunks of a file with one tile (S-026)."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.places = header.tiles()
        self.tiles: list[Tile] = []
        self.alpha: Pixels | None = None

    def take(self, type: str, payload: bytes) -> None:
        must(type != "TIDX", "S-223", "an index of one tile")
        if type == "ALPH":
            must(self.header.flags & ALPHA, "S-210", "ALPH without the flag")
            must(self.alpha is None, "S-210", "ALPH twice")
            must(not self.tiles, "S-210", "ALPH after TILE")
            self.alpha = read_alpha(payload, self.header.width, self.header.height)
        else:
            must(not self.tiles, "S-027", "TILE twice")
            alpha = self.header.flags & ALPHA
            must(not alpha or self.alpha is not None, "S-210", "the flag alpha, but no ALPH")
            self.add(payload)

    def pass_by(self) -> None:
        """An ancillary chunk."""

    def add(self, body: bytes) -> None:
        """A tile, given what comes after its number (S-028)."""
        must(len(body) >= 4 and len(body) % 4 == 0, "S-028", "the length of a TILE")
        must(len(body) == 4 or body[-4:] != bytes(4), "S-113", "the last word is 0")
        self.tiles.append(Tile(int.from_bytes(body[:4], "little"), body[4:], self.alpha))


class TiledReader(Reader):
    """Takes the chunks of a file with several (3.3)."""

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self.coming: list[tuple[str, int]] | None = None  # type and length, the next one last

    def take(self, type: str, payload: bytes) -> None:
        if type == "TIDX":
            must(self.coming is None, "S-221", "TIDX twice")
            self.coming = self.read_index(payload)[::-1]
            return
        must(self.coming is not None, "S-221", f"{type} before TIDX")
        must(self.coming, "S-027", f"{type} after the last tile")
        must(self.coming.pop() == (type, len(payload)), "S-223", f"{type} is not as TIDX says")
        number = int.from_bytes(payload[:4], "little")
        if type == "ALPH":
            must(number == len(self.tiles), "S-224", "the number of an ALPH")
            _, _, width, height = self.places[number]
            self.alpha = read_alpha(payload[4:], width, height)
        else:
            must(number == len(self.tiles), "S-223", "the number of a TILE")
            self.add(payload[4:])
            self.alpha = None

    def pass_by(self) -> None:
        must(not self.coming, "S-221", "another chunk among those of the tiles")

    def read_index(self, payload: bytes) -> list[tuple[str, int]]:
        """Type and length of all chunks of tiles (S-222)."""
        width = 2 if self.header.flags & ALPHA else 1
        must(len(payload) == 4 * width * len(self.places), "S-222", "the length of TIDX")
        chunks = []
        for number, length in enumerate(struct.unpack(f"<{len(payload) // 4}I", payload)):
            if (number + 1) % width == 0:
                must(length >= 8 and length % 4 == 0, "S-222", "the length of a tile in TIDX")
                chunks.append(("TILE", length))
            elif length:
                must(length > 4, "S-222", "the length of an ALPH in TIDX")
                chunks.append(("ALPH", length))
        return chunks


# 3.2 Alpha


def read_alpha(png: bytes, width: int, height: int) -> Pixels:
    """The samples of a PNG datastream of the kind that S-211 allows."""
    must(png[:8] == b"\x89PNG\r\n\x1a\n", "S-211", "the signature of a PNG")
    chunks, at = [], 8
    while at < len(png):
        must(at + 12 <= len(png), "S-211", "a PNG that is cut short")
        length, type = struct.unpack_from(">I4s", png, at)
        end = at + 8 + length
        must(end + 4 <= len(png), "S-211", "a PNG that is cut short")
        crc = int.from_bytes(png[end : end + 4], "big")
        must(crc == zlib.crc32(png[at + 4 : end]), "S-211", "a CRC in a PNG")
        chunks.append((type, png[at + 8 : end]))
        at = end + 4
    types = [type for type, _ in chunks]
    wanted = [b"IHDR", *[b"IDAT"] * max(len(types) - 2, 1), b"IEND"]
    must(types == wanted and not chunks[-1][1], "S-211", "the chunks of a PNG")
    kind = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    must(chunks[0][1] == kind, "S-211", "the kind of a PNG")
    size = (width + 1) * height
    inflate = zlib.decompressobj()
    try:
        rows = inflate.decompress(b"".join(body for _, body in chunks[1:-1]), size + 1)
    except zlib.error as error:
        raise Invalid("FormatError", "S-212", f"IDAT: {error}") from error
    must(len(rows) == size, "S-212", "the length of the data in IDAT")
    must(inflate.eof and not inflate.unused_data, "S-212", "the end of the data in IDAT")
    return unfilter(rows, width, height)


def unfilter(rows: bytes, width: int, height: int) -> Pixels:
    """ISO/IEC 15948, 9.2, for one byte per pixel."""
    plane, above = [], [0] * width
    for y in range(height):
        kind, *row = rows[y * (width + 1) : (y + 1) * (width + 1)]
        must(kind <= 4, "S-212", "a filter that PNG does not have")
        a = c = 0
        for x, b in enumerate(above):
            guess = (0, a, b, (a + b) // 2, paeth(a, b, c))[kind]
            row[x] = a = (row[x] + guess) % 256
            c = b
        plane.append(row)
        above = row
    return np.array(plane, np.uint8)


def paeth(a: int, b: int, c: int) -> int:
    return min((a, b, c), key=lambda sample: abs(a + b - c - sample))  # the first of equals
