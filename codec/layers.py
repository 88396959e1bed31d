"""Building blocks of the float networks; each has an integer twin in `integer.py`.

Weights of 1x1 convolutions are matrices (out, in), which is what they are, and what
second-order optimisers expect.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def by_row(values: Tensor, weight: Tensor) -> Tensor:
    """Values (out,) or () of the rows of a weight (out, ...), in a shape that multiplies it."""
    return values.reshape(-1, *[1] * (weight.dim() - 1))


class Pointwise(nn.Module):
    """A 1x1 convolution, (B, in, H, W) to (B, out, H, W)."""

    def __init__(self, c_in: int, c_out: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in) * (gain / c_in**0.5))
        self.bias = nn.Parameter(torch.zeros(c_out))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight[:, :, None, None], self.bias)


class Depthwise(nn.Module):
    """A depthwise 3x3 convolution with zero padding; starts as the identity plus noise."""

    def __init__(self, c: int) -> None:
        super().__init__()
        weight = torch.randn(c, 1, 3, 3) * 0.15
        weight[:, :, 1, 1] += 0.7
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(c))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=1, groups=self.weight.shape[0])


class QualityTable(nn.Module):
    """A learned vector per quality, linear between knots: q in [0, 1], (B,) to (B, c, 1, 1)."""

    def __init__(self, knots: int, init: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(init.expand(knots, -1).clone() if init.dim() == 1 else init)

    def forward(self, q: Tensor) -> Tensor:
        last = self.table.shape[0] - 1
        position = q.float() * last
        low = position.floor().clamp(0, last - 1).long()
        part = (position - low)[:, None]
        return (self.table[low] * (1 - part) + self.table[low + 1] * part)[:, :, None, None]


class PointwiseQ(nn.Module):
    """A 1x1 convolution whose bias depends on the quality; how a network learns of it."""

    def __init__(self, c_in: int, c_out: int, knots: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in) * (gain / c_in**0.5))
        self.bias_q = QualityTable(knots, torch.zeros(c_out))

    def forward(self, x: Tensor, q: Tensor) -> Tensor:
        out = F.conv2d(x, self.weight[:, :, None, None])
        return out + self.bias_q(q).to(out.dtype)


class TrunkBlock(nn.Module):
    """x + W2 DW(h(W1 x)), then x + W4 h(W3 x) of twice the width (after DCVC-RT, 2502.20762).

    The nonlinearity here is torch's fused hard-swish u * relu6(u + 3) / 6. With x = 4/3 u it is
    3/4 of the decoder's dyadic h(x) = x * clamp(x + 4, 0, 8) / 8, so export moves the factors
    into the neighbouring weights and nothing is lost.
    """

    def __init__(self, c: int) -> None:
        super().__init__()
        self.w1 = Pointwise(c, c)
        self.dw = Depthwise(c)
        self.w2 = Pointwise(c, c, gain=0.3)
        self.w3 = Pointwise(c, 2 * c)
        self.w4 = Pointwise(2 * c, c, gain=0.3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.w2(self.dw(F.hardswish(self.w1(x))))
        return x + self.w4(F.hardswish(self.w3(x)))


class EntropyBlock(nn.Module):
    """x + W2 ReLU(DW(ReLU(W1 x))), the block of h_s and of the context steps."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.w1 = Pointwise(c, c)
        self.dw = Depthwise(c)
        self.w2 = Pointwise(c, c, gain=0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.w2(F.relu(self.dw(F.relu(self.w1(x)))))
