"""Pages of text and screens."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ..data import Picture
from .colours import Random, a_colour, an_ink, log_uniform, two_colours
from .parts import PARTS, Box, Canvas, a_font, a_paper, icons, paragraphs, sheet, some_text, split


def _fill(canvas: Canvas, box: Box, least: int) -> None:
    """Tables, texts, plots and so on in the parts of a box, some of other colours or framed."""
    random = canvas.random
    for left, top, right, bottom in split(random, box, least):
        part = canvas
        if random.random() < 0.2:
            paper = canvas.faint() if random.random() < 0.6 else a_colour(random)
            canvas.pen.rectangle((left, top, right, bottom), paper)
            part = canvas.on(paper)
        if random.random() < 0.3:
            canvas.pen.rectangle((left, top, right, bottom), None, canvas.faint(), canvas.rule)
        inner = (left + 6, top + 6, right - 6, bottom - 6)
        if min(inner[2] - left, inner[3] - top) > 24:
            PARTS[random.integers(len(PARTS))](part, inner)


def page(random: Random, side: int) -> Picture:
    """Columns of text."""
    canvas, columns = sheet(random, side), int(random.choice([1, 1, 2, 3]))
    margin, width = canvas.number(2, 40), side // columns
    for n in range(columns):
        box = (n * width + margin, margin, (n + 1) * width - margin // 2, side - margin // 2)
        paragraphs(canvas, box)
    if random.random() < 0.2:
        return _warped(random, canvas)
    return np.asarray(canvas.image)


def _warped(random: Random, canvas: Canvas) -> Picture:
    """The picture turned, stretched and slanted, as in a scan or on a screen that zooms."""
    angle = random.choice([0, random.normal(0, 0.05), random.uniform(-np.pi, np.pi)])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, random.normal(0, 0.15)], [0, 1]])
    matrix *= np.exp(random.normal(0, 0.2, 2))
    middle = np.array(canvas.image.size) / 2
    shift = middle - matrix @ middle
    warped = canvas.image.transform(
        canvas.image.size,
        Image.Transform.AFFINE,
        (*matrix[0], shift[0], *matrix[1], shift[1]),
        Image.Resampling.BICUBIC,
        fillcolor=canvas.paper,
    )
    return np.asarray(warped)


def layout(random: Random, side: int) -> Picture:
    """A page of parts of every kind."""
    canvas = sheet(random, side)
    _fill(canvas, (0, 0, side, side), int(random.choice([90, 130, 200, 400])))
    return np.asarray(canvas.image)


def screen(random: Random, side: int) -> Picture:
    """Windows over one another, with bars and tools."""
    canvas = sheet(random, side)
    if random.random() < 0.5:
        icons(canvas, (8, 8, side - 8, side - 8))
    for _ in range(canvas.number(1, 5)):
        left, top = canvas.number(-60, side * 2 // 3), canvas.number(-20, side * 2 // 3)
        right = left + canvas.number(side // 3, side)
        bottom = top + canvas.number(side // 4, side)
        _window(canvas.on(a_paper(random)), (left, top, right, bottom))
    if random.random() < 0.5:
        bar = canvas.on(canvas.faint())
        bar.pen.rectangle((0, side - 30, side, side), bar.paper)
        icons(bar, (4, side - 28, side, side - 2))
    return np.asarray(canvas.image)


def _window(canvas: Canvas, box: Box) -> None:
    random, pen = canvas.random, canvas.pen
    left, top, right, bottom = box
    height, radius = canvas.number(16, 32), int(random.choice([0, 0, 6, 10]))
    frame, bar = canvas.on(canvas.paper), canvas.on(a_colour(random))
    pen.rounded_rectangle(box, radius, canvas.paper, frame.ink(), canvas.rule)
    pen.rounded_rectangle((left, top, right, top + height), radius, bar.paper)
    bar.write((left + 10, top + 3), canvas.number(4, 24), bar.inks[0], min(14, height - 6))
    for n in range(canvas.number(0, 4)):
        x, y = right - 16 * (n + 1), top + height // 2
        pen.ellipse((x, y - 4, x + 8, y + 4), bar.inks[canvas.number(0, len(bar.inks))])
    top += height
    if random.random() < 0.6:
        tools = canvas.on(canvas.faint())
        pen.rectangle((left + 1, top, right - 1, top + 26), tools.paper)
        icons(tools, (left + 4, top + 2, right - 4, top + 26))
        top += 27
    if min(right - left, bottom - top) > 40:
        _fill(canvas, (left + 2, top, right - 2, bottom - 2), int(random.choice([80, 120, 300])))


def words(random: Random, side: int) -> Picture:
    """Words of any size at any angle, some with an outline, over anything."""
    canvas = sheet(random, side)
    for _ in range(canvas.number(4, 50)):
        size, ink = int(log_uniform(random, 9, 72)), canvas.ink()
        text, font = some_text(random, canvas.number(2, 16)), a_font(size)
        line = canvas.number(1, 3) if random.random() < 0.25 else 0
        angle = float(random.choice([0, 90, random.normal(0, 8), random.uniform(0, 360)]))
        at = (canvas.number(-40, side), canvas.number(-40, side))
        stamp = (int(canvas.pen.textlength(text, font)) + 8, 3 * size // 2 + 8)
        outline = [(line, an_ink(random, ink))] if line else []
        for width, colour in (*outline, (0, ink)):
            mask = Image.new("L", stamp)
            pen = ImageDraw.Draw(mask)
            pen.fontmode = canvas.pen.fontmode
            pen.text((4, 2), text, 255, font, stroke_width=width)
            mask = mask.rotate(angle, Image.Resampling.BICUBIC, expand=True)
            canvas.image.paste(colour, at, mask)
    return np.asarray(canvas.image)


def fringed(random: Random, side: int) -> Picture:
    """Text drawn at the thirds of pixels, as for screens: its edges are coloured."""
    mask = Image.new("L", (3 * side, 3 * side))
    pen, top = ImageDraw.Draw(mask), 3
    while top < 3 * side:
        size = 3 * int(log_uniform(random, 9, 26))
        for _ in range(int(random.integers(1, 8))):
            count = int(3 * side / (0.52 * size) * random.uniform(0.3, 1)) + 1
            pen.text((9, top), some_text(random, count), 255, a_font(size))
            top += size * 4 // 3
    wide = np.asarray(mask.reduce((1, 3)), np.float32) / 255
    soft = np.pad(wide, ((0, 0), (1, 1)))
    soft = (soft[:, :-2] + soft[:, 1:-1] + soft[:, 2:]) / 3
    paper, ink = (np.array(c) for c in two_colours(random))
    return np.rint(paper + soft.reshape(side, side, 3) * (ink - paper)).astype(np.uint8)
