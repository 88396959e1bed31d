"""Line art, maps, and flat shapes in strong colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..data import Picture
from .colours import Colour, Random, a_colour, an_ink, clouds, gradient, log_uniform, texture
from .parts import Canvas, sheet, split
from .patterns import a_pattern


def _curve(random: Random, side: int, count: int = 120) -> NDArray:
    """Points of a smooth curve somewhere in the picture."""
    t = np.linspace(0, 2 * np.pi * random.uniform(0.1, 1), count)[:, None]
    waves = np.arange(1, int(random.integers(2, 7)))
    strength = random.normal(0, 1, (2, len(waves))) / waves ** random.uniform(0.5, 1.5)
    phase = random.uniform(0, 2 * np.pi, (2, len(waves)))
    points = [np.sum(strength[i] * np.sin(t * waves + phase[i]), axis=1) for i in range(2)]
    return random.uniform(0, side, 2) + np.stack(points, 1) * log_uniform(random, side / 12, side)


def line_art(random: Random, side: int) -> Picture:
    """Curves, polygons, circles and hatching in thin lines, with smooth edges or without."""
    fine = int(random.choice([1, 1, 2, 3]))
    small = sheet(random, side)
    canvas = Canvas(random, small.image.resize((fine * side,) * 2), small.paper)
    pen, one_width = canvas.pen, random.random() < 0.5
    width = round(fine * log_uniform(random, 1, 4))
    for _ in range(canvas.number(5, 60)):
        if not one_width:
            width = round(fine * log_uniform(random, 1, 5))
        ink, kind = canvas.ink(), random.integers(5)
        points = (fine * _curve(random, side)).ravel().tolist()
        x, y = (int(n) for n in random.uniform(0, fine * side, 2))
        radius = int(fine * log_uniform(random, 3, 150))
        if kind == 0:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), None, ink, width)
        elif kind == 1:
            around = (x, y, radius)
            turned = int(random.integers(360))
            pen.regular_polygon(around, canvas.number(3, 9), turned, None, ink, width)
        elif kind == 2:
            mask = Image.new("1", canvas.image.size)
            ImageDraw.Draw(mask).polygon(points, 1)
            _hatch(canvas, mask, ink, fine)
        else:
            pen.line(points, ink, width, "curve")
    return np.asarray(canvas.image.reduce(fine))


def _hatch(canvas: Canvas, mask: Image.Image, ink: Colour, fine: int) -> None:
    """Parallel lines where the mask is."""
    box = mask.getbbox()
    if box is None:  # the shape lies outside the picture
        return
    lines = Image.new("1", mask.size)
    pen, random = ImageDraw.Draw(lines), canvas.random
    slope = float(random.choice([0, 1, -1, random.normal(0, 1)]))
    width = round(fine * log_uniform(random, 1, 4))
    left, top, right, bottom = box
    rise = slope * (right - left)
    step = width + round(fine * log_uniform(random, 1, 16))
    for y in range(int(top - abs(rise)), int(bottom + abs(rise)), step):
        pen.line((left, y, right, y + rise), 1, width)
    canvas.image.paste(ink, (0, 0), Image.composite(lines, Image.new("1", mask.size), mask))


def a_map(random: Random, side: int) -> Picture:
    """Regions of a few colours with their borders, roads in casings, and names."""
    fine, levels = int(random.choice([1, 2])), int(random.integers(2, 14))
    land = clouds(random, side * fine, log_uniform(random, 8, 60) * fine, 1.2)
    level = np.minimum(land * levels, levels - 1).astype(np.int64)
    colours = np.array([a_colour(random) for _ in range(levels)], np.uint8)
    if random.random() < 0.5:  # one paper, as of a map of heights
        colours[:] = colours[0] if random.random() < 0.5 else 255
    picture = colours[level]
    if random.random() < 0.7:
        border = np.zeros(level.shape, bool)
        border[1:] |= level[1:] != level[:-1]
        border[:, 1:] |= level[:, 1:] != level[:, :-1]
        picture[border] = a_colour(random)
    image = Image.fromarray(picture).reduce(fine)
    r, g, b = (int(c) for c in colours[0])
    canvas = Canvas(random, image, (r, g, b))
    for _ in range(canvas.number(0, 12)):
        points = _curve(random, side).ravel().tolist()
        width, ink = canvas.number(1, 9), canvas.ink()
        canvas.pen.line(points, an_ink(random, ink), width + 2, "curve")
        canvas.pen.line(points, ink, width, "curve")
    for _ in range(canvas.number(0, 40)):
        x, y = canvas.number(0, side), canvas.number(0, side)
        canvas.write((x, y), canvas.number(3, 14), canvas.ink(), canvas.number(9, 20))
    return np.asarray(image)


def shapes(random: Random, side: int) -> Picture:
    """Sharp shapes, flat, graded or patterned, with lines of their own."""
    canvas = sheet(random, side)
    makers = (gradient, a_pattern, texture)
    fills = [Image.fromarray(makers[random.integers(3)](random, side)) for _ in range(2)]
    for _ in range(canvas.number(2, 40)):
        mask = Image.new("1", (side, side))
        x, y = canvas.number(0, side), canvas.number(0, side)
        radius = log_uniform(random, 4, side / 2)
        turned = float(random.choice([0, random.uniform(0, 360)]))
        ink = fills[random.integers(2)] if random.random() < 0.3 else canvas.ink()
        pen, corners = ImageDraw.Draw(mask), canvas.number(2, 8)
        if corners == 2:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius / 2), 1)
        else:
            pen.regular_polygon((x, y, radius), corners, turned, 1)
        canvas.image.paste(ink, (0, 0), mask)
    return np.asarray(canvas.image)


def mosaic(random: Random, side: int) -> Picture:
    """Boxes of strong colours, each with lines or a box in another one."""
    canvas = Canvas(random, Image.new("RGB", (side, side)), (0, 0, 0))
    colours = [a_colour(random) for _ in range(canvas.number(2, 9))]
    if random.random() < 0.5:  # the corners of the cube of colours
        colours = [(255 * (n & 1), 255 * (n >> 1 & 1), 255 * (n >> 2)) for n in range(8)]
    for left, top, right, bottom in split(random, (0, 0, side, side), canvas.number(8, 100)):
        paper, ink = (colours[canvas.number(0, len(colours))] for _ in range(2))
        canvas.pen.rectangle((left, top, right, bottom), paper)
        x, y = canvas.number(left, right), canvas.number(top, bottom)
        line = [(x, top, x, bottom), (left, y, right, y), (left, top, right, bottom)]
        kind, width = canvas.number(0, 5), canvas.number(1, 5)
        if kind < 3:
            canvas.pen.line(line[kind], ink, width)
        elif kind == 3:
            canvas.pen.rectangle((left, top, x, y), ink)
    return np.asarray(canvas.image)
