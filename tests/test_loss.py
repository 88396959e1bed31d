"""The terms of the training loss: the rate against the law that it is of, and their sum."""

from __future__ import annotations

import pytest
import torch
from tiny import TINY
from torch import Tensor

pytest.importorskip("compressai", reason="needs the extra `train`")
pytestmark = pytest.mark.filterwarnings("ignore")  # of compressai and what it imports

from aec.codec import distortion  # noqa: E402 (see above)
from aec.codec.choice import quality_lambda  # noqa: E402
from aec.codec.model import Model, index_to_sigma  # noqa: E402
from aec.codec.training.loss import TrainingModel  # noqa: E402
from aec.codec.trellis import FINE  # noqa: E402

SHOWN = 40  # residuals, both ways


@pytest.fixture(scope="module")
def net() -> TrainingModel:
    return TrainingModel(Model(TINY))


def values() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    sigma = torch.exp(torch.rand(3, 200) * 4 - 2)
    return (torch.randn(3, 200) * sigma).requires_grad_(), sigma.requires_grad_()


@pytest.mark.parametrize("training", [True, False])
def test_the_rate_is_of_whole_numbers(net: TrainingModel, training: bool) -> None:
    residual, sigma = values()
    half = residual.round().abs()[..., None] + torch.tensor([-0.5, 0.5])
    low, high = torch.distributions.Normal(0, sigma[..., None].double()).cdf(half).unbind(-1)
    found = net.train(training).rate(residual, residual.round(), sigma)
    assert torch.allclose(found.double(), -(high - low).log2().sum(1), rtol=1e-3)


def test_sigma_learns_from_whole_numbers(net: TrainingModel) -> None:
    residual, sigma = values()
    (with_noise,) = torch.autograd.grad(
        net.train().rate(residual, residual.round(), sigma).sum(), sigma
    )
    (without,) = torch.autograd.grad(
        net.eval().rate(residual, residual.round(), sigma).sum(), sigma
    )
    assert torch.equal(with_noise, without)
    assert without.abs().min() > 0


def test_residuals_learn_from_noise_in_place_of_rounding(net: TrainingModel) -> None:
    residual, sigma = values()
    net.train()

    def slope(bits: Tensor) -> Tensor:
        return torch.autograd.grad(bits.sum(), residual)[0]

    found, again = (slope(net.rate(residual, residual.round(), sigma)) for _ in range(2))
    assert torch.equal(found, again)
    single = []
    for _ in range(2000):
        _, p = net.gaussian(residual, sigma, training=True)
        single.append(slope(-p.log2()))
    expected, noise = torch.stack(single).mean(0), torch.stack(single).std(0)
    assert (found - expected).abs().max() < 6 * noise.max() / 2000**0.5
    assert found.abs().min() < 0.1 < found.abs().max()


def test_choices_know_the_law_of_their_table() -> None:
    index = torch.arange(FINE)[:, None].float().expand(-1, 2 * SHOWN + 1)
    residual = torch.arange(-SHOWN, SHOWN + 1).float().expand_as(index)
    law = torch.distributions.Normal(0, index_to_sigma(index).double())
    expected = law.cdf(residual + 0.5) - law.cdf(residual - 0.5)
    found = Model(TINY).law_bits(index, residual).double()
    assert torch.allclose(found, -expected.clamp(min=1e-9).log2(), rtol=1e-3, atol=1e-5)
    assert Model(TINY).law_bits(torch.tensor([63.0]), torch.tensor([-1e6])) > 29


def test_what_is_zero_anyhow_brings_no_noise(net: TrainingModel) -> None:
    residual = torch.zeros(2, 50, requires_grad=True)
    bits = net.train().rate(residual, torch.zeros(2, 50), torch.full((2, 50), 0.11))
    (slope,) = torch.autograd.grad(bits.sum(), residual)
    assert slope.abs().max() < 1e-4
    assert bits.max() < 0.01


def test_the_loss_is_the_root_of_what_a_picture_costs_for_its_quality(
    net: TrainingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distortion, "STRUCTURE", 0.0)
    torch.manual_seed(0)
    q = torch.tensor([0.0, 0.5, 1.0])
    with torch.no_grad():
        terms = net.eval()(torch.rand(3, 3, 64, 64), q)
    cost = terms.bpp + quality_lambda(q) * terms.mse
    usual = (quality_lambda(q) / quality_lambda(torch.tensor(0.5))).sqrt()
    assert torch.allclose(terms.loss, (cost / usual).sqrt())
