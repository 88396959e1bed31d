"""The reference decoder's second half, sections 5 to 7 of spec.md: symbols, networks, weights.

Numbers are 64-bit integers throughout.
"""

import bisect
import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

# 5. Entropy coding

X = (0, 3, 1, 2)  # S-103
FINE = 8  # S-104
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
    """y of a tile, and the symbols on the way there: z by channel, row, column (clamped), and those
    of each step's residuals.
    """
    zr, zc = -(-height // 64), -(-width // 64)
    z = np.array([ans.group(zr * zc, *table) for table in network.z_tables], np.int64)
    z = clamp(z.reshape(network.n, zr, zc), -127, 127)
    f = network.features(z.transpose(1, 2, 0))
    y = np.zeros((4 * zr, 4 * zc, network.m), np.int64)
    a, b = np.array([0, 0, 1, 1])[:, None, None], np.array([0, 1, 0, 1])[:, None, None]
    rows, columns = 2 * np.arange(2 * zr)[:, None] + a, 2 * np.arange(2 * zc) + b
    covers = (16 * rows < height) & (16 * columns < width)
    symbols = []
    for s in range(4):
        mu, index = network.step(s, f, y)
        k, r = step_symbols(network.y_tables, ans, (index * covers[..., None]).ravel())
        symbols.append(k.reshape(index.shape))
        network.place(s, y, mu, r.reshape(index.shape))
    return y, z, symbols


def step_symbols(tables: list[tuple[int, list[int]]], ans: Ans, index: Ints) -> tuple[Ints, Ints]:
    """The symbols of a step and its residuals in 128ths, given the indices of what is coded."""
    k, r = np.zeros(len(index), np.int64), np.zeros(len(index), np.int64)

    def groups(positions: Ints, numbers: Ints) -> None:
        for t in sorted(set(numbers.tolist())):
            k[positions[numbers == t]] = ans.group(int((numbers == t).sum()), *tables[t - 1])

    (plain,) = np.nonzero((index > 0) & (index < FINE))
    groups(plain, index[plain])
    r[plain] = 128 * k[plain]
    fine = np.array(sorted(np.nonzero(index >= FINE)[0], key=lambda at: (index[at], at)), np.int64)
    lanes = -(-len(fine) // 256)
    state = np.zeros(lanes, np.int64)
    for first in range(0, len(fine), lanes or 1):
        places = fine[first : first + lanes]
        now = state[: len(places)]
        groups(places, index[places] + 56 * (now % 2))
        r[places] = 88 * (2 * k[places] - now % 2 * np.sign(k[places]))
        state[: len(places)] = now // 2 ^ 166 * (now % 2) ^ 121 * (k[places] % 2)
    return k, r


def symbol_crc(z: Ints, residuals: list[Ints]) -> int:
    """The checksum of 5.3."""
    return zlib.crc32(b"".join(part.astype("<i2").tobytes() for part in [z, *residuals]))


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
        value = clamp(r + mu, -131071, 131071)  # r in 128ths
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
        network.place(s, y, mu, 128 * r)
    pictures = [network.pixels(y, scale).astype("u1").tobytes() for scale in (1, 2, 4, 8)]
    return crc, zlib.crc32(b"".join(pictures))
