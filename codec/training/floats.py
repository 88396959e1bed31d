"""The decoder's graph in floats: trained weights under the decoder's names, ranges recorded."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import graph
from ..config import QUALITY_LEVELS, SCALE_LEVELS
from ..decoder import ENTROPY_BITS, PIXEL_BITS, SYNTHESIS_BITS
from ..layers import Depthwise, EntropyBlock, Pointwise, PointwiseQ, TrunkBlock
from ..model import INDEX_GAIN, INDEX_START, Y_UNIT, Model

#: q of each quality index
Q_AT = torch.linspace(0, 1, QUALITY_LEVELS)
GREY = 255.0  # grey levels in the float model's range of pixels

Convolution = Pointwise | PointwiseQ | Depthwise


class FloatLayer:
    """One layer of the decoder's graph in floats, with all scalings folded in."""

    def __init__(self, weight: Tensor, bias: Tensor, *, relu: bool = False, out_bits: int) -> None:
        self.weight = weight.detach().double()  # (out, in) or (C, 3, 3)
        self.bias = bias.detach().double()  # (out,) or (256, out)
        self.relu = relu
        self.out_bits = out_bits
        self.low = torch.zeros(self.weight.shape[0], dtype=torch.float64)
        self.high = torch.zeros(self.weight.shape[0], dtype=torch.float64)

    def __call__(self, x: Tensor, quality: int) -> Tensor:
        bias = self.bias[quality] if self.bias.dim() == 2 else self.bias
        x = x.double()
        if self.weight.dim() == 3:
            planes = x.permute(2, 0, 1)[None]
            weight = self.weight[:, None]
            out = F.conv2d(planes, weight, bias, padding=1, groups=len(weight))[0]
            out = out.permute(1, 2, 0)
        else:
            out = x @ self.weight.t() + bias
        if self.relu:
            out = out.relu()
        self.low = torch.minimum(self.low, out.amin((0, 1)))
        self.high = torch.maximum(self.high, out.amax((0, 1)))
        return out


class FloatOps:
    """Reads the decoder's graph in floats and records the range of everything."""

    def __init__(self, layers: dict[str, FloatLayer]) -> None:
        self.layers = layers
        self.ranges: dict[str, Tensor] = {}

    def layer(self, name: str, x: Tensor, quality: int = 0, *, depthwise: bool = False) -> Tensor:
        return self.layers[name](x, quality)

    def act(self, x: Tensor) -> Tensor:
        return x * (x + 4).clamp(0, 8) / 8

    def clamp(self, name: str, x: Tensor) -> Tensor:
        amax = x.abs().amax((0, 1)).double()
        self.ranges[name] = torch.maximum(self.ranges.get(name, torch.zeros_like(amax)), amax)
        return x


def float_layers(model: Model) -> dict[str, FloatLayer]:
    """The decoder's layers of a float model under the names of `graph.py`.

    Moves the nonlinearity's 4/3 and 3/4, the units of the context and of pixels into the weights.
    """
    layers: dict[str, FloatLayer] = {}

    def add(name: str, module: Convolution, **how: Any) -> None:
        layers[name] = _folded(module, **how)

    def entropy_block(name: str, block: EntropyBlock) -> None:
        add(f"{name}.w1", block.w1, bits=ENTROPY_BITS, relu=True)
        add(f"{name}.dw", block.dw, bits=ENTROPY_BITS, relu=True)
        add(f"{name}.w2", block.w2, bits=ENTROPY_BITS)

    h_s = model.h_s
    add("h_s.enter", h_s.enter, bits=ENTROPY_BITS)
    for name in ("block64", "block32", "block16"):
        entropy_block(f"h_s.{name}", getattr(h_s, name))
    add("h_s.up32", h_s.up32, bits=ENTROPY_BITS)
    add("h_s.up16", h_s.up16, bits=ENTROPY_BITS)
    context = model.context
    for step, enter in enumerate(context.enter):
        assert isinstance(enter, Pointwise)
        units = torch.ones(enter.weight.shape[1])
        units[model.cfg.c_h :] = Y_UNIT
        add(f"context.enter.{step}", enter, inputs=units, bits=ENTROPY_BITS)
    for i, block in enumerate(context.blocks):
        assert isinstance(block, EntropyBlock)
        entropy_block(f"context.blocks.{i}", block)
    for step, heads in enumerate(context.head):
        assert isinstance(heads, nn.ModuleList)
        for group, head in enumerate(heads):
            assert isinstance(head, Pointwise)
            layers[f"context.head.{step}.{group}"] = _head(head)
    g_s = model.g_s
    add("g_s.enter", g_s.enter, bits=SYNTHESIS_BITS)
    add("g_s.up", g_s.up, bits=SYNTHESIS_BITS)
    for name in ("blocks16", "blocks8"):
        for i, block in enumerate(getattr(g_s, name)):
            layers |= trunk_layers(f"g_s.{name}.{i}", block)
    add("g_s.leave", g_s.leave, scale=GREY, bits=PIXEL_BITS)
    layers["g_s.leave"].bias += GREY / 2
    none = torch.zeros(g_s.shortcut.shape[0])
    layers["g_s.shortcut"] = FloatLayer(g_s.shortcut * GREY, none, out_bits=PIXEL_BITS)
    return layers


def trunk_layers(name: str, block: TrunkBlock) -> dict[str, FloatLayer]:
    """The layers of a block of the synthesis."""
    bits = SYNTHESIS_BITS
    return {
        f"{name}.w1": _folded(block.w1, scale=4 / 3, bits=bits),
        f"{name}.dw": _folded(block.dw, inputs=3 / 4, bits=bits),
        f"{name}.w2": _folded(block.w2, bits=bits),
        f"{name}.w3": _folded(block.w3, scale=4 / 3, bits=bits),
        f"{name}.w4": _folded(block.w4, inputs=3 / 4, bits=bits),
    }


def _folded(
    module: Convolution,
    *,
    scale: float = 1.0,
    inputs: float | Tensor = 1.0,
    bits: int,
    relu: bool = False,
) -> FloatLayer:
    """A layer of the model that takes its inputs divided by `inputs` and gives `scale` times."""
    bias = module.bias_q(Q_AT)[:, :, 0, 0] if isinstance(module, PointwiseQ) else module.bias
    weight = module.weight.squeeze(1) if isinstance(module, Depthwise) else module.weight
    return FloatLayer(weight * inputs * scale, bias * scale, out_bits=bits, relu=relu)


def _head(head: Pointwise) -> FloatLayer:
    """A head whose mu comes out at 2^-7 and whose index as an integer, in one layer.

    The index is brought to 2^-7 of 64 levels: one number format for the whole output.
    """
    half = head.weight.shape[0] // 2
    scale = torch.ones(2 * half)
    scale[:half] = 1 / Y_UNIT
    scale[half:] = INDEX_GAIN / (1 << ENTROPY_BITS)
    bias = head.bias * scale
    bias[half:] += INDEX_START / (1 << ENTROPY_BITS)
    return FloatLayer(head.weight * scale[:, None], bias, out_bits=ENTROPY_BITS)


class FloatDecoder:
    """The decoder's walk in floats, for calibration and for comparison with the integers."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.cfg = model.cfg
        self.device = torch.device("cpu")
        self.ops = FloatOps(float_layers(model))
        self.gain = torch.exp(model.log_inverse_gain(Q_AT))[:, :, 0, 0].double()  # (256, M)

    def features(self, z_hat: Tensor, quality: int) -> Tensor:
        return graph.h_s(self.ops, z_hat, quality)

    def step(self, step: int, feature: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        # y_hat travels in units of 2^-7, as in the integer decoder
        known = y_hat.double() / (1 << ENTROPY_BITS) if step else None
        mu, index = graph.context(self.ops, self.cfg, step, feature, known).chunk(2, dim=3)
        unit = float(1 << ENTROPY_BITS)
        index = torch.floor(index * unit + 0.5).clamp(0, SCALE_LEVELS - 1)
        return (mu * unit).float(), index.to(torch.uint8)

    def synthesis(self, y_hat: Tensor, quality: int) -> Tensor:
        u = y_hat.double() / (1 << ENTROPY_BITS) * self.gain[quality]
        pixels = graph.g_s(self.ops, self.cfg, self.ops.clamp("g_s.input", u), quality)
        return pixels.add(0.5).floor().clamp(0, 255).to(torch.uint8)
