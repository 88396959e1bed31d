"""Files of a wanted size or PSNR: never over, within 1 % or 0.05 dB, in few encodes."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from running import aec_run

import aec
from aec.codec.pictures import PixelSource
from aec.codec.targets import psnr_of, reach_psnr, reach_size

PHOTO = Path(__file__).parent / "images" / "astronaut.png"


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    with Image.open(PHOTO) as image:
        picture = image.convert("RGB").crop((100, 0, 356, 192))
    picture.info.clear()
    return picture


def psnr(a: Image.Image | NDArray[np.uint8], b: Image.Image) -> float:
    error = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return 10 * math.log10(255**2 / np.mean(error**2))


@pytest.mark.parametrize("near", [15, 50, 85])
def test_size(codec: aec.Codec, photo: Image.Image, near: int) -> None:
    size = len(codec.compress(photo, quality=near)) * 26 // 25
    found = codec.compress_to(photo, size=size)
    assert 0.99 * size <= len(found.data) <= size
    assert found.value == len(found.data) and found.encodes <= 8
    assert aec.open_info(found.data).quality == pytest.approx(found.quality)
    plain = codec.compress(photo, quality=found.quality)
    # thrift costs hardly more than quality does
    assert psnr(codec.decompress(found.data), photo) > psnr(codec.decompress(plain), photo) - 0.4


def test_metadata_counts_and_tiles_may_be_chosen(codec: aec.Codec, photo: Image.Image) -> None:
    found = codec.compress_to(photo, size=9000, xmp=b"x" * 3000, tile=64)
    assert 8910 <= len(found.data) <= 9000 and aec.open_info(found.data).tiles == 12
    assert codec.decompress(found.data).info["xmp"] == b"x" * 3000


def test_bits_per_pixel(codec: aec.Codec, photo: Image.Image) -> None:
    found = codec.compress_to(photo, bpp=0.8)
    assert 0.99 * 0.8 <= aec.open_info(found.data).bpp <= 0.8


@pytest.mark.parametrize("aim", [30.0, 35.5])
def test_psnr(codec: aec.Codec, photo: Image.Image, aim: float) -> None:
    found = codec.compress_to(photo, psnr=aim)
    assert aim <= psnr(codec.decompress(found.data), photo) <= aim + 0.05
    assert found.value == pytest.approx(psnr(codec.decompress(found.data), photo))
    assert found.encodes <= 8


def test_psnr_counts_the_colours_that_are_seen(codec: aec.Codec) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (2000, 6, 4), dtype=np.uint8)
    pixels[:1000, :, 3] = 0
    other = pixels.copy()
    other[:1000, :, :3] = 7
    other[1000:, :, :3] ^= 1
    decoded = Image.fromarray(other)
    assert psnr_of(PixelSource(pixels), decoded) == pytest.approx(10 * math.log10(255**2))
    assert psnr_of(PixelSource(pixels), Image.fromarray(pixels)) == 100


def test_what_cannot_be_reached(codec: aec.Codec, photo: Image.Image) -> None:
    with pytest.raises(aec.LimitError, match=r"quality 0 takes \d+ bytes, over the target of 100"):
        codec.compress_to(photo, size=100)
    with pytest.raises(aec.LimitError, match=r"quality 100 gives \d\d\.\d\d dB, under"):
        codec.compress_to(photo, psnr=60)
    best = codec.compress_to(photo, size=10_000_000)
    assert best.quality == 100 and best.data == codec.compress(photo, quality=100)
    flat = codec.compress_to(np.full((40, 50), 128, np.uint8), psnr=30)
    assert flat.value >= 30
    for aims in ({}, {"size": 9000, "bpp": 1.0}, {"size": 0}, {"psnr": math.nan}):
        with pytest.raises(ValueError, match="takes one of size, bpp and psnr"):
            codec.compress_to(photo, **aims)  # type: ignore[arg-type]


@given(
    st.integers(100, 10**4),
    st.floats(0.004, 0.05),
    st.floats(0.05, 1),
    st.floats(0.2, 2),
    st.integers(1, 10**5),
)
def test_any_curve_is_searched_to_an_end(
    least: int, slope: float, thrifty: float, bend: float, size: int
) -> None:
    """Sizes that grow with the quality, however fast, and shrink with thrift, however little."""

    def encode(index: int, thrift: float) -> bytes:
        bits = slope * 255 * (index / 255) ** bend - thrifty * math.log(thrift)
        return bytes(min(int(least * 2**bits), 1 << 17))

    def psnr_from_length(data: bytes) -> float:
        return 10 * math.log10(1 + len(data))

    try:
        found = reach_size(encode, size)
    except aec.LimitError:
        assert len(encode(0, 1.0)) > size
    else:
        assert len(found.data) <= size and found.encodes < 60
    try:
        assert reach_psnr(encode, psnr_from_length, 40).value >= 40
    except aec.LimitError:
        assert psnr_from_length(encode(255, 1.0)) < 40


def test_on_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "a.aec"
    done = aec_run("compress", PHOTO, "-o", out, "--target-size", "12k", "--strip", "all")
    assert 11880 <= out.stat().st_size <= 12000 and " quality " in done.stderr
    done = aec_run("compress", PHOTO, "-o", out, "-f", "--target-psnr", "32", "--json")
    row = json.loads(done.stdout)
    assert 32 <= row["psnr"] <= 32.05 and 0 < row["quality"] < 100
    aec_run("compress", PHOTO, "-o", out, "-f", "--target-bpp", "0.01", "--strip", "all", code=5)
    for wrong in (["--target-size", "0"], ["--target-size", "4x"], ["--target-psnr", "nan"]):
        aec_run("compress", PHOTO, "-o", out, "-f", *wrong, code=2)
    both = ["-q", "9", "--target-bpp", "1"]
    done = aec_run("compress", PHOTO, "-o", out, "-f", *both, code=2)
    assert "exclude each other" in done.stderr
