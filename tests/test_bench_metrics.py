"""The metrics of the benchmark against other programs that compute them, and by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from aec.bench.metrics import METRICS, ms_ssim, psnr_y
from aec.bench.ssimulacra2 import ssimulacra2

TESTS = Path(__file__).parent
Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def pair() -> tuple[Picture, Picture]:
    with Image.open(TESTS / "images" / "astronaut.png") as image:
        photo = image.convert("RGB").crop((100, 20, 301, 203))  # odd sides at several scales
    return np.asarray(photo), np.asarray(photo.filter(ImageFilter.GaussianBlur(1.2)))


def test_luma_by_hand() -> None:
    one = np.full((2, 3, 3), 100, np.uint8)
    other = one.copy()
    other[..., 1] = 110
    assert psnr_y(one, other) == pytest.approx(20 * math.log10(255 / 7.152))
    other[..., 2] = 50  # the errors of the channels are added with their signs
    assert psnr_y(one, other) == pytest.approx(20 * math.log10(255 / (7.152 - 3.61)))
    assert psnr_y(one, one) == math.inf


@pytest.mark.parametrize("size", [(183, 201), (176, 192), (161, 170)])
def test_ms_ssim_is_that_of_another_package(
    pair: tuple[Picture, Picture], size: tuple[int, int]
) -> None:
    package = pytest.importorskip("pytorch_msssim")
    one, other = (picture[: size[0], : size[1]] for picture in pair)
    planes = [torch.from_numpy(p.astype(np.float64)).permute(2, 0, 1)[None] for p in (one, other)]
    expected = float(package.ms_ssim(*planes, data_range=255))
    assert 0.8 < expected < 0.99
    # Its window has weights in float32.
    assert ms_ssim(one, other) == pytest.approx(expected, abs=1e-6)


def test_ms_ssim_of_what_it_is_not_made_for(pair: tuple[Picture, Picture]) -> None:
    one, other = pair
    assert ms_ssim(one, other) < 1
    assert ms_ssim(one, one) == pytest.approx(1)
    assert math.isnan(ms_ssim(one[:160], other[:160]))
    with pytest.raises(ValueError, match="cannot be compared"):
        ms_ssim(one, other[:-1])


def gray(size: int, value: int = 128) -> Picture:
    return np.full((size, size, 3), value, np.uint8)


# What libjxl's own program prints for these pictures, from the reference data of the port to Rust
# (imazen/ssimulacra2, src/reference_data.rs). It has float32, which shows where nothing differs
# but by a step or two.
@pytest.mark.parametrize(
    ("size", "shift", "score", "tolerance"),
    [
        (32, 50, 85.01409588, 0.5),
        (64, 5, 91.52357693, 0.1),
        (64, 10, 80.24289393, 0.2),
        (64, 20, 56.05855584, 0.15),
        (64, 50, -8.75942256, 0.05),
        (128, 10, 77.84296299, 0.05),
        (128, 20, 54.27883917, 0.05),
        (128, 50, -9.82383315, 0.05),
    ],
)
def test_ssimulacra2_of_another_gray(size: int, shift: int, score: float, tolerance: float) -> None:
    assert ssimulacra2(gray(size), gray(size, 128 + shift)) == pytest.approx(score, abs=tolerance)


def test_ssimulacra2_of_a_ramp_and_of_noise() -> None:
    ramp = np.repeat(np.tile((np.arange(64) * 255 // 63).astype(np.uint8), (64, 1)), 3)
    assert ssimulacra2(ramp.reshape(64, 64, 3), gray(64)) == pytest.approx(-64.56872148, abs=0.01)
    state, samples = 42, []
    for _ in range(64 * 64 * 3):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        samples.append(state >> 33 & 255)
    noise = np.array(samples, np.uint8).reshape(64, 64, 3)
    assert ssimulacra2(noise, gray(64)) == pytest.approx(-47.33572558, abs=0.01)


def test_ssimulacra2_of_photographs(pair: tuple[Picture, Picture]) -> None:
    one, other = pair
    assert ssimulacra2(one, one) == pytest.approx(100, abs=1e-6)
    assert ssimulacra2(one, other) < 60
    assert math.isnan(ssimulacra2(one[:7], other[:7]))


def test_metrics_on_curves() -> None:
    assert METRICS["ms-ssim-rgb"].on_curve(0.99) == pytest.approx(20)
    assert METRICS["ms-ssim-rgb"].on_curve(1) == math.inf
    assert METRICS["psnr-rgb"].on_curve(33.0) == 33
    for key, metric in METRICS.items():
        assert (metric.key, metric.version) == (key, 1)
