"""Text, tables, code, plots and the like, drawn with a pen in random colours and sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .colours import Colour, Random, a_colour, an_ink, gradient, log_uniform, texture
from .patterns import a_pattern

Box = tuple[int, int, int, int]  # left, top, right, bottom
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

#: Frequent letters more often, as in texts; spaces make words of them.
LETTERS = list(
    "        eeeeeettttaaaaooooiiiinnnnsssshhhrrrddlllcuumwwfgypbvkjxqz"
    "EASTONRILCMDWHPGFBUVKYJXQZ0123456789.,,.:;-()/%&+=*#@!?'\"[]{}<>_|$"
)
PAPERS: tuple[Colour, ...] = ((255, 255, 255), (0, 0, 0), (246, 246, 248), (30, 31, 38))


@cache
def a_font(size: int) -> Font:
    return ImageFont.load_default(size)


def some_text(random: Random, count: int) -> str:
    return "".join(random.choice(LETTERS, count))


class Canvas:
    """A picture, a pen for it, and the few colours that it is drawn in."""

    def __init__(self, random: Random, image: Image.Image, paper: Colour) -> None:
        self.random = random
        self.image = image
        self.paper = paper
        self.pen = ImageDraw.Draw(image)
        if random.random() < 0.25:
            self.pen.fontmode = "1"  # no gray at the edges of letters
        self.inks = [an_ink(random, paper) for _ in range(int(random.integers(1, 6)))]
        self.text_size = int(log_uniform(random, 9, 22))
        self.rule = int(random.choice([1, 1, 1, 2, 3]))

    def ink(self) -> Colour:
        """The first ink most of the time, else one of the others."""
        if self.random.random() < 0.5:
            return self.inks[0]
        return self.inks[self.random.integers(len(self.inks))]

    def faint(self) -> Colour:
        """A colour near that of the paper, as of rules, bars and shades."""
        share, ink = self.random.uniform(0.04, 0.4), self.ink()
        a, b, c = (int(p + (i - p) * share) for p, i in zip(self.paper, ink, strict=True))
        return a, b, c

    def number(self, low: int, high: int) -> int:
        """A whole number from `low` to below `high`, or `low`."""
        return int(self.random.integers(low, max(high, low + 1)))

    def write(self, at: tuple[float, float], count: int, ink: Colour, size: int = 0) -> None:
        self.pen.text(at, some_text(self.random, count), ink, a_font(size or self.text_size))

    def on(self, paper: Colour) -> Canvas:
        """A canvas of other colours for a part of the same picture."""
        return Canvas(self.random, self.image, paper)


def a_paper(random: Random) -> Colour:
    """White, black, a light or a dark gray, or any colour."""
    if random.random() < 0.25:
        return a_colour(random)
    return PAPERS[random.choice(len(PAPERS), p=[0.5, 0.16, 0.17, 0.17])]


def sheet(random: Random, side: int) -> Canvas:
    kind = random.random()
    if kind < 0.12:
        array = texture(random, side)
    elif kind < 0.25:
        array = gradient(random, side)
    else:
        colour = a_paper(random)
        return Canvas(random, Image.new("RGB", (side, side), colour), colour)
    r, g, b = (int(c) for c in array.mean((0, 1)))
    return Canvas(random, Image.fromarray(array), (r, g, b))


def split(random: Random, box: Box, least: int) -> list[Box]:
    """Parts of a box, cut across its longer side and those parts again."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    if max(width, height) < 2 * least or random.random() < 0.15:
        return [box]
    cut = random.uniform(0.25, 0.75)
    if width > height * random.uniform(0.7, 1.3):
        middle = left + int(cut * width)
        halves = (left, top, middle, bottom), (middle, top, right, bottom)
    else:
        middle = top + int(cut * height)
        halves = (left, top, right, middle), (left, middle, right, bottom)
    return [part for half in halves for part in split(random, half, least)]


def paragraphs(canvas: Canvas, box: Box) -> None:
    """Lines of text of one or more sizes, some with a heading, a highlight or a line below."""
    random, pen = canvas.random, canvas.pen
    left, top, right, bottom = box
    several = random.random() < 0.4
    size, ink = canvas.text_size, canvas.ink()
    while top < bottom - size:
        if several or random.random() < 0.06:
            size, ink = int(log_uniform(random, 9, 60)), canvas.ink()
            size = min(size, max(9, (right - left) // 6))
        for _ in range(canvas.number(1, 6)):
            if top > bottom - size:
                return
            length = max(1, int((right - left) / (0.52 * size) * random.uniform(0.6, 1)))
            text, font = some_text(random, length), a_font(size)
            width = pen.textlength(text, font)
            if random.random() < 0.04:
                shade = an_ink(random, ink)
                pen.rectangle((left, top, left + width, top + size * 1.2), shade)
            bold = size / 28 if random.random() < 0.1 else 0
            pen.text((left, top), text, ink, font, stroke_width=bold)
            if random.random() < 0.06:
                line = top + int(1.15 * size)
                pen.line((left, line, left + width, line), ink, canvas.rule)
            top += int(size * 1.3)
        top += canvas.number(0, size)


def code(canvas: Canvas, box: Box) -> None:
    """Indented lines of coloured words, their letters at equal distances."""
    random, pen = canvas.random, canvas.pen
    left, top, right, bottom = box
    size = min(canvas.text_size, 16)
    step, indent = max(5, round(0.62 * size)), 0
    if random.random() < 0.6:
        pen.rectangle((left, top, left + 3 * step, bottom), canvas.faint())
    for y in range(top, bottom - size, int(size * 1.35)):
        indent = max(0, indent + canvas.number(-1, 2))
        x = left + (4 + 2 * indent) * step
        for word in some_text(random, canvas.number(0, 50)).split():
            ink = canvas.ink()
            for letter in word:
                if x < right - step:
                    pen.text((x, y), letter, ink, a_font(size))
                x += step
            x += step


def table(canvas: Canvas, box: Box) -> None:
    """Rows and columns of short texts between rules, with shaded rows."""
    random, pen = canvas.random, canvas.pen
    left, top, right, bottom = box
    size = min(canvas.text_size, 18)
    height = size + canvas.number(4, size + 8)
    width = max(3 * size, (right - left) // canvas.number(1, 8))
    rule, shade, striped = canvas.faint(), canvas.faint(), random.random() < 0.4
    for row, y in enumerate(range(top, bottom - height + 1, height)):
        if (striped and row % 2) or random.random() < 0.04:
            pen.rectangle((left, y, right, y + height - 1), shade)
        pen.line((left, y, right, y), rule, canvas.rule)
        for x in range(left, right - width + 1, width):
            if random.random() < 0.85:
                ink = canvas.ink() if row == 0 else canvas.inks[0]
                count = canvas.number(1, int(1.6 * width / size))
                canvas.write((x + 4, y + (height - size) // 2 - 1), count, ink, size)
    if random.random() < 0.7:
        for x in range(left, right + 1, width):
            pen.line((x, top, x, bottom), rule, canvas.rule)


def icon(canvas: Canvas, box: Box) -> None:
    """A few shapes in a small square."""
    random = canvas.random
    width, height = box[2] - box[0], box[3] - box[1]
    for _ in range(canvas.number(1, 5)):
        points = random.random((canvas.number(2, 6), 2)) * (width, height) + (box[0], box[1])
        shape(canvas, points.astype(int), canvas.number(0, 5), a_colour(random))


def shape(canvas: Canvas, points: NDArray, kind: int, ink: Colour) -> None:
    """One of several shapes at these points: filled, or drawn with a thin pen."""
    pen = canvas.pen
    fill = ink if canvas.random.random() < 0.6 else None
    line = ink if fill is None else canvas.ink()
    low, high = points.min(0), points.max(0)
    box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    if kind == 0:
        pen.rectangle(box, fill, line, canvas.rule)
    elif kind == 1:
        pen.ellipse(box, fill, line, canvas.rule)
    elif kind == 2:
        pen.rounded_rectangle(box, min(12, (high - low).min() // 3), fill, line, canvas.rule)
    elif kind == 3 and len(points) > 2:
        pen.polygon(points.ravel().tolist(), fill, line, canvas.rule)
    else:
        pen.line(points.ravel().tolist(), ink, canvas.rule, "curve")


def icons(canvas: Canvas, box: Box) -> None:
    """Rows of icons, some with names."""
    left, top, right, bottom = box
    size, named = canvas.number(10, 48), canvas.random.random() < 0.5
    step = size + canvas.number(3, 40)
    for y in range(top, bottom - size + 1, step + (12 if named else 0)):
        for x in range(left, right - size + 1, step):
            icon(canvas, (x, y, x + size, y + size))
            if named:
                canvas.write((x, y + size + 1), canvas.number(2, 2 + step // 7), canvas.ink(), 9)


def form(canvas: Canvas, box: Box) -> None:
    """Buttons, fields, ticks and sliders below one another."""
    random, pen = canvas.random, canvas.pen
    left, top, right, bottom = box
    size = min(canvas.text_size, 16)
    height = size + 10
    radius = canvas.number(0, height // 2)
    for y in range(top, bottom - height, height + canvas.number(3, 20)):
        kind, ink = random.integers(4), canvas.ink()
        middle, end = y + height // 2, left + canvas.number((right - left) // 3, right - left)
        if kind == 0:
            pen.rounded_rectangle((left, y, end, y + height), radius, canvas.faint(), ink)
        elif kind == 1:
            pen.rounded_rectangle((left, y, end, y + height), radius, ink)
            count = max(1, (end - left) // size)
            canvas.write((left + 8, y + 4), count, an_ink(random, ink), size)
            continue
        elif kind == 2:
            pen.rectangle((left, y + 4, left + size, y + 4 + size), None, ink)
            pen.line((left + 2, middle, left + size // 2, y + size, left + size, y + 5), ink, 2)
        else:
            pen.line((left, middle, end, middle), canvas.faint(), 3)
            knob = canvas.number(left, end)
            pen.ellipse((knob - 5, middle - 5, knob + 5, middle + 5), ink)
            continue
        canvas.write((left + size + 8, y + 4), canvas.number(2, 14), canvas.inks[0], size)


def plot(canvas: Canvas, box: Box) -> None:
    """Axes with numbers, a grid, and curves, bars or points."""
    random, pen = canvas.random, canvas.pen
    left, top, right, bottom = box[0] + 26, box[1] + 6, box[2] - 6, box[3] - 16
    if right - left < 30 or bottom - top < 30:
        return
    rule, ticks = canvas.faint(), canvas.number(2, 9)
    for n in range(ticks + 1):
        x, y = left + (right - left) * n // ticks, bottom - (bottom - top) * n // ticks
        if random.random() < 0.8:
            pen.line((x, top, x, bottom), rule)
            pen.line((left, y, right, y), rule)
        canvas.write((x - 8, bottom + 2), 3, canvas.inks[0], 9)
        canvas.write((left - 24, y - 6), 3, canvas.inks[0], 9)
    pen.line((left, top, left, bottom, right, bottom), canvas.inks[0], canvas.rule)
    for _ in range(canvas.number(1, 6)):
        count = canvas.number(5, 120)
        values = random.normal(0, 1, count)
        if random.random() < 0.6:
            values = np.cumsum(values)
        heights = top + (bottom - top) * (values - values.min()) / np.ptp(values)
        points = np.stack([np.linspace(left, right, count), heights], 1).astype(int)
        ink, width = a_colour(random), canvas.number(1, 4)
        kind = random.integers(4)
        if kind == 0:
            for x, y in points.tolist():
                pen.rectangle((x, y, x + max(1, 200 // count), bottom), ink)
        elif kind == 1:
            for x, y in points.tolist():
                pen.ellipse((x - width, y - width, x + width, y + width), ink)
        else:
            pen.line(points.ravel().tolist(), ink, width)


def inset(canvas: Canvas, box: Box) -> None:
    """A picture of another kind: a photograph's place in a page."""
    width, height = box[2] - box[0], box[3] - box[1]
    make = (texture, texture, gradient, a_pattern)
    inner = make[canvas.random.integers(4)](canvas.random, max(width, height, 16))
    canvas.image.paste(Image.fromarray(inner[:height, :width]), box[:2])


PARTS: tuple[Callable[[Canvas, Box], None], ...] = (
    *(paragraphs, paragraphs, code, table, icons, form, plot, inset),
)
