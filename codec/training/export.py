"""From float weights to the integer model: ranges measured, weights rounded, tables frozen."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from .. import coding, graph
from ..config import (
    GROUPS,
    QUALITY_LEVELS,
    SCALE_LEVELS,
    STEP_XOR,
    Y_STRIDE,
    Z_STRIDE,
    ModelConfig,
)
from ..decoder import (
    ENTROPY_BITS,
    GAIN_BITS,
    PIXEL_BITS,
    SYNTHESIS_BITS,
    Y_MAX,
    Z_MAX,
    Decoder,
)
from ..entropy import TABLE_SUM
from ..exact import canary, exact_arithmetic
from ..integer import FLOAT32_EXACT
from ..layers import Depthwise, Pointwise, PointwiseQ
from ..model import _INDEX_GAIN, _INDEX_START, _Y_UNIT, Model, index_to_sigma
from ..loading import DECODER_FILE, ENCODER_FILE, MANIFEST_FILE

MARGIN = 1.5  # clamps lie this far beyond the largest activation that calibration met
WEIGHT_BITS = 14  # at most, so that weights fit 16 bits
ENOUGH_BITS = 6  # a layer whose largest weight float32 would leave fewer bits goes to float64
#: The linear shortcut carries the picture itself, so its weights get all bits whatever the type.
FINE_LAYERS = ("g_s.shortcut",)
Q_AT = torch.linspace(0, 1, QUALITY_LEVELS)


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

    def add(
        name: str,
        module: Pointwise | PointwiseQ | Depthwise,
        *,
        scale: float = 1.0,
        inputs: float | Tensor = 1.0,
        bits: int,
        relu: bool = False,
    ) -> None:
        bias = module.bias_q(Q_AT)[:, :, 0, 0] if isinstance(module, PointwiseQ) else module.bias
        weight = module.weight.squeeze(1) if isinstance(module, Depthwise) else module.weight
        layers[name] = FloatLayer(
            weight * inputs * scale, bias * scale, out_bits=bits, relu=relu
        )

    def entropy_block(name: str, block: Any) -> None:
        add(f"{name}.w1", block.w1, bits=ENTROPY_BITS, relu=True)
        add(f"{name}.dw", block.dw, bits=ENTROPY_BITS, relu=True)
        add(f"{name}.w2", block.w2, bits=ENTROPY_BITS)

    def trunk_block(name: str, block: Any) -> None:
        bits = SYNTHESIS_BITS
        add(f"{name}.w1", block.w1, scale=4 / 3, bits=bits)
        add(f"{name}.dw", block.dw, inputs=3 / 4, bits=bits)
        add(f"{name}.w2", block.w2, bits=bits)
        add(f"{name}.w3", block.w3, scale=4 / 3, bits=bits)
        add(f"{name}.w4", block.w4, inputs=3 / 4, bits=bits)

    h_s = model.h_s
    add("h_s.enter", h_s.enter, bits=ENTROPY_BITS)
    for name in ("block64", "block32", "block16"):
        entropy_block(f"h_s.{name}", getattr(h_s, name))
    add("h_s.up32", h_s.up32, bits=ENTROPY_BITS)
    add("h_s.up16", h_s.up16, bits=ENTROPY_BITS)
    context = model.context
    for step, enter in enumerate(context.enter):
        units = torch.ones(enter.weight.shape[1])
        units[model.cfg.c_h :] = _Y_UNIT
        add(f"context.enter.{step}", enter, inputs=units, bits=ENTROPY_BITS)
    for i, block in enumerate(context.blocks):
        entropy_block(f"context.blocks.{i}", block)
    for step, heads in enumerate(context.head):
        for group, head in enumerate(heads):
            layers[f"context.head.{step}.{group}"] = _head(head)
    g_s = model.g_s
    add("g_s.enter", g_s.enter, bits=SYNTHESIS_BITS)
    add("g_s.up", g_s.up, bits=SYNTHESIS_BITS)
    for name in ("blocks16", "blocks8"):
        for i, block in enumerate(getattr(g_s, name)):
            trunk_block(f"g_s.{name}.{i}", block)
    grey = 255.0
    add("g_s.leave", g_s.leave, scale=grey, bits=PIXEL_BITS)
    layers["g_s.leave"].bias += grey / 2
    none = torch.zeros(g_s.shortcut.shape[0])
    layers["g_s.shortcut"] = FloatLayer(g_s.shortcut * grey, none, out_bits=PIXEL_BITS)
    return layers


def _head(head: Pointwise) -> FloatLayer:
    """A head whose mu comes out at 2^-6 and whose index as an integer, in one layer.

    The index is brought to 2^-6 of 64 levels: one number format for the whole output.
    """
    half = head.weight.shape[0] // 2
    scale = torch.ones(2 * half)
    scale[:half] = 1 / _Y_UNIT
    scale[half:] = _INDEX_GAIN / (1 << ENTROPY_BITS)
    bias = head.bias * scale
    bias[half:] += _INDEX_START / (1 << ENTROPY_BITS)
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
        # y_hat travels in units of 2^-6, as in the integer decoder
        known = y_hat.double() / (1 << ENTROPY_BITS) if step else None
        mu, index = graph.context(self.ops, self.cfg, step, feature, known).chunk(2, dim=3)
        unit = float(1 << ENTROPY_BITS)
        index = torch.floor(index * unit + 0.5).clamp(0, SCALE_LEVELS - 1)
        return (mu * unit).float(), index.to(torch.uint8)

    def synthesis(self, y_hat: Tensor, quality: int) -> Tensor:
        u = y_hat.double() / (1 << ENTROPY_BITS) * self.gain[quality]
        pixels = graph.g_s(self.ops, self.cfg, self.ops.clamp("g_s.input", u), quality)
        return pixels.add(0.5).floor().clamp(0, 255).to(torch.uint8)


class Counter:
    """An encoder side that counts symbols by table instead of coding them."""

    def __init__(self, n_z: int) -> None:
        self.y_counts = np.zeros((SCALE_LEVELS, 2 * REACH_MAX + 1))
        self.z_counts = np.zeros((n_z, 2 * Z_MAX + 1))
        self.y = self.z_float = torch.zeros(0)

    def z(self, shape: tuple[int, int, int]) -> NDArray[np.int32]:
        z = torch.floor(self.z_float + 0.5).clamp(-Z_MAX, Z_MAX).numpy().astype(np.int32)
        for counts, plane in zip(self.z_counts, z, strict=True):
            counts += np.bincount(plane.ravel() + Z_MAX, minlength=2 * Z_MAX + 1)
        return z

    def residual(self, step: int, mu: Tensor, index: NDArray[np.uint8]) -> NDArray[np.int32]:
        from ..decoder import pick

        difference = pick(self.y, step) - mu / (1 << ENTROPY_BITS)
        values = torch.floor(difference + 0.5).numpy().astype(np.int32)
        values[index == 0] = 0
        width = self.y_counts.shape[1]
        flat = index.astype(np.int64) * width + values.clip(-REACH_MAX, REACH_MAX) + REACH_MAX
        self.y_counts += np.bincount(flat.ravel(), minlength=SCALE_LEVELS * width).reshape(
            self.y_counts.shape
        )
        return values


REACH_MAX = 400  # beyond six of the largest sigma


def _pick_shift(layer: FloatLayer, amax: Tensor, in_bits: int, fine: bool) -> Tensor:
    """The most fractional bits of each output channel's weights, as the bounds allow."""
    rows = layer.weight.abs().flatten(1)
    largest = rows.amax(1).clamp(min=2.0**-20)
    limit = torch.floor(torch.log2((2**WEIGHT_BITS) / largest))
    worst = (rows.sum(1) * amax if layer.weight.dim() == 3 else rows @ amax) + (
        layer.bias.abs().reshape(-1, len(rows)).amax(0) * 2.0**in_bits
    )
    fits = torch.floor(torch.log2(0.98 * FLOAT32_EXACT / worst.clamp(min=2.0**-20)))
    bits = torch.minimum(limit, fits)
    enough = torch.minimum(limit, torch.log2(2**ENOUGH_BITS / largest).floor())
    bits = limit if fine else torch.where(bits < enough, limit, bits)
    # the shift is in_bits + bits - out_bits, from 1 to 40; biases stay within 31 bits
    bits = bits.clamp(layer.out_bits - in_bits + 1, 24)
    return torch.minimum(bits, torch.tensor(40.0 - in_bits + layer.out_bits))


class ExportOps:
    """Reads the graph on bounds and writes integer layers as it goes."""

    def __init__(self, floats: FloatOps, bits: int, out: dict[str, Tensor]) -> None:
        self.floats, self.bits, self.out = floats, bits, out
        self.act_inputs: set[str] = set()
        self.inputs: dict[str, Tensor] = {}

    def layer(self, name: str, x: Tensor, quality: int = 0, *, depthwise: bool = False) -> Tensor:
        layer = self.floats.layers[name]
        amax = x.amax((0, 1)).double()
        if name in self.inputs:
            amax = torch.maximum(amax, self.inputs[name])
        self.inputs[name] = amax
        in_bits = 0 if name == "h_s.enter" else self.bits
        fraction = _pick_shift(layer, amax, in_bits, name in FINE_LAYERS)
        scale = torch.exp2(fraction)
        weight = layer.weight * scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        bias = layer.bias * scale * 2.0**in_bits
        self.out[f"{name}.weight"] = _integers(weight, torch.int16)
        self.out[f"{name}.bias"] = _integers(bias, torch.int32)
        self.out[f"{name}.shift"] = _integers(in_bits + fraction - layer.out_bits, torch.int8)
        high = torch.maximum(layer.high.abs(), layer.low.abs()) * MARGIN
        unit = 2.0**layer.out_bits
        high = torch.ceil(high * unit).clamp(min=1.0)
        low = torch.zeros_like(high) if layer.relu else -high
        if name.startswith("g_s") and name.endswith((".w1", ".w3")):
            low = torch.maximum(low, torch.tensor(-4 * unit))  # h is zero below -4
        if name.startswith("context.head"):
            half = len(high) // 2
            high[:half], low[:half] = Y_MAX, -Y_MAX  # mu: y_hat is clamped anyway
            high[half:], low[half:] = SCALE_LEVELS - 1, 0
        if name in ("g_s.leave", "g_s.shortcut"):
            high[:], low[:] = 2**15, -(2**15)  # +-2048 grey levels
        self.out[f"{name}.low"] = _integers(low, torch.int32)
        self.out[f"{name}.high"] = _integers(high, torch.int32)
        return torch.maximum(high, -low).expand(x.shape[0], x.shape[1], -1)

    def act(self, x: Tensor) -> Tensor:
        return x.clamp(min=2.0 ** (self.bits - 1))

    def clamp(self, name: str, x: Tensor) -> Tensor:
        high = torch.ceil(self.floats.ranges[name] * MARGIN * 2.0**self.bits).clamp(min=1.0)
        self.out[f"{name}.high"] = _integers(high, torch.int32)
        return high.expand(x.shape[0], x.shape[1], -1)


def _integers(x: Tensor, dtype: torch.dtype) -> Tensor:
    rounded = torch.floor(x + 0.5)
    limit = torch.iinfo(dtype)
    if bool((rounded < limit.min).any()) or bool((rounded > limit.max).any()):
        raise ValueError(f"a value of {float(rounded.abs().max())} does not fit {dtype}")
    return rounded.to(dtype).contiguous()


def integer_tensors(floats: FloatDecoder) -> dict[str, Tensor]:
    """The decoder file's layers from a calibrated float decoder."""
    cfg, out = floats.cfg, dict[str, Tensor]()
    entropy = ExportOps(floats.ops, ENTROPY_BITS, out)
    z = torch.full((1, 1, cfg.n_z), float(Z_MAX))
    for _ in range(2):  # the second time with the widest inputs of shared blocks
        feature = graph.h_s(entropy, z, 0)
        y_hat = torch.full((*feature.shape[:2], cfg.m), float(Y_MAX))
        for step in range(len(STEP_XOR)):
            graph.context(entropy, cfg, step, feature, y_hat if step else None)
    synthesis = ExportOps(floats.ops, SYNTHESIS_BITS, out)
    u = synthesis.clamp("g_s.input", torch.zeros(1, 1, cfg.m))
    graph.g_s(synthesis, cfg, u, 0)
    out["inverse_gain"] = _integers(floats.gain * 2.0**GAIN_BITS, torch.int32)
    return out


def _table(counts: NDArray[np.float64], prior: NDArray[np.float64]) -> tuple[NDArray, int]:
    """Frequencies (2 reach + 2) of sum 2^24, last the escape, from symmetric counts and a prior.

    `counts` and `prior` (sum 1) are over -R..R.
    """
    middle = len(counts) // 2
    # residuals are symmetric in law; averaging halves the noise of the estimate
    p = (counts + counts[::-1]) / 2 + PRIOR_WEIGHT * prior
    p = p / p.sum()
    tails = p.cumsum()
    reach = max(1, int(middle - np.searchsorted(tails, TAIL)))
    inside = p[middle - reach : middle + reach + 1]
    escape = max(1.0 - inside.sum(), 2.0**-20)
    p = np.append(inside, escape)
    frequency = np.maximum(1, np.floor(p / p.sum() * TABLE_SUM)).astype(np.int64)
    frequency[reach] += TABLE_SUM - frequency.sum()
    return frequency, reach


TAIL = 2.0**-16  # probability on each side that is left to the escape
PRIOR_WEIGHT = 200.0  # symbols' worth of trust in the ideal law against what was counted


def _normal_cells(sigma: float, reach: int) -> NDArray[np.float64]:
    edges = (np.arange(-reach, reach + 2) - 0.5) / sigma / math.sqrt(2)
    cdf = np.array([math.erf(e) for e in edges])
    p = np.diff(cdf) / 2 + 1e-9
    return p / p.sum()


def tables(counter: Counter, z_prior: NDArray[np.float64]) -> dict[str, Tensor]:
    """The frozen tables: what was counted, smoothed by the laws that training assumed."""
    out: dict[str, Tensor] = {}
    rows = [
        _table(
            counter.y_counts[t],
            _normal_cells(float(index_to_sigma(torch.tensor(float(t)))), REACH_MAX),
        )
        for t in range(1, SCALE_LEVELS)
    ]
    z_rows = [_table_z(c, p) for c, p in zip(counter.z_counts, z_prior, strict=True)]
    for name, pairs in (("y", rows), ("z", z_rows)):
        frequency = np.concatenate([f for f, _ in pairs])
        out[f"entropy.{name}.frequency"] = torch.from_numpy(frequency.astype(np.int32))
        reach = np.array([r for _, r in pairs], dtype=np.int16)
        out[f"entropy.{name}.reach"] = torch.from_numpy(reach)
    return out


def _table_z(counts: NDArray[np.float64], prior: NDArray[np.float64]) -> tuple[NDArray, int]:
    """As `_table`, for a law that need not be symmetric: every value of +-127 stays in reach."""
    p = counts + PRIOR_WEIGHT * prior
    p = np.append(p / p.sum(), 2.0**-20)
    frequency = np.maximum(1, np.floor(p / p.sum() * TABLE_SUM)).astype(np.int64)
    frequency[int(p.argmax())] += TABLE_SUM - frequency.sum()
    return frequency, Z_MAX


def z_prior(prior: torch.nn.Module, n_z: int) -> NDArray[np.float64]:
    """The law (N, 255) that training's factorised prior gives to z = -127..127."""
    values = torch.arange(-Z_MAX, Z_MAX + 1, dtype=torch.float32)
    with torch.no_grad():
        likelihood, _, _ = prior._likelihood(values.expand(n_z, 1, -1).contiguous())
    p = likelihood[:, 0].double().numpy() + 1e-9
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def calibrate(
    floats: FloatDecoder, pictures: list[NDArray[np.uint8]], say: Callable[[str], None]
) -> Counter:
    """Runs pictures of at least 64 px a side at qualities over the whole scale, and counts."""
    counter = Counter(floats.cfg.n_z)
    model = floats.model
    with torch.inference_mode():
        for i, picture in enumerate(pictures):
            quality = (i * 97) % QUALITY_LEVELS
            height, width = (side // Z_STRIDE * Z_STRIDE for side in picture.shape[:2])
            x = torch.from_numpy(picture[:height, :width].copy()).permute(2, 0, 1)[None] / 255.0
            q = Q_AT[quality][None]
            y = model.analysis(x, q)
            counter.z_float = model.h_a(y, q)[0]
            counter.y = y[0].permute(1, 2, 0)
            y_hat, _ = coding.walk(floats, counter, quality, height, width)
            floats.synthesis(y_hat, quality)
            if (i + 1) % 25 == 0:
                say(f"calibrated on {i + 1} of {len(pictures)} pictures")
    return counter


def export(
    model: Model,
    prior: torch.nn.Module,
    pictures: list[NDArray[np.uint8]],
    folder: Path,
    say: Callable[[str], None] = print,
) -> str:
    """Writes a model folder from float weights; returns the SHA-256 that names it."""
    model = model.cpu().float().eval()
    floats = FloatDecoder(model)
    counter = calibrate(floats, pictures, say)
    out = integer_tensors(floats) | tables(counter, z_prior(prior, model.cfg.n_z))
    decoder = Decoder(model.cfg, out, torch.device("cpu"))
    with exact_arithmetic():
        crcs = np.array(canary(decoder), dtype=np.uint32).astype(np.int32)
    out["canary"] = torch.from_numpy(crcs)
    names = ("g_a.", "h_a.", "log_gain.")
    encoder = {
        k: v.contiguous().clone() for k, v in model.state_dict().items() if k.startswith(names)
    }
    digests = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensors in ((DECODER_FILE, out), (ENCODER_FILE, encoder)):
        data = save(dict(sorted(tensors.items())))
        (folder / name).write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    manifest = {"config": model.cfg.as_dict(), "sha256": digests}
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1) + "\n")
    wide = sum(
        layer.dtype == torch.float64
        for ops in (decoder.entropy, decoder.pixels)
        for layer in ops.layers.values()
    )
    say(f"model {digests[DECODER_FILE]}: {wide} layers need float64")
    return digests[DECODER_FILE]
