"""The decoder's networks as one description with three readings.

The functions here say in which order layers, activations and clamps follow each other. What these
do is up to `ops`: the decoder computes integers (`decoder.IntegerOps`), the loader propagates
bounds through the very same lines to prove them exact (`decoder.BoundOps`), and export runs them
in floats to measure ranges (`training.export.FloatOps`). Tensors are (H, W, C).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .config import GROUPS, SCALES, STEP_XOR, TRUNK_STRIDE, Y_STRIDE, ModelConfig
from .integer import pixel_shuffle

#: The layers that give pixels, and the side of the square of them that each gives for a cell.
PIXEL_SIDES = {"g_s.leave": TRUNK_STRIDE, "g_s.shortcut": Y_STRIDE}
PIXEL_SIDES |= {f"g_s.leave{scale}": Y_STRIDE // scale for scale in SCALES[1:]}


class Ops(Protocol):
    """What a graph is made of; `x` is (H, W, C) and may be overwritten by all but `layer`."""

    def layer(self, name: str, x: Tensor, quality: int = 0, *, depthwise: bool = False) -> Tensor:
        """The 1x1 or depthwise 3x3 convolution `name` with its requantisation and clamp."""

    def act(self, x: Tensor) -> Tensor:
        """The nonlinearity h of the synthesis."""

    def clamp(self, name: str, x: Tensor) -> Tensor:
        """The per-channel clamp `name`."""


def entropy_block(ops: Ops, name: str, x: Tensor) -> Tensor:
    """x + W2 ReLU(DW(ReLU(W1 x))); the ReLUs are the lower clamps of their layers."""
    f = ops.layer(f"{name}.w1", x)
    f = ops.layer(f"{name}.dw", f, depthwise=True)
    return ops.clamp(f"{name}.out", x + ops.layer(f"{name}.w2", f))


def trunk_block(ops: Ops, name: str, x: Tensor) -> Tensor:
    """x + W2 DW(h(W1 x)), then x + W4 h(W3 x)."""
    f = ops.act(ops.layer(f"{name}.w1", x))
    f = ops.layer(f"{name}.dw", f, depthwise=True)
    x = ops.clamp(f"{name}.mid", x + ops.layer(f"{name}.w2", f))
    f = ops.act(ops.layer(f"{name}.w3", x))
    return ops.clamp(f"{name}.out", x + ops.layer(f"{name}.w4", f))


def h_s(ops: Ops, z_hat: Tensor, quality: int) -> Tensor:
    """z_hat (H/64, W/64, N) to features (H/16, W/16, C_h)."""
    f = entropy_block(ops, "h_s.block64", ops.layer("h_s.enter", z_hat, quality))
    f = entropy_block(ops, "h_s.block32", pixel_shuffle(ops.layer("h_s.up32", f), 2))
    return entropy_block(ops, "h_s.block16", pixel_shuffle(ops.layer("h_s.up16", f), 2))


def context(ops: Ops, cfg: ModelConfig, step: int, feature: Tensor, y_hat: Tensor | None) -> Tensor:
    """(4 phases, H/32, W/32, M/2): of each phase's channel group first mu, then table index.

    `feature` is (H/16, W/16, C_h); `y_hat` (H/16, W/16, M) is zero where not yet known, None in
    the first step.
    """
    known = feature
    if y_hat is not None:
        known = torch.cat([feature, ops.clamp("context.y_hat", y_hat.clone())], dim=2)
    f = ops.layer(f"context.enter.{step}", known)
    for i in range(cfg.ctx_blocks):
        f = entropy_block(ops, f"context.blocks.{i}", f)
    heads = [
        ops.layer(
            f"context.head.{step}.{phase ^ STEP_XOR[step]}", f[phase // 2 :: 2, phase % 2 :: 2]
        )
        for phase in range(GROUPS)
    ]
    return torch.stack(heads)


def g_s(ops: Ops, cfg: ModelConfig, u: Tensor, quality: int, scale: int = 1) -> Tensor:
    """Unscaled y_hat (H/16, W/16, M) to pixels (H/scale, W/scale, 3), in 16ths of a grey level."""
    # only the linear end is proved for all of u: patterns of pixels go far beyond photographs
    f = ops.layer("g_s.enter", ops.clamp("g_s.enter.input", u.clone()), quality)
    for i in range(cfg.g_s_blocks16):
        f = trunk_block(ops, f"g_s.blocks16.{i}", f)
    if scale > 1:
        return g_s_small(ops, f, u, scale)
    f = pixel_shuffle(ops.layer("g_s.up", f, quality), 2)
    for i in range(cfg.g_s_blocks8):
        f = trunk_block(ops, f"g_s.blocks8.{i}", f)
    pixels = pixel_shuffle(ops.layer("g_s.leave", f), TRUNK_STRIDE)
    return pixels + pixel_shuffle(ops.layer("g_s.shortcut", u), Y_STRIDE)


def g_s_small(ops: Ops, f: Tensor, u: Tensor, scale: int) -> Tensor:
    """The rest of g_s for smaller pictures: one block in place of the half that works at 1/8."""
    f = trunk_block(ops, "g_s.small", f)
    ends = ops.layer(f"g_s.leave{scale}", torch.cat([f, u], dim=2))
    return pixel_shuffle(ends, Y_STRIDE // scale)
