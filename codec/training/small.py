"""Smaller pictures: fits g_s.small and its ends to box averages of what the full synthesis gives.

The trained model has no such layers, so export makes them, from the latents of its calibration: a
block that starts as the identity, learned by gradients, then linear ends in closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import graph
from ..choice import quality_lambda
from ..config import SCALES, Y_STRIDE
from ..decoder import ENTROPY_BITS, PIXEL_BITS
from ..layers import TrunkBlock
from .floats import GREY, Q_AT, FloatDecoder, FloatLayer, FloatOps, float_layers, trunk_foldings
from .optimizer import Optimizer

HALF = 2
SIDE = 16  # cells of y in a row of a sample
SAMPLES = 4  # a picture
STEPS = 3000
BATCH = 16
RATE = 2e-2
#: Errors count by lambda to this power: in decibels, then, about the same at every quality.
EVENNESS = 0.6
#: What an error of the box average at each scale counts, about as it falls from one to the next.
SCALE_WEIGHTS = {2: 1.0, 4: 2.3, 8: 5.0}
RIDGE = 1e-6  # of the variance of an input


class Sample(NamedTuple):
    """A square piece (SIDE, SIDE, M) of some y_hat."""

    y_hat: Tensor
    quality: int


class Batch(NamedTuple):
    """What the ends of g_s are given and should give, (B, channels, SIDE, SIDE)."""

    f: Tensor  # after g_s.blocks16
    u: Tensor
    pixels: Tensor  # at half size, 3 * 8 * 8 a cell, in grey levels from the middle one
    weight: Tensor  # (B, 1, 1, 1), of errors


def cut_samples(y_hat: Tensor, quality: int, *, seed: int) -> list[Sample]:
    """Pieces of y_hat (H/16, W/16, M), which is repeated where it is too small for one."""
    random = np.random.default_rng(seed)
    repeat = [-(-SIDE // side) for side in y_hat.shape[:2]]
    y_hat = y_hat.repeat(*repeat, 1)
    samples = []
    for _ in range(SAMPLES):
        i, j = (int(random.integers(side - SIDE + 1)) for side in y_hat.shape[:2])
        samples.append(Sample(y_hat[i : i + SIDE, j : j + SIDE].float().clone(), quality))
    return samples


def add_small(floats: FloatDecoder, samples: list[Sample], say: Callable[[str], None]) -> None:
    """Gives a calibrated float decoder the layers for smaller pictures, calibrated as well."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        data = _prepare(floats, samples)
        small = Small(data)
        small.learn(data, say)
    ops = FloatOps(small.layers(data))
    ops.observe()
    with torch.inference_mode():
        for f, u in zip(data.f, data.u, strict=True):
            for scale in SCALES[1:]:
                graph.g_s_small(ops, f.permute(1, 2, 0).double(), u.permute(1, 2, 0), scale)
    floats.ops.layers |= ops.layers
    floats.ops.ranges |= ops.ranges


def _prepare(floats: FloatDecoder, samples: list[Sample]) -> Batch:
    """Runs the full synthesis on all samples, in the float model."""
    g_s, parts = floats.model.g_s, []
    with torch.no_grad():
        for sample in samples:
            unit = floats.gain[sample.quality].float() / (1 << ENTROPY_BITS)
            u = (sample.y_hat * unit).permute(2, 0, 1)[None].contiguous()
            q = Q_AT[sample.quality][None]
            f = g_s.blocks16(g_s.enter(u, q))
            half = F.avg_pool2d(g_s(u, q), HALF) * GREY
            parts.append(Batch(f, u, F.pixel_unshuffle(half, Y_STRIDE // HALF), _weight(q)))
    return Batch(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _weight(q: Tensor) -> Tensor:
    return quality_lambda(q).pow(EVENNESS)[:, None, None, None]


def _box(pixels: Tensor, scale: int) -> Tensor:
    """Cells of half-size pixels to cells of those at 1/scale."""
    whole = F.pixel_shuffle(pixels, Y_STRIDE // HALF)
    return F.pixel_unshuffle(F.avg_pool2d(whole, scale // HALF), Y_STRIDE // scale)


def _solve(f: Tensor, u: Tensor, pixels: Tensor, weight: Tensor) -> Tensor:
    """Weights (out, 1 + inputs), first the bias, that give `pixels` best from f and u."""
    ones = torch.ones_like(f[:, :1])
    x = torch.cat([ones, f, u], dim=1).movedim(1, 3)
    root = weight.sqrt().double()
    x, y = ((root * v).flatten(0, 2) for v in (x, pixels.movedim(1, 3)))
    normal = x.t() @ x
    size = normal.diagonal().sqrt().clamp(min=1e-9)
    normal = normal / size / size[:, None] + RIDGE * torch.eye(len(size))
    return (torch.linalg.solve(normal, (x.t() @ y) / size[:, None]) / size[:, None]).t()


class Small(nn.Module):
    """The block and, while it learns, one end: that at half size."""

    def __init__(self, data: Batch) -> None:
        super().__init__()
        self.block = TrunkBlock(data.f.shape[1])
        nn.init.zeros_(self.block.w2.weight)
        nn.init.zeros_(self.block.w4.weight)
        self.end = nn.Parameter(_solve(*data).float())

    def forward(self, f: Tensor, u: Tensor) -> Tensor:
        # a residual bears bf16, as in training; many CPUs do that several times faster
        with torch.autocast(f.device.type, dtype=torch.bfloat16):
            g = self.block(f)
        x = torch.cat([g.float(), u], dim=1)
        return F.conv2d(x, self.end[:, 1:, None, None], self.end[:, 0])

    def learn(self, data: Batch, say: Callable[[str], None]) -> None:
        """Minimises the error of all scales at once."""
        optimizer = Optimizer(self, "muon", RATE, rank=0, world=1)
        mean = data.weight.mean()
        for step in range(STEPS):
            chosen = torch.randint(len(data.f), (BATCH,))
            f, u, pixels, weight = (x[chosen] for x in data)
            error = self(f, u) - pixels
            terms = [
                share * (weight / mean * _box(error, scale).square()).mean()
                for scale, share in SCALE_WEIGHTS.items()
            ]
            loss = torch.stack(terms).sum()
            self.zero_grad()
            loss.backward()
            optimizer.set_rate(min(1.0, (step + 1) / 20) * max(0.02, 1 - step / STEPS))
            optimizer.step()
            if (step + 1) % 100 == 0:
                say(f"smaller pictures: step {step + 1} of {STEPS}, loss {loss.item():.3f}")

    @torch.no_grad()
    def layers(self, data: Batch) -> dict[str, FloatLayer]:
        """The block and the best ends for it, in the units of the decoder."""
        f = torch.cat([self.block(part) for part in data.f.split(BATCH)])
        layers = float_layers(trunk_foldings("g_s.small", self.block))
        for scale in SCALES[1:]:
            end = _solve(f, data.u, _box(data.pixels, scale), data.weight)
            bias = end[:, 0] + GREY / 2
            layers[f"g_s.leave{scale}"] = FloatLayer(end[:, 1:], bias, out_bits=PIXEL_BITS)
        return layers
