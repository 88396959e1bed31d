"""Which whole numbers stand for a layer's weights: those whose sums stay nearest to the real ones.

Inputs of a layer go up and down together, so what one weight's rounding does wrong the weights
that are not yet rounded can make good (GPTQ, 2210.17323).
"""

from __future__ import annotations

import torch
from torch import Tensor

CELLS = 512  # taken of each tensor that passes; hundreds of pictures give more than enough
#: Added to the variance of every input, as a share of the mean one: inputs that hardly move leave
#: their weights undetermined otherwise. Few cells tell little, and get more of it.
DAMPING = 0.01
FEW = 0.1  # of the inputs for each cell


class Moments:
    """Mean and covariance of what a layer is given."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.total = torch.zeros(channels, dtype=torch.float64)
        self.square = torch.zeros(channels, channels, dtype=torch.float64)

    def add(self, x: Tensor) -> None:
        """Takes some cells of x (H, W, C)."""
        cells = x.reshape(-1, x.shape[2])
        cells = cells[:: max(1, len(cells) // CELLS)].double()
        self.count += len(cells)
        self.total += cells.sum(0)
        self.square += cells.t() @ cells

    def mean(self) -> Tensor:
        """The mean (C,) of each input."""
        return self.total / self.count

    def covariance(self) -> Tensor:
        """The covariance (C, C), damped, so that it is positive definite."""
        mean = self.mean()
        found = self.square / self.count - mean[:, None] * mean
        share = DAMPING + FEW * len(mean) / self.count
        damping = share * float(found.diagonal().mean()) + 1e-12
        return found + damping * torch.eye(len(mean), dtype=torch.float64)


def round_weights(weight: Tensor, covariance: Tensor) -> Tensor:
    """Whole numbers for real weights (out, in) of inputs with that covariance (in, in), which has
    to be positive definite.

    Errors are meant to add up to little around the mean of the inputs: what they do to the mean
    itself is left to the bias.
    """
    order = covariance.diagonal().argsort(descending=True)  # the loudest first: all others can help
    known = covariance[order][:, order]
    # row i: how the error of input i is best made good by the inputs after it
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(known)), upper=True)
    left = weight[:, order].clone()
    whole = torch.empty_like(left)
    for i in range(left.shape[1]):
        whole[:, i] = torch.floor(left[:, i] + 0.5)
        error = (left[:, i] - whole[:, i]) / upper[i, i]
        left[:, i + 1 :] -= error[:, None] * upper[i, i + 1 :]
    return whole[:, order.argsort()]
