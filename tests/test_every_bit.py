"""One flipped bit anywhere in a file of four tiles: noticed, and it costs one tile at most.

The tests try one bit in 211; AEC_EVERY_BIT=1 tries them all, which takes some minutes.
"""

import os

import numpy as np
import pytest
import samples

import aec
from aec.format.container import Tile, read_file
from aec.format.errors import AecError
from aec.format.header import HEADER_SIZE
from aec.format.limits import DEFAULT_LIMITS
from aec.format.reader import PartReader

STEP = 1 if os.environ.get("AEC_EVERY_BIT") else 211


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> aec.Codec:
    return aec.Codec(device="cpu", model=samples.small_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def data(codec: aec.Codec) -> bytes:
    pixels = np.random.default_rng(4).integers(0, 256, (250, 256, 4), dtype=np.uint8)
    pixels[..., 3] = np.arange(256) // 64  # a plane that packs well
    return codec.compress(pixels, quality=30, tile=128, xmp=b"<x/>")


@pytest.mark.spec("S-042", "S-232", "S-233")
def test_every_bit(codec: aec.Codec, data: bytes) -> None:
    whole = codec.recover(data)
    expected, lost = np.asarray(whole.picture), 0
    sound = {tile.number: tile for tile in read_file(data).tiles}
    assert len(sound) == 4 and whole.errors == ()
    for bit in range(0, 8 * len(data), STEP):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged = bytes(flipped)
        with pytest.raises(AecError):
            codec.decompress(damaged)
        if bit // 8 < HEADER_SIZE:
            with pytest.raises(AecError):
                codec.recover(damaged)
            continue
        left = intact(damaged)
        assert len(left) >= 3 and all(sound[tile.number] == tile for tile in left)
        found = codec.recover(damaged)
        assert found.tiles_ok == len(left) and found.errors
        exact = np.asarray(found.mask) == 255
        assert np.array_equal(np.asarray(found.picture)[exact], expected[exact])
        # two blocks at 1/8 and one at 1/16 reach two cells
        assert exact.sum() >= (250 * 256 if len(left) == 4 else 250 * 256 - 160 * 160)
        lost += 4 - len(left)
    assert lost


def intact(data: bytes) -> list[Tile]:
    """The tiles that a tolerant reader takes for sound."""
    tiles = []
    with PartReader(data, DEFAULT_LIMITS, tolerant=True) as reader:
        for number in range(reader.header.grid.count):
            try:
                tiles.append(reader.tile(number))
            except AecError:
                continue
    return tiles
