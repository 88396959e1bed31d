"""Random colours for generated pictures, and smooth changes between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data import Picture

Colour = tuple[int, int, int]
Random = np.random.Generator
Plane = NDArray[np.float32]  # (H, W), mostly of values from 0 to 1


def log_uniform(random: Random, low: float, high: float) -> float:
    """A number between the two, small ones as often as large ones."""
    return float(low * (high / low) ** random.random())


def a_colour(random: Random) -> Colour:
    """Any colour; grays, pale, dark and saturated ones more often than chance would have them."""
    kind = random.random()
    value = random.integers(0, 256, 3)
    if kind < 0.22:
        value = 255 * (value // 128)
    elif kind < 0.4:
        value[:] = value[0]
    elif kind < 0.52:
        order = random.permutation(3)
        value[order[0]], value[order[1]] = 255 - value[0] // 8, value[1] // 8
    elif kind < 0.66:
        value = 255 - value // 5
    elif kind < 0.78:
        value = value // 4
    return int(value[0]), int(value[1]), int(value[2])


def contrast(a: Colour, b: Colour) -> int:
    """The largest difference between two colours in a channel."""
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def an_ink(random: Random, paper: Colour) -> Colour:
    """A colour that can be seen on another one, black or white more often than any else."""
    if random.random() < 0.45:
        gray = int(random.integers(0, 64)) if random.random() < 0.5 else 0
        light = paper[0] * 3 + paper[1] * 6 + paper[2] > 1275
        return (gray,) * 3 if light else (255 - gray,) * 3
    least = 16 if random.random() < 0.12 else 80
    while contrast(ink := a_colour(random), paper) < least:
        pass
    return ink


def two_colours(random: Random) -> tuple[Colour, Colour]:
    if random.random() < 0.3:
        return (0, 0, 0), (255, 255, 255)
    paper = a_colour(random)
    return paper, an_ink(random, paper)


def mixed(mask: NDArray, paper: Colour, ink: Colour) -> Picture:
    """The ink where the mask is 1 on the paper where it is 0, in steps of a level."""
    levels = np.clip(np.rint(255 * mask), 0, 255).astype(np.uint8)
    steps = np.linspace(0, 1, 256)[:, None]
    table = np.rint((1 - steps) * np.array(paper) + steps * np.array(ink)).astype(np.uint8)
    return table[levels]


def grid(random: Random, side: int) -> tuple[Plane, Plane]:
    """Columns and rows of all pixels from a random origin."""
    start = random.integers(0, 64, 2)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    return x + start[0], y + start[1]


def clouds(random: Random, side: int, finest: float, slope: float) -> Plane:
    """Noise of every scale from the finest to that of the picture, coarse scales the stronger."""
    total = np.zeros((side, side), np.float32)
    cell = side / 2.0
    while cell >= finest:
        count = max(2, round(side / cell) + 1)
        noise = random.normal(0, cell**slope, (count, count)).astype(np.float32)
        total += np.asarray(Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC))
        cell /= 2
    total -= total.min()
    return total / max(float(total.max()), 1e-6)


def texture(random: Random, side: int) -> Picture:
    """What a smooth part of a photograph may look like."""
    finest, slope = log_uniform(random, 1, 32), random.uniform(0.4, 1.2)
    light = clouds(random, side, finest, slope)
    hue = clouds(random, side, max(finest, 16), 1.0)
    a, b = random.uniform(60, 200) + random.normal(0, 40, (2, 3))
    tint = a + hue[..., None] * (b - a)
    strength = random.uniform(40, 255)
    return np.clip(tint + (light[..., None] - 0.5) * strength, 0, 255).astype(np.uint8)


def gradient(random: Random, side: int) -> Picture:
    """A smooth change from one colour to another; of few levels now and then."""
    x, y = grid(random, side)
    if random.random() < 0.6:
        angle = random.uniform(0, 2 * np.pi)
        along = x * np.cos(angle) + y * np.sin(angle)
    else:
        along = np.hypot(x - random.uniform(0, side), y - random.uniform(0, side))
    along -= along.min()
    along /= max(float(along.max()), 1e-6)
    if random.random() < 0.2:
        levels = random.integers(2, 12)
        along = np.floor(along * levels) / levels
    paper, ink = a_colour(random), a_colour(random)
    if random.random() < 0.3:  # a faint one, as behind a page
        ink = tuple(int(p + (i - p) * 0.1) for p, i in zip(paper, ink, strict=True))  # type: ignore[assignment]
    return mixed(along, paper, ink)
