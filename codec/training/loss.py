"""The variable-rate loss R + lambda(q) * D, with rate terms from compressai's entropy models.

D is the mean squared error with a share of structural error, which counts errors where they show.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from torch import Tensor, nn

from ..choice import quality_lambda
from ..config import LAMBDA_MAX, LAMBDA_MIN, SCALE_MIN
from ..distortion import Distortion
from ..model import Forward, Model

#: Power of lambda by which the loss is divided. R + lambda * D grows about as its square root, so
#: this lets every quality pull on the weights about equally, as BD-rate does. Of what remains the
#: root is taken, so that a busy crop does not drown the smooth ones beside it: in a mean over
#: pictures every bit counts as much as any other, but an error in proportion to the picture's own.
BALANCE = 0.5


class Terms(NamedTuple):
    """Loss terms of a batch, each (B,)."""

    loss: Tensor  # balanced
    bpp: Tensor
    mse: Tensor  # in squared grey levels of 0..255


class TrainingModel(nn.Module):
    """The networks with the trainable prior of z, and the loss on top of them."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.prior = EntropyBottleneck(model.cfg.n_z)
        # z is rounded to integers without an offset: the medians are not used, nor their loss
        self.prior.quantiles.requires_grad_(False)
        self.gaussian = GaussianConditional(None, scale_bound=SCALE_MIN)

    def forward(self, x: Tensor, q: Tensor) -> Terms:
        """Loss terms of pictures x (B, 3, H, W) in [0, 1] at qualities q (B,) in [0, 1]."""
        out: Forward = self.model(x, q)
        with torch.autocast(x.device.type, enabled=False):
            _, p_z = self.prior(out.z, training=self.training)
            bits = self.rate(out.residual, out.value, out.sigma) - p_z.log2().flatten(1).sum(1)
            bpp = bits / (x.shape[2] * x.shape[3])
            mse, distortion = self.errors(x, out.x_hat)
            lam = quality_lambda(q)
            middle = math.sqrt(LAMBDA_MIN * LAMBDA_MAX)
            loss = ((bpp + lam * distortion) * (middle / lam) ** BALANCE).sqrt()
        return Terms(loss, bpp, mse)

    def errors(self, x: Tensor, x_hat: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error and D, each (B,), of pictures (B, 3, H, W) in [0, 1]."""
        levels = x.float().contiguous() * 255
        error = x_hat.float().contiguous() * 255 - levels
        return error.square().flatten(1).mean(1), Distortion(levels)(error)

    def rate(self, residual: Tensor, value: Tensor, sigma: Tensor) -> Tensor:
        """Bits (B,) of `value` (B, ...), which `residual` becomes, under scales `sigma`, as if all
        were whole numbers: what the trellis saves does not depend on sigma much.

        Values are what sigma learns from. Residuals, whose rounding has no gradient, learn from
        uniform noise in its place (1611.01704), in expectation: the mean over all noise of bits has
        the difference of those at its ends as its slope (2006.09952), without variance.
        """
        p = self.gaussian.likelihood_lower_bound(self.gaussian._likelihood(value, sigma))
        bits = -p.log2().flatten(1).sum(1)
        if not self.training:
            return bits
        noisy = (residual * noisy_slope(residual, sigma)).flatten(1).sum(1)
        return bits + noisy - noisy.detach()


@torch.no_grad()
def noisy_slope(residual: Tensor, sigma: Tensor) -> Tensor:
    """How many bits more `residual` takes under scale `sigma`, of any shape, for each of its own:
    a mean over uniform noise of +-1/2.
    """
    far = residual.abs()
    unit = sigma.clamp(min=SCALE_MIN) * math.sqrt(2)
    inner, here, outer = (torch.erfc((far + shift) / unit) for shift in (-1, 0, 1))
    least = 2e-9  # these are twice likelihoods, which compressai bounds at 1e-9
    ratio = (inner - here).clamp(min=least) / (here - outer).clamp(min=least)
    return ratio.log2() * residual.sign()
