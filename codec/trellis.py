"""Dependent quantisation: residuals of larger scales lie on one of two lattices, and those before
them say on which (as in VVC: Schwarz et al., "Hybrid video coding with trellis-coded quantization",
DCC 2019, here with more states).

Both lattices have a step of 2 * STEP; one has zero and its even multiples of STEP, the other zero
and the odd ones. The parities of symbols move a machine of STATES states, so an encoder that looks
ahead has all multiples of STEP to choose from, at the rate of a coarser step. Where scales are
small, nearly all residuals are zero, and whole numbers serve as well.

Residuals are taken in the order of their scales. The machine does not run from each to the next but
over slices of them, so that the symbols of a slice, which need few tables, can be coded at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .config import SCALE_LEVELS
from .entropy import ESCAPE_LIMIT, Symbols

#: Table indices from here on are quantised so.
FINE = 8
STEP = 11 / 16
#: A machine that has just begun has little to choose from, so lanes should be long; but each slice
#: waits for the one before. Training takes as many, or it would learn errors that no file has.
SLICES = 256
STATES = 256
#: What an odd state and an odd symbol flip in half of the state, which gives the next one: the
#: parity checks 515 and 362 (octal) of Ungerboeck's code ("Channel coding with multilevel/phase
#: signals", 1982). Odd states take the second lattice.
FLIPS = 0o515 >> 1, 0o362 >> 1
#: From the table of an index on the first lattice to that on the second.
SECOND = SCALE_LEVELS - FINE
#: Tables, and one before them that codes nothing.
COLUMNS = SCALE_LEVELS + SECOND

DEAREST = 1e9  # an error that no bits make up for; path costs must stay finite
FAR = 1e30
PATHS = 2**25  # parities that a search keeps at once, one for each state and residual: its memory

# The states before each one whose symbols were even, and odd; the upper half follows odd states.
_upper = torch.arange(STATES) * 2 // STATES
_FROM = torch.stack(
    [2 * (torch.arange(STATES) ^ _upper * FLIPS[0] ^ p * FLIPS[1]) + _upper for p in (0, 1)]
)


#: Bits of symbols by the numbers of their tables, both of one shape.
Rates = Callable[[Tensor, Tensor], Tensor]


class Chain:
    """The machine on its way through the residuals of a step, given their table indices (flat)."""

    def __init__(self, index: NDArray[np.uint8]) -> None:
        self.index = index
        fine = np.flatnonzero(index >= FINE)
        self.places = fine[np.argsort(index[fine], kind="stable")]
        self.lanes = -(-len(self.places) // SLICES)
        self.state = np.zeros(self.lanes, dtype=np.uint8)

    def slices(self) -> Iterator[NDArray[np.int64]]:
        """The positions of each slice; `advance` after each of them."""
        for at in range(0, len(self.places), self.lanes or 1):
            yield self.places[at : at + self.lanes]

    def columns(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Which table each residual of a slice takes, counted from 1."""
        return self.index[places] + SECOND * (self.state[: len(places)] & 1)

    def values(self, symbols: Symbols) -> NDArray[np.float32]:
        """The residuals, in steps, that the symbols of a slice stand for."""
        second = self.state[: len(symbols)] & 1
        return (STEP * (2 * symbols - second * np.sign(symbols))).astype(np.float32)

    def advance(self, symbols: Symbols) -> None:
        """Moves on to the next slice."""
        now = self.state[: len(symbols)]
        odd = (symbols & 1).astype(np.uint8)
        self.state[: len(symbols)] = now >> 1 ^ (now & 1) * FLIPS[0] ^ odd * FLIPS[1]


def traced(
    symbols: Symbols, index: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The tables, counted from 1, that the symbols of a whole step take, and the residuals, in
    steps, that they stand for; all of one shape.
    """
    numbers, values = index.ravel().copy(), symbols.ravel().astype(np.float32)
    chain = Chain(index.ravel())
    for places in chain.slices():
        part = symbols.ravel()[places]
        numbers[places], values[places] = chain.columns(places), chain.values(part)
        chain.advance(part)
    return numbers.reshape(index.shape), values.reshape(symbols.shape)


def search(wanted: Tensor, index: Tensor, cost: Tensor, rates: Rates) -> tuple[Tensor, Tensor]:
    """The symbols of least R + lambda D over all slices, and the residuals that they stand for.

    `wanted` (n,) are real residuals with table indices of at least FINE, `cost` that of a squared
    error, and `rates(column, symbol)` says what symbols cost in bits (Viterbi's algorithm).
    """
    order = torch.argsort(index, stable=True)
    wanted, index, cost = wanted[order], index[order].long(), cost[order].clamp(max=DEAREST)
    count, device = len(wanted), wanted.device
    lanes = -(-count // SLICES)
    depth = -(-count // lanes)
    price = wanted.new_zeros(2, 2, depth * lanes)  # by parity and lattice
    symbol = wanted.new_zeros(2, 2, depth * lanes)
    for second in (0, 1):
        column = index + SECOND * second
        middle = wanted / (2 * STEP) + wanted.sign() * (second / 2)
        middle = middle.clamp(1 - ESCAPE_LIMIT, ESCAPE_LIMIT - 1)
        for parity in (0, 1):
            near = 2 * torch.floor((middle - parity) / 2 + 0.5) + parity
            smaller = near - 2 * near.sign()
            least, other = (
                cost * (wanted - STEP * (2 * v - second * v.sign())).square() + rates(column, v)
                for v in (near, smaller)
            )
            better = other < least
            price[parity, second, :count] = torch.where(better, other, least)
            symbol[parity, second, :count] = torch.where(better, smaller, near)
    at_once = max(1, PATHS // (STATES * depth))
    ways = [_path(part) for part in price.unflatten(2, (depth, lanes)).split(at_once, dim=3)]
    lattice, odd = (torch.cat(w, 1).flatten()[:count] for w in zip(*ways, strict=True))
    chosen = symbol[odd, lattice, torch.arange(count, device=device)]
    values = STEP * (2 * chosen - lattice * chosen.sign())
    back = torch.argsort(order)
    return chosen[back], values[back]


def _path(price: Tensor) -> tuple[Tensor, Tensor]:
    """Lattice and parity (depth, lanes) of the cheapest way through prices (2, 2, depth, lanes)."""
    lanes = price.shape[3]
    even, odd = _FROM.to(price.device)
    total = price.new_full((STATES, lanes), FAR)
    total[0] = 0
    came = []
    for now in price.unbind(2):
        first, other = (
            total.index_select(0, origin).view(2, -1, lanes).add_(now[parity, :, None])
            for parity, origin in enumerate((even, odd))
        )
        came.append((other < first).view(STATES, lanes))
        total = torch.minimum(first, other).view(STATES, lanes)
    state, lane = total.argmin(0), torch.arange(lanes, device=price.device)
    lattices, parities = [], []
    for way in reversed(came):
        parity = way[state, lane].long()
        upper = state // (STATES // 2)
        state = 2 * (state ^ upper * FLIPS[0] ^ parity * FLIPS[1]) + upper
        lattices.append(upper)
        parities.append(parity)
    return torch.stack(lattices[::-1]), torch.stack(parities[::-1])
