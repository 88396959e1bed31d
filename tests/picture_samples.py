"""Small pictures, encoded, and ICC profiles for tests."""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

ORIENTATION = 0x0112
Array = NDArray[np.uint8]


def pixels(height: int = 6, width: int = 9, channels: int = 3) -> Array:
    rng = np.random.default_rng(7)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def with_alpha(alpha: int) -> Image.Image:
    image = Image.fromarray(pixels()).convert("RGBA")
    image.putpixel((3, 2), (*pixels()[2, 3].tolist(), alpha))
    return image


def gray_profile(gamma: float) -> bytes:
    """Returns an ICC version 2 profile of gray with the given gamma and a D50 white point."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"g\0" + bytes(78) + b"\0\0\0"
    tags, body = b"", b""
    for name, data in ((b"wtpt", white), (b"kTRC", curve), (b"desc", text)):
        data += bytes(-len(data) % 4)
        tags += name + struct.pack(">2I", 128 + 4 + 3 * 12 + len(body), len(data))
        body += data
    head = struct.pack(">I4sI", 128 + 4 + len(tags) + len(body), b"none", 0x02100000)
    head += b"mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + struct.pack(">I", 3) + tags + body


def swapped_profile() -> bytes:
    """Returns an sRGB profile in which red and blue have changed places, which is easy to see."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = data.index(b"rXYZ"), data.index(b"bXYZ")
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(data)
