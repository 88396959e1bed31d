"""Generated pictures that a pen does not draw: patterns of pixels, dithering, pixel art."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..data import Picture
from .colours import (
    Plane,
    Random,
    a_colour,
    clouds,
    gradient,
    grid,
    log_uniform,
    mixed,
    texture,
    two_colours,
)


def _turned(random: Random, side: int) -> tuple[Plane, Plane, bool]:
    """Coordinates at some angle, and whether they are those of the pixels themselves."""
    x, y = grid(random, side)
    kind = random.random()
    if kind < 0.4:
        return (x, y, True) if random.random() < 0.5 else (y, x, True)
    if kind < 0.6:
        steps = random.integers(1, 4, 2)  # a slope of few steps repeats after few pixels
        return x * steps[0] + y * steps[1], x * steps[1] - y * steps[0], True
    angle = np.float32(random.uniform(0, np.pi))
    sine, cosine = np.sin(angle), np.cos(angle)
    return x * cosine + y * sine, y * cosine - x * sine, False


def _bars(random: Random, u: Plane, exact: bool, narrow: float, wide: float) -> Plane:
    """Bars across u, and gaps; with soft edges now and then where their sides are not exact."""
    bar, gap = log_uniform(random, narrow, wide), log_uniform(random, narrow, wide)
    if random.random() < 0.5:
        gap = bar
    if exact:
        bar, gap = max(1, round(bar)), max(1, round(gap))
    place = np.mod(u, np.float32(bar + gap))
    if exact or random.random() < 0.5:
        return (place < bar).astype(np.float32)
    return np.clip(bar / 2 + 0.5 - np.abs(place - bar / 2), 0, 1)


def stripes(random: Random, side: int) -> Plane:
    u, _, exact = _turned(random, side)
    return _bars(random, u, exact, 1, 16)


def _checks(random: Random, side: int) -> Plane:
    u, v, exact = _turned(random, side)
    size = log_uniform(random, 1, 16)
    size = round(size) if exact else size
    odd = np.mod(np.floor(u / size) + np.floor(v / size), 2)
    return odd.astype(np.float32)


def _weave(random: Random, side: int) -> Plane:
    """Lines in two directions: a grid, a plaid, or squares apart."""
    u, v, exact = _turned(random, side)
    a = _bars(random, u, exact, 1, 24)
    b = _bars(random, v, exact, 1, 24)
    return [np.maximum(a, b), a * b, np.abs(a - b), (a + b) / 2][random.integers(4)]


def _dots(random: Random, side: int) -> Plane:
    u, v, _ = _turned(random, side)
    pitch = log_uniform(random, 3, 24)
    v = v + np.floor(u / pitch) * pitch * random.choice([0, 0.5])
    far = np.hypot(np.mod(u, pitch) - pitch / 2, np.mod(v, pitch) - pitch / 2)
    radius = pitch * random.uniform(0.15, 0.55)
    soft = random.choice([0.02, 1, pitch / 4])
    return np.clip((radius - far) / np.float32(soft) + 0.5, 0, 1)


def _bricks(random: Random, side: int) -> Plane:
    x, y = grid(random, side)
    height, joint = int(random.integers(3, 24)), int(random.integers(1, 4))
    width = int(height * random.uniform(1, 3))
    shift = np.floor(y / height) * (width // int(random.integers(2, 4)))
    inside = (np.mod(y, height) >= joint) & (np.mod(x + shift, width) >= joint)
    return inside.astype(np.float32)


def _chirp(random: Random, side: int) -> Plane:
    """Waves whose length changes along a line, around a point, or with the angle around it."""
    x, y = grid(random, side)
    x, y = x - random.uniform(0, side), y - random.uniform(0, side)
    kind = random.integers(3)
    if kind == 0:
        angle = random.uniform(0, np.pi)
        along = (x * np.cos(angle) + y * np.sin(angle)) / side
        phase = along * side * (random.uniform(0, 0.2) + along * random.uniform(0.05, 0.25))
    elif kind == 1:
        across = random.uniform(0.2, 2)
        phase = (x * x + across * y * y) / side * random.uniform(0.05, 0.6)
    else:
        phase = np.arctan2(y, x) / (2 * np.pi) * random.integers(8, 120) + np.hypot(x, y) / side
    wave = 0.5 + 0.5 * np.cos(2 * np.pi * phase)
    return np.rint(wave) if random.random() < 0.4 else wave


def _repeated(random: Random, side: int) -> Plane:
    """A few random pixels over and over: every pattern of single pixels is one of these."""
    height, width = random.integers(1, 9, 2)
    tile = random.random((height, width)) < random.uniform(0.1, 0.9)
    tile[random.integers(height), random.integers(width)] ^= True  # of one colour it is no pattern
    shown = np.tile(tile, (side // height + 1, side // width + 1))[:side, :side]
    return shown.astype(np.float32)


def _static(random: Random, side: int) -> Plane:
    """Random squares, some of one pixel."""
    cell = int(log_uniform(random, 1, 9))
    count = side // cell + 1
    noise = random.random((count, count), dtype=np.float32)
    if random.random() < 0.6:
        noise = (noise < random.uniform(0.02, 0.6)).astype(np.float32)
    return noise.repeat(cell, 0).repeat(cell, 1)[:side, :side]


MASKS = (
    *(stripes, stripes, stripes, _checks, _checks, _weave, _dots, _bricks),
    *(_chirp, _chirp, _repeated, _repeated, _static),
)


def a_pattern(random: Random, side: int) -> Picture:
    """One pattern in two colours."""
    mask = MASKS[random.integers(len(MASKS))](random, side)
    return mixed(mask, *two_colours(random))


def patterns(random: Random, side: int) -> Picture:
    """One pattern, or a chessboard of several."""
    count = int(random.choice([1, 1, 1, 2, 3]))
    if count == 1:
        return a_pattern(random, side)
    cell = -(-side // count)
    rows = [
        np.hstack([a_pattern(random, cell) for _ in range(count)])[:, :side] for _ in range(count)
    ]
    return np.vstack(rows)[:side]


def _thresholds(random: Random, side: int) -> Plane:
    """What ordered dithering compares with: a Bayer matrix, a halftone screen, or noise."""
    kind = random.random()
    if kind < 0.5:
        matrix = np.zeros((1, 1))
        for _ in range(random.integers(1, 4)):
            matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
        repeats = -(-side // len(matrix))
        shown = np.tile((matrix + 0.5) / matrix.size, (repeats, repeats))[:side, :side]
        return shown.astype(np.float32)
    if kind < 0.85:
        u, v, _ = _turned(random, side)
        scale = np.float32(2 * np.pi / log_uniform(random, 3, 14))
        return 0.5 + 0.25 * (np.cos(u * scale) + np.cos(v * scale))
    return random.random((side, side), dtype=np.float32)


def dithered(random: Random, side: int) -> Picture:
    """A smooth picture in few colours, the rest made of dots."""
    smooth = (gradient if random.random() < 0.5 else texture)(random, side)
    kind = random.random()
    if kind < 0.25:  # error diffusion between two colours
        bits = np.asarray(Image.fromarray(smooth).convert("1"))
        return mixed(bits, *two_colours(random))
    if kind < 0.5:  # and between a few
        count = int(random.integers(2, 17))
        palette = Image.new("P", (1, 1))
        palette.putpalette([c for _ in range(count) for c in a_colour(random)])
        return np.asarray(Image.fromarray(smooth).quantize(palette=palette).convert("RGB"))
    thresholds = _thresholds(random, side)
    if random.random() < 0.5:
        return mixed(smooth[..., 1] / 255 > thresholds, *two_colours(random))
    levels = int(random.integers(1, 5))
    shown = np.floor(smooth * (levels / 255) + np.clip(thresholds[..., None], 0, 0.999))
    return np.rint(np.minimum(shown, levels) * (255 / levels)).astype(np.uint8)


def pixel_art(random: Random, side: int) -> Picture:
    """A small picture of few colours, each of its pixels a square."""
    scale = int(random.integers(2, 9))
    count = side // scale + 1
    colours = np.array([a_colour(random) for _ in range(int(random.integers(3, 17)))], np.uint8)
    kind = random.integers(3)
    if kind == 0:
        land = clouds(random, count, 3, 0.8) * (len(colours) - 0.01)
    else:
        land = np.zeros((count, count))
        land += 2 * (random.random((count, count)) < random.choice([0, 0.05, 0.3]))
    if kind:
        for _ in range(int(random.integers(4, 40))):
            size = int(random.integers(4, 13))
            half = random.integers(0, len(colours), (2 * size, size))
            half[random.random(half.shape) < 0.35] = 0
            figure = np.hstack([half, half[:, ::-1]])[: max(2, count), : max(2, count)]
            top, left = (int(random.integers(0, count - n + 1)) for n in figure.shape)
            place = land[top : top + figure.shape[0], left : left + figure.shape[1]]
            place[figure > 0] = figure[figure > 0]
    small = colours[land.astype(np.int64) % len(colours)]
    return small.repeat(scale, 0).repeat(scale, 1)[:side, :side]
