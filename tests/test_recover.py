"""What is left of damaged files: intact tiles come back, and a mask says which they are."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import aec
from aec.format.chunks import walk_chunks
from aec.format.container import read_file, write_file
from aec.format.errors import (
    AecError,
    BackendMismatchError,
    ChecksumError,
    ModelNotFoundError,
    TruncatedError,
)
from aec.format.header import HEADER_SIZE

Pixels = NDArray[np.uint8]
SIDE = 128
REACH = 10 * 16  # pixels around a tile that may change with it


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Nine tiles, the last ones smaller, with alpha in the middle."""
    with Image.open(Path(__file__).parent / "images" / "astronaut.png") as image:
        photo = image.convert("RGB").crop((40, 0, 40 + 330, 300))
    alpha = np.full((300, 330), 255, np.uint8)
    alpha[140:250, 150:240] = 7
    photo.putalpha(Image.fromarray(alpha))
    return photo


@pytest.fixture(scope="module")
def data(codec: aec.Codec, picture: Image.Image) -> bytes:
    return codec.compress(picture, quality=50, tile=SIDE, xmp=b"<x/>")


def chunks(data: bytes) -> list[tuple[str, int, int]]:
    """Type, first byte and payload length of each chunk."""
    found = walk_chunks(memoryview(data), HEADER_SIZE)
    return [(chunk.type, chunk.offset, len(chunk.payload)) for chunk in found]


def mask_of(lost: list[int], scale: int = 1) -> Pixels:
    """The mask for a picture of 330 x 300, from the words of the documentation."""
    mask = np.full((300, 330), 255, np.uint8)
    for number in lost:
        top, left = number // 3 * SIDE, number % 3 * SIDE
        # at the right and the lower edge, cells end where their 16 pixels do
        mask[
            max(top - REACH, 0) : top + SIDE + REACH, max(left - REACH, 0) : left + SIDE + REACH
        ] = 128
    for number in lost:
        top, left = number // 3 * SIDE, number % 3 * SIDE
        mask[top : top + SIDE, left : left + SIDE] = 0
    return mask[::scale, ::scale]


@pytest.fixture(scope="module")
def whole(codec: aec.Codec, data: bytes) -> Pixels:
    return np.asarray(codec.decompress(data))


def check(codec: aec.Codec, damaged: bytes, whole: Pixels, lost: list[int]) -> aec.Recovered:
    """Everything outside the mask is as in the intact picture."""
    found = codec.recover(damaged)
    mask, pixels = np.asarray(found.mask), np.asarray(found.picture)
    assert np.array_equal(mask, mask_of(lost))
    assert np.array_equal(pixels[mask == 255], whole[mask == 255])
    assert np.array_equal(pixels[mask == 128][:, 3], whole[mask == 128][:, 3]), "alpha has no halo"
    assert (pixels[mask == 0] == (128, 128, 128, 0)).all()
    assert (found.tiles_ok, found.tiles_total) == (9 - len(lost), 9)
    return found


def test_an_intact_file_is_whole(codec: aec.Codec, data: bytes, whole: Pixels) -> None:
    found = check(codec, data, whole, [])
    assert found.errors == () and found.picture.info["xmp"] == b"<x/>"


@pytest.mark.parametrize("at", ["start", "middle", "end"])
def test_one_damaged_tile(codec: aec.Codec, data: bytes, whole: Pixels, at: str) -> None:
    """Wherever it is hit: its length, its type, its words, its checksum."""
    tiles = [(offset, length) for type, offset, length in chunks(data) if type == "TILE"]
    for number, (offset, length) in list(enumerate(tiles))[:: 2 if at == "middle" else 4]:
        place = {"start": 0, "middle": 8 + length // 2, "end": 8 + length + 3}[at]
        damaged = bytearray(data)
        damaged[offset + place] ^= 0x10
        found = check(codec, bytes(damaged), whole, [number])
        assert len(found.errors) == 1
        with pytest.raises(AecError):
            codec.decompress(bytes(damaged))
        pixels = np.asarray(found.picture)
        beside = np.asarray(found.mask) == 128
        assert (pixels[beside] != whole[beside]).any(), "the mask is no larger than it must be"


def test_damaged_alpha_costs_its_tile(codec: aec.Codec, data: bytes, whole: Pixels) -> None:
    alpha = next(offset for type, offset, _ in chunks(data) if type == "ALPH")
    damaged = bytearray(data)
    damaged[alpha + 20] ^= 1
    check(codec, bytes(damaged), whole, [4])


def test_a_damaged_index_costs_nothing(codec: aec.Codec, data: bytes, whole: Pixels) -> None:
    (index,) = [offset for type, offset, _ in chunks(data) if type == "TIDX"]
    damaged = bytearray(data)
    damaged[index + 9] ^= 1
    found = check(codec, bytes(damaged), whole, [])
    assert any(isinstance(error, ChecksumError) for error in found.errors)


def test_damaged_metadata_is_left_out(codec: aec.Codec, data: bytes, whole: Pixels) -> None:
    damaged = data.replace(b"<x/>", b"<y/>")
    found = check(codec, damaged, whole, [])
    assert "xmp" not in found.picture.info and len(found.errors) == 1
    with pytest.raises(ChecksumError):
        codec.decompress(damaged)


def test_truncated_files_keep_their_first_tiles(
    codec: aec.Codec, data: bytes, whole: Pixels
) -> None:
    ends = [offset + 12 + length for type, offset, length in chunks(data) if type == "TILE"]
    for whole_tiles, end in enumerate(ends):
        for size in (end - 1, end):
            kept = whole_tiles + (size == end)
            if kept == 0:
                with pytest.raises(TruncatedError):
                    codec.recover(data[:size])
            else:
                check(codec, data[:size], whole, list(range(kept, 9)))


def test_symbols_that_are_wrong_behind_right_checksums(
    codec: aec.Codec, data: bytes, whole: Pixels
) -> None:
    container = read_file(data)
    tiles = list(container.tiles)
    tiles[2] = type(tiles[2])(2, tiles[2].symbol_crc ^ 1, tiles[2].payload, tiles[2].alpha)
    forged = write_file(container.header, tiles, container.metadata)
    found = check(codec, forged, whole, [2])
    assert isinstance(found.errors[0], BackendMismatchError)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_smaller(codec: aec.Codec, data: bytes, scale: int) -> None:
    offset = next(offset for type, offset, _ in chunks(data) if type == "TILE")
    damaged = bytearray(data)
    damaged[offset + 30] ^= 1
    found = codec.recover(bytes(damaged), scale=scale)
    small = codec.decompress(data, scale=scale)
    assert found.picture.size == found.mask.size == small.size
    mask = np.asarray(found.mask)
    assert np.array_equal(np.asarray(found.picture)[mask == 255], np.asarray(small)[mask == 255])
    assert np.array_equal(mask == 0, mask_of([0], scale) == 0) and (mask == 128).any()


def test_nothing_left_is_an_error(codec: aec.Codec, picture: Image.Image) -> None:
    data = codec.compress(picture, quality=5, tile=0)
    assert codec.recover(data).errors == ()
    damaged = bytearray(data)
    damaged[-30] ^= 1
    with pytest.raises(ChecksumError):
        codec.recover(bytes(damaged))
    with pytest.raises(TruncatedError):
        codec.recover(data[:-30])
    header = bytearray(data)
    header[21] ^= 1
    with pytest.raises(ChecksumError):
        codec.recover(bytes(header))
    container = read_file(data)
    other = type(container.header)(330, 300, 13, bytes(8), container.header.flags)
    with pytest.raises(ModelNotFoundError):
        codec.recover(write_file(other, container.tiles))
