import math

import pytest

from aec.format import container, errors, header
from aec.format.container import open_info, read_file
from aec.format.limits import (
    DEFAULT_LIMITS,
    MAX_CHUNKS,
    MAX_FILE_BYTES,
    MAX_PIXELS,
    MAX_SIDE,
    Limits,
)
from aec.format.reader import PartReader
from aec.format.tiles import Grid


@pytest.mark.spec("S-044")
@pytest.mark.parametrize(
    ("width", "height", "fits"),
    [
        (1, 1, True),
        (MAX_SIDE, 1, True),
        (MAX_SIDE + 1, 1, False),
        (1, MAX_SIDE + 1, False),
        (MAX_SIDE, MAX_PIXELS // MAX_SIDE, True),
        (MAX_SIDE, MAX_PIXELS // MAX_SIDE + 1, False),
    ],
)
def test_picture_limits_are_inclusive(width, height, fits):
    if fits:
        DEFAULT_LIMITS.check_picture(width, height)
    else:
        with pytest.raises(errors.LimitError, match=r"max_(side|pixels)="):
            DEFAULT_LIMITS.check_picture(width, height)


def test_file_limit_is_inclusive():
    DEFAULT_LIMITS.check_file_bytes(MAX_FILE_BYTES)
    with pytest.raises(errors.LimitError, match=f"file of {MAX_FILE_BYTES + 1} bytes"):
        DEFAULT_LIMITS.check_file_bytes(MAX_FILE_BYTES + 1)


def test_pixel_limit_is_the_one_of_pillow():
    from PIL import Image

    assert MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


@pytest.mark.spec("S-226")
def test_tile_limit_is_inclusive():
    Limits(max_chunks=9).check_chunks(9, "tiles")
    with pytest.raises(errors.LimitError, match="10 tiles are over the limit max_chunks=9"):
        Limits(max_chunks=9).check_chunks(10, "tiles")


def test_the_smallest_tiles_of_the_largest_picture_fit():
    most = max(
        Grid(width, min(MAX_PIXELS // width, MAX_SIDE), 6).count
        for side in range(64, MAX_SIDE, 64)
        for width in (side, side + 1)
    )
    assert 2 * most + 100 < MAX_CHUNKS  # each with its alpha


@pytest.mark.parametrize("name", [n for n in Limits.__slots__ if n != "max_seconds"])
def test_a_limit_is_at_least_one(name):
    assert getattr(Limits(**{name: 1}), name) == 1
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        Limits(**{name: 0})


def test_the_time_is_more_than_nothing():
    assert Limits(max_seconds=1e-3).max_seconds == 1e-3
    for seconds in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match="max_seconds must be more than 0, not"):
            Limits(max_seconds=seconds)


@pytest.mark.spec("S-226")
def test_the_largest_tile():
    """A tile of 4096 pixels a side, the largest that can be named, is within the bound."""
    DEFAULT_LIMITS.check_tiles(9, 4096, 4096)
    whole = header.Header(4096, 4097, 0, bytes(8))
    bomb = header.pack_header(whole) + bytes(30)
    for read in (open_info, read_file, PartReader):
        with pytest.raises(errors.LimitError, match="16781312 pixels is over the limit max_tile"):
            read(bomb)
    with pytest.raises(errors.LimitError, match="max_tile_pixels"):
        container.write_file(whole, [container.Tile(0, 0, b"")])
    tiled = header.Header(4096, 4097, 0, bytes(8), tile_log2=12)
    tiles = [container.Tile(number, 0, b"") for number in range(2)]
    assert len(read_file(container.write_file(tiled, tiles)).tiles) == 2
