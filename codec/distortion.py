"""What errors cost beside their bits: their square, and how much they show in the picture.

Training and encoder search minimise R + lambda D with the same D.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import Y_STRIDE

#: The share of D that is structural error. Near the optimum of one measure the other's gain is of
#: first order and its own loss of second: a little costs hardly any PSNR.
STRUCTURE = 0.17
#: What each halving of the picture counts in MS-SSIM, from full size (Wang et al. 2003).
SCALE_SHARES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
CONTRAST = (0.03 * 255) ** 2  # the constant of SSIM that keeps flat places from counting for all
CELL = 4  # pixels along a side; windows of SSIM are 2x2 cells
#: Makes structural error about as large as the squared error, at all qualities.
STRUCTURE_UNIT = 1000.0


class Distortion:
    """D of errors in a batch of pictures, each a mean over samples.

    `picture` is (B, C, H, W) in grey levels, with sides of whole cells.
    """

    def __init__(self, picture: Tensor) -> None:
        #: by halving what a squared error counts in each cell, (B, C, rows, columns)
        self.weights: list[Tensor] = []
        for share in SCALE_SHARES:
            if min(picture.shape[2:]) < 2 * CELL:
                break
            mean, square = (
                F.avg_pool2d(F.avg_pool2d(v, CELL), 2, 1) for v in (picture, picture * picture)
            )
            weight = 1 / (2 * (square - mean * mean).clamp(min=0) + CONTRAST)
            # a cell lies in four windows, at the border in fewer
            weight = F.avg_pool2d(F.pad(weight, (1, 1, 1, 1), mode="replicate"), 2, 1)
            self.weights.append(STRUCTURE_UNIT * share * weight)
            picture = F.avg_pool2d(picture, 2)

    def structural(self, error: Tensor) -> Tensor:
        """Squared errors over the local variance of the picture, at five scales: (B,).

        For small errors (B, C, H, W) that know nothing of the picture it is 1 - MS-SSIM, times
        STRUCTURE_UNIT.
        """
        total = error.new_zeros(len(error))
        for weight in self.weights:
            total = total + (F.avg_pool2d(error.square(), CELL) * weight).flatten(1).mean(1)
            error = F.avg_pool2d(error, 2)
        return total

    def __call__(self, error: Tensor) -> Tensor:
        """D (B,) of errors (B, C, H, W) in grey levels."""
        return torch.lerp(error.square().flatten(1).mean(1), self.structural(error), STRUCTURE)

    def along(self, energies: Tensor) -> Tensor:
        """What errors along each of M patterns of pixels come to in D times its number of samples,
        by cell of y: (B, H/16, W/16, M), for H and W that are multiples of 16.

        `energies` (scales, M) are those of the patterns, see `energies_of`.
        """
        height, width = self.weights[0].shape[2:]
        size = height * CELL // Y_STRIDE, width * CELL // Y_STRIDE
        total = energies.new_zeros(len(self.weights[0]), *size, energies.shape[1])
        for weight, left in zip(self.weights, energies, strict=False):
            total += F.adaptive_avg_pool2d(weight.mean(1), size)[..., None] * left
        return torch.lerp(energies[0].expand_as(total), total, STRUCTURE)


def energies_of(basis: Tensor) -> Tensor:
    """Squared norms (scales, M) of patterns of pixels (M, C, 16, 16), and what is left of them each
    time that the picture is halved, in pixels of full size: fine patterns go first.
    """
    return torch.stack(
        [
            F.avg_pool2d(basis, 1 << halvings).square().sum((1, 2, 3)) * 4**halvings
            for halvings in range(len(SCALE_SHARES))
        ]
    )
