"""Frozen entropy tables: what calibration counted, smoothed by the laws that training assumed."""

from __future__ import annotations

import numpy as np
import torch
from compressai.entropy_models import EntropyBottleneck
from numpy.typing import NDArray
from torch import Tensor

from ..choice import RateTable, decide
from ..config import Z_BANDS, z_band
from ..decoder import ENTROPY_BITS, Z_MAX, pick
from ..entropy import TABLE_SUM, make_tables
from ..model import law_table
from ..trellis import COLUMNS, traced

REACH_MAX = 400  # beyond six of the largest sigma
TAIL = 2.0**-16  # probability on each side that is left to the escape
PRIOR_WEIGHT = 200.0  # symbols' worth of trust in the ideal law against what was counted


class Counter:
    """An encoder side that counts the symbols it chooses by table instead of coding them.

    Set `quality` and `y`, `z_float` and `cost` (see `coding.EncoderSide`) before each walk.
    """

    def __init__(self, n_z: int) -> None:
        self.y_counts = np.zeros((COLUMNS, 2 * REACH_MAX + 1))
        self.z_counts = np.zeros((Z_BANDS, n_z, 2 * Z_MAX + 1))
        self.quality = 0
        self.y = self.z_float = self.cost = torch.zeros(0)
        self.rates: RateTable | None = None

    def believe(self, frozen: dict[str, Tensor]) -> None:
        """Starts counting afresh, with choices by the rates of these tables."""
        frequency, reach = (frozen[f"entropy.y.{part}"].numpy() for part in ("frequency", "reach"))
        made = make_tables(frequency.astype(np.int64), reach.astype(np.int64))
        self.rates = RateTable(made, torch.device("cpu"))
        self.y_counts[:] = 0
        self.z_counts[:] = 0

    def z(self, shape: tuple[int, int, int]) -> NDArray[np.int32]:
        z = torch.floor(self.z_float + 0.5).clamp(-Z_MAX, Z_MAX).numpy().astype(np.int32)
        for counts, plane in zip(self.z_counts[z_band(self.quality)], z, strict=True):
            counts += np.bincount(plane.ravel() + Z_MAX, minlength=2 * Z_MAX + 1)
        return z

    def residual(self, step: int, mu: Tensor, index: Tensor) -> tuple[NDArray[np.int32], Tensor]:
        assert self.rates is not None
        wanted = pick(self.y, step) - mu / (1 << ENTROPY_BITS)
        cost = pick(self.cost.expand_as(self.y), step)
        chosen, values = decide(wanted, index, cost, self.rates)
        symbols = chosen.numpy().astype(np.int32)
        numbers, _ = traced(symbols, index.numpy())
        width = self.y_counts.shape[1]
        at = numbers.astype(np.int64) * width + symbols.clip(-REACH_MAX, REACH_MAX) + REACH_MAX
        self.y_counts += np.bincount(at.ravel(), minlength=self.y_counts.size).reshape(-1, width)
        return symbols, values


def _table(counts: NDArray[np.float64], prior: NDArray[np.float64]) -> tuple[NDArray, int]:
    """Frequencies (2 reach + 2) of sum 2^24, last the escape, from symmetric counts and a prior.

    `counts` and `prior` (sum 1) are over -R..R.
    """
    middle = len(counts) // 2
    # residuals are symmetric in law; averaging halves the noise of the estimate
    p = (counts + counts[::-1]) / 2 + PRIOR_WEIGHT * prior
    p = p / p.sum()
    tails = p.cumsum()
    reach = max(1, int(middle - np.searchsorted(tails, TAIL)))
    inside = p[middle - reach : middle + reach + 1]
    escape = max(1.0 - inside.sum(), 2.0**-20)
    p = np.append(inside, escape)
    frequency = np.maximum(1, np.floor(p / p.sum() * TABLE_SUM)).astype(np.int64)
    frequency[reach] += TABLE_SUM - frequency.sum()
    return frequency, reach


def tables(counter: Counter, z_prior: NDArray[np.float64]) -> dict[str, Tensor]:
    """The frozen tables: what was counted, smoothed by the laws that training assumed."""
    out: dict[str, Tensor] = {}
    laws = np.exp2(-law_table()[1:, : REACH_MAX + 1].double().numpy())
    laws = np.concatenate([laws[:, :0:-1], laws], axis=1)
    laws /= laws.sum(1, keepdims=True)
    rows = [_table(counts, law) for counts, law in zip(counter.y_counts[1:], laws, strict=True)]
    # a band alone counts too little of what is rare: all of them together tell the rest
    z_law = counter.z_counts.sum(0) + PRIOR_WEIGHT * z_prior
    z_law /= z_law.sum(1, keepdims=True)
    z_rows = [_table_z(c, p) for band in counter.z_counts for c, p in zip(band, z_law, strict=True)]
    for name, pairs in (("y", rows), ("z", z_rows)):
        frequency = np.concatenate([f for f, _ in pairs])
        out[f"entropy.{name}.frequency"] = torch.from_numpy(frequency.astype(np.int32))
        reach = np.array([r for _, r in pairs], dtype=np.int16)
        out[f"entropy.{name}.reach"] = torch.from_numpy(reach)
    return out


def _table_z(counts: NDArray[np.float64], prior: NDArray[np.float64]) -> tuple[NDArray, int]:
    """As `_table`, for a law that need not be symmetric: every value of +-127 stays in reach."""
    p = counts + PRIOR_WEIGHT * prior
    p = np.append(p / p.sum(), 2.0**-20)
    frequency = np.maximum(1, np.floor(p / p.sum() * TABLE_SUM)).astype(np.int64)
    frequency[int(p.argmax())] += TABLE_SUM - frequency.sum()
    return frequency, Z_MAX


def z_prior(prior: EntropyBottleneck, n_z: int) -> NDArray[np.float64]:
    """The law (N, 255) that training's factorised prior gives to z = -127..127."""
    values = torch.arange(-Z_MAX, Z_MAX + 1, dtype=torch.float32)
    with torch.no_grad():
        likelihood, _, _ = prior._likelihood(values.expand(n_z, 1, -1).contiguous())
    p = likelihood[:, 0].double().numpy() + 1e-9
    return np.asarray(p / p.sum(axis=1, keepdims=True))
