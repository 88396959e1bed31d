"""Rounding of weights at export: what it gains over the nearest whole numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aec.codec.training.rounding import CELLS, Moments, round_weights

CHANNELS = 24


def inputs(cells: int, seed: int, common: int = 4) -> Tensor:
    """Cells (1, cells, CHANNELS) of inputs that `common` causes move, and each a little itself."""
    made = torch.Generator().manual_seed(7)  # the causes are the same for every seed
    mixing = torch.randn(common, CHANNELS, generator=made, dtype=torch.float64)
    drawn = torch.Generator().manual_seed(seed)
    causes = torch.randn(cells, common, generator=drawn, dtype=torch.float64)
    own = torch.randn(cells, CHANNELS, generator=drawn, dtype=torch.float64)
    return (3.0 + causes @ mixing + 0.1 * own)[None]


def weights(rows: int = 16) -> Tensor:
    made = torch.Generator().manual_seed(1)
    return 4 * torch.randn(rows, CHANNELS, generator=made, dtype=torch.float64)


def spread(errors: Tensor, x: Tensor) -> float:
    """Mean variance of what errors (out, in) of weights do to the outputs for x."""
    return float((x[0] @ errors.t()).var(0).mean())


def test_errors_of_inputs_that_move_together_cancel() -> None:
    moments = Moments(CHANNELS)
    for seed in range(8):
        moments.add(inputs(CELLS, seed))
    real = weights()
    whole = round_weights(real, moments.covariance())
    assert torch.equal(whole, whole.round())
    fresh = inputs(4000, 99)
    nearest = spread(real - real.round(), fresh)
    assert spread(real - whole, fresh) < 0.25 * nearest


def test_few_cells_are_hardly_believed() -> None:
    moments = Moments(CHANNELS)
    moments.add(inputs(3, 0))
    real = weights()
    whole = round_weights(real, moments.covariance())
    fresh = inputs(4000, 99)
    assert spread(real - whole, fresh) < 1.5 * spread(real - real.round(), fresh)


def test_inputs_that_move_by_themselves_get_the_nearest() -> None:
    real = weights()
    assert torch.equal(round_weights(real, torch.eye(CHANNELS).double()), (real + 0.5).floor())


def test_whole_weights_stay() -> None:
    moments = Moments(CHANNELS)
    moments.add(inputs(500, 0))
    whole = weights().round()
    assert torch.equal(round_weights(whole, moments.covariance()), whole)


def test_inputs_that_never_move_do_no_harm() -> None:
    moments = Moments(CHANNELS)
    x = inputs(500, 0)
    x[:, :, :5] = 0
    moments.add(x)
    whole = round_weights(weights(), moments.covariance())
    assert float((whole - weights()).abs().max()) < 20


def test_moments_are_those_of_some_cells() -> None:
    moments = Moments(3)
    x = torch.randn(40, CELLS, 3).double()
    moments.add(x)
    assert CELLS <= moments.count < 2 * CELLS
    taken = x.reshape(-1, 3)[:: x.shape[0]]
    assert torch.allclose(moments.mean(), taken.mean(0))
    found = moments.covariance()
    expected = torch.cov(taken.t(), correction=0)
    assert torch.allclose(
        found - torch.diag(found.diagonal()), expected - torch.diag(expected.diagonal())
    )
    assert bool((found.diagonal() > expected.diagonal()).all())
    assert found.diagonal().sum().item() == pytest.approx(
        expected.diagonal().sum().item(), rel=0.03
    )
