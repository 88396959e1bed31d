"""Dependent quantisation: residuals of larger scales lie on one of two lattices, and those before
them say on which (as in VVC: Schwarz et al., "Hybrid video coding with trellis-coded quantization",
DCC 2019).

Both lattices have a step of 2 * STEP; one has zero and its even multiples of STEP, the other zero
and the odd ones. The parities of symbols move a machine of four states, so an encoder that looks
ahead has all multiples of STEP to choose from, at the rate of a coarser step. Where scales are
small, nearly all residuals are zero, and whole numbers serve as well.

The machine does not run from each residual to the next but over slices of them, so that the symbols
of a slice can be coded at once.
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
FINE = 14
STEP = 5 / 8
SLICES = 32
#: The state after one, by the parity of its symbol. States 2 and 3 take the second lattice.
NEXT = np.array([[0, 2], [2, 0], [1, 3], [3, 1]], dtype=np.uint8)
#: From the table of an index on the first lattice to that on the second.
SECOND = SCALE_LEVELS - FINE
#: Tables, and one before them that codes nothing.
COLUMNS = SCALE_LEVELS + SECOND

DEAREST = 1e9  # an error that no bits make up for; path costs must stay finite
FAR = 1e30

# The two transitions into each state: from where, and with which parity.
_FROM = torch.tensor([[0, 2, 0, 2], [1, 3, 1, 3]])
_PARITY = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0]])


class Chain:
    """The machine on its way through the residuals of a step, given their table indices (flat)."""

    def __init__(self, index: NDArray[np.uint8]) -> None:
        self.index = index
        self.places = np.flatnonzero(index >= FINE)
        self.lanes = -(-len(self.places) // SLICES)
        self.state = np.zeros(self.lanes, dtype=np.uint8)

    def slices(self) -> Iterator[NDArray[np.int64]]:
        """The positions of each slice; `advance` after each of them."""
        for at in range(0, len(self.places), self.lanes or 1):
            yield self.places[at : at + self.lanes]

    def columns(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Which table each residual of a slice takes, counted from 1."""
        return self.index[places] + SECOND * (self.state[: len(places)] >> 1)

    def values(self, symbols: Symbols) -> NDArray[np.float32]:
        """The residuals, in steps, that the symbols of a slice stand for."""
        second = self.state[: len(symbols)] >> 1
        return (STEP * (2 * symbols - second * np.sign(symbols))).astype(np.float32)

    def advance(self, symbols: Symbols) -> None:
        """Moves on to the next slice."""
        count = len(symbols)
        self.state[:count] = NEXT[self.state[:count], symbols & 1]


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


def search(
    wanted: Tensor, index: Tensor, cost: Tensor, rates: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The symbols of least R + lambda D over all slices, and the residuals that they stand for.

    `wanted` (n,) are real residuals with table indices of at least FINE, `cost` that of a squared
    error, and `rates(column, symbol)` says what symbols cost in bits (Viterbi's algorithm).
    """
    count, device = len(wanted), wanted.device
    lanes = -(-count // SLICES)
    depth = -(-count // lanes)
    cost = cost.clamp(max=DEAREST)
    price = wanted.new_zeros(2, 2, depth * lanes)  # by lattice and parity
    symbol = wanted.new_zeros(2, 2, depth * lanes)
    for second in (0, 1):
        column = index.long() + SECOND * second
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
            price[second, parity, :count] = torch.where(better, other, least)
            symbol[second, parity, :count] = torch.where(better, smaller, near)
    states, parities = _path(price.unflatten(2, (depth, lanes)))
    lattice = states.flatten()[:count] >> 1
    places = torch.arange(count, device=device)
    chosen = symbol[lattice, parities.flatten()[:count], places]
    return chosen, STEP * (2 * chosen - lattice * chosen.sign())


def _path(price: Tensor) -> tuple[Tensor, Tensor]:
    """State and parity (depth, lanes) of the cheapest way through prices (2, 2, depth, lanes)."""
    depth, lanes = price.shape[2:]
    origin, parity = _FROM.to(price.device), _PARITY.to(price.device)
    total = price.new_full((4, lanes), FAR)
    total[0] = 0
    came = []
    for at in range(depth):
        first, other = (
            total[o] + price[o >> 1, p, at] for o, p in zip(origin, parity, strict=True)
        )
        came.append((other < first).long())
        total = torch.minimum(first, other)
    state, lane = total.argmin(0), torch.arange(lanes, device=price.device)
    states, parities = [], []
    for way in reversed(came):
        which = way[state, lane]
        parities.append(parity[which, state])
        state = origin[which, state]
        states.append(state)
    return torch.stack(states[::-1]), torch.stack(parities[::-1])
