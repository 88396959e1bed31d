"""Which symbol stands for a residual: the encoder's choice, and training's after it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from . import trellis
from .config import LAMBDA_MAX, LAMBDA_MIN
from .entropy import ESCAPE_LIMIT, Table
from .trellis import Rates

#: How much an error counts when symbols are chosen, against what `error_cost` and
#: `Distortion.along` say. The networks of the synthesis make it less, and that errors mislead the
#: context steps that follow makes it more.
CAUTION = 0.95


def quality_lambda(q: Tensor) -> Tensor:
    """The trade-off lambda of R + lambda * 255^2 * MSE at quality q in [0, 1]."""
    low, high = math.log(LAMBDA_MIN), math.log(LAMBDA_MAX)
    return torch.exp(low + (high - low) * q)


def error_cost(inverse_gain: Tensor, q: Tensor) -> Tensor:
    """What a squared error of one step of y costs in each channel, in bits, were its pattern of
    pixels in [0, 1] of norm 1 and D squared error alone: lambda D. `Distortion.along` says how much
    more it costs.

    `inverse_gain` is that of quality q in [0, 1], as real numbers.
    """
    return quality_lambda(q) * 255**2 / 3 * inverse_gain.float().square()


class RateTable:
    """What a symbol costs in bits by the number of its table, for choosing among neighbours."""

    def __init__(self, tables: list[Table], device: torch.device) -> None:
        self.reach = max(table.reach for table in tables) + 1
        rows = np.zeros((len(tables) + 1, 2 * self.reach + 1), dtype=np.float32)
        for row, table in zip(rows[1:], tables, strict=True):
            row[:] = table.bits[-1]
            row[self.reach - table.reach : self.reach + table.reach + 1] = table.bits[:-1]
        self.bits = torch.from_numpy(rows).to(device).flatten()

    def __call__(self, number: Tensor, symbol: Tensor) -> Tensor:
        """Bits of `symbol` in table `number`, counted from 1, of the same shape; 0 is free."""
        column = symbol.clamp(-self.reach, self.reach).to(torch.int64) + self.reach
        return self.bits[number.to(torch.int64) * (2 * self.reach + 1) + column]


def decide(wanted: Tensor, index: Tensor, cost: Tensor, rates: Rates) -> tuple[Tensor, Tensor]:
    """The symbols of a step, and the residuals that they stand for, both of the shape of `wanted`.

    `wanted` are real residuals, `index` their table indices, `cost` that of a squared error in
    bits, and `rates(table, symbol)` says what symbols cost.
    """
    whole = choose(wanted, index, cost, rates)
    return beside_trellis(whole, wanted, index, CAUTION * cost, rates)


def beside_trellis(
    whole: Tensor,
    wanted: Tensor,
    index: Tensor,
    cost: Tensor,
    rates: Rates,
) -> tuple[Tensor, Tensor]:
    """As `decide`, with the `whole` numbers given of which those stay that the trellis leaves."""
    symbols = whole.flatten()
    values = symbols.clone()
    (fine,) = torch.nonzero(index.flatten() >= trellis.FINE, as_tuple=True)
    if len(fine):
        x, t, c = (part.expand_as(wanted).flatten()[fine] for part in (wanted, index, cost))
        symbols[fine], values[fine] = trellis.search(x, t, c, rates)
    return symbols.view_as(wanted), values.view_as(wanted)


def choose(wanted: Tensor, index: Tensor, cost: Tensor, rates: Rates) -> Tensor:
    """Of the nearest whole residual and the next one towards zero, the one of less R + lambda D.

    `wanted` is the real residual, of any shape, `index` its table, `cost` that of a squared error,
    and `rates(index, residual)` says what whole residuals cost in bits. Index 0 has zero alone.
    """
    nearest = torch.floor(wanted + 0.5).clamp_(-ESCAPE_LIMIT, ESCAPE_LIMIT)
    smaller = nearest - nearest.sign()
    error = (wanted - smaller).square() - (wanted - nearest).square()
    saved = rates(index, nearest) - rates(index, smaller)
    return torch.where(CAUTION * error * cost < saved, smaller, nearest) * (index > 0)
