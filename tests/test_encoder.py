"""The encoder's own networks, in float32 and in bfloat16."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import aec
from aec.codec import encoder
from aec.codec.encoder import has_bfloat16, padded
from aec.codec.exact import exact_arithmetic
from aec.codec.pictures import PixelSource
from aec.codec.targets import psnr_of

PHOTO = Path(__file__).parent / "images" / "astronaut.png"
CPU = torch.device("cpu")
WITHOUT, WITH = (lambda device: False), (lambda device: True)


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    with Image.open(PHOTO) as image:
        return np.asarray(image.convert("RGB"))[20:276, 100:292]


def test_which_cpu_has_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    def can(**what: bool) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: what, raising=False)

    can(avx512_f=True, avx512_bf16=False)
    assert not has_bfloat16(CPU)
    can(avx512_bf16=True)
    assert has_bfloat16(CPU)
    can(amx_bf16=True)
    assert has_bfloat16(CPU)
    assert not has_bfloat16(torch.device("cuda"))
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not has_bfloat16(CPU)


def test_bfloat16_is_as_good(
    codec: aec.Codec, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though y is another one, a file takes as many bits for the same error, up to noise."""
    y, price = [], []
    for precision in (WITHOUT, WITH):
        monkeypatch.setattr(encoder, "has_bfloat16", precision)
        with exact_arithmetic():
            y.append(codec.parts().encoder.analysis(padded(photo, CPU), 128))
        costs = []
        for quality in (20, 50, 75, 95):
            data = codec.compress(photo, quality=quality)
            psnr = psnr_of(PixelSource(photo), codec.decompress(data))
            costs.append(np.log2(len(data)) - psnr / 4)  # 1 dB is worth a sixth of the bits
        price.append(np.array(costs))
    assert y[1].dtype == torch.float32
    change = float((y[1] - y[0]).square().mean().sqrt())
    assert 0 < change < 0.01  # of a step
    assert abs(np.mean(price[1] - price[0])) < 0.015
