"""Which symbol stands for a residual, in the encoder and in training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import TINY
from torch import Tensor

from aec.codec.choice import CAUTION, RateTable, choose, decide, error_cost
from aec.codec.config import STEP_XOR
from aec.codec.distortion import Distortion
from aec.codec.entropy import ESCAPE_LIMIT, TABLE_SUM, make_tables
from aec.codec.model import Model, index_to_sigma, to_phases
from aec.codec.trellis import FINE, STEP


@pytest.fixture(scope="module")
def rates() -> RateTable:
    """Two tables: a narrow one of reach 1, a wide one of reach 3."""
    narrow, wide = [6, 240, 6, 4], [8, 24, 48, 80, 48, 24, 8, 16]
    frequency = np.array([n * TABLE_SUM // 256 for n in narrow + wide], dtype=np.int64)
    return RateTable(make_tables(frequency, np.array([1, 3])), torch.device("cpu"))


def test_rates_are_those_of_the_tables(rates: RateTable) -> None:
    index = torch.tensor([0, 1, 1, 1, 2, 2, 2])
    values = torch.tensor([0.0, 0, -1, 2, 0, 3, -900])
    probabilities = torch.tensor([1, 240, 6, 4, 80, 8, 16]) / torch.tensor([1.0] + 6 * [256])
    expected = -probabilities.log2() + torch.tensor([0, 0, 0, 16.0, 0, 0, 16.0])
    assert torch.allclose(rates(index, values), expected, atol=1e-5)


@pytest.mark.parametrize("cost", [0.0, 0.5, 2.0])
def test_the_cheaper_of_two_neighbours(rates: RateTable, cost: float) -> None:
    torch.manual_seed(0)
    wanted = torch.randn(500) * 2
    index = torch.randint(1, 3, (500,))
    found = choose(wanted, index, torch.tensor(cost), rates)
    nearest = torch.floor(wanted + 0.5)
    smaller = nearest - nearest.sign()
    price = [rates(index, v) + CAUTION * cost * (wanted - v).square() for v in (nearest, smaller)]
    assert torch.equal(found, torch.where(price[1] < price[0], smaller, nearest))
    assert int((found != nearest).sum()) > 10


def test_what_is_not_coded_is_zero_and_what_is_too_large_is_the_largest(rates: RateTable) -> None:
    wanted, index = torch.tensor([5.0, 1e9, -1e9]), torch.tensor([0, 2, 2])
    found = choose(wanted, index, torch.tensor(1.0), rates)
    assert found.tolist() == [0, ESCAPE_LIMIT, -ESCAPE_LIMIT]


def _bits(sigma: Tensor, value: Tensor) -> Tensor:
    normal = torch.distributions.Normal(0.0, sigma.double())
    # of the side below zero, where a distribution function loses nothing
    low, high = (normal.cdf(-value.abs() + d) for d in (-0.5, 0.5))
    return -torch.log2((high - low).clamp(min=1e-9))


def test_training_chooses_as_an_encoder_does() -> None:
    torch.manual_seed(0)
    model, q = Model(TINY), torch.tensor([0.2, 0.6])
    with torch.no_grad():
        model.context.head[0][0].bias[: TINY.m // 4] += 0.2  # mu, or there would be symmetry
        for heads in model.context.head:
            heads[0].bias[TINY.m // 4 :] -= 1.5  # indices near 8 instead of 20
        x = torch.rand(2, 3, 64, 64)
        out = model(x, q)
        counts = to_phases(Distortion(x * 255).along(model.g_s.energies()).permute(0, 3, 1, 2))
        cost = error_cost(torch.exp(model.log_inverse_gain(q))[:, 0, 0, 0], q)
    phases = torch.arange(4)
    # at first all channels have the same gain
    steps = [counts[:, phases, phases ^ flip] for flip in STEP_XOR]
    prices = cost.reshape(-1, 1, 1, 1, 1, 1) * torch.stack(steps, 1)
    nearest = torch.floor(out.residual + 0.5)
    smaller = nearest - nearest.sign()
    index = torch.log(out.sigma / index_to_sigma(torch.tensor(0.0)))
    index = torch.floor(index / torch.log(index_to_sigma(torch.tensor(1.0)) / 0.11) + 0.5)
    sigma = index_to_sigma(index)
    price = [
        _bits(sigma, v) + CAUTION * prices * (out.residual - v).square() for v in (nearest, smaller)
    ]
    clear = (price[0] - price[1]).abs() > 1e-3
    whole = clear & (index < FINE)
    expected = torch.where(price[1] < price[0], smaller, nearest)
    assert torch.equal(out.value[whole], expected[whole])
    assert bool((out.value != nearest)[whole].any()) and not out.value.requires_grad
    fine = out.value[index >= FINE] / STEP
    assert torch.equal(fine, fine.round()) and bool((fine % 2).any())
    for step in range(4):
        one, table = out.residual[:, step], index[:, step]
        _, values = decide(one, table, prices[:, step], model.law_bits)
        assert torch.equal(out.value[:, step], values)
