"""Smaller pictures: the reference's pixels at every scale, how far they look, how good they are."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import random_weights
import reference_decoder as reference
import torch
from numpy.typing import NDArray
from PIL import Image

import aec
from aec.codec.config import ModelConfig
from aec.codec.decoder import Y_MAX, Decoder
from aec.codec.exact import exact_arithmetic
from aec.codec.loading import DECODER_FILE, DEFAULT_MODEL, load_weights
from aec.format.errors import ModelIntegrityError

PHOTO = Path(__file__).parent / "images" / "astronaut.png"
Ints = NDArray[np.int64]
CPU = torch.device("cpu")
SCALES = (1, 2, 4, 8)


def random_decoder(seed: int) -> tuple[Decoder, dict[str, Ints]]:
    """A decoder of random weights and their tensors."""
    tensors = random_weights.random_tensors(np.random.default_rng(seed))
    integers = {name: tensor.astype(np.int64) for name, tensor in tensors.items()}
    return decoder_of(tensors), integers


def decoder_of(tensors: dict[str, np.ndarray], **depths: int) -> Decoder:
    config = random_weights.SMALL_CONFIG | {f"g_s_{name}": count for name, count in depths.items()}
    torches = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    return Decoder(ModelConfig(**config), torches, CPU)


@pytest.fixture(scope="module")
def shipped() -> tuple[Decoder, dict[str, Ints]]:
    weights = load_weights()
    tensors = reference.read_tensors((DEFAULT_MODEL / DECODER_FILE).read_bytes())
    return Decoder(weights.cfg, weights.decoder, CPU), tensors


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact_arithmetic():
        yield


def box(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Means over squares of `scale`, the last of a row or column over what there is."""
    rows, columns = (-(-side // scale) for side in pixels.shape[:2])
    out = np.empty((rows, columns, *pixels.shape[2:]))
    for i, j in np.ndindex(rows, columns):
        square = pixels[scale * i : scale * (i + 1), scale * j : scale * (j + 1)]
        out[i, j] = square.mean(axis=(0, 1))
    return out


@pytest.mark.spec("S-250", "S-251")
@pytest.mark.parametrize("seed", [*range(6), "shipped"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("extreme", [False, True], ids=["usual", "extreme"])
def test_every_pixel_is_that_of_the_reference(
    shipped: tuple[Decoder, dict[str, Ints]], seed: int | str, scale: int, extreme: bool
) -> None:
    decoder, tensors = shipped if isinstance(seed, str) else random_decoder(seed)
    rng = np.random.default_rng(scale)
    limit = Y_MAX if extreme else 300
    for quality in (0, 140, 255):
        y = rng.integers(-limit, limit + 1, (4, 8, decoder.cfg.m))
        found = decoder.synthesis(torch.from_numpy(y).float(), quality, scale)
        expected = reference.Network(tensors, quality).pixels(y, scale)
        assert found.dtype == torch.uint8
        assert expected.shape == (64 // scale, 128 // scale, 3)
        np.testing.assert_array_equal(found, expected)
        if seed == "shipped" and not extreme:
            assert ((expected > 0) & (expected < 255)).mean() > 0.1  # else it would mean little


@pytest.mark.spec("S-137", "S-251")
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(97, 45), (64, 128), (1, 1), (9, 8)])
def test_files_decode_to_the_pixels_of_the_reference(
    codec: aec.Codec, shipped: tuple[Decoder, dict[str, Ints]], mode: str, size: tuple[int, int]
) -> None:
    with Image.open(PHOTO) as photo:
        data = codec.compress(photo.crop((200, 30, 200 + size[0], 30 + size[1])).convert(mode))
    for scale in SCALES:
        smaller = codec.decompress(data, scale=scale)
        assert (smaller.mode, smaller.size) == (mode, tuple(-(-side // scale) for side in size))
        np.testing.assert_array_equal(smaller, reference.decode(data, shipped[1], scale))


@pytest.mark.spec("S-252")
@pytest.mark.parametrize("size", [(97, 45), (64, 64), (3, 1)])
@pytest.mark.parametrize("tile", [0, 64])
def test_alpha_is_averaged(codec: aec.Codec, size: tuple[int, int], tile: int) -> None:
    rng = np.random.default_rng(0)
    alpha = rng.integers(0, 256, (size[1], size[0])).astype(np.uint8)
    picture = Image.new("RGB", size, (30, 60, 90))
    picture.putalpha(Image.fromarray(alpha))
    data = codec.compress(picture, tile=tile)
    for scale in SCALES[1:]:
        expected = np.floor(box(alpha.astype(np.float64), scale) + 0.5)
        found = np.asarray(codec.decompress(data, scale=scale))
        np.testing.assert_array_equal(found[..., 3], expected)


def gentle_decoder(**depths: int) -> Decoder:
    """Random weights under which signals neither grow nor fade, so that all that counts is seen."""
    rng = np.random.default_rng(0)
    tensors = random_weights.random_tensors(rng, random_weights.SMALL | depths)
    for name, tensor in tensors.items():
        if name.startswith("g_s") and name.endswith(".weight"):
            inputs = np.prod(tensor.shape[1:])
            tensor[:] = rng.normal(0, 1024 / inputs**0.5, tensor.shape)
        elif name.startswith("g_s"):
            value = {"bias": 0, "shift": 10, "low": -(2**20), "high": 2**20}
            tensor[:] = value[name.rpartition(".")[2]]
        if re.fullmatch(r"g_s\.leave\d*\.bias", name):
            tensor[:] = 2**21  # half of 256 grey levels
    tensors["inverse_gain"][:] = 2**19
    return decoder_of(tensors, **depths)


MOST = 12  # cells around the middle four, more than any halo here


def check_halo(decoder: Decoder, scale: int, *, tight: bool) -> None:
    """Cuts cells out of a y_hat with their halo, and with one cell less."""
    y = np.random.default_rng(0).integers(-300, 301, (2 * MOST + 2, 2 * MOST + 2, decoder.cfg.m))
    y_hat = torch.from_numpy(y).float()

    def cells(halo: int) -> torch.Tensor:
        """The pixels of the four cells in the middle, from a cut-out."""
        cut = slice(MOST - halo, MOST + 2 + halo)
        piece = decoder.synthesis(y_hat[cut, cut].contiguous(), 255, scale)
        inside = slice(halo * 16 // scale, (halo + 2) * 16 // scale)
        return piece[inside, inside]

    halo = decoder.halo(scale)
    assert torch.equal(cells(halo), cells(MOST))
    if tight and halo:
        assert not torch.equal(cells(halo - 1), cells(MOST))


@pytest.mark.parametrize("scale", SCALES)
def test_the_halo_is_enough(shipped: tuple[Decoder, dict[str, Ints]], scale: int) -> None:
    """What reaches as far as the halo may be too little here to change a pixel."""
    check_halo(shipped[0], scale, tight=False)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("blocks16", [0, 2])
@pytest.mark.parametrize("blocks8", [0, 1, 2, 3])
def test_the_halo_is_not_too_much_at_any_depth(scale: int, blocks16: int, blocks8: int) -> None:
    decoder = gentle_decoder(blocks16=blocks16, blocks8=blocks8)
    assert decoder.halo(scale) == blocks16 + (1 if scale > 1 else -(-blocks8 // 2))
    check_halo(decoder, scale, tight=True)


@pytest.mark.parametrize("quality", [25, 50, 75, 100])
@pytest.mark.parametrize("scale", SCALES[1:])
def test_smaller_pictures_are_close_to_averaged_ones(
    codec: aec.Codec, quality: int, scale: int
) -> None:
    with Image.open(PHOTO) as photo:
        picture = photo.convert("RGB").crop((64, 0, 448, 384))
    data = codec.compress(picture, quality=quality)
    original = box(np.asarray(picture, np.float64), scale)
    averaged = np.floor(box(np.asarray(codec.decompress(data), np.float64), scale) + 0.5)
    smaller = np.asarray(codec.decompress(data, scale=scale), np.float64)

    def psnr(a: np.ndarray, b: np.ndarray) -> float:
        return float(10 * np.log10(255**2 / np.mean((a - b) ** 2)))

    # closer to each other than to the original, or hardly to be told apart
    assert psnr(smaller, averaged) > min(psnr(averaged, original) + 2, 47)
    assert psnr(smaller, original) > psnr(averaged, original) - 2


@pytest.mark.parametrize("scale", [0, -2, 3, 16])
def test_other_scales_are_refused(scale: int) -> None:
    decoder, _ = random_decoder(0)
    with pytest.raises(ValueError, match=r"scale must be one of \(1, 2, 4, 8\)"):
        decoder.synthesis(torch.zeros(1, 1, decoder.cfg.m), 0, scale)


@pytest.mark.spec("S-152")
@pytest.mark.parametrize("name", ["leave", "shortcut", "leave2", "leave4", "leave8"])
@pytest.mark.parametrize("share", [0, 0.5, 2])
def test_layers_of_pixels_must_have_their_size(name: str, share: float) -> None:
    tensors = random_weights.random_tensors(np.random.default_rng(0))
    for key, tensor in tensors.items():
        if key.startswith(f"g_s.{name}."):
            tensors[key] = np.resize(tensor, (int(len(tensor) * share), *tensor.shape[1:]))
    with pytest.raises(ModelIntegrityError, match=rf"layer g_s.{name}: shape is not of"):
        decoder_of(tensors)
