"""From float weights to the integer model: ranges measured, weights rounded, tables frozen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from compressai.entropy_models import EntropyBottleneck
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from .. import coding, graph
from ..choice import error_cost
from ..config import QUALITY_LEVELS, SCALE_LEVELS, SCALES, STEP_XOR
from ..decoder import GAIN_BITS, SYNTHESIS_BITS, Y_MAX, Z_MAX, Decoder
from ..distortion import Distortion
from ..exact import canary, exact_arithmetic
from ..integer import FLOAT32_EXACT
from ..layers import by_row
from ..loading import DECODER_FILE, ENCODER_FILE, MANIFEST_FILE, pack_encoder, write_model
from ..model import Model
from .data import whole_cells
from .floats import FINE_LAYERS, HIDDEN_BITS, Q_AT, FloatDecoder, FloatLayer, FloatOps, input_bits
from .rounding import Moments, round_weights
from .small import Sample, add_small, cut_samples
from .tables import Counter, tables, z_prior

MARGIN = 1.5  # clamps lie this far beyond the largest activation that calibration met
WEIGHT_BITS = 14  # at most, so that weights fit 16 bits
#: A layer goes to float64 when float32 would leave a row's largest weight fewer bits than these: in
#: the entropy path, where what is lost costs bits, and in the synthesis, which bears a lot.
ENTROPY_ENOUGH = 8
SYNTHESIS_ENOUGH = 4


def _sums(weight: Tensor, amax: Tensor) -> Tensor:
    """What the sums (out,) of a layer do not exceed, but for its bias, for inputs of at most
    `amax` (in,).
    """
    size = weight.abs()
    return size.flatten(1).sum(1) * amax if size.dim() == 3 else size @ amax


def _largest_bias(bias: Tensor, out: int) -> Tensor:
    """The largest magnitude (out,) of a bias (out,) or (256, out)."""
    return bias.abs().reshape(-1, out).amax(0)


def _pick_shift(layer: FloatLayer, amax: Tensor, in_bits: int, enough: int, fine: bool) -> Tensor:
    """The most fractional bits of each output channel's weights, as the bounds allow."""
    largest = layer.weight.abs().flatten(1).amax(1).clamp(min=2.0**-20)
    limit = torch.floor(torch.log2((2**WEIGHT_BITS) / largest))
    bias = _largest_bias(layer.bias, len(largest)) * 2.0**in_bits
    worst = _sums(layer.weight, amax) + bias
    fits = torch.floor(torch.log2(0.98 * FLOAT32_EXACT / worst.clamp(min=2.0**-20)))
    least = torch.minimum(limit, torch.log2(2**enough / largest).floor())
    bits = limit if fine else torch.where(fits < least, limit, torch.minimum(limit, fits))
    # where weights are next to nothing, the bias sets what fits 32 bits
    bits = torch.minimum(bits, torch.floor(torch.log2(0.98 * 2**31 / bias.clamp(min=2.0**-20))))
    # the shift is in_bits + bits - out_bits, from 1 to 40
    bits = bits.clamp(layer.out_bits - in_bits + 1, 24)
    return torch.minimum(bits, torch.tensor(40.0 - in_bits + layer.out_bits))


class Rounded(NamedTuple):
    """A layer in integers, held as float64."""

    weight: Tensor
    bias: Tensor
    shift: Tensor


def _rounded(layer: FloatLayer, in_bits: int, fraction: Tensor, moments: Moments | None) -> Rounded:
    """A layer's integers with that many fractional bits in each row's weights: the nearest, or
    with `moments` of its inputs those that serve it best.
    """
    scale = torch.exp2(fraction)
    weight = layer.weight * by_row(scale, layer.weight)
    bias = layer.bias * scale
    if moments is None:
        whole = torch.floor(weight + 0.5)
    else:
        whole = round_weights(weight, moments.covariance())
        bias = bias + (weight - whole) @ moments.mean()
    bias = torch.floor(bias * 2.0**in_bits + 0.5)
    return Rounded(whole, bias, in_bits + fraction - layer.out_bits)


def _bound(layer: Rounded, amax: Tensor) -> Tensor:
    """What no partial sum (out,) of a layer exceeds for inputs of at most `amax`."""
    bias = _largest_bias(layer.bias, len(layer.weight))
    return _sums(layer.weight, amax) + bias + torch.exp2(layer.shift - 1)


class ExportOps:
    """Reads the graph on bounds and writes integer layers as it goes."""

    def __init__(self, floats: FloatOps, bits: int, enough: int, out: dict[str, Tensor]) -> None:
        self.floats, self.bits, self.enough, self.out = floats, bits, enough, out
        self.inputs: dict[str, Tensor] = {}
        self.rounded: dict[str, tuple[Tensor, Rounded]] = {}

    def layer(self, name: str, x: Tensor, quality: int = 0, *, depthwise: bool = False) -> Tensor:
        layer = self.floats.layers[name]
        amax = x.amax((0, 1)).double()
        if name in self.inputs:
            amax = torch.maximum(amax, self.inputs[name])
        self.inputs[name] = amax
        weight, bias, shift = self._round(name, amax)
        self.out[f"{name}.weight"] = _integers(weight, torch.int16)
        self.out[f"{name}.bias"] = _integers(bias, torch.int32)
        self.out[f"{name}.shift"] = _integers(shift, torch.int8)
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
        if name in graph.PIXEL_SIDES:
            high[:], low[:] = 2**15, -(2**15)  # +-2048 grey levels
        self.out[f"{name}.low"] = _integers(low, torch.int32)
        self.out[f"{name}.high"] = _integers(high, torch.int32)
        return torch.maximum(high, -low).expand(x.shape[0], x.shape[1], -1)

    def _round(self, name: str, amax: Tensor) -> Rounded:
        """A layer's integers for inputs of at most `amax` (in,)."""
        if name in self.rounded and torch.equal(self.rounded[name][0], amax):
            return self.rounded[name][1]
        layer, in_bits = self.floats.layers[name], input_bits(name)
        fraction = _pick_shift(layer, amax, in_bits, self.enough, name in FINE_LAYERS)
        for _ in range(8):
            near = _rounded(layer, in_bits, fraction, None)
            best = _rounded(layer, in_bits, fraction, layer.moments)
            # what makes errors good can make sums larger than float32 holds
            over = (_bound(best, amax) > FLOAT32_EXACT) & (_bound(near, amax) <= FLOAT32_EXACT)
            if not bool(over.any()):
                break
            fraction = fraction - over.double()
        self.rounded[name] = amax, best
        return best

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


def linear_reach(model: Model) -> Tensor:
    """The largest magnitude (M,) that the linear part of g_a can give to unscaled y."""
    return model.g_a.shortcut.detach().abs().sum(1) / 2  # x - 1/2 is at most 1/2


def integer_tensors(floats: FloatDecoder) -> dict[str, Tensor]:
    """The decoder file's layers from a calibrated float decoder."""
    cfg, out = floats.cfg, dict[str, Tensor]()
    entropy = ExportOps(floats.ops, HIDDEN_BITS, ENTROPY_ENOUGH, out)
    z = torch.full((1, 1, cfg.n_z), float(Z_MAX))
    for _ in range(2):  # the second time with the widest inputs of shared blocks
        feature = graph.h_s(entropy, z, 0)
        y_hat = torch.full((*feature.shape[:2], cfg.m), float(Y_MAX))
        for step in range(len(STEP_XOR)):
            graph.context(entropy, cfg, step, feature, y_hat if step else None)
    synthesis = ExportOps(floats.ops, SYNTHESIS_BITS, SYNTHESIS_ENOUGH, out)
    # calibration meets few patterns of pixels, which the linear ends alone can do well
    reach = linear_reach(floats.model).double()
    floats.ops.ranges["g_s.input"] = torch.maximum(floats.ops.ranges["g_s.input"], reach)
    u = synthesis.clamp("g_s.input", torch.zeros(1, 1, cfg.m))
    for scale in SCALES:
        graph.g_s(synthesis, cfg, u, 0, scale)
    out["inverse_gain"] = _integers(floats.gain * 2.0**GAIN_BITS, torch.int32)
    return out


def calibrate(
    floats: FloatDecoder,
    counter: Counter,
    pictures: list[NDArray[np.uint8]],
    say: Callable[[str], None],
    samples: list[Sample] | None = None,
) -> None:
    """Runs pictures of at least 64 px a side at qualities over the whole scale: ranges, counts.

    Adds some of what the synthesis is given to `samples`, if there is such a list.
    """
    model = floats.model
    with torch.inference_mode():
        for i, picture in enumerate(pictures):
            quality = (i * 97) % QUALITY_LEVELS
            x = whole_cells(picture)[None] / 255.0
            height, width = x.shape[2:]
            q = Q_AT[quality][None]
            y = model.analysis(x, q)
            counter.quality = quality
            counter.z_float = model.h_a(y, q)[0]
            counter.y = y[0].permute(1, 2, 0)
            counts = Distortion(x * 255).along(model.g_s.energies())[0]
            counter.cost = error_cost(floats.gain[quality], q[0]) * counts
            y_hat, _ = coding.walk(floats, counter, quality, height, width)
            floats.synthesis(y_hat, quality)
            if samples is not None:
                samples += cut_samples(y_hat, quality, seed=i)
            if (i + 1) % 25 == 0:
                say(f"calibrated on {i + 1} of {len(pictures)} pictures")


def export(
    model: Model,
    prior: EntropyBottleneck,
    pictures: list[NDArray[np.uint8]],
    path: Path,
    say: Callable[[str], None] = print,
    *,
    clean: list[NDArray[np.uint8]] | None = None,
) -> str:
    """Writes a model, as `loading.write_model` does, from float weights; returns the SHA-256 that
    names it.

    Tables are counted on `pictures`; smaller pictures are fitted to `clean` where it is given,
    as grain says nothing about averages of pixels.
    """
    model = model.cpu().float().eval()
    floats = FloatDecoder(model)
    floats.ops.observe()
    counter, z_law = Counter(model.cfg.n_z), z_prior(prior, model.cfg.n_z)
    # Tables decide what the encoder chooses, and what it chooses makes the tables: from the laws
    # of training, two rounds settle that.
    samples: list[Sample] = []
    for last in (False, True):
        counter.believe(tables(counter, z_law))
        sampled = samples if last and clean is None else None
        calibrate(floats, counter, pictures, say, sampled)
    frozen = tables(counter, z_law)
    if clean is not None:
        calibrate(floats, counter, clean, say, samples)
    add_small(floats, samples, say)
    out = integer_tensors(floats) | frozen
    decoder = Decoder(model.cfg, out, torch.device("cpu"))
    with exact_arithmetic():
        crcs = np.array(canary(decoder), dtype=np.uint32).astype(np.int32)
    out["canary"] = torch.from_numpy(crcs)
    names = ("g_a.", "h_a.", "log_gain.")
    encoder = pack_encoder({k: v for k, v in model.state_dict().items() if k.startswith(names)})
    files = {
        name: save(dict(sorted(tensors.items())))
        for name, tensors in ((DECODER_FILE, out), (ENCODER_FILE, encoder))
    }
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = {"config": model.cfg.as_dict(), "sha256": digests}
    files[MANIFEST_FILE] = (json.dumps(manifest, indent=1) + "\n").encode()
    write_model(files, path)
    wide = sum(
        layer.dtype == torch.float64
        for ops in (decoder.entropy, decoder.pixels)
        for layer in ops.layers.values()
    )
    say(f"model {digests[DECODER_FILE]}: {wide} layers need float64")
    return digests[DECODER_FILE]
