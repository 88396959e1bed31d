"""The linear shortcut's start: an orthonormal 16x16 DCT in a luma/chroma rotation of RGB."""

from __future__ import annotations

import torch

from .config import Y_STRIDE

_CHROMA_PENALTY = 2.0  # chroma energy falls off about twice as fast with frequency


def _dct_matrix(n: int) -> torch.Tensor:
    """The orthonormal DCT-II of size n, one basis vector per row."""
    k = torch.arange(n, dtype=torch.float64)
    basis = torch.cos(torch.pi / n * (k[None, :] + 0.5) * k[:, None]) * (2.0 / n) ** 0.5
    basis[0] *= 0.5**0.5
    return basis


def dct_shortcut(m: int) -> torch.Tensor:
    """The m lowest-frequency vectors over PixelUnshuffle(16) of RGB, orthonormal rows (m, 768)."""
    n = Y_STRIDE
    colour = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-0.5, 1.0, -0.5]]).double()
    colour = colour / colour.norm(dim=1, keepdim=True)
    d = _dct_matrix(n)
    # (colour', u, v, colour, i, j); PixelUnshuffle puts channels in the order (colour, i, j)
    full = torch.einsum("ec,ui,vj->euvcij", colour, d, d).reshape(3 * n * n, 3 * n * n)
    u, v = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    # by the higher of the two frequencies first: patterns of single pixels are of the highest
    radius = torch.maximum(u, v) + 1e-3 * (u**2 + v**2).double().sqrt()
    penalty = torch.tensor([1.0, _CHROMA_PENALTY, _CHROMA_PENALTY]).double()
    order = ((radius + 0.5)[None] * penalty[:, None, None]).flatten().argsort(stable=True)
    return full[order[:m]].float()
