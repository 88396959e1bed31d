"""Calls in processes of their own, and what memory is counted there."""

import math
import os
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from aec.bench import apart, memory
from aec.bench.codecs import WebP

MIB = 2**20


def test_a_call_in_another_process() -> None:
    assert apart.apart(os.getpid) != os.getpid()
    assert apart.apart(math.hypot, 3, 4) == 5


def test_what_a_process_says_at_its_end() -> None:
    with pytest.raises(RuntimeError, match=r"^ValueError: "):
        apart.apart(math.sqrt, -1)
    with pytest.raises(RuntimeError, match="exit code 3"):
        apart.apart(os._exit, 3)


def test_the_peak_is_that_of_the_process_alone() -> None:
    held = bytes(range(256)) * (300 * 4096)  # no untouched zeros
    assert apart.peak() > len(held) == 300 * MIB
    assert MIB < apart.apart(apart.peak) < 150 * MIB


def test_the_peak_of_a_call() -> None:
    fill = partial(eval, "len(b'x' * 2**26)")
    for length, before, most in (apart.apart(apart.peak_of, fill), apart.peak_of(fill)):
        assert length == 64 * MIB
        assert before > MIB
        assert 60 * MIB < most - before < 90 * MIB


def test_a_larger_picture_takes_more() -> None:
    small, large = (
        memory.peaks(WebP(), partial(Image.new, "RGB", (side, side), "red"), 75, 1)
        for side in (64, 2000)
    )
    pixels = 2000 * 2000
    assert 1.5 * pixels < large["encode_memory_bytes"] < 50 * pixels  # a file has planes of 4:2:0
    assert 3 * pixels < large["decode_memory_bytes"] < 50 * pixels
    for way in ("encode", "decode"):
        assert 0 <= small[f"{way}_memory_bytes"] < large[f"{way}_memory_bytes"] / 2
        assert small[f"{way}_base_bytes"] > 5 * MIB
    # the picture was there before, and is no part of what encoding it took
    assert large["encode_base_bytes"] > small["encode_base_bytes"] + 3 * pixels


def test_a_picture_that_is_not_there(tmp_path: Path) -> None:
    opened = partial(Image.open, tmp_path / "no.png")
    with pytest.raises(RuntimeError, match=r"^FileNotFoundError: .*no\.png"):
        memory.peaks(WebP(), opened, 75, 1)
