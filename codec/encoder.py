"""What the encoder alone runs of the networks, and pictures as they take them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..format.errors import ModelIntegrityError
from .config import QUALITY_LEVELS, Y_STRIDE, Z_STRIDE, ModelConfig
from .layers import QualityTable
from .model import Analysis, HyperAnalysis


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device is a CPU with products of bfloat16 of its own, twice as fast as those of
    float32. On others float32 is as fast, or is no great part of an encoder's time.
    """
    # older versions of torch do not say what a CPU can do
    can: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(can.get("avx512_bf16") or can.get("amx_bf16"))


class Encoder(nn.Module):
    """The part of the model that only the encoder runs: g_a, h_a and the gains. The networks, but
    for their linear ends, take bfloat16 where it is fast, as in training.
    """

    def __init__(self, cfg: ModelConfig, tensors: Mapping[str, Tensor]) -> None:
        """Raises ModelIntegrityError when the tensors do not fit."""
        super().__init__()
        self.g_a = Analysis(cfg)
        self.h_a = HyperAnalysis(cfg)
        self.log_gain = QualityTable(cfg.knots, torch.zeros(cfg.m))
        try:
            self.load_state_dict(dict(tensors))
        except RuntimeError as error:
            raise ModelIntegrityError(f"encoder weights: {error}") from None
        self.requires_grad_(False)

    def analysis(self, x: Tensor, quality_index: int) -> Tensor:
        """Scaled y (H/16, W/16, M), unrounded, of x (1, 3, H, W)."""
        q = self._quality(quality_index, x.device)
        x = (x - 0.5).contiguous(memory_format=torch.channels_last)  # a tenth faster
        with self._precision(x.device):
            y = self.g_a(x, q)
        return (y * torch.exp(self.log_gain(q)))[0].permute(1, 2, 0)

    def hyper_analysis(self, y: Tensor, quality_index: int) -> Tensor:
        """z (N, H/64, W/64), unrounded, of scaled y (H/16, W/16, M) of whole z cells."""
        with self._precision(y.device):
            z: Tensor = self.h_a(y.permute(2, 0, 1)[None], self._quality(quality_index, y.device))
        return z[0].float()

    @staticmethod
    def _precision(device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device))

    @staticmethod
    def _quality(index: int, device: torch.device) -> Tensor:
        return torch.tensor([index / (QUALITY_LEVELS - 1)], device=device)


def padded(
    pixels: NDArray[np.uint8], device: torch.device, cells: tuple[int, int] | None = None
) -> Tensor:
    """(H, W, 3) uint8 to (1, 3, H', W') in [0, 1], edges repeated to rows and columns of cells of
    y, by default as many as whole z cells have.
    """
    height, width = pixels.shape[:2]
    if cells is None:
        down, right = -height % Z_STRIDE, -width % Z_STRIDE
    else:
        down, right = cells[0] * Y_STRIDE - height, cells[1] * Y_STRIDE - width
    x = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(2, 0, 1)[None]
    x = x.to(torch.float32) / 255
    return F.pad(x, (0, right, 0, down), mode="replicate")
