"""The float networks: what is trained, and what the encoder's own transforms run on.

    x -> g_a + L_a -> y * gain(q) -> h_a -> z -> round -> h_s -> 4 context steps -> mu, sigma
    y_hat = round(y - mu) + mu -> * inverse gain(q) -> g_s + L_s -> x_hat

Shapes: x (B, 3, H, W) in [0, 1] with H and W multiples of 64; y (B, M, H/16, W/16);
z (B, N, H/64, W/64); q (B,) in [0, 1].
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .choice import decide, error_cost, quality_lambda
from .config import (
    GROUPS,
    SCALE_LEVELS,
    SCALE_MAX,
    SCALE_MIN,
    STEP_XOR,
    TRUNK_STRIDE,
    Y_STRIDE,
    ModelConfig,
)
from .dct import dct_shortcut
from .distortion import Distortion, energies_of
from .layers import EntropyBlock, Pointwise, PointwiseQ, QualityTable, TrunkBlock
from .trellis import COLUMNS, FINE, SECOND, STEP

SCALE_STEP = math.log(SCALE_MAX / SCALE_MIN) / (SCALE_LEVELS - 1)
INDEX_START = 20.0  # sigma about 0.8: neither free nor hopeless
INDEX_GAIN = 8.0  # the head works in units of 8 levels, so its weights are of ordinary size
LAW_REACH = math.ceil(7 * SCALE_MAX)  # further out every residual costs as much
Y_UNIT = 1 / 8  # scaled latents reach hundreds; h_a and the context see them in these units


def index_to_sigma(index: Tensor) -> Tensor:
    """The scale sigma of a (real) table index."""
    return SCALE_MIN * torch.exp(index * SCALE_STEP)


def law_table() -> Tensor:
    """Bits (COLUMNS, LAW_REACH + 1) of sizes of symbols under the normal laws that tables stand
    for: what the tables are near to. Row 0 is that of a table that is not there.
    """
    number = torch.arange(COLUMNS)
    second = number >= SCALE_LEVELS
    index = number - SECOND * second
    unit = index_to_sigma(index.double())[:, None] * math.sqrt(2)
    far = torch.arange(LAW_REACH + 1).double()
    # where the cell of each size begins: for whole numbers, and on either lattice
    first_lattice, second_lattice = STEP * (2 * far - 1), STEP * (2 * far - 2)
    second_lattice[:2] = torch.tensor([-STEP / 2, STEP / 2])
    begin = torch.where(index[:, None] < FINE, far - 0.5, first_lattice)
    begin = torch.where(second[:, None], second_lattice, begin)
    end = torch.cat([begin[:, 1:], begin[:, -1:] + 1], 1)
    p = (torch.erfc(begin / unit) - torch.erfc(end / unit)) / 2
    return -torch.log2(p.clamp(min=1e-9)).float()


def ste_round(x: Tensor) -> Tensor:
    """Rounds half up, with the gradient of the identity."""
    return x + (torch.floor(x + 0.5) - x).detach()


def apply_matrix(matrix: Tensor, x: Tensor) -> Tensor:
    """A 1x1 convolution as a product, which in float32 is twice as fast: (B, in, H, W)."""
    return (matrix @ x.flatten(2)).unflatten(2, x.shape[2:])


class Analysis(nn.Module):
    """g_a and its linear shortcut L_a: x - 1/2 (B, 3, H, W) to y (B, M, H/16, W/16)."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.shortcut = nn.Parameter(dct_shortcut(cfg.m))
        self.enter = PointwiseQ(3 * TRUNK_STRIDE**2, cfg.c8, cfg.knots, gain=2.0)
        self.blocks8 = nn.Sequential(*(TrunkBlock(cfg.c8) for _ in range(cfg.g_a_blocks8)))
        self.down = Pointwise(4 * cfg.c8, cfg.c16)
        self.blocks16 = nn.Sequential(*(TrunkBlock(cfg.c16) for _ in range(cfg.g_a_blocks16)))
        self.leave = Pointwise(cfg.c16, cfg.m, gain=0.05)

    def forward(self, x: Tensor, q: Tensor) -> Tensor:
        f = self.enter(F.pixel_unshuffle(x, TRUNK_STRIDE), q)  # (B, C8, H/8, W/8)
        f = self.down(F.pixel_unshuffle(self.blocks8(f), 2))  # (B, C16, H/16, W/16)
        f = self.blocks16(f)
        # bf16 holds 8 bits of a coefficient that needs up to 12: the linear ends stay float32
        with torch.autocast(x.device.type, enabled=False):
            return apply_matrix(self.shortcut, F.pixel_unshuffle(x.float(), Y_STRIDE)) + self.leave(
                f.float()
            )


class Synthesis(nn.Module):
    """g_s and its linear shortcut L_s: y (B, M, H/16, W/16) to x_hat - 1/2 (B, 3, H, W)."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.shortcut = nn.Parameter(dct_shortcut(cfg.m).t().contiguous())
        self.enter = PointwiseQ(cfg.m, cfg.c16, cfg.knots, gain=2.0)
        self.blocks16 = nn.Sequential(*(TrunkBlock(cfg.c16) for _ in range(cfg.g_s_blocks16)))
        self.up = PointwiseQ(cfg.c16, 4 * cfg.c8, cfg.knots)
        self.blocks8 = nn.Sequential(*(TrunkBlock(cfg.c8) for _ in range(cfg.g_s_blocks8)))
        self.leave = Pointwise(cfg.c8, 3 * TRUNK_STRIDE**2, gain=0.02)

    def energies(self) -> Tensor:
        """Those (scales, M) of the patterns of pixels that channels of y stand for, networks apart,
        see `energies_of`.
        """
        return energies_of(self.shortcut.t().unflatten(1, (3, Y_STRIDE, Y_STRIDE)))

    def forward(self, y: Tensor, q: Tensor) -> Tensor:
        f = self.blocks16(self.enter(y, q))  # (B, C16, H/16, W/16)
        f = self.blocks8(F.pixel_shuffle(self.up(f, q), 2))  # (B, C8, H/8, W/8)
        with torch.autocast(y.device.type, enabled=False):
            linear = F.pixel_shuffle(apply_matrix(self.shortcut, y.float()), Y_STRIDE)
            return linear + F.pixel_shuffle(self.leave(f.float()), TRUNK_STRIDE)


class HyperAnalysis(nn.Module):
    """h_a: scaled y (B, M, H/16, W/16) to z (B, N, H/64, W/64)."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        c = cfg.c_h
        self.enter = PointwiseQ(cfg.m, c, cfg.knots)
        self.down1 = nn.Sequential(EntropyBlock(c), nn.PixelUnshuffle(2), Pointwise(4 * c, c))
        self.down2 = nn.Sequential(EntropyBlock(c), nn.PixelUnshuffle(2), Pointwise(4 * c, c))
        self.leave = nn.Sequential(EntropyBlock(c), Pointwise(c, cfg.n_z, gain=2.0))

    def forward(self, y: Tensor, q: Tensor) -> Tensor:
        return self.leave(self.down2(self.down1(self.enter(y * Y_UNIT, q))))


class HyperSynthesis(nn.Module):
    """h_s: z_hat (B, N, H/64, W/64) to features (B, C_h, H/16, W/16)."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        c = cfg.c_h
        self.enter = PointwiseQ(cfg.n_z, c, cfg.knots)
        self.block64 = EntropyBlock(c)
        self.up32 = Pointwise(c, 4 * c)
        self.block32 = EntropyBlock(c)
        self.up16 = Pointwise(c, 4 * c)
        self.block16 = EntropyBlock(c)

    def forward(self, z_hat: Tensor, q: Tensor) -> Tensor:
        f = self.block64(self.enter(z_hat, q))
        f = self.block32(F.pixel_shuffle(self.up32(f), 2))
        return self.block16(F.pixel_shuffle(self.up16(f), 2))


class Context(nn.Module):
    """One context step: features and the part of y_hat known so far to mu and table index."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.enter = nn.ModuleList(
            Pointwise(cfg.c_h + (cfg.m if step else 0), cfg.c_ctx) for step in range(len(STEP_XOR))
        )
        self.blocks = nn.Sequential(*(EntropyBlock(cfg.c_ctx) for _ in range(cfg.ctx_blocks)))
        # one head per step and channel group, each (2 * M/4, C_ctx): first mu, then the index
        self.head = nn.ModuleList(
            nn.ModuleList(Pointwise(cfg.c_ctx, cfg.m // 2, gain=0.3) for _ in range(GROUPS))
            for _ in STEP_XOR
        )

    def forward(self, step: int, feature: Tensor, y_hat: Tensor | None) -> tuple[Tensor, Tensor]:
        """mu and index of this step in phase-major form, each (B, 4, M/4, H/32, W/32)."""
        known = feature if y_hat is None else torch.cat([feature, y_hat * Y_UNIT], dim=1)
        f = self.blocks(self.enter[step](known))
        heads = self.head[step]
        assert isinstance(heads, nn.ModuleList)
        outs = [
            heads[phase ^ STEP_XOR[step]](f[:, :, phase // 2 :: 2, phase % 2 :: 2])
            for phase in range(GROUPS)
        ]
        mu, index = torch.stack(outs, dim=1).float().chunk(2, dim=2)
        return mu / Y_UNIT, index * INDEX_GAIN + INDEX_START


def to_phases(y: Tensor) -> Tensor:
    """(B, M, H, W) to (B, 4 phases, 4 groups, M/4, H/2, W/2)."""
    b, m, h, w = y.shape
    y = y.reshape(b, GROUPS, m // GROUPS, h // 2, 2, w // 2, 2)
    return y.permute(0, 4, 6, 1, 2, 3, 5).reshape(b, 4, GROUPS, m // GROUPS, h // 2, w // 2)


def from_phases(y: Tensor) -> Tensor:
    """The inverse of `to_phases`."""
    b, _, g, c, h, w = y.shape
    y = y.reshape(b, 2, 2, g, c, h, w).permute(0, 3, 4, 5, 1, 6, 2)
    return y.reshape(b, g * c, 2 * h, 2 * w)


class Forward(NamedTuple):
    """What a training step needs of one pass."""

    x_hat: Tensor  # (B, 3, H, W), in [0, 1] but not clamped
    z: Tensor  # before rounding
    residual: Tensor  # y - mu, before rounding
    value: Tensor  # what it becomes, without a gradient
    sigma: Tensor


class Model(nn.Module):
    """All networks and gains, with the names that the literature gives them."""

    def __init__(self, cfg: ModelConfig | None = None) -> None:
        super().__init__()
        self.cfg = cfg = cfg or ModelConfig()
        self.g_a = Analysis(cfg)
        self.g_s = Synthesis(cfg)
        self.h_a = HyperAnalysis(cfg)
        self.h_s = HyperSynthesis(cfg)
        self.context = Context(cfg)
        # At high rate the best step is sqrt(12 D) with D = 3 / (2 ln 2 * lambda * 255^2)
        lam = quality_lambda(torch.linspace(0, 1, cfg.knots))
        log_gain = 0.5 * torch.log(lam * 255**2 * 2 * math.log(2) / 36)
        log_gain = log_gain[:, None].expand(-1, cfg.m).clone()
        self.log_gain = QualityTable(cfg.knots, log_gain)
        self.log_inverse_gain = QualityTable(cfg.knots, -log_gain)
        self.register_buffer("law", law_table(), persistent=False)
        self.law: Tensor

    def law_bits(self, number: Tensor, symbol: Tensor) -> Tensor:
        """Bits of symbols under the normal laws of tables of some number, both of any shape."""
        size = symbol.abs().clamp(max=LAW_REACH)
        return self.law.flatten()[(number * (LAW_REACH + 1) + size).long()]

    def analysis(self, x: Tensor, q: Tensor) -> Tensor:
        """Scaled y of x in [0, 1]."""
        return self.g_a(x - 0.5, q) * torch.exp(self.log_gain(q))

    def synthesis(self, y_hat: Tensor, q: Tensor) -> Tensor:
        """x_hat of scaled y_hat."""
        return self.g_s(y_hat * torch.exp(self.log_inverse_gain(q)), q) + 0.5

    def predict(
        self, y: Tensor, z_hat: Tensor, q: Tensor, cost: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """y_hat (B, M, H/16, W/16), and by step (dimension 1) residuals, what they become, sigma.

        With the `cost` (B, M, H/16, W/16) of squared errors in bits, residuals become what an
        encoder makes of them, otherwise the nearest whole numbers.
        """
        feature = self.h_s(z_hat, q)
        target = to_phases(y)
        phases = torch.arange(GROUPS, device=y.device)
        rows = torch.arange(y.shape[0], device=y.device)[:, None]
        parts = torch.zeros_like(target)
        residuals, coded, sigmas = [], [], []
        for step, flip in enumerate(STEP_XOR):
            mu, index = self.context(step, feature, from_phases(parts) if step else None)
            residual = target[:, phases, phases ^ flip] - mu
            with torch.no_grad():
                if cost is None:
                    value = torch.floor(residual + 0.5)
                else:
                    prices = to_phases(cost)[:, phases, phases ^ flip]
                    value = self._coded(residual, index, prices)
            # out of place, or autograd would lose the earlier steps
            known = mu + residual + (value - residual).detach()
            parts = parts.index_put((rows, phases, phases ^ flip), known)
            residuals.append(residual)
            coded.append(value)
            sigmas.append(index_to_sigma(index))
        residual, value, sigma = (torch.stack(p, 1) for p in (residuals, coded, sigmas))
        return from_phases(parts), residual, value, sigma

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _coded(self, residual: Tensor, index: Tensor, prices: Tensor) -> Tensor:
        """What an encoder makes of residuals with (real) table indices. How many of them the
        trellis takes depends on these, so no compiler can fuse it.
        """
        table = torch.floor(index + 0.5).clamp(0, SCALE_LEVELS - 1)
        return decide(residual, table, prices, self.law_bits)[1]

    def forward(self, x: Tensor, q: Tensor) -> Forward:
        y = self.analysis(x, q)
        z = self.h_a(y, q).float()
        with torch.no_grad():
            counts = Distortion(x.float() * 255).along(self.g_s.energies()).permute(0, 3, 1, 2)
            cost = error_cost(torch.exp(self.log_inverse_gain(q)), q[:, None, None, None]) * counts
        y_hat, residual, value, sigma = self.predict(y, ste_round(z), q, cost)
        return Forward(self.synthesis(y_hat, q), z, residual, value, sigma)
