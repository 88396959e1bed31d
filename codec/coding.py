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
from .choice import RateTable, decide
from .config import STEP_XOR, Y_STRIDE, Z_STRIDE, ModelConfig
from .decoder import ENTROPY_BITS, Z_MAX, new_y_hat, pick, place
from .entropy import Symbols, Table
from .trellis import FINE, Chain


class Networks(Protocol):
    """The entropy path's networks: the exact decoder, or a float one that export compares with."""

    cfg: ModelConfig
    device: torch.device

    def features(self, z_hat: Tensor, quality: int) -> Tensor:
        """See `decoder.Decoder.features`."""

    def step(self, step: int, feature: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        """See `decoder.Decoder.step`."""


class Side(Protocol):
    """What differs between encoder and decoder: where symbols come from."""

    def z(self, shape: tuple[int, int, int]) -> Symbols:
        """z symbols (N, H/64, W/64)."""

    def residual(self, step: int, mu: Tensor, index: Tensor) -> tuple[Symbols, Tensor]:
        """Symbols of residuals (4, H/32, W/32, M/4) of one step, zero where the index is zero, and
        the residuals, in steps, that they stand for.
        """


def by_table(
    number: NDArray[np.uint8], tables: list[Table]
) -> Iterator[tuple[Table, NDArray[np.int64]]]:
    """Each table in use with the positions in `number` (flat) that it codes, ascending.

    Tables are counted from 1; where there is 0, nothing is coded.
    """
    coded: NDArray[np.int64] = np.flatnonzero(number)
    coded = coded[np.argsort(number[coded], kind="stable")]
    counts = np.bincount(number[coded])
    start = 0
    for used in np.flatnonzero(counts).tolist():
        end = start + int(counts[used])
        yield tables[used - 1], coded[start:end]
        start = end


def coarse(index: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The table indices of whole residuals, and 0 where others are."""
    return np.where(index < FINE, index, 0).astype(np.uint8)


def put_step(
    coder: entropy.Encoder, symbols: Symbols, index: NDArray[np.uint8], tables: list[Table]
) -> None:
    """Hands the symbols of a step to the coder, given their table indices (both flat)."""
    for table, positions in by_table(coarse(index), tables):
        coder.put(symbols[positions], table)
    chain = Chain(index)
    for places in chain.slices():
        for table, positions in by_table(chain.columns(places), tables):
            coder.put(symbols[places[positions]], table)
        chain.advance(symbols[places])


class EncoderSide:
    """Chooses symbols for given latents and collects them for the coder.

    `cost` (M,) is what a squared error of one step costs in each channel, in bits.
    """

    def __init__(
        self,
        y: Tensor,
        z: Tensor,
        cost: Tensor,
        y_tables: list[Table],
        z_tables: list[Table],
        rates: RateTable,
    ) -> None:
        self.y = y  # (H/16, W/16, M), scaled, float
        self.z_float = z  # (N, H/64, W/64)
        self.cost = cost.expand_as(y)
        self.y_tables, self.z_tables, self.rates = y_tables, z_tables, rates
        self.coder = entropy.Encoder()

    def z(self, shape: tuple[int, int, int]) -> Symbols:
        z = torch.floor(self.z_float + 0.5).clamp(-Z_MAX, Z_MAX).cpu().numpy().astype(np.int32)
        for plane, table in zip(z, self.z_tables, strict=True):
            self.coder.put(plane.ravel(), table)
        return z

    def residual(self, step: int, mu: Tensor, index: Tensor) -> tuple[Symbols, Tensor]:
        wanted = pick(self.y, step) - mu * 2.0**-ENTROPY_BITS
        chosen, values = decide(wanted, index, pick(self.cost, step), self.rates)
        symbols = chosen.cpu().numpy().astype(np.int32)
        put_step(self.coder, symbols.ravel(), index.cpu().numpy().ravel(), self.y_tables)
        return symbols, values


class DecoderSide:
    """Takes symbols off the coder; raises FormatError when it cannot."""

    def __init__(self, payload: bytes, y_tables: list[Table], z_tables: list[Table]) -> None:
        self.y_tables, self.z_tables = y_tables, z_tables
        self.coder = entropy.Decoder(payload)

    def z(self, shape: tuple[int, int, int]) -> Symbols:
        planes = [self.coder.get(shape[1] * shape[2], table) for table in self.z_tables]
        # an escape could bring any 16-bit value; the networks are proved for these only
        return np.stack(planes).reshape(shape).clip(-Z_MAX, Z_MAX)

    def residual(self, step: int, mu: Tensor, index: Tensor) -> tuple[Symbols, Tensor]:
        numbers = index.cpu().numpy().ravel()
        symbols = np.zeros(len(numbers), dtype=np.int32)
        for table, positions in by_table(coarse(numbers), self.y_tables):
            symbols[positions] = self.coder.get(len(positions), table)
        values = symbols.astype(np.float32)
        chain = Chain(numbers)
        for places in chain.slices():
            part = np.empty(len(places), dtype=np.int32)
            for table, positions in by_table(chain.columns(places), self.y_tables):
                part[positions] = self.coder.get(len(positions), table)
            symbols[places], values[places] = part, chain.values(part)
            chain.advance(part)
        shaped = torch.from_numpy(values).view(index.shape).to(index.device)
        return symbols.reshape(index.shape), shaped


def cells(size: int, stride: int) -> int:
    """How many cells of `stride` pixels cover `size` pixels."""
    return -(-size // stride)


def _coded(height: int, width: int) -> Tensor:
    """Which y positions (4, H/32, W/32, 1) cover pixels; the padding beyond is not coded."""
    rows = np.arange(cells(height, Z_STRIDE) * (Z_STRIDE // Y_STRIDE)) < cells(height, Y_STRIDE)
    columns = np.arange(cells(width, Z_STRIDE) * (Z_STRIDE // Y_STRIDE)) < cells(width, Y_STRIDE)
    inside = rows[:, None] & columns[None, :]
    phases = np.stack([inside[p // 2 :: 2, p % 2 :: 2] for p in range(4)])
    return torch.from_numpy(phases[..., None].astype(np.uint8))


def walk(
    networks: Networks, side: Side, quality: int, height: int, width: int
) -> tuple[Tensor, int]:
    """y_hat (H/16, W/16, M) at 2^-7 and the CRC-32 of all symbols of a tile.

    Both sides go this way, so they cannot part. `height` and `width` are in pixels.
    """
    shape = (networks.cfg.n_z, cells(height, Z_STRIDE), cells(width, Z_STRIDE))
    z = side.z(shape)
    crc = zlib.crc32(z.astype("<i2").tobytes())
    z_hat = torch.from_numpy(z.astype(np.float32)).to(networks.device).permute(1, 2, 0).contiguous()
    feature = networks.features(z_hat, quality)
    y_hat = new_y_hat(feature, networks.cfg.m)
    coded = _coded(height, width).to(networks.device)
    for step in range(len(STEP_XOR)):
        mu, index = networks.step(step, feature, y_hat)
        index = index * coded
        symbols, residual = side.residual(step, mu, index)
        crc = zlib.crc32(symbols.astype("<i2").tobytes(), crc)
        place(y_hat, step, mu, residual)
    return y_hat, crc
