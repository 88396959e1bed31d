"""Encoder search: another choice of symbols for the same decoder, worth more for its bits."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from running import aec_run

import aec
from aec.codec import refine
from aec.codec.choice import quality_lambda
from aec.codec.distortion import Distortion
from aec.codec.encoder import padded
from aec.codec.exact import exact_arithmetic
from aec.codec.refine import Refiner, rounds_of

PHOTO = Path(__file__).parent / "images" / "astronaut.png"
QUALITY = 40
INDEX = 102
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    with Image.open(PHOTO) as image:
        return np.asarray(image.convert("RGB"))[20:180, 150:290]


@pytest.fixture
def precise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients in float32 on every machine."""
    monkeypatch.setattr(refine, "has_bfloat16", lambda device: False)


def refiner(codec: aec.Codec, picture: NDArray[np.uint8]) -> Refiner:
    parts = codec.parts()
    with exact_arithmetic():
        y = parts.encoder.analysis(padded(picture, parts.device), INDEX)
    return Refiner(parts, y, (slice(None), slice(None)), picture, INDEX, 1.0)


def planes(picture: NDArray[np.uint8]) -> torch.Tensor:
    return padded(picture if picture.ndim == 3 else picture[..., None].repeat(3, 2), CPU) * 255


def cost(codec: aec.Codec, data: bytes, picture: NDArray[np.uint8], worth: float = 1.0) -> float:
    """R + lambda D of a file in bits."""
    x = planes(picture)
    error = planes(np.array(codec.decompress(data))) - x
    lam = float(quality_lambda(torch.tensor(INDEX / 255))) * worth
    return 8 * len(data) + lam * x[0, 0].numel() * float(Distortion(x)(error))


def test_efforts() -> None:
    rounds = [rounds_of(effort) for effort in range(1, 10)]
    assert rounds[0] == 0 and rounds == sorted(set(rounds))
    for wrong in (0, 10):
        with pytest.raises(ValueError, match="effort must be from 1 to 9"):
            rounds_of(wrong)


def test_the_twin_gives_the_decoders_pixels(codec: aec.Codec, photo: NDArray[np.uint8]) -> None:
    search = refiner(codec, photo)
    with exact_arithmetic():
        y_hat = torch.floor(search.y + 0.5)
        pixels = codec.parts().decoder.synthesis(y_hat * 128, INDEX).permute(2, 0, 1)[None].float()
        error = pixels - search.picture
        error[:, :, 160:] = error[..., 140:] = 0
        exact = search.worth * float(search.distortion(error))
        price, _ = search._price(y_hat)
    assert price == pytest.approx(exact, rel=0.02)  # the decoder rounds pixels


@pytest.mark.usefixtures("precise")
def test_the_gradient_is_that_of_the_price(codec: aec.Codec, photo: NDArray[np.uint8]) -> None:
    search = refiner(codec, photo)
    with exact_arithmetic():
        price, gradient = search._price(search.y)
        step = gradient * 1e-3 / gradient.norm()
        further, _ = search._price(search.y + 100 * step)
    predicted = float((gradient * 100 * step).sum())
    assert further - price == pytest.approx(predicted, rel=0.05) and predicted > 0


@pytest.mark.usefixtures("precise")
def test_pieces_add_up(
    codec: aec.Codec, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = np.ascontiguousarray(np.tile(photo, (4, 4, 1))[:600, :500])
    whole = refiner(codec, picture)
    monkeypatch.setattr(refine, "PIECE_CELLS", 700)
    parted = refiner(codec, picture)
    assert len(whole.pieces) == 1 and len(parted.pieces) > 1
    with exact_arithmetic():
        price, gradient = whole._price(whole.y)
        sum_of_prices, sum_of_gradients = parted._price(parted.y)
    assert sum_of_prices == pytest.approx(price, rel=1e-5)
    assert float((sum_of_gradients - gradient).abs().max()) < 1e-3 * float(gradient.abs().max())


def test_errors_cost_what_the_curvature_says(codec: aec.Codec, photo: NDArray[np.uint8]) -> None:
    """`counts` of an error of y along the shortcut alone, against D of its pixels."""
    search = refiner(codec, photo)
    for channel in (0, 1, 5, 40, 300):
        error = torch.zeros_like(search.picture)
        error[0, :, 64:80, 32:48] = search.parts.decoder.basis()[channel]
        found = float(search.distortion(error)) * error.numel()
        assert found == pytest.approx(float(search.counts[4, 2, channel]), rel=0.25)


@pytest.mark.parametrize("coarse", [False, True], ids=["float32", "bfloat16"])
def test_search_is_worth_its_time(
    codec: aec.Codec, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, coarse: bool
) -> None:
    monkeypatch.setattr(refine, "has_bfloat16", lambda device: coarse)
    plain, little, more = (
        codec.compress(photo, quality=QUALITY, effort=effort) for effort in (1, 3, 5)
    )
    prices = [cost(codec, data, photo) for data in (plain, little, more)]
    assert prices[1] < 0.995 * prices[0] and prices[2] < 0.985 * prices[0]
    assert prices[2] < prices[1]
    assert len(more) < 1.2 * len(plain)
    assert aec.open_info(more).quality == aec.open_info(plain).quality
    assert codec.compress(photo, quality=QUALITY, effort=5) == more


def test_tiles_gray_and_alpha(codec: aec.Codec, photo: NDArray[np.uint8]) -> None:
    gray = np.ascontiguousarray(photo[:, :, 1])
    plain, found = (
        codec.compress(gray, quality=QUALITY, effort=effort, tile=64) for effort in (1, 4)
    )
    assert aec.open_info(found).tiles == 9
    assert cost(codec, found, gray, 3) < cost(codec, plain, gray, 3)
    alpha = np.dstack([photo[:64, :64], np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)])
    back = np.asarray(codec.decompress(codec.compress(alpha, effort=2)))
    assert np.array_equal(back[:, :, 3], alpha[:, :, 3])


def test_a_picture_smaller_than_a_cell(codec: aec.Codec) -> None:
    dot = np.array([[[200, 30, 60]]], np.uint8)
    back = np.asarray(codec.decompress(codec.compress(dot, effort=3)))
    assert np.abs(back.astype(int) - dot).max() < 40


def test_progress_and_time(codec: aec.Codec, photo: NDArray[np.uint8]) -> None:
    shares: list[float] = []
    codec.compress(photo, quality=100, effort=2, tile=64, progress=shares.append)
    assert len(shares) == 9 * 2 and shares[0] == 0 and shares[-1] < 1
    assert shares == sorted(set(shares))
    with pytest.raises(aec.LimitError, match="max_seconds"):
        codec.compress(photo, effort=9, limits=aec.Limits(max_seconds=0.5))


def test_with_a_target(codec: aec.Codec, photo: NDArray[np.uint8]) -> None:
    plain = codec.compress_to(photo, size=3000)
    found = codec.compress_to(photo, size=3000, effort=4)
    assert 2970 <= len(found.data) <= 3000

    def psnr(data: bytes) -> float:
        error = np.asarray(codec.decompress(data), np.float64) - photo
        return 10 * math.log10(255**2 / np.mean(np.square(error)))

    assert psnr(found.data) > psnr(plain.data)


def test_command(tmp_path: Path) -> None:
    out = tmp_path / "a.aec"
    aec_run("compress", PHOTO, "-o", out, "-e", "2", "-q", "50")
    with Image.open(PHOTO) as image:
        assert out.read_bytes() == aec.compress(image, quality=50, effort=2)
        assert out.read_bytes() != aec.compress(image, quality=50)
    wrong = aec_run("compress", PHOTO, "-o", tmp_path / "b.aec", "-e", "10", code=2)
    assert "1<=x<=9" in wrong.output
