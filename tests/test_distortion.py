"""D of training and of encoder search, against MS-SSIM and against itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from aec.bench.metrics import ms_ssim
from aec.codec.distortion import STRUCTURE_UNIT, Distortion

PHOTO = Path(__file__).parent / "images" / "astronaut.png"


def planes(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]


@pytest.mark.parametrize("strength", [1.0, 3.0])
@pytest.mark.parametrize("cell", [1, 8])
def test_it_is_ms_ssim_of_small_errors(strength: float, cell: int) -> None:
    picture = np.asarray(Image.open(PHOTO).convert("RGB"))[:256, :256]
    random = np.random.default_rng(0)
    error = (
        random.normal(0, strength, (256 // cell, 256 // cell, 3)).repeat(cell, 0).repeat(cell, 1)
    )
    other = (picture + error + 0.5).clip(0, 255).astype(np.uint8)
    found = Distortion(planes(picture)).structural(planes(other) - planes(picture))
    expected = STRUCTURE_UNIT * (1 - ms_ssim(picture, other))
    assert float(found) == pytest.approx(expected, rel=0.2)


def test_errors_count_more_where_they_show() -> None:
    random = np.random.default_rng(0)
    x = torch.full((1, 3, 128, 128), 128.0)
    x[:, :, :, 64:] += torch.from_numpy(random.normal(0, 40, (3, 128, 64))).float()
    error = torch.from_numpy(random.normal(0, 3, (1, 3, 128, 128))).float()
    smooth, busy = error.clone(), error.clone()
    smooth[:, :, :, 64:] = 0
    busy[:, :, :, :64] = 0
    assert float(Distortion(x).structural(smooth)) > 3 * float(Distortion(x).structural(busy))


def test_each_picture_of_a_batch_has_its_own() -> None:
    torch.manual_seed(0)
    x, error = 255 * torch.rand(3, 3, 64, 192), torch.randn(3, 3, 64, 192)
    error[1] = 0
    whole = Distortion(x).structural(error)
    assert float(whole[1]) == 0
    for i in (0, 2):
        assert torch.allclose(Distortion(x[i : i + 1]).structural(error[i : i + 1]), whole[i])
