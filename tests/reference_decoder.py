"""A second decoder, written from spec.md alone: numpy, zlib, and the order of that page.

    python tests/reference_decoder.py FILE.aec WEIGHTS.safetensors OUT.npy|OUT.ppm

Shares no line with the package, so what both agree on is what the specification says. It refuses
what a reader must, and names the requirement; bounds on sizes it has none, so give it no files of
strangers. Of the weights it checks nothing but their id. Numbers are 64-bit integers throughout.
"""

import bisect
import hashlib
import json
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
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


# 5. Entropy coding

X = (0, 3, 1, 2)  # S-103
UNIFORM = [256 * u for u in range(65537)]


class Ans:
    """The coder of 5.2."""

    def __init__(self, data: bytes) -> None:
        self.words = list(struct.unpack(f"<{len(data) // 4}I", data))
        self.x = 0
        while self.x < 2**32 and self.words:
            self.x = self.x * 2**32 + self.words.pop()

    def symbol(self, sums: list[int]) -> int:
        """One symbol of the table with these F, and 2^24 behind the last."""
        m = self.x % 2**24
        v = bisect.bisect_right(sums, m) - 1
        self.x = self.x // 2**24 * (sums[v + 1] - sums[v]) + m - sums[v]
        if self.x < 2**32 and self.words:
            self.x = self.x * 2**32 + self.words.pop()
        return v

    def group(self, count: int, reach: int, sums: list[int]) -> list[int]:
        """The values of a group (S-106)."""
        values = [self.symbol(sums) - reach for _ in range(count)]
        return [self.symbol(UNIFORM) - 32768 if v == reach + 1 else v for v in values]


def read_tables(tensors: dict[str, Ints], name: str) -> list[tuple[int, list[int]]]:
    """Reach and F of each table (S-154)."""
    tables, at = [], 0
    for reach in tensors[f"entropy.{name}.reach"].tolist():
        f = tensors[f"entropy.{name}.frequency"][at : at + 2 * reach + 2]
        at += 2 * reach + 2
        tables.append((reach, [0, *np.cumsum(f).tolist()]))
    return tables


def symbols_to_y(
    network: "Network", ans: Ans, height: int, width: int
) -> tuple[Ints, Ints, list[Ints]]:
    """y of a tile, and the symbols on the way there: z by channel, row, column (clamped), and each
    step's residuals.
    """
    zr, zc = -(-height // 64), -(-width // 64)
    z = np.array([ans.group(zr * zc, *table) for table in network.z_tables], np.int64)
    z = clamp(z.reshape(network.n, zr, zc), -127, 127)
    f = network.features(z.transpose(1, 2, 0))
    y = np.zeros((4 * zr, 4 * zc, network.m), np.int64)
    a, b = np.array([0, 0, 1, 1])[:, None, None], np.array([0, 1, 0, 1])[:, None, None]
    rows, columns = 2 * np.arange(2 * zr)[:, None] + a, 2 * np.arange(2 * zc) + b
    covers = (16 * rows < height) & (16 * columns < width)
    residuals = []
    for s in range(4):
        mu, index = network.step(s, f, y)
        r = np.zeros(index.size, np.int64)
        coded = (index * covers[..., None]).ravel()
        for t, table in enumerate(network.y_tables):
            (positions,) = np.nonzero(coded == t + 1)
            r[positions] = ans.group(len(positions), *table)
        residuals.append(r.reshape(index.shape))
        network.place(s, y, mu, residuals[-1])
    return y, z, residuals


def symbol_crc(z: Ints, residuals: list[Ints]) -> int:
    """The checksum of 5.3."""
    return zlib.crc32(b"".join(part.astype("<i2").tobytes() for part in [z, *residuals]))


def tile_y(network: "Network", tile: Tile, height: int, width: int) -> Ints:
    """y of a tile whose symbols are checked."""
    ans = Ans(tile.words)
    y, z, residuals = symbols_to_y(network, ans, height, width)
    right = symbol_crc(z, residuals) == tile.symbol_crc
    must(right, "S-040", "symbol_crc", "BackendMismatchError")
    must((ans.x, ans.words) == (0, []), "S-114", "the end of the coder", "BackendMismatchError")
    return y


# 6. Decoder networks


def clamp(x: Ints, low: Ints | int, high: Ints | int) -> Ints:
    return np.minimum(np.maximum(x, low), high)


def P(r: int, x: Ints) -> Ints:
    rows, columns, channels = x.shape
    out = np.empty((rows * r, columns * r, channels // r**2), np.int64)
    for u in range(r):
        for v in range(r):
            out[u::r, v::r] = x[:, :, u * r + v :: r * r]
    return out


class Network:
    """Section 6 for one quality index."""

    def __init__(self, tensors: dict[str, Ints], q: int) -> None:
        self.tensors = tensors
        self.q = q
        self.m = tensors["inverse_gain"].shape[1]
        self.n = len(tensors["entropy.z.reach"]) // 4
        self.y_tables = read_tables(tensors, "y")
        self.z_tables = read_tables(tensors, "z")[q // 64 * self.n :][: self.n]

    def requantise(self, name: str, sums: Ints) -> Ints:
        bias = self.tensors[f"{name}.bias"]
        bias = bias[self.q] if bias.ndim == 2 else bias
        s = self.tensors[f"{name}.shift"]
        low, high = self.tensors[f"{name}.low"], self.tensors[f"{name}.high"]
        return clamp((sums + bias + (1 << (s - 1))) >> s, low, high)

    def L(self, name: str, x: Ints) -> Ints:
        # in float64, which is exact here: by S-141 no sum of any of the products exceeds 2^53
        sums = x.astype(np.float64) @ self.tensors[f"{name}.weight"].T.astype(np.float64)
        return self.requantise(name, sums.astype(np.int64))

    def D(self, name: str, x: Ints) -> Ints:
        w = self.tensors[f"{name}.weight"]
        rows, columns, _ = x.shape
        x = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        cells = [x[u : u + rows, v : v + columns] * w[:, u, v] for u in range(3) for v in range(3)]
        return self.requantise(name, np.sum(cells, axis=0))

    def h(self, x: Ints) -> Ints:
        return (x * clamp(x + 2048, 0, 4096) + 2048) >> 12

    def K(self, name: str, x: Ints) -> Ints:
        high = self.tensors[f"{name}.high"]
        return clamp(x, -high, high)

    def E(self, name: str, x: Ints) -> Ints:
        t = self.D(f"{name}.dw", self.L(f"{name}.w1", x))
        return self.K(f"{name}.out", x + self.L(f"{name}.w2", t))

    def T(self, name: str, x: Ints) -> Ints:
        t = self.D(f"{name}.dw", self.h(self.L(f"{name}.w1", x)))
        t = self.K(f"{name}.mid", x + self.L(f"{name}.w2", t))
        return self.K(f"{name}.out", t + self.L(f"{name}.w4", self.h(self.L(f"{name}.w3", t))))

    def blocks(self, name: str) -> Iterator[str]:
        b = 0
        while f"{name}.{b}.w1.weight" in self.tensors:
            yield f"{name}.{b}"
            b += 1

    def features(self, z: Ints) -> Ints:
        f = self.E("h_s.block64", self.L("h_s.enter", z))
        f = self.E("h_s.block32", P(2, self.L("h_s.up32", f)))
        return self.E("h_s.block16", P(2, self.L("h_s.up16", f)))

    def step(self, s: int, f: Ints, y: Ints) -> tuple[Ints, Ints]:
        """mu and table index by position."""
        if s:
            f = np.concatenate([f, self.K("context.y_hat", y)], axis=2)
        t = self.L(f"context.enter.{s}", f)
        for name in self.blocks("context.blocks"):
            t = self.E(name, t)
        o = np.stack(
            [self.L(f"context.head.{s}.{p ^ X[s]}", t[p // 2 :: 2, p % 2 :: 2]) for p in range(4)]
        )
        return o[..., : self.m // 4], clamp(o[..., self.m // 4 :], 0, 63)

    def place(self, s: int, y: Ints, mu: Ints, r: Ints) -> None:
        value = clamp(128 * r + mu, -131071, 131071)
        for p in range(4):
            first = (p ^ X[s]) * self.m // 4
            y[p // 2 :: 2, p % 2 :: 2, first : first + self.m // 4] = value[p]

    def pixels(self, y: Ints, scale: int = 1) -> Ints:
        u = self.K("g_s.input", (y * self.tensors["inverse_gain"][self.q] + 2**17) >> 18)
        t = self.L("g_s.enter", self.K("g_s.enter.input", u))
        for name in self.blocks("g_s.blocks16"):
            t = self.T(name, t)
        if scale > 1:  # 6.6
            t = np.concatenate([self.T("g_s.small", t), u], axis=2)
            return clamp((P(16 // scale, self.L(f"g_s.leave{scale}", t)) + 8) >> 4, 0, 255)
        t = P(2, self.L("g_s.up", t))
        for name in self.blocks("g_s.blocks8"):
            t = self.T(name, t)
        d = P(8, self.L("g_s.leave", t)) + P(16, self.L("g_s.shortcut", u))
        return clamp((d + 8) >> 4, 0, 255)


def picture(header: Header, network: Network, y: Ints, alpha: Pixels, scale: int) -> Pixels:
    """The pixels of a picture given its y, and its alpha (6.4 and 6.6)."""
    colours = network.pixels(y, scale)[: -(-header.height // scale), : -(-header.width // scale)]
    if header.flags & GRAY:
        colours = (colours.sum(axis=2, keepdims=True) + 1) // 3
    channels = [colours]
    if header.flags & ALPHA:
        channels.append(smaller(alpha.astype(np.int64), scale)[:, :, None])
    pixels = np.concatenate(channels, axis=2).astype(np.uint8)
    return pixels if pixels.shape[2] > 1 else pixels[:, :, 0]


def smaller(alpha: Ints, scale: int) -> Ints:
    """The means of S-252."""
    rows, columns = (range(0, side, scale) for side in alpha.shape)
    squares = [[alpha[i : i + scale, j : j + scale] for j in columns] for i in rows]
    means = [[(2 * a.sum() + a.size) // (2 * a.size) for a in row] for row in squares]
    return np.array(means, np.int64)


# 7. Weights file


def read_tensors(data: bytes) -> dict[str, Ints]:
    """The tensors of a safetensors file (S-150)."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    types = {"I8": "<i1", "I16": "<i2", "I32": "<i4"}
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        flat = np.frombuffer(data[begin:end], types[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"]).astype(np.int64)
    return tensors


class Weights(NamedTuple):
    id: bytes
    tensors: dict[str, Ints]


def read_weights(data: bytes) -> Weights:
    return Weights(hashlib.sha256(data).digest()[:8], read_tensors(data))  # S-017


def draws(count: int) -> Iterator[int]:
    """The numbers of the canary (S-155)."""
    e = 1
    for _ in range(count):
        e = (1664525 * e + 1013904223) % 2**32
        v = e // 2**24
        yield 0 if v < 192 else v - 224


def canary(tensors: dict[str, Ints]) -> tuple[int, int]:
    """Both checksums of S-155."""
    network = Network(tensors, 128)
    numbers = np.array(list(draws(4 * network.n + 16 * network.m)), np.int64)
    z = numbers[: 4 * network.n].reshape(2, 2, network.n)
    r = (numbers[4 * network.n :] // 8).reshape(4, 4, 4, network.m // 4)
    f = network.features(z)
    y = np.zeros((8, 8, network.m), np.int64)
    crc = 0
    for s in range(4):
        mu, index = network.step(s, f, y)
        crc = zlib.crc32(index.astype("u1").tobytes(), crc)
        crc = zlib.crc32(mu.astype("<i4").tobytes(), crc)
        network.place(s, y, mu, r)
    pictures = [network.pixels(y, scale).astype("u1").tobytes() for scale in (1, 2, 4, 8)]
    return crc, zlib.crc32(b"".join(pictures))


# All together


def decode(data: bytes, tensors: dict[str, Ints], scale: int = 1) -> Pixels:
    """The picture of a file at 1 / scale: (H, W), or (H, W, channels) if these are several, alpha
    the last one. That the file is of these weights is for the caller to know.
    """
    header, tiles = read_file(data)
    network = Network(tensors, header.quality)
    rows, columns = -(-header.height // 64) * 4, -(-header.width // 64) * 4
    y = np.zeros((rows, columns, network.m), np.int64)
    alpha = np.full((header.height, header.width), 255, np.uint8)
    for tile, (left, top, width, height) in zip(tiles, header.tiles(), strict=True):
        part = tile_y(network, tile, height, width)
        i, j = top // 16, left // 16
        y[i : i + part.shape[0], j : j + part.shape[1]] = part  # S-260
        if tile.alpha is not None:
            alpha[top : top + height, left : left + width] = tile.alpha
    return picture(header, network, y, alpha, scale)


def decode_with(weights: Weights, data: bytes, scale: int = 1) -> Pixels:
    """The same, if the file is of these weights (S-172)."""
    same = read_header(data).model_id == weights.id
    must(same, "S-172", "weights of another id", "ModelNotFoundError")
    return decode(data, weights.tensors, scale)


def save(pixels: Pixels, path: Path) -> None:
    """An array of numpy, or a PPM (gray: PGM) of what has no alpha."""
    if path.suffix == ".npy":
        np.save(path, pixels)
        return
    height, width, *channels = pixels.shape
    if channels in ([2], [4]):
        raise SystemExit(f"{path}: the picture has alpha, which only .npy can hold")
    kind = "P6" if channels else "P5"
    path.write_bytes(f"{kind}\n{width} {height}\n255\n".encode() + pixels.tobytes())


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit((__doc__ or "").split("\n\n")[1])
    source, model, out = map(Path, sys.argv[1:])
    try:
        save(decode_with(read_weights(model.read_bytes()), source.read_bytes()), out)
    except Invalid as error:
        raise SystemExit(f"{source}: {error}") from error
