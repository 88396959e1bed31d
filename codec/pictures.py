"""Reads pictures and brings them to the layouts that the codec knows: RGB and gray with 8 bits per
sample, each with or without alpha.

One rule decides what is taken, for pictures from files, for Pillow images and for arrays:

====================================== ===========================================================
given                                  taken as
====================================== ===========================================================
mode RGB, L, RGBA, LA                  itself
mode 1                                 L (0 and 255)
mode P, PA                             RGB, with transparent pixels RGBA
modes L, 1, RGB with a transparent     LA, LA, RGBA
colour
alpha 255 everywhere                   the same without alpha
16-bit and wider modes, float modes    refused: the scale to 8 bits is the caller's choice
CMYK, YCbCr, HSV, LAB, other modes     refused: the conversion is the caller's choice
more than one frame or page            refused, except MPO, whose further frames are extras
uint8 array (height, width)            L
uint8 array (height, width, 2)         LA
uint8 array (height, width, 3)         RGB
uint8 array (height, width, 4)         RGBA
any other array                        refused
no pixels at all                       refused
====================================== ===========================================================

Files of colour pictures with 16 bits per sample reach this rule as RGB, because Pillow reads them
as 8 bits. Nothing here imports torch.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..format.errors import ImageError, ResourceError
from .metadata import settled

__all__ = ["PixelSource", "open_picture", "to_array"]

PictureSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

_CONVERT = 'convert it first: image.convert("RGB")'
_SCALE = "scale it to 8 bits per sample first, for example through a numpy uint8 array"
_ADVICE = {
    "CMYK": f"{_CONVERT}, or PIL.ImageCms when the exact colours matter",
    "LAB": "convert it to sRGB first with PIL.ImageCms",
    "I": _SCALE,
    "F": _SCALE,
    "I;16": _SCALE,
    "I;16L": _SCALE,
    "I;16B": _SCALE,
    "I;16N": _SCALE,
}


class PixelSource:
    """Gives rectangles of a Pillow image or an array, without a second copy of the whole; raises
    ImageError as `to_array` does.
    """

    def __init__(self, image: Image.Image | NDArray[np.uint8]) -> None:
        picture = _plain(image) if isinstance(image, Image.Image) else to_array(image)
        self._picture = picture
        if isinstance(picture, Image.Image):
            (self.width, self.height), self.channels = picture.size, len(picture.getbands())
        else:
            self.height, self.width = picture.shape[:2]
            self.channels = 1 if picture.ndim == 2 else picture.shape[2]

    def crop(self, left: int, top: int, right: int, bottom: int) -> NDArray[np.uint8]:
        """Returns the pixels (bottom - top, right - left, channels) of a rectangle, writable."""
        if isinstance(self._picture, Image.Image):
            part = np.array(self._picture.crop((left, top, right, bottom)))
        else:
            part = self._picture[top:bottom, left:right].copy()
        return part.reshape(*part.shape[:2], self.channels)


def to_array(image: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a Pillow image or an array as a contiguous, writable uint8 array, (height, width) or
    (height, width, 3), or with alpha (height, width, 2) or (height, width, 4); raises ImageError
    for what the table above refuses and for a Pillow image whose file is damaged.
    """
    if isinstance(image, np.ndarray):
        return _check_array(image)
    if isinstance(image, Image.Image):
        return np.array(_plain(image))  # a copy: torch warns about the read-only memory of Pillow
    raise ImageError(
        f"a {type(image).__name__} is not a picture; pass a Pillow image or a uint8 numpy array"
    )


def open_picture(source: PictureSource, strip: Collection[str] = ()) -> Image.Image:
    """Returns the picture of a path, of bytes or of a binary file, in mode RGB, L, RGBA or LA, with
    pixels as they are stored and its blocks of metadata in ``info``, but for the kinds (icc, exif,
    xmp) in ``strip``: what those say is applied to the pixels.

    Raises ImageError for a file that Pillow cannot read and for what the table above refuses,
    ResourceError when memory runs out, and OSError from opening or reading the file.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _open(io.BytesIO(source), strip)
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return _open(file, strip)
    return _open(source, strip)


def _open(file: BinaryIO, strip: Collection[str]) -> Image.Image:
    if not file.seekable():  # a pipe: Pillow wants to step back after a look at the first bytes
        file = io.BytesIO(file.read())
    with _opened(file) as image:
        return settled(_plain(image), strip)


def _opened(file: BinaryIO) -> Image.Image:
    try:
        image = Image.open(file)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"too many pixels for Pillow: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageError("not a picture in a format that Pillow reads") from error
    except Exception as error:
        raise _damaged(error) from error
    if image.format in ("EPS", "WMF"):
        image.close()
        # Pillow would hand the first to another program, and the second only opens on one system.
        raise ImageError(f"{image.format} is a drawing, not a picture; render it to PNG first")
    return image


def _damaged(error: Exception) -> Exception:
    """Returns what to raise when Pillow fails with ``error`` on the data of a picture."""
    # A parser trips over damaged data in any of a dozen ways, most of them not OSError; only an
    # OSError with a number comes from the system and not from the data.
    if isinstance(error, OSError) and error.errno is not None:
        return error
    if isinstance(error, MemoryError):
        return ResourceError("not enough memory to read the picture")
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageError(f"damaged or unreadable picture: {reason}")


def _plain(image: Image.Image) -> Image.Image:
    """Returns the image in the mode of the table above, itself where it already is."""
    if 0 in image.size:
        raise ImageError(f"the picture is empty: {image.width} x {image.height} pixels")
    try:
        frames = getattr(image, "n_frames", 1)
        image.load()
    except Exception as error:
        raise _damaged(error) from error
    if frames > 1 and image.format != "MPO":
        raise ImageError(
            f"the picture has {frames} frames or pages; choose one: image.seek(n), image.copy()"
        )
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise ImageError(f"mode {image.mode} cannot be coded; {_ADVICE.get(image.mode, _CONVERT)}")
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        alpha = whole.getchannel("A")
        # An alpha of 255 everywhere says nothing, and screenshots are full of it.
        if alpha.getextrema() != (255, 255):
            if image.mode == f"{mode}A":
                return image
            picture = whole.convert(mode)
            picture.putalpha(alpha)
            picture.info = {k: v for k, v in image.info.items() if k != "transparency"}
            return picture
        if image.mode != mode:
            return whole.convert(mode)
    return image if image.mode == mode else image.convert(mode)


def _check_array(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise ImageError(f"an array of {array.dtype} cannot be coded; {_SCALE}")
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (2, 3, 4)):
        raise ImageError(
            f"an array of shape {array.shape} is not a picture; "
            "expected (height, width) or (height, width, 2 to 4 channels)"
        )
    if array.size == 0:
        raise ImageError(f"the picture is empty: an array of shape {array.shape}")
    if array.ndim == 3 and array.shape[2] != 3 and (array[:, :, -1] == 255).all():
        array = array[:, :, 0] if array.shape[2] == 2 else array[:, :, :3]
    return np.require(array, requirements=["C", "W"])
