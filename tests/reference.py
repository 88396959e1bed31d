"""A second decoder, written from spec.md alone: numpy, the standard library, 64-bit integers.

Shares no line with the package, so what both agree on is what the specification says. It checks
nothing that it can do without: the tests give it valid files only. At the end, weights of any size
that keep the bounds, for tests of what trained ones never do.
"""

import bisect
import json
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
X = (0, 3, 1, 2)


def read_tensors(data: bytes) -> dict[str, Ints]:
    """The tensors of a safetensors file (section 7)."""
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


def read_container(data: bytes) -> tuple[int, int, int, int, int, bytes]:
    """Width, height, quality, flags, symbol_crc and words of a file with one tile (2 and 3)."""
    flags, quality = data[9:11]
    width, height = struct.unpack_from("<II", data, 12)
    at = 32
    while True:
        length, type = struct.unpack_from("<I4s", data, at)
        if type == b"TILE":
            (crc,) = struct.unpack_from("<I", data, at + 8)
            return width, height, quality, flags, crc, data[at + 12 : at + 8 + length]
        at += 12 + length if length else 8


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

    def uniform(self) -> int:
        return self.symbol(UNIFORM)

    def group(self, count: int, reach: int, sums: list[int]) -> list[int]:
        """The values of a group (S-106)."""
        values = [self.symbol(sums) - reach for _ in range(count)]
        return [self.uniform() - 32768 if value == reach + 1 else value for value in values]


UNIFORM = [256 * u for u in range(65537)]


def read_tables(tensors: dict[str, Ints], name: str) -> list[tuple[int, list[int]]]:
    """Reach and F of each table (S-154)."""
    tables, at = [], 0
    for reach in tensors[f"entropy.{name}.reach"].tolist():
        f = tensors[f"entropy.{name}.frequency"][at : at + 2 * reach + 2]
        at += 2 * reach + 2
        tables.append((reach, [0, *np.cumsum(f).tolist()]))
    return tables


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
        self.n = len(tensors["entropy.z.reach"])

    def requantise(self, name: str, sums: Ints) -> Ints:
        bias = self.tensors[f"{name}.bias"]
        bias = bias[self.q] if bias.ndim == 2 else bias
        s = self.tensors[f"{name}.shift"]
        low, high = self.tensors[f"{name}.low"], self.tensors[f"{name}.high"]
        return clamp((sums + bias + (1 << (s - 1))) >> s, low, high)

    def L(self, name: str, x: Ints) -> Ints:
        return self.requantise(name, x @ self.tensors[f"{name}.weight"].T)

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
        t = self.L("g_s.enter", u)
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


def symbols_to_y(
    network: Network, ans: Ans, height: int, width: int
) -> tuple[Ints, Ints, list[Ints]]:
    """y, and the symbols on the way there: z by channel, row, column, and each step's residuals."""
    zr, zc = -(-height // 64), -(-width // 64)
    y_tables = read_tables(network.tensors, "y")
    z_tables = read_tables(network.tensors, "z")
    z = np.array([ans.group(zr * zc, *table) for table in z_tables], np.int64)
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
        for t, table in enumerate(y_tables):
            (positions,) = np.nonzero(coded == t + 1)
            r[positions] = ans.group(len(positions), *table)
        residuals.append(r.reshape(index.shape))
        network.place(s, y, mu, residuals[-1])
    return y, z, residuals


def symbol_crc(z: Ints, residuals: list[Ints]) -> int:
    """The checksum of 5.3."""
    return zlib.crc32(b"".join(part.astype("<i2").tobytes() for part in [z, *residuals]))


def decode(data: bytes, tensors: dict[str, Ints], scale: int = 1) -> NDArray[np.uint8]:
    """The pixels of a file at 1/scale of its size: (H, W, 3), or (H, W) if it is gray."""
    width, height, quality, flags, crc, words = read_container(data)
    network, ans = Network(tensors, quality), Ans(words)
    y, z, residuals = symbols_to_y(network, ans, height, width)
    assert symbol_crc(z, residuals) == crc
    assert (ans.x, ans.words) == (0, [])
    pixels = network.pixels(y, scale)[: -(-height // scale), : -(-width // scale)]
    if flags & 1:
        pixels = (pixels.sum(axis=2) + 1) // 3
    return pixels.astype(np.uint8)


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


SMALL = {"M": 8, "N": 3, "F": 5, "C": 6, "A": 7, "B": 4, "context": 1, "blocks16": 1, "blocks8": 2}
#: The same under the names of a model's manifest.
SMALL_CONFIG = {
    "m": SMALL["M"],
    "n_z": SMALL["N"],
    "c_h": SMALL["F"],
    "c_ctx": SMALL["C"],
    "c16": SMALL["A"],
    "c8": SMALL["B"],
    "ctx_blocks": SMALL["context"],
    "g_s_blocks16": SMALL["blocks16"],
    "g_s_blocks8": SMALL["blocks8"],
}


def layer_shapes(sizes: dict[str, int]) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Shapes of weight and bias of each layer of the table at S-151."""
    M, N, F, C, A, B = (sizes[letter] for letter in "MNFCAB")
    layers: dict[str, tuple[int, int, bool]] = {"h_s.enter": (N, F, True)}
    blocks = {f"h_s.block{side}": F for side in (64, 32, 16)}
    layers |= {"h_s.up32": (F, 4 * F, False), "h_s.up16": (F, 4 * F, False)}
    for s in range(4):
        layers[f"context.enter.{s}"] = (F + M if s else F, C, False)
        layers |= {f"context.head.{s}.{g}": (C, M // 2, False) for g in range(4)}
    blocks |= {f"context.blocks.{b}": C for b in range(sizes["context"])}
    blocks |= {f"g_s.blocks16.{b}": A for b in range(sizes["blocks16"])}
    blocks |= {f"g_s.blocks8.{b}": B for b in range(sizes["blocks8"])}
    layers |= {"g_s.enter": (M, A, True), "g_s.up": (A, 4 * B, True)}
    layers |= {"g_s.leave": (B, 192, False), "g_s.shortcut": (M, 768, False)}
    blocks["g_s.small"] = A
    for name, width in blocks.items():
        layers |= {f"{name}.{part}": (width, width, False) for part in ("w1", "dw", "w2")}
        if name.startswith("g_s"):
            layers[f"{name}.w3"] = (width, 2 * width, False)
            layers[f"{name}.w4"] = (2 * width, width, False)
    layers |= {f"g_s.leave{s}": (A + M, 768 // s**2, False) for s in (2, 4, 8)}
    return {
        name: (
            (outs, 3, 3) if name.endswith(".dw") else (outs, ins),
            (256, outs) if each else (outs,),
        )
        for name, (ins, outs, each) in layers.items()
    }


def clamp_shapes(sizes: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of clamps at S-152."""
    clamps = {"context.y_hat": sizes["M"], "g_s.input": sizes["M"]}
    for name, (weight, _) in layer_shapes(sizes).items():
        if name.endswith(".w2"):
            block = name.removesuffix(".w2")
            clamps |= {f"{block}.{p}": weight[0] for p in (["out", "mid"][: 1 + ("g_s" in name)])}
    return {f"{name}.high": (width,) for name, width in clamps.items()}


def random_tensors(rng: np.random.Generator, sizes: dict[str, int] = SMALL) -> dict[str, NDArray]:
    """Weights of these sizes with the types of S-152; some layers exceed 2^24, none 2^53."""
    tensors: dict[str, NDArray] = {}
    for name, (weight, bias) in layer_shapes(sizes).items():
        outs = weight[0]
        head = name.startswith("context.head")  # small numbers, for table indices of all kinds
        shift = rng.integers(12, 16, outs) if head else rng.integers(4, 11, outs)
        size = 16 if head else 2 ** rng.integers(4, 15)
        tensors[f"{name}.weight"] = rng.integers(-size, size, weight, dtype=np.int16)
        spread = 2.0**shift * (30 if head else 500)
        tensors[f"{name}.bias"] = (rng.uniform(-1, 1, bias) * spread).astype(np.int32)
        tensors[f"{name}.shift"] = shift.astype(np.int8)
        high = rng.integers(1, 2000, outs) * rng.choice([1, 100], outs)
        tensors[f"{name}.high"] = high.astype(np.int32)
        tensors[f"{name}.low"] = -(high * rng.choice([0, 1], outs)).astype(np.int32)
    for name, shape in clamp_shapes(sizes).items():
        tensors[name] = rng.integers(0, 60000, shape, dtype=np.int32)
    tensors["inverse_gain"] = rng.integers(1, 2**22, (256, sizes["M"]), dtype=np.int32)
    for name, count in (("y", 63), ("z", sizes["N"])):
        reach = rng.integers(0, 9, count)
        frequencies = []
        for r in reach:
            f = 1 + rng.integers(0, 2**24 // (2 * r + 4), 2 * r + 2)
            f[rng.integers(len(f))] += 2**24 - f.sum()
            frequencies.append(f)
        tensors[f"entropy.{name}.reach"] = reach.astype(np.int16)
        tensors[f"entropy.{name}.frequency"] = np.concatenate(frequencies).astype(np.int32)
    crcs = canary({name: tensor.astype(np.int64) for name, tensor in tensors.items()})
    tensors["canary"] = np.array(crcs, np.uint32).astype(np.int32)
    return tensors
