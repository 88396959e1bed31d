"""Generated graphics for training: what photographs do not show, and codecs are used for as well.

Text, screens, line art, plots, maps, patterns, dithering and pixel art, all of them random.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..data import Picture
from .art import a_map, line_art, mosaic, shapes
from .colours import Random, texture
from .pages import fringed, layout, page, screen, words
from .patterns import dithered, patterns, pixel_art

__all__ = ["make_graphics"]

#: What draws a picture, and its share of all.
KINDS: dict[Callable[[Random, int], Picture], float] = {
    page: 16,
    fringed: 5,
    layout: 12,
    screen: 12,
    words: 6,
    line_art: 12,
    a_map: 7,
    shapes: 6,
    mosaic: 6,
    patterns: 10,
    dithered: 6,
    pixel_art: 4,
}
COMPOSED = 0.15


def _one(random: Random, side: int) -> Picture:
    shares = np.array(list(KINDS.values()))
    return list(KINDS)[random.choice(len(KINDS), p=shares / shares.sum())](random, side)


def _composed(random: Random, side: int) -> Picture:
    """A picture beside another one, or within it."""
    inner = _one(random, side)
    outer = _one(random, side) if random.random() < 0.75 else texture(random, side)
    whole = outer.copy()
    top, left = (int(n) for n in random.integers(0, side * 3 // 4, 2))
    bottom, right = side, side
    if random.random() < 0.5:
        top = 0
    else:
        bottom, right = (int(random.integers(n + side // 8, side + 1)) for n in (top, left))
    whole[top:bottom, left:right] = inner[top:bottom, left:right]
    return whole


def make_graphics(count: int, *, side: int, seed: int) -> list[Picture]:
    """`count` pictures of `side` px along each side; picture n depends on the seed and n alone."""
    pictures = []
    for n in range(count):
        random = np.random.default_rng([seed, n])
        make = _composed if random.random() < COMPOSED else _one
        pictures.append(np.ascontiguousarray(make(random, side)))
    return pictures
