"""The pictures whose files are under tests/vectors/valid, all made by integer arithmetic."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from vector_parts import draws

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """Pixels as `aec.compress` takes them, the arguments besides, and what the file is there for;
    `scaled` when its smaller versions are expected as well.
    """

    about: str
    pixels: Pixels
    arguments: dict[str, int | bytes] = field(default_factory=dict)
    scaled: bool = False


def stack(*channels: NDArray[np.int64]) -> Pixels:
    return np.stack(channels, axis=-1).astype(np.uint8)


def gradient(width: int, height: int) -> Pixels:
    y, x = np.mgrid[:height, :width]
    return stack(255 * x // width, 255 * y // height, 255 * (x + y) // (width + height))


def gray(width: int, height: int) -> Pixels:
    return gradient(width, height)[:, :, 2]


def flat(width: int, height: int, *colour: int) -> Pixels:
    return np.tile(np.array(colour, np.uint8), (height, width, 1))


def noise(width: int, height: int, channels: int) -> Pixels:
    source = draws(width)
    values = [next(source) for _ in range(width * height * channels)]
    return np.array(values, np.uint8).reshape(height, width, channels)


def text(width: int, height: int) -> Pixels:
    """Dark marks of five by seven on white, like letters in lines."""
    source = draws(7)
    page = np.full((height, width), 250, np.int64)
    for top in range(2, height - 7, 11):
        for left in range(2, width - 5, 7):
            mark = np.array([next(source) for _ in range(35)]).reshape(7, 5)
            if mark[0, 0] > 40:  # else a space
                page[top : top + 7, left : left + 5][mark > 120] = 20
    return stack(page, page, page)


def checks(width: int, height: int, side: int) -> Pixels:
    y, x = np.mgrid[:height, :width]
    odd = (x // side + y // side) % 2
    return stack(40 + 180 * odd, 200 - 150 * odd, 90 + 0 * odd)


def disc(width: int, height: int) -> NDArray[np.int64]:
    """An alpha plane: opaque in the middle, transparent in the corners, a soft edge."""
    y, x = np.mgrid[:height, :width]
    far = (2 * x + 1 - width) ** 2 * 255 // width**2 + (2 * y + 1 - height) ** 2 * 255 // height**2
    return np.clip(2 * (200 - far), 0, 255)


def with_alpha(pixels: Pixels, alpha: NDArray[np.int64]) -> Pixels:
    return np.dstack([pixels, alpha]).astype(np.uint8)


def corner(width: int, height: int) -> NDArray[np.int64]:
    """An alpha plane that is not opaque in the first tile of 64 pixels only."""
    alpha = np.full((height, width), 255)
    alpha[10:50, 20:60] = disc(40, 40)
    return alpha


EXIF = b"II*\0" + bytes.fromhex("08000000 0100 1201 0300 01000000 06000000 00000000")  # turned
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
ICC = b"not a profile: nobody looks"

PICTURES = {
    "one_pixel": Picture("The smallest picture.", flat(1, 1, 200, 30, 90)),
    "one_pixel_gray": Picture("The smallest picture, gray.", flat(1, 1, 77)[:, :, 0]),
    "gradient": Picture("Smooth colours.", gradient(64, 64), scaled=True),
    "gradient_gray": Picture("A smooth gray ramp.", gray(48, 40), {"quality": 50}, scaled=True),
    "flat": Picture("One colour.", flat(100, 60, 12, 140, 220), {"quality": 30}),
    "noise": Picture("Nothing to predict.", noise(32, 32, 3), {"quality": 60}),
    "text": Picture("Sharp marks.", text(96, 64), {"quality": 80}, scaled=True),
    "checks": Picture("Two colours, hard edges.", checks(60, 90, 13), {"quality": 70}),
    "quality_0": Picture("Quality index 0.", gradient(70, 50), {"quality": 0}),
    "quality_100": Picture("Quality index 255.", text(40, 30), {"quality": 100}),
    "odd": Picture("Odd sides, more than one cell of z.", checks(65, 63, 7), {"quality": 40}, True),
    "row": Picture("One row.", gradient(200, 1), {"quality": 60}),
    "column": Picture("One column.", gradient(1, 200), {"quality": 60}),
    "padding": Picture("Cells of y without pixels.", gradient(129, 17), {"quality": 55}),
    "alpha": Picture(
        "Colours and alpha.", with_alpha(gradient(40, 40), disc(40, 40)), {"quality": 50}, True
    ),
    "alpha_gray": Picture(
        "Gray and alpha.", with_alpha(gray(33, 17), disc(33, 17)), {"quality": 50}
    ),
    "alpha_clear": Picture(
        "Transparent everywhere.", with_alpha(gradient(20, 24), 0 * disc(20, 24)), {"quality": 50}
    ),
    "alpha_opaque": Picture(
        "Opaque everywhere; one tile says so.",
        with_alpha(gradient(20, 24), 255 + 0 * disc(20, 24)),
        {"quality": 50},
    ),
    "tiles": Picture(
        "Six tiles, narrower ones at the edges.",
        gradient(150, 100),
        {"tile": 64, "quality": 45},
        True,
    ),
    "tiles_gray": Picture("Six gray tiles.", text(130, 70)[:, :, 0], {"tile": 64, "quality": 60}),
    "tiles_alpha": Picture(
        "Four tiles, of which one has an alpha plane and three are opaque.",
        with_alpha(gradient(100, 90), corner(100, 90)),
        {"tile": 64, "quality": 40},
        True,
    ),
    "tiles_alpha_gray": Picture(
        "Two tiles of gray and alpha.",
        with_alpha(gray(90, 40), disc(90, 40)),
        {"tile": 64, "quality": 40},
    ),
    "tiles_128": Picture(
        "Tiles of 128 pixels.", checks(140, 150, 31), {"tile": 128, "quality": 35}
    ),
    "tiles_edge": Picture(
        "The last tiles are one pixel wide or high.", gradient(65, 65), {"tile": 64, "quality": 50}
    ),
    "tiles_one": Picture("A picture of one tile, tiled.", gradient(30, 20), {"tile": 64}),
    "metadata": Picture(
        "All blocks of metadata; EXIF says that the picture is turned, its pixels are not.",
        gradient(20, 12),
        {"icc_profile": ICC, "exif": EXIF, "xmp": XMP},
    ),
    "tiles_metadata": Picture(
        "Metadata in front of the index.", gradient(70, 12), {"tile": 64, "xmp": XMP}
    ),
}
