"""The public codec: sizes, modes, qualities, damaged files, other processes and other threads."""

import contextlib
import multiprocessing
import pickle
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import reference_decoder as reference
import torch
from numpy.typing import NDArray
from PIL import Image

import aec
from aec.codec.api import _rebuild
from aec.codec.engine import resources
from aec.codec.loading import DECODER_FILE, DEFAULT_MODEL
from aec.format.container import read_file
from aec.format.errors import (
    AecError,
    BackendMismatchError,
    FormatError,
    ImageError,
    LimitError,
    ModelNotFoundError,
    ResourceError,
)
from aec.format.header import FLAG_GRAY
from aec.format.limits import Limits

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


@pytest.fixture(scope="module")
def tensors() -> dict[str, NDArray[np.int64]]:
    return reference.read_tensors((DEFAULT_MODEL / DECODER_FILE).read_bytes())


@pytest.fixture(scope="module")
def photo() -> Pixels:
    with Image.open(Path(__file__).parent / "images" / "astronaut.png") as image:
        return np.array(image.convert("RGB"))


def crop(photo: Pixels, height: int, width: int, gray: bool = False) -> Pixels:
    """A part of the photo, repeated where that is too small."""
    rows, columns = -(-height // len(photo)), -(-width // photo.shape[1])
    part = np.tile(photo, (rows, columns, 1))[:height, :width]
    return part[:, :, 1] if gray else part


# Sizes and modes


@pytest.mark.spec("S-136", "S-137", "S-170")
@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 300), (300, 1), (7, 5), (16, 16), (63, 65), (64, 128)]
)
@pytest.mark.parametrize("gray", [False, True], ids=["colour", "gray"])
def test_sizes(
    codec: aec.Codec,
    tensors: dict[str, NDArray[np.int64]],
    photo: Pixels,
    height: int,
    width: int,
    gray: bool,
) -> None:
    pixels = crop(photo, height, width, gray)
    data = codec.compress(pixels, quality=70)
    header = read_file(data).header
    assert (header.width, header.height) == (width, height)
    assert bool(header.flags & FLAG_GRAY) == gray
    image = codec.decompress(data)
    assert image.mode == ("L" if gray else "RGB") and image.size == (width, height)
    np.testing.assert_array_equal(image, reference.decode(data, tensors))


@pytest.mark.parametrize("gray", [False, True], ids=["colour", "gray"])
def test_a_picture_of_usual_size(codec: aec.Codec, photo: Pixels, gray: bool) -> None:
    pixels = crop(photo, 511, 767, gray)
    data = codec.compress(pixels, quality=75)
    decoded = np.asarray(codec.decompress(data))
    assert decoded.shape == pixels.shape and decoded.dtype == np.uint8
    assert len(data) < 511 * 767 / 4, "two bits a pixel"
    assert np.mean((decoded.astype(float) - pixels) ** 2) < 0.05 * pixels.var()


def test_a_gray_picture_is_coded_as_one_with_three_equal_channels(
    codec: aec.Codec, photo: Pixels
) -> None:
    gray = crop(photo, 40, 50, gray=True)
    one, three = codec.compress(gray), codec.compress(np.stack([gray] * 3, axis=2))
    assert read_file(one).tiles == read_file(three).tiles
    colours = np.asarray(codec.decompress(three)).astype(np.int64).sum(axis=2)
    np.testing.assert_array_equal(codec.decompress(one), (colours + 1) // 3)


def test_arrays_and_images_are_alike(codec: aec.Codec, photo: Pixels) -> None:
    for pixels in (crop(photo, 20, 30), crop(photo, 20, 30, gray=True)):
        data = codec.compress(pixels)
        assert codec.compress(Image.fromarray(pixels)) == data
        assert codec.compress(pixels[:, ::-1][:, ::-1]) == data, "strides are no matter"
        read_only = pixels.copy()
        read_only.flags.writeable = False
        assert codec.compress(read_only) == data


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((4, 4, 1, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint16),
        np.zeros((0, 4), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
    ids=lambda a: f"{a.dtype} {a.shape}",
)
def test_other_arrays_are_refused(codec: aec.Codec, array: NDArray) -> None:
    with pytest.raises(ImageError):
        codec.compress(array)


# Quality


@pytest.mark.parametrize("quality", [-1, -1e-9, 100.001, 101, float("nan"), float("inf")])
def test_qualities_outside_of_the_scale_are_refused(codec: aec.Codec, quality: float) -> None:
    with pytest.raises(ValueError, match="quality must be from 0 to 100") as caught:
        codec.compress(np.zeros((4, 4), np.uint8), quality=quality)
    assert not isinstance(caught.value, AecError)


def test_more_quality_is_more_bytes_and_less_error(codec: aec.Codec, photo: Pixels) -> None:
    pixels = crop(photo, 128, 128)
    files = [codec.compress(pixels, quality=quality) for quality in (0, 50, 100)]
    errors = [
        float(np.mean((np.asarray(codec.decompress(data)).astype(float) - pixels) ** 2))
        for data in files
    ]
    assert len(files[0]) < len(files[1]) < len(files[2])
    assert errors[0] > errors[1] > errors[2]
    assert [read_file(data).header.quality for data in files] == [0, 128, 255]


# The same again


def test_determinism(codec: aec.Codec, photo: Pixels) -> None:
    pixels = crop(photo, 70, 90)
    data = codec.compress(pixels, quality=60)
    image = codec.decompress(data).tobytes()
    again = aec.Codec(device="cpu")
    for other in (codec, again):
        assert other.compress(pixels, quality=60) == data
        assert other.decompress(data).tobytes() == image
    assert aec.compress(pixels, quality=60, device="cpu") == data
    assert aec.decompress(data, device="cpu").tobytes() == image


def test_inputs_are_left_as_they_are(codec: aec.Codec, photo: Pixels) -> None:
    pixels = crop(photo, 33, 44).copy()
    data = codec.compress(pixels)
    assert np.array_equal(pixels, crop(photo, 33, 44))
    as_array = bytearray(data)
    assert codec.decompress(as_array).size == (44, 33) and as_array == data


def test_threads_share_a_codec(codec: aec.Codec, photo: Pixels) -> None:
    parts = [crop(photo[20 * i :], 40, 50 + 9 * i) for i in range(6)]
    files = [codec.compress(part) for part in parts]
    images = [codec.decompress(data).tobytes() for data in files]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(codec.compress, parts * 2)) == files * 2
        found = pool.map(lambda data: codec.decompress(data).tobytes(), files * 2)
        assert list(found) == images * 2


def test_a_codec_travels_to_another_process(codec: aec.Codec, photo: Pixels) -> None:
    pixels = crop(photo, 30, 40)
    data = codec.compress(pixels)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(codec.compress, pixels).result() == data
        image = pool.submit(codec.decompress, data).result()
    np.testing.assert_array_equal(image, codec.decompress(data))


def test_a_pickle_holds_names_and_no_weights(codec: aec.Codec) -> None:
    limits = Limits(max_side=77)
    other = aec.Codec(device="cpu", model=DEFAULT_MODEL, limits=limits)
    text = pickle.dumps(other)
    assert len(text) < 1000
    copy = pickle.loads(text)
    assert copy.limits == limits and copy.model == DEFAULT_MODEL
    assert copy.model_id == codec.model_id and copy.device == torch.device("cpu")
    with pytest.raises(ModelNotFoundError, match=f"model {'00' * 8}, found {codec.model_id}"):
        _rebuild("cpu", None, limits, "00" * 8)


# Damage: one file, as small as can be, and everything that can happen to a byte of it


@pytest.fixture(scope="module")
def tiny(photo: Pixels) -> bytes:
    codec = aec.Codec(device="cpu")
    return codec.compress(crop(photo, 3, 2), quality=75)


@pytest.mark.spec("S-041")
def test_every_truncation_is_refused(codec: aec.Codec, tiny: bytes) -> None:
    for length in range(len(tiny)):
        with pytest.raises(FormatError):
            codec.decompress(tiny[:length])


@pytest.mark.spec("S-042")
def test_every_change_of_one_byte_is_refused(codec: aec.Codec, tiny: bytes) -> None:
    refused = 0
    for at in range(len(tiny)):
        for difference in range(1, 256):
            changed = bytearray(tiny)
            changed[at] ^= difference
            with pytest.raises(AecError):
                codec.decompress(bytes(changed))
            refused += 1
    assert refused == 255 * len(tiny)


def repaired(data: bytearray) -> bytes:
    """The file with the checksums of its header and its one tile made right again."""
    struct.pack_into("<I", data, 28, zlib.crc32(data[:28]))
    (length,) = struct.unpack_from("<I", data, 32)
    if 40 + length + 4 <= len(data):
        struct.pack_into("<I", data, 40 + length, zlib.crc32(data[32 : 40 + length]))
    return bytes(data)


@pytest.mark.spec("S-114", "S-116")
def test_changes_of_the_tile_behind_right_checksums_are_refused(
    codec: aec.Codec, tiny: bytes
) -> None:
    end = len(tiny) - 12
    step = max(1, (end - 40) // 60)  # enough of them where the weights make for a longer file
    for at in [*range(40, 44), *range(44, end, step), *range(end - 8, end)]:
        for bit in range(0, 8, 1 + (at % 2)):
            changed = bytearray(tiny)
            changed[at] ^= 1 << bit
            with pytest.raises((BackendMismatchError, FormatError)):
                codec.decompress(repaired(changed))


def test_changes_of_the_header_behind_right_checksums_are_refused_or_decoded(
    tiny: bytes, photo: Pixels
) -> None:
    """Another quality can make a valid file; what counts is that nothing else comes out."""
    codec = aec.Codec(device="cpu", limits=Limits(max_side=128, max_pixels=10_000))
    refused = 0
    for at in range(32):
        for bit in range(8):
            changed = bytearray(tiny)
            changed[at] ^= 1 << bit
            data = repaired(changed)
            try:
                image = codec.decompress(data)
            except AecError:
                refused += 1
            else:
                header = read_file(data).header
                assert image.size == (header.width, header.height)
    assert refused > 200


@pytest.mark.spec("S-043")
def test_random_payloads_are_refused(codec: aec.Codec, tiny: bytes) -> None:
    rng = np.random.default_rng(0)
    for words in [0, 1, 2, 3, 10, 40] * 5:
        payload = rng.bytes(4 + 4 * words)
        tile = struct.pack("<I4s", len(payload), b"TILE") + payload
        data = tiny[:32] + tile + struct.pack("<I", zlib.crc32(tile)) + b"\0\0\0\0AEND"
        with pytest.raises((BackendMismatchError, FormatError)):
            codec.decompress(data)


@pytest.mark.spec("S-172")
def test_a_file_of_another_model_names_both(codec: aec.Codec, tiny: bytes) -> None:
    changed = bytearray(tiny)
    changed[20:28] = bytes(range(8))
    with pytest.raises(ModelNotFoundError) as caught:
        codec.decompress(repaired(changed))
    assert "0001020304050607" in str(caught.value) and codec.model_id in str(caught.value)


# Bounds and devices


@pytest.mark.spec("S-044")
def test_limits_hold_on_both_sides(codec: aec.Codec, photo: Pixels) -> None:
    small = aec.Codec(device="cpu", limits=Limits(max_pixels=100))
    for height, width in ((10, 11), (101, 1)):
        pixels = crop(photo, height, width)
        with pytest.raises(LimitError, match="max_pixels"):
            small.compress(pixels)
        with pytest.raises(LimitError, match="max_pixels"):
            small.decompress(codec.compress(pixels))
    assert small.decompress(small.compress(crop(photo, 10, 10))).size == (10, 10)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "mps", "meta", "cpu cpu"])
def test_unknown_devices_are_refused(device: str) -> None:
    with pytest.raises(ValueError, match="is none of auto, cpu, cuda, cuda:N") as caught:
        aec.Codec(device=device)
    assert not isinstance(caught.value, AecError)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ResourceError, match=f"torch sees {torch.cuda.device_count()} CUDA"):
        aec.Codec(device=f"cuda:{torch.cuda.device_count()}")


def test_the_end_of_memory_is_a_resource_error() -> None:
    with pytest.raises(ResourceError, match="out of memory"), resources():
        torch.empty(2**55)
    with pytest.raises(ResourceError, match="out of memory"), resources():
        np.empty(2**55)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), resources():
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    with pytest.raises(LimitError), resources():
        raise LimitError("as it is")


@contextlib.contextmanager
def _tf32() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def test_the_default_device_of_the_host_does_not_matter(codec: aec.Codec, photo: Pixels) -> None:
    small = crop(photo, 70, 90)
    torch.set_default_device("meta")  # tensors made there have no values at all
    try:
        other = aec.Codec(device="cpu")
        data = other.compress(small)
        picture = other.decompress(data)
    finally:
        torch.set_default_device(None)
    assert data == codec.compress(small)
    assert picture.tobytes() == codec.decompress(data).tobytes()


@pytest.mark.spec("S-170")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_and_cpu_read_each_other(codec: aec.Codec, photo: Pixels) -> None:
    gpu = aec.Codec(device="cuda")
    assert gpu.device.type == "cuda", "its canary failed"
    for height, width in ((1, 1), (63, 65), (300, 400)):
        for quality in (0, 60, 100):
            pixels = crop(photo, height, width)
            with _tf32(), torch.autocast("cuda"):
                data = gpu.compress(pixels, quality=quality)
                image = gpu.decompress(data).tobytes()
                other = gpu.decompress(codec.compress(pixels, quality=quality)).tobytes()
            assert codec.decompress(data).tobytes() == image
            assert codec.decompress(codec.compress(pixels, quality=quality)).tobytes() == other
