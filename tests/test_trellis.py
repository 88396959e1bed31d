"""Dependent quantisation: the machine of two lattices, and the search for the cheapest symbols."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from aec.codec import trellis
from aec.codec.choice import choose, decide
from aec.codec.model import LAW_REACH, index_to_sigma, law_table
from aec.codec.trellis import (
    COLUMNS,
    FINE,
    SECOND,
    SLICES,
    STATES,
    STEP,
    Chain,
    search,
    traced,
)

LAW = law_table()


def law_bits(number: Tensor, symbol: Tensor) -> Tensor:
    return LAW[number.long(), symbol.abs().clamp(max=LAW_REACH).long()]


def indices(count: int, seed: int, first: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(first, 64, count).astype(np.uint8)


@pytest.mark.spec("S-107", "S-108")
def test_states_by_hand() -> None:
    """Five fine residuals are slices of one each, and what is not fine is no part of them."""
    index = np.array([5, 14, 63, 0, 20, 13, 30], np.uint8)
    symbols = np.array([-3, 1, -2, 0, 3, 4, -1], np.int32)
    chain = Chain(index)
    seen, states = [], []
    for places in chain.slices():
        states += chain.state.tolist()
        seen += chain.columns(places).tolist()
        chain.advance(symbols[places])
    assert chain.places.tolist() == [5, 1, 4, 6, 2]
    assert states == [0, 0, 121, 60 ^ 166 ^ 121, 113 ^ 166 ^ 121] == [0, 0, 121, 227, 174]
    assert seen == [13, 14, 20 + 56, 30 + 56, 63]
    numbers, values = traced(symbols, index)
    assert numbers.tolist() == [5, 14, 63, 0, 76, 13, 86]
    expected = [-3 * 128, 176, -2 * 176, 0, 3 * 176 - 88, 4 * 176, -176 + 88]
    assert (values * 128).tolist() == expected


@pytest.mark.spec("S-107")
@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 512, 513, 2000])
def test_slices_hold_every_fine_residual_once(count: int) -> None:
    index = indices(2 * count, count)
    chain = Chain(index)
    slices = list(chain.slices())
    assert len(slices) <= SLICES
    lengths = [len(places) for places in slices]
    assert lengths[:-1] == [chain.lanes] * (len(slices) - 1)
    together = np.concatenate([np.zeros(0, np.int64), *slices])
    fine = np.flatnonzero(index >= FINE).tolist()
    assert together.tolist() == sorted(fine, key=lambda at: (index[at], at))


@pytest.mark.spec("S-107")
def test_next_states() -> None:
    """Two states come before each, by an even and an odd symbol, and both have the same lattice."""
    before: dict[int, list[tuple[int, int]]] = {}
    for state in range(STATES):
        for symbol in (0, 1):
            chain = Chain(np.array([63], np.uint8))
            chain.state[:] = state
            chain.advance(np.array([symbol]))
            before.setdefault(int(chain.state[0]), []).append((symbol, state))
    assert len(before) == STATES
    for after, ways in before.items():
        assert [symbol for symbol, _ in sorted(ways)] == [0, 1]
        assert {state % 2 for _, state in ways} == {after // (STATES // 2)}


def _cost(symbols: Tensor, wanted: Tensor, index: np.ndarray, cost: float) -> float:
    """R + lambda D of symbols, by the machine that a decoder has."""
    chain, whole = Chain(index), symbols.numpy().astype(np.int32)
    total = 0.0
    for places in chain.slices():
        part = whole[places]
        columns = torch.from_numpy(chain.columns(places))
        error = wanted[places] - torch.from_numpy(chain.values(part))
        total += float(law_bits(columns, symbols[places]).sum() + cost * error.square().sum())
        chain.advance(part)
    return total


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_cheaper_than_what_is_found(seed: int) -> None:
    torch.manual_seed(seed)
    wanted = torch.rand(5) * 2.4 - 1.2
    index = indices(5, seed, first=FINE)
    found, values = search(wanted, torch.from_numpy(index), torch.full((5,), 9.0), law_bits)
    np.testing.assert_array_equal(values, traced(found.numpy().astype(np.int32), index)[1])
    least = min(
        _cost(torch.tensor(symbols), wanted, index, 9.0)
        for symbols in product([-2.0, -1.0, 0.0, 1.0, 2.0], repeat=5)
    )
    assert _cost(found, wanted, index, 9.0) == pytest.approx(least, rel=1e-5)


@pytest.mark.parametrize("count", [1, 33, 500])
def test_dear_errors_keep_what_a_decoder_can_have(count: int) -> None:
    """The search for better symbols hands over y_hat, and the symbols must come out again."""
    rng = np.random.default_rng(count)
    index = indices(count, count)
    symbols = (rng.integers(-9, 10, count) * (index > 0)).astype(np.int32)
    wanted = torch.from_numpy(traced(symbols, index)[1])
    again, values = decide(wanted, torch.from_numpy(index), torch.tensor(float("inf")), law_bits)
    np.testing.assert_array_equal(again, symbols)
    assert torch.equal(values, wanted)


def test_lanes_do_not_depend_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    index = torch.from_numpy(indices(2000, 0, first=FINE))
    wanted, cost = torch.randn(2000) * index_to_sigma(index.float()), torch.full((2000,), 9.0)
    together = search(wanted, index, cost, law_bits)
    monkeypatch.setattr(trellis, "PATHS", 3 * SLICES * STATES)  # three at once
    for one, other in zip(together, search(wanted, index, cost, law_bits), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("size", [0.0, 1e9])
def test_no_residual_is_too_large(size: float) -> None:
    wanted = torch.tensor([size, -size, 0.3])
    found, _ = search(wanted, torch.tensor([20, 40, 63]), torch.ones(3), law_bits)
    assert found.abs().max() <= 32767


def test_laws_are_distributions() -> None:
    p = torch.exp2(-LAW[1:].double())
    assert len(LAW) == COLUMNS
    # each size but zero has two signs; the widest law has a tail beyond the table
    assert torch.allclose(2 * p.sum(1) - p[:, 0], torch.ones(COLUMNS - 1).double(), atol=1e-5)


@pytest.mark.parametrize("number", [20, 30, 40])
def test_it_pays(number: int) -> None:
    """Bits and errors of a normal source, against whole numbers of the best of some steps."""
    torch.manual_seed(number)
    count, cost = 20_000, 9.0
    wanted = torch.randn(count) * index_to_sigma(torch.tensor(float(number)))
    index = np.full(count, number, np.uint8)
    found, _ = search(wanted, torch.from_numpy(index), torch.full((count,), cost), law_bits)
    fine = _cost(found, wanted, index, cost) / count

    def whole(step: float) -> float:
        # the entropy of what is chosen, which no table beats
        scaled = wanted / step
        near = torch.floor(scaled + 0.5)
        _, counts = near.unique(return_counts=True)
        p = counts / count
        entropy = float(-(p * p.log2()).sum())
        return entropy + cost * float((wanted - near * step).square().mean())

    assert fine < min(whole(step) for step in (0.7, 0.8, 0.9, 1.0, 1.1, 1.2)) - 0.03


def test_small_scales_take_whole_numbers() -> None:
    torch.manual_seed(0)
    wanted = torch.randn(1000)
    index = torch.randint(0, FINE, (1000,))
    symbols, values = decide(wanted, index, torch.tensor(5.0), law_bits)
    assert torch.equal(symbols, values)
    assert torch.equal(symbols, choose(wanted, index, torch.tensor(5.0), law_bits))
    assert SECOND == 64 - FINE and STEP * 128 == 88
