"""Encoder search: other symbols for the same decoder, with less rate and distortion together.

Each round decodes a tile, finds by a gradient through the float twin of g_s which values of y_hat
would give the picture better, and walks the entropy path once more, where a share of the residuals
may change to the one of least R + lambda D for these targets. The best round counts. D is that of
training, so it is not PSNR alone that gets better.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from . import coding, graph
from .choice import beside_trellis, decide, quality_lambda
from .config import QUALITY_LEVELS, Y_STRIDE
from .decoder import ENTROPY_BITS, GAIN_BITS, PIXEL_BITS, SYNTHESIS_BITS, Z_MAX, IntegerOps, pick
from .distortion import Distortion
from .encoder import has_bfloat16, padded
from .engine import Parts
from .entropy import ESCAPE_LIMIT, Symbols
from .rects import Rect, cut
from .trellis import traced

EFFORTS = range(1, 10)

Own = tuple[slice, slice]

#: How much an error counts against what error_cost says: what changes here also moves the
#: predictions of what comes after. The first is for one or two rounds; where more of them mend what
#: one gets wrong, the second saves more.
STIFFNESS = 1.0, 0.87
#: The share of whole residuals that may change in a round; all at once would mend the same error
#: often. Those of the trellis are all chosen anew: to keep one would be to quantise it twice.
#: After 16 rounds 0.6, 0.85 and 0.95 had saved 3.5, 4.1 and 4.3 % of the bits of five pictures. One
#: round alone takes less, since nothing mends what it gets wrong.
SHARE = 0.95
SHARE_OF_ONE = 0.6
#: Bits that a change has to save, in the first round and in the last.
MARGIN = 0.3, 0.05
#: Standard deviation of what is added to targets in the first of many rounds, to get out of local
#: minima: 0.5 % fewer bits after 8 rounds, but more of them after one or two.
NOISE = 0.1
#: The weight of a round's targets against the mean of those before, of which y itself is the first:
#: in the first round, where it then falls as the root of their number, and the least.
NEWS = 0.5, 0.1
#: Cells of y whose gradient is taken at once, which bounds the memory of a large tile's search.
PIECE_CELLS = 1 << 12


def rounds_of(effort: int) -> int:
    """How many rounds of search an effort 1..9 stands for; raises ValueError for another one."""
    if effort not in EFFORTS:
        raise ValueError(f"effort must be from 1 to 9, got {effort}")
    return 0 if effort == 1 else 1 << (effort - 2)


class TwinOps:
    """Reads the graph with the integer layers' weights but without rounding to integers, to
    differentiate: in bfloat16 where that is fast, as in training, but for the layers of pixels.
    """

    def __init__(self, ops: IntegerOps, device: torch.device) -> None:
        self.fraction_bits = ops.fraction_bits
        coarse = torch.bfloat16 if has_bfloat16(device) else torch.float32
        self.layers = {}
        for name, layer in ops.layers.items():
            kind = torch.float32 if name in graph.PIXEL_SIDES else coarse
            self.layers[name] = layer.weight.to(kind), (layer.bias - 0.5).to(kind)

    def layer(self, name: str, x: Tensor, quality: int = 0, *, depthwise: bool = False) -> Tensor:
        weight, bias = self.layers[name]
        x = x.to(weight.dtype)
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
        counts: Tensor,
        stiffness: float,
        random: torch.Generator,
    ) -> None:
        """`counts` are as in `Parts.encoder_side`; once search has begun, errors count `stiffness`
        times as much.
        """
        self.first = parts.encoder_side(y, z, quality, counts, thrift)
        self.rates = parts.rates
        self.cost = self.first.cost * stiffness
        self.symbols = torch.floor(z + 0.5).clamp(-Z_MAX, Z_MAX).cpu().numpy().astype(np.int32)
        self.random = random
        self.y_hat: Tensor | None = None  # what the round before chose
        self.target = y
        self.margin = 0.0
        self.share = SHARE
        self.bits = 0.0

    def z(self, shape: tuple[int, int, int]) -> Symbols:
        return self.symbols

    def residual(self, step: int, mu: Tensor, index: Tensor) -> tuple[Symbols, Tensor]:
        mu = mu * 2.0**-ENTROPY_BITS
        wanted = pick(self.target, step) - mu
        if self.y_hat is None:
            chosen, values = decide(wanted, index, pick(self.first.cost, step), self.rates)
        else:
            held = torch.floor(pick(self.y_hat, step) - mu + 0.5) * (index > 0)
            cost = pick(self.cost, step)
            whole = self._moved(held, wanted, index, cost)
            chosen, values = beside_trellis(whole, wanted, index, cost, self.rates)
        symbols = chosen.cpu().numpy().astype(np.int32)
        numbers = torch.from_numpy(traced(symbols, index.cpu().numpy())[0]).to(chosen.device)
        self.bits += float(self.rates(numbers, chosen).sum())
        return symbols, values

    def _moved(self, now: Tensor, wanted: Tensor, index: Tensor, cost: Tensor) -> Tensor:
        """The whole residuals `now`, of which a random share has moved to better ones."""

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
        self.pieces = cut(self.around, decoder.halo(), PIECE_CELLS)
        lam = float(quality_lambda(torch.tensor(quality / (QUALITY_LEVELS - 1))))
        with torch.inference_mode(False):  # autograd takes no tensors of inference mode
            self.twin = TwinOps(decoder.pixels, decoder.device)
            self.y = y.clone()
            self.gain = (decoder.inverse_gain[quality] * 2.0**-GAIN_BITS).float()
            self.picture = padded(pixels, y.device, (y.shape[0], y.shape[1])) * 255
            self.distortion = Distortion(self.picture)
            self.counts = self.distortion.along(decoder.energies)[0][own]
        self.size = pixels.shape[:2]
        #: what one of D, a mean over the padded picture, is worth in bits
        self.worth = lam / thrift * self.picture[0, 0].numel()

    def run(
        self, z: Tensor, size: tuple[int, int], rounds: int, tick: Callable[[], None]
    ) -> Tensor:
        """y_hat (H/16, W/16, M) of the tile of `size` (height, width) pixels after some rounds."""
        random = torch.Generator().manual_seed(0)  # the same picture gives the same file
        y = self.y[self.own]
        stiffness = STIFFNESS[rounds > 2]
        chooser = Chooser(
            self.parts, y, z, self.quality, self.thrift, self.counts, stiffness, random
        )
        best, least = y, float("inf")
        mean = y
        strength = NOISE * max(0.0, 1 - 2 / max(rounds, 1))
        chooser.share = SHARE - (SHARE - SHARE_OF_ONE) / max(rounds, 1)
        for number in range(rounds + 1):
            tick()
            chooser.bits = 0.0
            y_hat, _ = coding.walk(self.parts.decoder, chooser, self.quality, *size)
            y_hat = y_hat * 2.0**-ENTROPY_BITS
            price, gradient = self._price(y_hat)
            if chooser.bits + price < least:
                best, least = y_hat, chooser.bits + price
            # where the error would be least, were it a parabola in each value alone
            target = y_hat - gradient / (2 * chooser.cost)
            mean = mean + (target - mean) * max(NEWS[0] * max(1, number) ** -0.5, NEWS[1])
            left = 1 - number / max(rounds, 1)
            noise = torch.randn(target.shape, generator=random).to(target.device)
            chooser.target = mean + strength * left * noise
            chooser.margin = MARGIN[0] * left + MARGIN[1] * (1 - left)
            chooser.y_hat = y_hat
        return best

    def _price(self, y_hat: Tensor) -> tuple[float, Tensor]:
        """What the errors around the tile cost in bits, lambda D, and its gradient by y_hat."""
        with torch.inference_mode(False):
            y = self.y.clone()
            y[self.own] = y_hat
            error = -self.picture
            held: tuple[Tensor, Tensor] | None = None  # of the last piece, often the only one
            for piece in self.pieces:
                held = None  # or there would be the activations of two
                held = self._synthesised(y, piece)
                error[(..., *self._place(piece))] += held[1].detach()
            for side, length in zip((2, 3), self.size, strict=True):  # nobody sees the padding
                error.narrow(side, length, error.shape[side] - length).zero_()
            price = self.worth * self.distortion(error.requires_grad_())
            (slope,) = torch.autograd.grad(price, error)
            gradient = torch.zeros_like(y)
            for piece in reversed(self.pieces):
                part, pixels = held or self._synthesised(y, piece)
                held = None
                (found,) = torch.autograd.grad(pixels, part, slope[(..., *self._place(piece))])
                gradient[self._seen(piece).beside(self.around)] += found
        return float(price), gradient[self.own]

    def _seen(self, piece: Rect) -> Rect:
        return piece.grown(self.parts.decoder.halo(), self.around)

    def _place(self, piece: Rect) -> tuple[slice, slice]:
        return piece.times(Y_STRIDE).beside(self.around)

    def _synthesised(self, y: Tensor, piece: Rect) -> tuple[Tensor, Tensor]:
        """The cells of y that a piece depends on, and its pixels (1, 3, H, W) as they follow."""
        seen = self._seen(piece)
        with torch.enable_grad():
            part = y[seen.beside(self.around)].clone().requires_grad_()
            u = part * self.gain * float(1 << SYNTHESIS_BITS)
            pixels = graph.g_s(self.twin, self.parts.decoder.cfg, u, self.quality)
            own = piece.times(Y_STRIDE).beside(seen.times(Y_STRIDE))
            pixels = (pixels[own] * 2.0**-PIXEL_BITS).clamp(0, 255)
            return part, pixels.permute(2, 0, 1)[None]
