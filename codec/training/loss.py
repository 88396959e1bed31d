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
            bits = self.rate(out.residual, out.symbol, out.sigma) - p_z.log2().flatten(1).sum(1)
            bpp = bits / (x.shape[2] * x.shape[3])
            levels = x.float().contiguous() * 255
            error = out.x_hat.float().contiguous() * 255 - levels
            mse = error.square().flatten(1).mean(1)
            distortion = Distortion(levels)(error)
            lam = quality_lambda(q)
            middle = math.sqrt(LAMBDA_MIN * LAMBDA_MAX)
            loss = ((bpp + lam * distortion) * (middle / lam) ** BALANCE).sqrt()
        return Terms(loss, bpp, mse)

    def rate(self, residual: Tensor, symbol: Tensor, sigma: Tensor) -> Tensor:
        """Bits (B,) of whole `symbol` (B, ...), which stands for `residual`, under scales `sigma`.

        Symbols are what sigma learns from. Residuals, whose rounding has no gradient, learn from
        uniform noise in its place (1611.01704), and from the opposite noise as well: with one
        alone, a quarter of the gradients' variance in g_a.blocks16 was noise.
        """
        bits = self._bits(symbol, sigma)
        if not self.training:
            return bits
        noise = torch.rand_like(residual) - 0.5
        sigma = sigma.detach()
        noisy = (self._bits(residual + noise, sigma) + self._bits(residual - noise, sigma)) / 2
        return bits + noisy - noisy.detach()

    def _bits(self, value: Tensor, sigma: Tensor) -> Tensor:
        p = self.gaussian.likelihood_lower_bound(self.gaussian._likelihood(value, sigma))
        return -p.log2().flatten(1).sum(1)
