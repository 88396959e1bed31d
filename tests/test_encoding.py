"""Qualities on their way to a file: their indices, and small files that look ahead."""

import numpy as np
import pytest
from numpy.typing import NDArray

import aec
from aec.codec.encoding import AHEAD, SLACK, SMALL, Job, quality_index
from aec.format.container import read_file
from aec.format.errors import LimitError

DOT = np.zeros((4, 4), np.uint8)


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


class Made(Job):
    """A job whose files have the sizes that it is told, by index, after which time is up; it notes
    which it made.
    """

    sizes: dict[int, int]
    made: list[int]

    def encode(self, index: int, thrift: float = 1.0) -> bytes:
        self.made.append(index)
        if index not in self.sizes:
            raise LimitError("it took too long")
        return bytes(self.sizes[index])


def told(
    codec: aec.Codec,
    sizes: dict[int, int],
    pixels: NDArray[np.uint8] = DOT,
    exif: bytes | None = None,
) -> Made:
    job = Made(*codec._job(pixels, None, {"exif": exif}, None, 1, lambda share: None))
    job.sizes, job.made = sizes, []
    return job


def test_quality_indices() -> None:
    assert [quality_index(q) for q in (0, 0.19, 0.2, 50, 74.9, 100)] == [0, 0, 1, 128, 191, 255]
    assert quality_index(np.float32(100)) == 255


@pytest.mark.parametrize(
    ("sizes", "found", "encodes"),
    [
        ([300, 320, 100], 300, 2),  # the usual case: more quality, more bytes
        ([300, 300 + SLACK + 1, 100], 300, 2),
        ([300, 296, 340, 100], 296, 3),
        ([300, 300 + SLACK, 290, 310, 100], 290, 4),
        ([300] * AHEAD + [299, 100], 299, AHEAD + 1),
        ([SMALL - 1, SMALL - 2, 2 * SMALL], SMALL - 2, 3),
        ([SMALL, SMALL - 1], SMALL, 1),  # too large for that
    ],
)
def test_small_files_take_no_more_than_those_of_higher_qualities(
    codec: aec.Codec, sizes: list[int], found: int, encodes: int
) -> None:
    for first in (0, 37.5, 100 - len(sizes) + 1):
        indices = [quality_index(first + step) for step in range(len(sizes))]
        job = told(codec, dict(zip(indices, sizes, strict=True)))
        assert len(job.encode_at(first)) == found
        assert job.made == indices[:encodes]


def test_there_is_no_higher_quality_than_100(codec: aec.Codec) -> None:
    gray = np.full((20, 20), 90, np.uint8)
    assert read_file(codec.compress(gray, quality=100)).header.quality == 255
    assert read_file(codec.compress(gray, quality=99.5)).header.quality == 254


def test_metadata_does_not_make_a_file_large(codec: aec.Codec) -> None:
    sizes = {0: SMALL + 300, 3: SMALL + 290, 5: SMALL + 400}
    assert len(told(codec, sizes, exif=b"II*\0" + bytes(SMALL)).encode_at(0)) == SMALL + 290


def test_a_file_that_is_there_when_time_is_up_is_not_lost(codec: aec.Codec) -> None:
    job = told(codec, {0: 300, 3: 299})
    assert len(job.encode_at(0)) == 299 and len(job.made) == 3
    with pytest.raises(LimitError):
        told(codec, {}).encode_at(0)


def test_large_pictures_are_coded_once(codec: aec.Codec) -> None:
    for height, encodes in ((256, 2), (257, 1)):
        job = told(codec, {0: 300, 3: 400}, np.zeros((height, 1024), np.uint8))
        job.encode_at(0)
        assert len(job.made) == encodes
