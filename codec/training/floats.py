"""The decoder's graph in floats: trained weights under the decoder's names, ranges recorded."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import graph
from ..config import GROUPS, QUALITY_LEVELS, SCALE_LEVELS
from ..decoder import ENTROPY_BITS, PIXEL_BITS, SYNTHESIS_BITS
from ..layers import (
    Depthwise,
    EntropyBlock,
    Pointwise,
    PointwiseQ,
    QualityTable,
    TrunkBlock,
    by_row,
)
from ..model import INDEX_GAIN, INDEX_START, Y_UNIT, Model
from .rounding import Moments

#: q of each quality index
Q_AT = torch.linspace(0, 1, QUALITY_LEVELS)
#: Fractional bits of what h_s and the context steps hold before the heads. How large it is means
#: nothing to the format; with 2^-7, as of y_hat, files were 1 % larger.
HIDDEN_BITS = 10
GREY = 255.0  # grey levels in the float model's range of pixels
#: These layers carry the picture itself, so their weights get all bits whatever the type.
FINE_LAYERS = graph.PIXEL_SIDES.keys() - {"g_s.leave"}

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
        self.moments: Moments | None = None

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
            if self.moments is not None:
                self.moments.add(x)
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

    def observe(self) -> None:
        """Layers take the moments of what they are given from now on: those whose weights are
        rounded by them, so neither those with all bits nor the depthwise ones.
        """
        for name, layer in self.layers.items():
            if name not in FINE_LAYERS and layer.weight.dim() == 2:
                layer.moments = Moments(layer.weight.shape[1])

    def layer(self, name: str, x: Tensor, quality: int = 0, *, depthwise: bool = False) -> Tensor:
        return self.layers[name](x, quality)

    def act(self, x: Tensor) -> Tensor:
        return x * (x + 4).clamp(0, 8) / 8

    def clamp(self, name: str, x: Tensor) -> Tensor:
        amax = x.abs().amax((0, 1)).double()
        self.ranges[name] = torch.maximum(self.ranges.get(name, torch.zeros_like(amax)), amax)
        return x


class Folding(NamedTuple):
    """How a layer of the decoder comes from parameters of the model, and these from it.

    The layer's weight is weight * inputs * scale, its bias is bias * scale + offset: it takes its
    inputs divided by `inputs` and gives `scale` times the output. Each is one number, or one a
    channel.
    """

    weight: nn.Parameter  # (out, in), or (C, 1, 3, 3)
    bias: nn.Parameter | QualityTable | None
    bits: int  # fractional bits of the layer's output
    scale: float | Tensor = 1.0
    inputs: float | Tensor = 1.0
    offset: float | Tensor = 0.0
    relu: bool = False

    def layer(self) -> FloatLayer:
        """The decoder's layer."""
        if self.bias is None:
            bias = torch.zeros(len(self.weight))
        else:
            bias = self.bias if isinstance(self.bias, nn.Parameter) else table_rows(self.bias)
        weight = (self.weight * self.inputs * self._scale_rows()).squeeze(1)
        return FloatLayer(
            weight, bias * self.scale + self.offset, out_bits=self.bits, relu=self.relu
        )

    @torch.no_grad()
    def unfold(self, weight: Tensor, bias: Tensor) -> None:
        """Sets the parameters so that `layer` gives this weight and bias, of float64."""
        weight = weight.reshape(self.weight.shape)
        self.weight.copy_(weight / self.inputs / self._scale_rows())
        bias = (bias - self.offset) / self.scale
        if isinstance(self.bias, nn.Parameter):
            self.bias.copy_(bias)
        elif self.bias is not None:
            fit_table(self.bias, bias)

    def _scale_rows(self) -> Tensor:
        return by_row(torch.as_tensor(self.scale), self.weight)


def table_rows(table: QualityTable) -> Tensor:
    """The vectors (256, c) of all quality indices."""
    return table(Q_AT)[:, :, 0, 0]


@torch.no_grad()
def fit_table(table: QualityTable, rows: Tensor) -> None:
    """Sets the knots whose lines come nearest to vectors (256, c) of all quality indices."""
    knots = len(table.table)
    lines = table_rows(QualityTable(knots, torch.eye(knots))).double()
    table.table.copy_(torch.linalg.lstsq(lines, rows.double()).solution)


def foldings(model: Model) -> dict[str, Folding]:
    """The decoder's layers of a float model under the names of `graph.py`.

    Moves the nonlinearity's 4/3 and 3/4, the units of the context and of pixels into the weights.
    """
    table: dict[str, Folding] = {}

    def add(name: str, module: Convolution, bits: int, **how: Any) -> None:
        table[name] = _fold(module, bits, **how)

    def entropy_block(name: str, block: EntropyBlock) -> None:
        add(f"{name}.w1", block.w1, HIDDEN_BITS, relu=True)
        add(f"{name}.dw", block.dw, HIDDEN_BITS, relu=True)
        add(f"{name}.w2", block.w2, HIDDEN_BITS)

    h_s = model.h_s
    add("h_s.enter", h_s.enter, HIDDEN_BITS)
    for name in ("block64", "block32", "block16"):
        entropy_block(f"h_s.{name}", getattr(h_s, name))
    add("h_s.up32", h_s.up32, HIDDEN_BITS)
    add("h_s.up16", h_s.up16, HIDDEN_BITS)
    context = model.context
    for step, enter in enumerate(context.enter):
        assert isinstance(enter, Pointwise)
        units = torch.ones(enter.weight.shape[1])
        # y_hat is at 2^-7 beside features at 2^-10: its integers pass for those of y_hat / 8
        units[model.cfg.c_h :] = Y_UNIT * (1 << HIDDEN_BITS - ENTROPY_BITS)
        add(f"context.enter.{step}", enter, HIDDEN_BITS, inputs=units)
    for i, block in enumerate(context.blocks):
        assert isinstance(block, EntropyBlock)
        entropy_block(f"context.blocks.{i}", block)
    # mu comes out at 2^-7 and the index as an integer: in one number format, 2^-7 of 64 levels
    each = model.cfg.m // GROUPS
    unit = float(1 << ENTROPY_BITS)
    scale = torch.tensor([1 / Y_UNIT, INDEX_GAIN / unit]).repeat_interleave(each)
    offset = torch.tensor([0.0, INDEX_START / unit]).repeat_interleave(each)
    for step, heads in enumerate(context.head):
        assert isinstance(heads, nn.ModuleList)
        for group, head in enumerate(heads):
            assert isinstance(head, Pointwise)
            add(f"context.head.{step}.{group}", head, ENTROPY_BITS, scale=scale, offset=offset)
    g_s = model.g_s
    add("g_s.enter", g_s.enter, SYNTHESIS_BITS)
    add("g_s.up", g_s.up, SYNTHESIS_BITS)
    for name in ("blocks16", "blocks8"):
        for i, block in enumerate(getattr(g_s, name)):
            table |= trunk_foldings(f"g_s.{name}.{i}", block)
    add("g_s.leave", g_s.leave, PIXEL_BITS, scale=GREY, offset=GREY / 2)
    table["g_s.shortcut"] = Folding(g_s.shortcut, None, PIXEL_BITS, scale=GREY)
    return table


def trunk_foldings(name: str, block: TrunkBlock) -> dict[str, Folding]:
    """The layers of a block of the synthesis."""
    bits = SYNTHESIS_BITS
    return {
        f"{name}.w1": _fold(block.w1, bits, scale=4 / 3),
        f"{name}.dw": _fold(block.dw, bits, inputs=3 / 4),
        f"{name}.w2": _fold(block.w2, bits),
        f"{name}.w3": _fold(block.w3, bits, scale=4 / 3),
        f"{name}.w4": _fold(block.w4, bits, inputs=3 / 4),
    }


def _fold(module: Convolution, bits: int, **how: Any) -> Folding:
    bias = module.bias_q if isinstance(module, PointwiseQ) else module.bias
    return Folding(module.weight, bias, bits, **how)


def float_layers(table: dict[str, Folding]) -> dict[str, FloatLayer]:
    """The decoder's layers in floats."""
    return {name: folding.layer() for name, folding in table.items()}


def input_bits(name: str) -> int:
    """Fractional bits of what a layer of the decoder is given."""
    if name == "h_s.enter":
        return 0  # z_hat
    return SYNTHESIS_BITS if name.startswith("g_s.") else HIDDEN_BITS


class FloatDecoder:
    """The decoder's walk in floats, for calibration and for comparison with the integers."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.cfg = model.cfg
        self.device = torch.device("cpu")
        self.ops = FloatOps(float_layers(foldings(model)))
        self.gain = torch.exp(table_rows(model.log_inverse_gain)).double()  # (256, M)

    def features(self, z_hat: Tensor, quality: int) -> Tensor:
        return graph.h_s(self.ops, z_hat, quality)

    def step(self, step: int, feature: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        # y_hat travels in units of 2^-7, as in the integer decoder; a step takes it for 2^-10
        known = y_hat.double() / (1 << HIDDEN_BITS) if step else None
        mu, index = graph.context(self.ops, self.cfg, step, feature, known).chunk(2, dim=3)
        unit = float(1 << ENTROPY_BITS)
        index = torch.floor(index * unit + 0.5).clamp(0, SCALE_LEVELS - 1)
        return (mu * unit).float(), index.to(torch.uint8)

    def synthesis(self, y_hat: Tensor, quality: int) -> Tensor:
        u = y_hat.double() / (1 << ENTROPY_BITS) * self.gain[quality]
        pixels = graph.g_s(self.ops, self.cfg, self.ops.clamp("g_s.input", u), quality)
        return pixels.add(0.5).floor().clamp(0, 255).to(torch.uint8)
