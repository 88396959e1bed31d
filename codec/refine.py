"""Encoder search: other symbols for the same decoder, with less rate and distortion together.

Each round decodes a tile, finds by a gradient through the float twin of g_s which values of y_hat
would give the picture better, and walks the entropy path once more, where a share of the residuals
may change to the one of least R + lambda D for these targets. The best round counts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from . import coding, graph
from .choice import choose, quality_lambda
from .config import QUALITY_LEVELS, Y_STRIDE
from .decoder import ENTROPY_BITS, GAIN_BITS, PIXEL_BITS, SYNTHESIS_BITS, Z_MAX, IntegerOps, pick
from .engine import Parts
from .entropy import ESCAPE_LIMIT, Symbols
from .rects import Rect, cut

EFFORTS = range(1, 10)

Own = tuple[slice, slice]

#: How much dearer an error is than error_cost says: g_s is not quite orthonormal, and what changes
#: here moves the predictions of what comes after it. After 8 rounds 1.7 saved 1.6 % more bits of
#: five pictures than 1.1, 2.5 saved 0.8 % more; after 16, 1.4 and 2.1 saved 0.2 and 0.7 % less.
STIFFNESS = 1.7
#: The share of residuals that may change in a round; all at once would mend the same error often.
#: After 16 rounds 0.6, 0.85 and 0.95 had saved 3.5, 4.1 and 4.3 % of the bits of five pictures. One
#: round alone takes less, since nothing mends what it gets wrong.
SHARE = 0.95
SHARE_OF_ONE = 0.6
#: Bits that a change has to save, in the first round and in the last.
MARGIN = 0.3, 0.05
#: Standard deviation of what is added to targets in the first of many rounds, to get out of local
#: minima: 0.5 % fewer bits after 8 rounds, but more of them after one or two.
NOISE = 0.1
#: The least weight of a round's targets against the mean of those before.
NEWS = 0.1
#: Cells of y whose gradient is taken at once, which bounds the memory of a large tile's search.
PIECE_CELLS = 1 << 12


def rounds_of(effort: int) -> int:
    """How many rounds of search an effort 1..9 stands for; raises ValueError for another one."""
    if effort not in EFFORTS:
        raise ValueError(f"effort must be from 1 to 9, got {effort}")
    return 0 if effort == 1 else 1 << (effort - 2)


class TwinOps:
    """Reads the graph with the integer layers' weights but without rounding, to differentiate."""

    def __init__(self, ops: IntegerOps) -> None:
        self.fraction_bits = ops.fraction_bits
        self.layers = {
            name: (layer.weight.float(), layer.bias.float() - 0.5)
            for name, layer in ops.layers.items()
        }

    def layer(self, name: str, x: Tensor, quality: int = 0, *, depthwise: bool = False) -> Tensor:
        weight, bias = self.layers[name]
        if bias.dim() == 2:
            bias = bias[quality]
        if depthwise:
            planes = x.permute(2, 0, 1)[None]
            out = F.conv2d(planes, weight, bias, padding=1, groups=x.shape[2])
            return out[0].permute(1, 2, 0)
        return torch.addmm(bias, x.reshape(-1, x.shape[2]), weight).reshape(*x.shape[:2], -1)

    def act(self, x: Tensor) -> Tensor:
        return x * (x * 2.0 ** -(self.fraction_bits + 3) + 0.5).clamp(0.0, 1.0)

    def clamp(self, name: str, x: Tensor) -> Tensor:
        return x  # activations of pictures stay inside


class Chooser:
    """A coding side that chooses residuals and counts bits: first as the encoder does for `y`, and
    in later rounds anew for `target`, starting from what it chose before.
    """

    def __init__(
        self,
        parts: Parts,
        y: Tensor,
        z: Tensor,
        quality: int,
        thrift: float,
        random: torch.Generator,
    ) -> None:
        self.first = parts.encoder_side(y, z, quality, thrift)
        self.rates = parts.rates
        self.cost = self.first.cost * STIFFNESS
        self.symbols = torch.floor(z + 0.5).clamp(-Z_MAX, Z_MAX).cpu().numpy().astype(np.int32)
        self.random = random
        self.y_hat: Tensor | None = None  # what the round before chose
        self.target = y
        self.margin = 0.0
        self.share = SHARE
        self.bits = 0.0

    def z(self, shape: tuple[int, int, int]) -> Symbols:
        return self.symbols

    def residual(self, step: int, mu: Tensor, index: Tensor) -> Symbols:
        mu = mu * 2.0**-ENTROPY_BITS
        wanted = pick(self.target, step) - mu
        cost = pick(self.cost, step)
        if self.y_hat is None:
            chosen = choose(wanted, index, cost / STIFFNESS, self.rates)
        else:
            now = torch.floor(pick(self.y_hat, step) - mu + 0.5) * (index > 0)
            chosen = self._changed(now, wanted, index, cost)
        self.bits += float(self.rates(index, chosen).sum())
        return chosen.cpu().numpy().astype(np.int32)

    def _changed(self, now: Tensor, wanted: Tensor, index: Tensor, cost: Tensor) -> Tensor:
        """The residuals `now`, of which a random share has moved to better ones."""

        def price(residual: Tensor) -> Tensor:
            return cost * (residual - wanted).square() + self.rates(index, residual)

        wanted = wanted.clamp(-ESCAPE_LIMIT + 1, ESCAPE_LIMIT - 1)
        below = torch.floor(wanted)
        best, least = now, price(now) - self.margin
        # the two nearest ones, and the next one towards zero
        for other in (below, below + 1, torch.where(below >= 0, below - 1, below + 2)):
            found = price(other)
            best = torch.where(found < least, other, best)
            least = torch.minimum(found, least)
        may = torch.rand(now.shape, generator=self.random).to(now.device) < self.share
        return torch.where(may & (index > 0), best, now)


class Refiner:
    """Searches for the y_hat of one tile.

    `y` (H/16, W/16, M) is the scaled y of the tile's surroundings, whose rows and columns `own` are
    the tile's; the rest stays as it is, so that borders are weighed with what will be beside them.
    `pixels` (H, W, 3) uint8 are the picture there, from the same corner on.
    """

    def __init__(
        self,
        parts: Parts,
        y: Tensor,
        own: Own,
        pixels: NDArray[np.uint8],
        quality: int,
        thrift: float,
    ) -> None:
        decoder = parts.decoder
        self.parts, self.own, self.quality, self.thrift = parts, own, quality, thrift
        self.around = Rect(0, 0, y.shape[1], y.shape[0])
        lam = quality_lambda(torch.tensor(quality / (QUALITY_LEVELS - 1)))
        self.lam = float(lam) / self.thrift  # of the squared error of a sample
        with torch.inference_mode(False):  # autograd takes no tensors of inference mode
            self.twin = TwinOps(decoder.pixels)
            self.y = y.clone()
            self.gain = (decoder.inverse_gain[quality] * 2.0**-GAIN_BITS).float()
            self.picture = torch.from_numpy(np.ascontiguousarray(pixels)).to(y.device).float()

    def run(
        self, z: Tensor, size: tuple[int, int], rounds: int, tick: Callable[[], None]
    ) -> Tensor:
        """y_hat (H/16, W/16, M) of the tile of `size` (height, width) pixels after some rounds."""
        random = torch.Generator().manual_seed(0)  # the same picture gives the same file
        y = self.y[self.own]
        chooser = Chooser(self.parts, y, z, self.quality, self.thrift, random)
        best, least = y, float("inf")
        mean: Tensor | None = None
        strength = NOISE * max(0.0, 1 - 2 / max(rounds, 1))
        chooser.share = SHARE - (SHARE - SHARE_OF_ONE) / max(rounds, 1)
        for number in range(rounds + 1):
            tick()
            chooser.bits = 0.0
            y_hat, _ = coding.walk(self.parts.decoder, chooser, self.quality, *size)
            y_hat = y_hat * 2.0**-ENTROPY_BITS
            error, gradient = self._error(y_hat)
            cost = chooser.bits + self.lam / 3 * error
            if cost < least:
                best, least = y_hat, cost
            # where the error would be least, were it a parabola in each value alone
            target = y_hat - self.lam / 3 * gradient / (2 * chooser.cost)
            mean = target if mean is None else mean + (target - mean) * max(NEWS, number**-0.5)
            left = 1 - number / max(rounds, 1)
            noise = torch.randn(target.shape, generator=random).to(target.device)
            chooser.target = mean + strength * left * noise
            chooser.margin = MARGIN[0] * left + MARGIN[1] * (1 - left)
            chooser.y_hat = y_hat
        return best

    def _error(self, y_hat: Tensor) -> tuple[float, Tensor]:
        """Summed squared error of all samples around the tile, and its gradient by y_hat."""
        whole = self.y.clone()
        whole[self.own] = y_hat
        gradient = torch.zeros_like(whole)
        halo = self.parts.decoder.halo()
        total = 0.0
        for piece in cut(self.around, halo, PIECE_CELLS):
            seen = piece.grown(halo, self.around)
            with torch.inference_mode(False), torch.enable_grad():
                part = whole[seen.beside(self.around)].clone().requires_grad_()
                error = self._piece_error(part, piece, seen)
                (slope,) = torch.autograd.grad(error, part)
            gradient[seen.beside(self.around)] += slope
            total += float(error)
        return total, gradient[self.own]

    def _piece_error(self, y: Tensor, piece: Rect, seen: Rect) -> Tensor:
        u = y * self.gain * float(1 << SYNTHESIS_BITS)
        pixels = graph.g_s(self.twin, self.parts.decoder.cfg, u, self.quality)
        pixels = (pixels * 2.0**-PIXEL_BITS)[piece.times(Y_STRIDE).beside(seen.times(Y_STRIDE))]
        inside = Rect(0, 0, self.picture.shape[1], self.picture.shape[0])
        picture = self.picture[piece.times(Y_STRIDE).clipped(inside).beside(inside)]
        pixels = pixels[: picture.shape[0], : picture.shape[1]]
        return (pixels.clamp(0, 255) - picture).square().sum()
