"""Integer layers carried in float tensors: exact on every device, whatever the order of sums.

Activations are integers at a stated power of two, laid out (H, W, C). A layer computes

    clamp(floor((W x + b + 2^(s-1)) / 2^s), low, high)

with integer W and b and a shift s per output channel. Every partial sum of the numerator, in any
order, is bounded by `sum |W| * amax + |b| + 2^(s-1)`; below 2^24 float32 holds all of them
exactly, below 2^53 float64 does, and above that the weights are refused. Dividing by powers of
two is exact too, so W and b are divided once, at load. Between layers float32 carries everything:
clamps within 2^22 leave room for the sum of two activations and for the half that rounds them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..format.errors import ModelIntegrityError
from .config import QUALITY_LEVELS
from .layers import by_row

FLOAT32_EXACT = 2**24
FLOAT64_EXACT = 2**53
ACTIVATION_MAX = 2**22  # the widest clamp
LAYER_TENSORS = ("weight", "bias", "shift", "low", "high")

Tensors = Mapping[str, Tensor]


def exact_dtype(bound: int, name: str) -> torch.dtype:
    """The narrowest float type that holds every partial sum up to `bound`.

    Raises ModelIntegrityError when none does.
    """
    if bound <= FLOAT32_EXACT:
        return torch.float32
    if bound <= FLOAT64_EXACT:
        return torch.float64
    raise ModelIntegrityError(f"layer {name}: sums reach {bound}, above 2^53")


class IntLinear:
    """A 1x1 convolution, or with `depthwise` a 3x3 one, in integers; see the module docstring.

    Tensors: `name.weight` (out, in), or (C, 3, 3) when depthwise; `name.bias` (out,), or
    (qualities, out); `name.shift` (out,) from 1 to 40; `name.low`, `name.high` (out,), the clamp.
    `amax` (in,) is the largest magnitude that each input channel can have.
    """

    def __init__(self, tensors: Tensors, name: str, amax: Tensor, *, depthwise: bool = False):
        weight, bias, shift, low, high = (
            tensors[f"{name}.{part}"].to(torch.int64) for part in LAYER_TENSORS
        )
        channels = weight.shape[0] if weight.dim() else 0
        inside = (3, 3) if depthwise else amax.shape
        shapes_fit = (
            weight.shape == (channels, *inside)
            and shift.shape == low.shape == high.shape == (channels,)
            and bias.shape in ((channels,), (QUALITY_LEVELS, channels))
            and (not depthwise or amax.shape == (channels,))
        )
        if not shapes_fit:
            raise ModelIntegrityError(f"layer {name}: shapes of its tensors do not fit together")
        in_range = (shift >= 1) & (shift <= 40) & (low <= high)
        in_range &= (low >= -ACTIVATION_MAX) & (high <= ACTIVATION_MAX)
        if not bool(in_range.all()):
            raise ModelIntegrityError(f"layer {name}: shift or clamp out of range")
        bound = weight.abs().flatten(1).sum(1) * amax if depthwise else weight.abs() @ amax
        bound = bound + bias.abs().reshape(-1, channels).amax(0) + (1 << (shift - 1))
        self.dtype = exact_dtype(int(bound.max()), name)
        self.depthwise = depthwise
        #: largest output magnitude of each channel, for the layer that follows
        self.amax = torch.maximum(low.abs(), high.abs())
        scale = torch.from_numpy(np.ldexp(1.0, -shift.numpy()))  # (out,), float64
        weight = weight.double() * by_row(scale, weight)
        self.weight = (weight[:, None] if depthwise else weight.t()).to(self.dtype).contiguous()
        self.bias = (bias.double() * scale + 0.5).to(self.dtype)
        self.low, self.high = low.to(self.dtype), high.to(self.dtype)
        # one pair of numbers clamps faster than one a channel, where all channels agree
        if bool((low == low[0]).all()) and bool((high == high[0]).all()):
            self.low, self.high = self.low[0], self.high[0]

    def to(self, device: torch.device) -> IntLinear:
        """Moves the weights; returns the layer."""
        for name in ("weight", "bias", "low", "high"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def __call__(self, x: Tensor, quality: int = 0) -> Tensor:
        """(H, W, in) to (H, W, out), float32 holding integers."""
        bias = self.bias[quality] if self.bias.dim() == 2 else self.bias
        x = x.to(self.dtype)
        if self.depthwise:
            planes = x.permute(2, 0, 1)[None]  # channels-last in memory
            out = F.conv2d(planes, self.weight, bias, padding=1, groups=x.shape[2])[0]
            out = out.permute(1, 2, 0)
        else:
            out = torch.addmm(bias, x.reshape(-1, x.shape[2]), self.weight)
            out = out.reshape(*x.shape[:2], -1)
        return out.floor_().clamp_(self.low, self.high).to(torch.float32)


def hard_swish(x: Tensor, fraction_bits: int) -> Tensor:
    """The dyadic h(x) = x * clamp(x + 4, 0, 8) / 8 of integers at 2^-fraction_bits, rounded.

    Overwrites x. Exact for fraction_bits <= 9 and |x| <= 2^22: a factor strictly between 0 and 1
    means |x| < 2^(f+2), and then the product has at most 2 f + 5 bits.
    """
    factor = x * 2.0 ** -(fraction_bits + 3)
    factor.add_(0.5).clamp_(0.0, 1.0)
    return x.mul_(factor).add_(0.5).floor_()


def clamp_channels(x: Tensor, amax: Tensor) -> Tensor:
    """Clamps each channel of (H, W, C) to its +-amax, in place."""
    return x.clamp_(-amax, amax)


def pixel_shuffle(x: Tensor, r: int) -> Tensor:
    """(H, W, C r r) to (H r, W r, C), channel c r r + i r + j going to row i, column j."""
    h, w, c = x.shape
    x = x.reshape(h, w, c // (r * r), r, r).permute(0, 3, 1, 4, 2)
    return x.reshape(h * r, w * r, c // (r * r))
