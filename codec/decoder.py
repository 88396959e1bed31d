"""The normative integer decoder networks: z_hat to features, contexts to symbols, y_hat to pixels.

Everything here is exact integer arithmetic (see `integer.py`); spec.md section 6 says the same in
words.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..format.errors import ModelIntegrityError
from . import graph
from .config import (
    GROUPS,
    QUALITY_LEVELS,
    SCALE_LEVELS,
    SCALES,
    STEP_XOR,
    Y_STRIDE,
    ModelConfig,
)
from .distortion import energies_of
from .integer import (
    ACTIVATION_MAX,
    LAYER_TENSORS,
    IntLinear,
    Tensors,
    clamp_channels,
    hard_swish,
)

ENTROPY_BITS = 7  # mu and y_hat are at 2^-7
SYNTHESIS_BITS = 9  # activations of g_s are at 2^-9
PIXEL_BITS = 4  # the last layers give sixteenths of a grey level
Z_MAX = 127  # z symbols lie in [-127, 127]
Y_MAX = 2**17 - 1  # |y_hat| in units of 2^-7; also what the input of the synthesis is scaled from
GAIN_BITS = 20  # inverse gains are at 2^-20
#: What the decoder file holds besides the networks.
OTHER_TENSORS = (
    "canary",
    *(f"entropy.{name}.{part}" for name in "yz" for part in ("frequency", "reach")),
)


class BoundOps:
    """Reads the graph on bounds: builds every layer with the largest inputs it can meet."""

    def __init__(self, tensors: Tensors, fraction_bits: int) -> None:
        self.tensors = tensors
        self.fraction_bits = fraction_bits
        self.layers: dict[str, IntLinear] = {}
        self.inputs: dict[str, Tensor] = {}
        self.clamps: dict[str, Tensor] = {}

    def layer(self, name: str, x: Tensor, quality: int = 0, *, depthwise: bool = False) -> Tensor:
        amax = x.amax((0, 1))
        if name in self.inputs:  # the context's blocks run once a step: the widest input counts
            amax = torch.maximum(amax, self.inputs[name])
        self.inputs[name] = amax
        self.layers[name] = IntLinear(self.tensors, name, amax, depthwise=depthwise)
        return self._spread(x, self.layers[name].amax)

    def act(self, x: Tensor) -> Tensor:
        return x  # |h(x)| never exceeds |x|

    def clamp(self, name: str, x: Tensor) -> Tensor:
        high = self.tensors[f"{name}.high"].to(torch.int64)
        in_range = (high >= 0) & (high <= ACTIVATION_MAX)
        if high.shape != x.shape[2:] or not bool(in_range.all()):
            raise ModelIntegrityError(f"clamp {name}: shape or range does not fit")
        self.clamps[name] = high
        return self._spread(x, high)

    @staticmethod
    def _spread(x: Tensor, amax: Tensor) -> Tensor:
        return amax.expand(x.shape[0], x.shape[1], -1)


class IntegerOps:
    """Reads the graph in integers carried by floats."""

    def __init__(self, bounds: BoundOps, device: torch.device) -> None:
        self.fraction_bits = bounds.fraction_bits
        self.layers = {name: layer.to(device) for name, layer in bounds.layers.items()}
        self.clamps = {k: v.to(torch.float32).to(device) for k, v in bounds.clamps.items()}

    def layer(self, name: str, x: Tensor, quality: int = 0, *, depthwise: bool = False) -> Tensor:
        return self.layers[name](x, quality)

    def act(self, x: Tensor) -> Tensor:
        return hard_swish(x, self.fraction_bits)

    def clamp(self, name: str, x: Tensor) -> Tensor:
        return clamp_channels(x, self.clamps[name])


class Decoder:
    """Exact h_s, context and g_s on one device, proved at load from the tensors of a weights file.

    Raises ModelIntegrityError when a tensor is missing, misshapen, out of its bound or unknown.
    """

    def __init__(self, cfg: ModelConfig, tensors: Tensors, device: torch.device) -> None:
        self.cfg = cfg
        self.device = device
        try:
            entropy, synthesis = self._prove(tensors)
        except KeyError as error:
            raise ModelIntegrityError(f"the weights file lacks tensor {error}") from None
        self.entropy = IntegerOps(entropy, device)
        self.pixels = IntegerOps(synthesis, device)
        self.inverse_gain = tensors["inverse_gain"].double().to(device)  # (256, M) at 2^-20
        self.input_high = tensors["g_s.input.high"].double().to(device)
        #: of `basis`, see `energies_of`: what an encoder weighs errors by
        self.energies = energies_of(self.basis())

    def _prove(self, tensors: Tensors) -> tuple[BoundOps, BoundOps]:
        cfg = self.cfg
        entropy = BoundOps(tensors, ENTROPY_BITS)
        feature = graph.h_s(entropy, torch.full((1, 1, cfg.n_z), Z_MAX), 0)
        y_hat = torch.full((*feature.shape[:2], cfg.m), Y_MAX)
        for step in range(len(STEP_XOR)):
            graph.context(entropy, cfg, step, feature, y_hat if step else None)
        synthesis = BoundOps(tensors, SYNTHESIS_BITS)
        u = synthesis.clamp("g_s.input", torch.zeros(1, 1, cfg.m))
        for name, side in graph.PIXEL_SIDES.items():
            if tensors[f"{name}.weight"].shape[:1] != (3 * side**2,):
                raise ModelIntegrityError(f"layer {name}: shape is not of {3 * side**2} outputs")
        for scale in SCALES:
            graph.g_s(synthesis, cfg, u, 0, scale)
        widths = {"h_s.up16": cfg.c_h, "context.head.0.0": cfg.c_ctx}
        widths |= {"g_s.up": cfg.c16, "g_s.leave": cfg.c8}
        for name, width in widths.items():
            if tensors[f"{name}.weight"].shape[1] != width:
                raise ModelIntegrityError(f"layer {name}: expected {width} inputs")
        gain = tensors["inverse_gain"]
        if gain.shape != (QUALITY_LEVELS, cfg.m) or not bool(((gain > 0) & (gain < 2**24)).all()):
            raise ModelIntegrityError("inverse_gain: shape or range does not fit")
        known = {"inverse_gain", *OTHER_TENSORS}
        for ops in (entropy, synthesis):
            known |= {f"{name}.{part}" for name in ops.layers for part in LAYER_TENSORS}
            known |= {f"{name}.high" for name in ops.clamps}
        if unknown := sorted(tensors.keys() - known):
            raise ModelIntegrityError(f"tensors that no part of the decoder uses: {unknown}")
        return entropy, synthesis

    def basis(self) -> Tensor:
        """Patterns of pixels in [0, 1] (M, 3, 16, 16) for channels of y, the networks apart."""
        unit = 2.0 ** (SYNTHESIS_BITS - PIXEL_BITS) / 255
        weight = self.pixels.layers["g_s.shortcut"].weight.float() * unit
        return weight.unflatten(1, (3, Y_STRIDE, Y_STRIDE))

    def features(self, z_hat: Tensor, quality: int) -> Tensor:
        """z_hat (H/64, W/64, N) integers to features (H/16, W/16, C_h)."""
        return graph.h_s(self.entropy, z_hat, quality)

    def step(self, step: int, feature: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        """mu at 2^-7 and table index of one step, each (4, H/32, W/32, M/4)."""
        known = y_hat if step else None
        mu, index = graph.context(self.entropy, self.cfg, step, feature, known).chunk(2, dim=3)
        return mu, index.clamp(0, SCALE_LEVELS - 1).to(torch.uint8)

    def halo(self, scale: int = 1) -> int:
        """How many cells of y on each side of a cell take part in its pixels at 1/scale size."""
        # each block looks one of its cells further
        rest = 1 if scale > 1 else (self.cfg.g_s_blocks8 + 1) // 2
        return self.cfg.g_s_blocks16 + rest

    def synthesis(self, y_hat: Tensor, quality: int, scale: int = 1) -> Tensor:
        """y_hat (H/16, W/16, M) at 2^-7 to pixels (H/scale, W/scale, 3) uint8.

        Raises ValueError when `scale` is none of SCALES.
        """
        if scale not in SCALES:
            raise ValueError(f"scale must be one of {SCALES}, got {scale}")
        shift = ENTROPY_BITS + GAIN_BITS - SYNTHESIS_BITS
        # at most 2^17 * 2^24: float64 is exact
        u = y_hat.double() * self.inverse_gain[quality]
        u = torch.floor(u * 2.0**-shift + 0.5).clamp_(-self.input_high, self.input_high)
        pixels = graph.g_s(self.pixels, self.cfg, u.float(), quality, scale)
        pixels = pixels.mul_(2.0**-PIXEL_BITS).add_(0.5).floor_().clamp_(0, 255)
        return pixels.to(torch.uint8)


def new_y_hat(feature: Tensor, m: int) -> Tensor:
    """An all-unknown y_hat for features (H/16, W/16, C_h)."""
    return torch.zeros(*feature.shape[:2], m, device=feature.device)


def place(y_hat: Tensor, step: int, mu: Tensor, residual: Tensor) -> None:
    """Writes y_hat = residual + mu of one step, both (4, H/32, W/32, M/4), into `y_hat`."""
    value = (residual * float(1 << ENTROPY_BITS) + mu).clamp_(-Y_MAX, Y_MAX)
    width = y_hat.shape[2] // GROUPS
    for phase in range(GROUPS):
        group = phase ^ STEP_XOR[step]
        y_hat[phase // 2 :: 2, phase % 2 :: 2, group * width : (group + 1) * width] = value[phase]


def pick(y: Tensor, step: int) -> Tensor:
    """The values (4, H/32, W/32, M/4) of y (H/16, W/16, M) that one step codes."""
    width = y.shape[2] // GROUPS
    groups = [phase ^ STEP_XOR[step] for phase in range(GROUPS)]
    return torch.stack(
        [
            y[phase // 2 :: 2, phase % 2 :: 2, group * width : (group + 1) * width]
            for phase, group in enumerate(groups)
        ]
    )
