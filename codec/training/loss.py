"""The variable-rate loss R + lambda(q) * D, with rate terms from compressai's entropy models."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from torch import Tensor, nn

from ..config import LAMBDA_MAX, LAMBDA_MIN, SCALE_MIN
from ..model import Forward, Model, quality_lambda

#: Power of lambda by which the loss is divided. R + lambda * D grows about as its square root, so
#: this lets every quality pull on the weights about equally, as BD-rate does.
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
            _, p_y = self.gaussian(out.residual, out.sigma, training=self.training)
            pixels = x.shape[2] * x.shape[3]
            bits = -(p_z.log2().flatten(1).sum(1) + p_y.log2().flatten(1).sum(1))
            bpp = bits / pixels
            mse = (out.x_hat.float() - x.float()).square().flatten(1).mean(1) * 255**2
            lam = quality_lambda(q)
            middle = math.sqrt(LAMBDA_MIN * LAMBDA_MAX)
            loss = (bpp + lam * mse) * (middle / lam) ** BALANCE
        return Terms(loss, bpp, mse)
