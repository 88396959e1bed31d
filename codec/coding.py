"""One tile between latents and bytes: the same walk through the entropy path on both sides."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import entropy
from .config import STEP_XOR, Y_STRIDE, Z_STRIDE
from .decoder import ENTROPY_BITS, Z_MAX, Decoder, new_y_hat, pick, place
from .entropy import ESCAPE_LIMIT, Symbols, Table


class Side(Protocol):
    """What differs between encoder and decoder: where symbols come from."""

    def z(self, shape: tuple[int, int, int]) -> Symbols:
        """z symbols (N, H/64, W/64)."""

    def residual(self, step: int, mu: Tensor, index: NDArray[np.uint8]) -> Symbols:
        """Residuals (4, H/32, W/32, M/4) of one step, zero where the index is zero."""


def by_table(index: NDArray[np.uint8], tables: list[Table]) -> Iterator[tuple[Table, Symbols]]:
    """Each table in use with the positions in `index` (flat) that it codes, ascending.

    Index 0 is not coded; table t serves index t + 1.
    """
    coded = np.flatnonzero(index)
    coded = coded[np.argsort(index[coded], kind="stable")]
    ends = np.cumsum(np.bincount(index[coded], minlength=len(tables) + 1))
    for t, table in enumerate(tables):
        if ends[t + 1] > ends[t]:
            yield table, coded[ends[t] : ends[t + 1]]


class EncoderSide:
    """Chooses symbols nearest to given latents and collects them for the coder."""

    def __init__(self, y: Tensor, z: Tensor, y_tables: list[Table], z_tables: list[Table]) -> None:
        self.y = y  # (H/16, W/16, M), scaled, float
        self.z_float = z  # (N, H/64, W/64)
        self.y_tables, self.z_tables = y_tables, z_tables
        self.coder = entropy.Encoder()

    def z(self, shape: tuple[int, int, int]) -> Symbols:
        z = torch.floor(self.z_float + 0.5).clamp(-Z_MAX, Z_MAX).cpu().numpy().astype(np.int32)
        for plane, table in zip(z, self.z_tables, strict=True):
            self.coder.put(plane.ravel(), table)
        return z

    def residual(self, step: int, mu: Tensor, index: NDArray[np.uint8]) -> Symbols:
        difference = pick(self.y, step) - mu * 2.0**-ENTROPY_BITS
        nearest = torch.floor(difference + 0.5).clamp(-ESCAPE_LIMIT, ESCAPE_LIMIT)
        values = nearest.cpu().numpy().astype(np.int32)
        values[index == 0] = 0
        flat = values.ravel()
        for table, positions in by_table(index.ravel(), self.y_tables):
            self.coder.put(flat[positions], table)
        return values


class DecoderSide:
    """Takes symbols off the coder; raises FormatError when it cannot."""

    def __init__(self, payload: bytes, y_tables: list[Table], z_tables: list[Table]) -> None:
        self.y_tables, self.z_tables = y_tables, z_tables
        self.coder = entropy.Decoder(payload)

    def z(self, shape: tuple[int, int, int]) -> Symbols:
        planes = [self.coder.get(shape[1] * shape[2], table) for table in self.z_tables]
        # an escape could bring any 16-bit value; the networks are proved for these only
        return np.stack(planes).reshape(shape).clip(-Z_MAX, Z_MAX)

    def residual(self, step: int, mu: Tensor, index: NDArray[np.uint8]) -> Symbols:
        flat = np.zeros(index.size, dtype=np.int32)
        for table, positions in by_table(index.ravel(), self.y_tables):
            flat[positions] = self.coder.get(len(positions), table)
        return flat.reshape(index.shape)


def cells(size: int, stride: int) -> int:
    """How many cells of `stride` pixels cover `size` pixels."""
    return -(-size // stride)


def _coded(height: int, width: int) -> NDArray[np.bool_]:
    """Which y positions (4, H/32, W/32, 1) cover pixels; the padding beyond is not coded."""
    rows = np.arange(cells(height, Z_STRIDE) * (Z_STRIDE // Y_STRIDE)) < cells(height, Y_STRIDE)
    columns = np.arange(cells(width, Z_STRIDE) * (Z_STRIDE // Y_STRIDE)) < cells(width, Y_STRIDE)
    inside = rows[:, None] & columns[None, :]
    return np.stack([inside[p // 2 :: 2, p % 2 :: 2] for p in range(4)])[..., None]


def walk(
    decoder: Decoder, side: Side, quality: int, height: int, width: int
) -> tuple[Tensor, int]:
    """y_hat (H/16, W/16, M) at 2^-6 and the CRC-32 of all symbols of a tile.

    Both sides go this way, so they cannot part. `height` and `width` are in pixels.
    """
    shape = (decoder.cfg.n_z, cells(height, Z_STRIDE), cells(width, Z_STRIDE))
    z = side.z(shape)
    crc = zlib.crc32(z.astype("<i2").tobytes())
    z_hat = torch.from_numpy(z.astype(np.float32)).to(decoder.device).permute(1, 2, 0).contiguous()
    feature = decoder.features(z_hat, quality)
    y_hat = new_y_hat(feature, decoder.cfg.m)
    coded = _coded(height, width)
    for step in range(len(STEP_XOR)):
        mu, index = decoder.step(step, feature, y_hat)
        residual = side.residual(step, mu, index.cpu().numpy() * coded)
        crc = zlib.crc32(residual.astype("<i2").tobytes(), crc)
        place(y_hat, step, mu, torch.from_numpy(residual).to(decoder.device, torch.float32))
    return y_hat, crc
