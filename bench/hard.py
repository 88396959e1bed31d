"""Pictures that are hard for a codec made for photographs, drawn by anyone who wants to have them.

Text, screens, line art, patterns of single pixels, and what has next to no content. They are the
same everywhere but for the edges of letters, which are what FreeType makes of Pillow's own font.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["PICTURES"]

Colour = tuple[int, int, int]
Pen = ImageDraw.ImageDraw

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
PRIMARIES = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (0, 255, 255),
    (255, 0, 255),
    (255, 255, 0),
    BLACK,
    WHITE,
)
SAMPLE = (
    "Sphinx of black quartz, judge my vow; pack my box with five dozen liquor jugs. 0123456789 "
    "(3.14) [a+b=c] {x/y} <tag> 50% @home #1 $20 & Co. WAVE jumps THE quick Brown fog? Ill 1lI| O0"
)


def _sheet(width: int, height: int, colour: Colour = WHITE) -> tuple[Image.Image, Pen]:
    """A picture of one colour, and a pen for it."""
    image = Image.new("RGB", (width, height), colour)
    return image, ImageDraw.Draw(image)


def _grid(width: int, height: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The columns and the rows of all pixels."""
    y, x = np.mgrid[:height, :width]
    return x, y


def _image(*planes: NDArray[np.generic]) -> Image.Image:
    """The picture of one gray plane or of three coloured ones."""
    clipped = [np.clip(np.rint(plane), 0, 255).astype(np.uint8) for plane in planes]
    return Image.fromarray(clipped[0] if len(clipped) == 1 else np.stack(clipped, axis=-1))


def _noise(seed: int, *shape: int) -> NDArray[np.int64]:
    """Values from 0 to 255; numpy keeps the numbers of this old generator for ever."""
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.int64)


def _clouds(seed: int, width: int, height: int, finest: int = 2) -> NDArray[np.float64]:
    """A texture like that of photographs: noise of every scale, the coarser the stronger."""
    total = np.zeros((height, width))
    cell = finest
    while cell <= 64:
        small = _noise(seed + cell, height // cell + 3, width // cell + 3) - 127.5
        columns, rows = np.arange(width) / cell, np.arange(height) / cell
        left, top = columns.astype(int), rows.astype(int)
        u, v = columns - left, (rows - top)[:, None]
        lines = small[:, left] * (1 - u) + small[:, left + 1] * u
        total += cell**0.8 * (lines[top] * (1 - v) + lines[top + 1] * v)
        cell *= 2
    return total / np.abs(total).max()


def _write(
    pen: Pen, box: tuple[int, int, int, int], sizes: Sequence[int], *colours: Colour
) -> None:
    """Fills a box with lines of text, their sizes and colours in turn."""
    left, top, right, bottom = box
    words, inks = cycle(SAMPLE.split()), cycle(colours)
    for size in cycle(sizes):
        if top + size > bottom:
            return
        font = ImageFont.load_default(size)
        x, ink = float(left), next(inks)
        while True:
            word = next(words)
            length = pen.textlength(word + " ", font)
            if x + length > right:
                break
            pen.text((x, top), word, ink, font)
            x += length
        top += size + size // 3


def text() -> Image.Image:
    image, pen = _sheet(512, 384)
    _write(pen, (8, 6, 504, 380), (10, 12, 16, 9, 24, 11, 36, 14), BLACK)
    return image


def text_on_black() -> Image.Image:
    image, pen = _sheet(384, 320, BLACK)
    _write(pen, (8, 6, 376, 316), (12, 14, 10, 20, 9, 28), WHITE)
    return image


def text_coloured() -> Image.Image:
    """Bands whose letters differ from the paper in colour, some in nothing else."""
    image, pen = _sheet(512, 384)
    pairs: list[tuple[Colour, Colour]] = [
        ((0, 0, 255), (255, 0, 0)),
        ((255, 255, 0), (0, 0, 160)),
        (WHITE, (200, 0, 0)),
        ((0, 130, 0), (255, 120, 200)),
        ((30, 30, 46), (137, 220, 235)),
        ((128, 128, 128), (200, 90, 90)),
        ((255, 255, 255), (255, 230, 0)),
        ((255, 0, 255), (0, 255, 0)),
    ]
    for number, (paper, ink) in enumerate(pairs):
        top = 48 * number
        pen.rectangle((0, top, 511, top + 47), paper)
        _write(pen, (6, top + 3, 506, top + 48), (11, 18), ink)
    return image


def text_gray() -> Image.Image:
    image, pen = _sheet(384, 320, (238, 238, 238))
    _write(pen, (8, 6, 376, 316), (11, 13, 9, 18, 30), (20, 20, 20), (120, 120, 120))
    return image.convert("L")


def screenshot() -> Image.Image:
    """Two windows with bars, a table, buttons, and a desktop behind them."""
    font = ImageFont.load_default(11)
    image, pen = _sheet(512, 384, (36, 84, 120))
    pen.rectangle((0, 360, 511, 383), (32, 32, 36))
    for n in range(6):
        _icon(pen, 8 + 30 * n, 362, n)
    _icon(pen, 20, 20, 7)
    _icon(pen, 20, 60, 4)
    _window(image, 60, 24, 330, 250, (0, 90, 190))
    pen.rectangle((61, 46, 150, 273), (243, 243, 246))
    for n in range(9):
        top = 50 + 24 * n
        if n == 3:
            pen.rectangle((61, top, 150, top + 22), (0, 120, 215))
        _icon(pen, 65, top + 2, n)
        pen.text((88, top + 5), f"Folder {n}", WHITE if n == 3 else BLACK, font)
        for column in range(3):
            pen.text((158 + 78 * column, top + 5), f"{n * 37 + column * 911} kB", BLACK, font)
        pen.line((151, top + 23, 389, top + 23), (221, 221, 221))
    for column in range(3):
        pen.line((152 + 78 * column, 46, 152 + 78 * column, 273), (204, 204, 204))
    _window(image, 250, 150, 240, 190, (110, 60, 140))
    image.paste(_image(*(128 + 120 * _clouds(n, 96, 64) for n in range(3))), (262, 184))
    _write(pen, (366, 180, 484, 260), (10, 12), (50, 50, 50))
    for n, name in enumerate(("OK", "Cancel", "Help")):
        left = 262 + 74 * n
        pen.rounded_rectangle((left, 306, left + 66, 328), 5, (225, 225, 225), (120, 120, 120))
        pen.text((left + 16, 311), name, BLACK, font)
    pen.line([(262 + x, 290 - (x * x * 7 // 50) % 26) for x in range(0, 220, 4)], (220, 40, 40))
    return image


def _icon(pen: Pen, x: int, y: int, kind: int) -> None:
    pen.rectangle((x, y, x + 17, y + 17), PRIMARIES[kind % 8], (60, 60, 60))
    pen.ellipse((x + 4, y + 4, x + 13, y + 13), PRIMARIES[(kind + 3) % 8])
    pen.line((x + 2, y + 15, x + 15, y + 2), WHITE)


def _window(image: Image.Image, left: int, top: int, width: int, height: int, bar: Colour) -> None:
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    pen.rectangle((left, top, left + width, top + height), (250, 250, 250), (70, 70, 70))
    for x in range(width - 1):
        shade = tuple(c + (255 - c) * x // (2 * width) for c in bar)
        pen.line((left + 1 + x, top + 1, left + 1 + x, top + 20), shade)
    pen.text((left + 8, top + 4), "Untitled document", WHITE, font)
    for n in range(3):
        x = left + width - 18 * (n + 1)
        pen.rectangle((x, top + 4, x + 13, top + 17), outline=WHITE)


def line_art() -> Image.Image:
    """Smooth thin curves, circles and hatching, drawn large and made smaller."""
    image, pen = _sheet(4 * 448, 4 * 384)
    t = np.arange(3000) / 3000 * 2 * np.pi
    for n in range(7):
        x = 4 * (130 + (40 + 11 * n) * np.sin((n + 1) * t + n))
        y = 4 * (120 + (90 - 9 * n) * np.sin((n + 2) * t))
        pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), BLACK, 3 + n // 2)
    for radius in range(4, 90, 5):
        box = [4 * c for c in (345 - radius, 105 - radius, 345 + radius, 105 + radius)]
        pen.ellipse(box, outline=BLACK, width=4)
    for n in range(90):
        pen.line((4 * (20 + 4 * n), 4 * 250, 4 * (60 + 3 * n), 4 * 370), BLACK, 3)
        pen.line((4 * 20, 4 * (250 + n * n // 67), 4 * 430, 4 * (250 + n * n // 67)), BLACK, 2)
    return image.reduce(4)


def plan() -> Image.Image:
    """A plan of a flat: walls, doors, tiles and lengths, in lines of one and three pixels."""
    image, pen = _sheet(384, 384)
    for box in ((20, 20, 364, 330), (20, 20, 200, 180), (200, 20, 364, 130), (20, 180, 120, 330)):
        pen.rectangle(box, outline=BLACK, width=3)
    for x in range(124, 362, 6):
        pen.line((x, 184, x, 327), (150, 150, 150))
    for y in range(184, 328, 6):
        pen.line((124, y, 361, y), (150, 150, 150))
    for x in range(204, 362, 3):
        pen.line((x, 24, x - 60 if x > 263 else 204, 127), (0, 0, 200))
    for x, y in ((60, 178), (140, 178), (200, 70)):
        pen.rectangle((x, y, x + 24, y + 4), WHITE)
        pen.arc((x - 24, y - 22, x + 24, y + 26), 270, 360, (200, 0, 0))
    for n in range(5):
        pen.line((20 + 80 * n, 340, 20 + 80 * n, 352), BLACK)
        pen.text((24 + 80 * n, 341), f"{n * 1.25:.2f} m", BLACK, ImageFont.load_default(10))
    pen.line((20, 346, 364, 346), BLACK)
    _write(pen, (26, 28, 194, 90), (9, 11), BLACK)
    return image


def checks_1() -> Image.Image:
    x, y = _grid(256, 256)
    return _image(*[255 * ((x + y) % 2)] * 3)


def checks_2() -> Image.Image:
    x, y = _grid(256, 256)
    odd = (x // 2 + y // 2) % 2
    return _image(255 * odd, 60 + 0 * odd, 255 - 255 * odd)


def stripes() -> Image.Image:
    """Stripes of one pixel in four directions, and below them of two and three."""
    x, y = _grid(256, 128)
    wide = np.where(x < 128, x // 2 % 2, y // 3 % 2)
    thin = np.select([x < 64, x < 128, x < 192], [x % 2, y % 2, (x + 2 * y) // 2 % 2], (x - y) % 3)
    return _image(*[255 * np.minimum(np.vstack([thin, wide]), 1)] * 3)


def primaries() -> Image.Image:
    """Every saturated colour beside every other one, in squares and in lines."""
    image, pen = _sheet(256, 256)
    for row, paper in enumerate(PRIMARIES):
        for column, ink in enumerate(PRIMARIES):
            x, y = 32 * column, 32 * row
            pen.rectangle((x, y, x + 31, y + 31), paper)
            pen.rectangle((x + 6, y + 6, x + 16, y + 25), ink)
            pen.line((x + 21, y + 4, x + 21, y + 27), ink)
            pen.line((x + 25, y + 4, x + 28, y + 27), ink, 2)
    return image


def zone_plate() -> Image.Image:
    x, y = _grid(384, 384)
    square = (2 * x - 383) ** 2 + (2 * y - 383) ** 2
    return _image(*[127.5 + 127.5 * np.cos(np.pi * square / 4 / 384)] * 3)


def gradients() -> Image.Image:
    """Slow ramps: whole ones, one of few levels, a dark one, coloured ones and a round one."""
    x, y = _grid(512, 64)
    none = 0 * x
    bands = [
        (x / 2, x / 2, x / 2),
        (120 + x / 64, 120 + x / 64, 124 + x / 64),
        (x / 16, x / 20, x / 12),
        (255 - x / 2, none + 128, x / 2),
        (none + 200, 200 - y - x / 8, 60 + x / 4),
        [255 * np.exp(-((x - 256) ** 2 + 16 * (y - 32) ** 2) / 30000)] * 3,
    ]
    return _image(*(np.vstack([band[c] for band in bands]) for c in range(3)))


def noise() -> Image.Image:
    """Small, as Pillow fails to write an optimised JPEG file of more bytes than it expects."""
    return _image(*_noise(1, 3, 128, 128))


def flat() -> Image.Image:
    """One colour but for one small mark: what errs here errs on every wall and sky."""
    image, pen = _sheet(256, 256, (203, 67, 119))
    pen.rectangle((120, 120, 127, 127), (190, 80, 130))
    return image


def texture_gray() -> Image.Image:
    return _image(128 + 127 * _clouds(5, 384, 256, 1))


def dithered() -> Image.Image:
    ramp = 128 + 150 * _clouds(9, 320, 256, 16) + (_grid(320, 256)[0] - 160) / 4
    return _image(ramp).convert("1").convert("RGB")


def dark() -> Image.Image:
    return _image(*(5 + 7 * _clouds(20 + n, 256, 256) for n in range(3)))


def bright() -> Image.Image:
    return _image(*(250 + 7 * _clouds(30 + n, 256, 256) for n in range(3)))


def strip() -> Image.Image:
    x, y = _grid(3, 200)
    return _image(255 * (y // 7 % 2), y + 20 * x, 255 - y)


DRAWN: tuple[Callable[[], Image.Image], ...] = (
    *(text, text_on_black, text_coloured, text_gray, screenshot, line_art, plan),
    *(checks_1, checks_2, stripes, primaries, zone_plate, dithered, noise),
    *(gradients, flat, texture_gray, dark, bright, strip),
)

PICTURES = {function.__name__: function for function in DRAWN}
"""What draws each picture, by its name: in mode L where that ends in gray, else in RGB. Text needs
FreeType in Pillow.
"""
