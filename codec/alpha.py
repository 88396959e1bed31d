"""The alpha plane: stored without loss beside the coded colours. Nothing here imports torch."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from ..format.alpha import alpha_data, check_inflated
from ..format.errors import FormatError
from ..format.limits import DEFAULT_LIMITS, Limits

__all__ = ["filled", "pack_alpha", "unpack_alpha"]

Pixels = NDArray[np.uint8]
_GRAY = 128  # what stands where a picture shows nothing at all


def pack_alpha(alpha: Pixels) -> bytes:
    """Returns the PNG stream of a plane (height, width), 0 transparent to 255 opaque."""
    buffer = io.BytesIO()
    Image.fromarray(alpha).save(buffer, "PNG", compress_level=9)
    return buffer.getvalue()


def unpack_alpha(
    payload: bytes, width: int, height: int, limits: Limits = DEFAULT_LIMITS
) -> Image.Image:
    """Returns the plane of a PNG stream as an image in mode L; raises FormatError when it is not of
    this width and height (pixels), or damaged, and LimitError when it has too many chunks.
    """
    where = "the alpha plane"
    parts = alpha_data(memoryview(payload), width, height, where, limits)
    check_inflated(parts, (width + 1) * height)  # a row has a byte for its filter besides
    # Not Image.open: that has limits of its own, and here the size is one that ours allow.
    try:
        with PngImageFile(io.BytesIO(payload)) as image:
            return image.copy()
    except (OSError, SyntaxError, ValueError) as error:
        raise FormatError(f"{where} cannot be read: {error}") from error


def filled(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Returns pixels (height, width) or (height, width, 3) with new colours where alpha is 0: what
    was there is never seen, and a smooth continuation of what is seen costs fewer bits.
    """
    visible = Image.fromarray(np.where(alpha > 0, 255, 0).astype(np.uint8))
    return np.array(_continued(Image.fromarray(pixels), visible))


def _continued(image: Image.Image, visible: Image.Image) -> Image.Image:
    """Fills the image where `visible` is 0 (else 255) from its half-size version, filled before."""
    low, high = visible.getextrema()
    if low == 255:
        return image
    if high == 0:
        return Image.new(image.mode, image.size, (_GRAY,) * len(image.getbands()))
    black = Image.new(image.mode, image.size)
    # Means over squares of four, of which only the visible pixels count.
    weight = visible.reduce(2)
    share = np.maximum(np.asarray(weight, np.float32), 1) / 255
    mean = np.asarray(Image.composite(image, black, visible).reduce(2), np.float32)
    mean /= share if mean.ndim == 2 else share[:, :, None]
    half = Image.fromarray(mean.round().clip(0, 255).astype(np.uint8))
    half = _continued(half, weight.point([0] + [255] * 255))
    smooth = half.resize(image.size, Image.Resampling.BILINEAR)
    return Image.composite(image, smooth, visible)
