"""Reads pictures and brings them to the two layouts that the codec knows: RGB and gray, 8 bits.

One rule decides what is taken, for pictures from files, for Pillow images and for arrays:

====================================== ===========================================================
given                                  taken as
====================================== ===========================================================
mode RGB, L                            itself
mode 1                                 L (0 and 255)
mode P, PA                             RGB
mode RGBA, every alpha 255             RGB
mode LA, every alpha 255               L
a transparent colour that no pixel has the row above of its mode
any transparent pixel                  refused: transparency is not stored
16-bit and wider modes, float modes    refused: the scale to 8 bits is the caller's choice
CMYK, YCbCr, HSV, LAB, other modes     refused: the conversion is the caller's choice
more than one frame or page            refused, except MPO, whose further frames are extras
uint8 array (height, width)            L
uint8 array (height, width, 3)         RGB
any other array                        refused
no pixels at all                       refused
====================================== ===========================================================

Files of colour pictures with 16 bits per sample reach this rule as RGB, because Pillow reads them
as 8 bits. Nothing here imports torch.
"""

from __future__ import annotations

import io
import os
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from ..format.errors import ImageError, ResourceError

__all__ = ["open_picture", "to_array"]

PictureSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

SAME_COLOUR = 2
"""Steps of 255 by which a profile may move a colour and still pass for sRGB. Rounding tables of the
many published sRGB profiles differ by one or two; converting those would only add noise."""

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


def to_array(image: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a Pillow image or an array as a contiguous, writable uint8 array, (height, width, 3)
    sRGB or (height, width) gray; raises ImageError for what the table above refuses and for a
    Pillow image whose file is damaged.
    """
    if isinstance(image, np.ndarray):
        return _check_array(image)
    if isinstance(image, Image.Image):
        return np.array(_plain(image))  # a copy: torch warns about the read-only memory of Pillow
    raise ImageError(
        f"a {type(image).__name__} is not a picture; pass a Pillow image or a uint8 numpy array"
    )


def open_picture(source: PictureSource) -> Image.Image:
    """Returns the picture of a path, of bytes or of a binary file, in mode RGB or L, upright and
    in sRGB; raises ImageError for a file that Pillow cannot read and for what the table above
    refuses, ResourceError when memory runs out, and OSError from opening or reading the file.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _open(io.BytesIO(source))
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return _open(file)
    return _open(source)


def _open(file: BinaryIO) -> Image.Image:
    if not file.seekable():  # a pipe: Pillow wants to step back after a look at the first bytes
        file = io.BytesIO(file.read())
    with _opened(file) as image:
        # Metadata is not stored, so an orientation tag would be lost and the picture would come
        # back lying on its side. The same goes for a profile: without it the colours would be
        # read as sRGB, so they are turned into sRGB here.
        picture = _to_srgb(_upright(_plain(image)), image.info.get("icc_profile"))
        if picture is image:
            picture = image.copy()  # lives on without the file
    picture.info.clear()  # what it said has been applied or does not hold any more
    return picture


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
    """Returns the image in mode RGB or L by the table above, itself where it already is."""
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
        # An alpha of 255 everywhere says nothing, and screenshots are full of it.
        opaque = image.convert("RGBA")
        if opaque.getchannel("A").getextrema() != (255, 255):
            raise ImageError(
                "the picture has transparent pixels, which are not stored; put it on a background "
                'first: Image.alpha_composite(background, image).convert("RGB")'
            )
        if image.mode != mode:
            return opaque.convert(mode)
    return image if image.mode == mode else image.convert(mode)


def _check_array(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise ImageError(f"an array of {array.dtype} cannot be coded; {_SCALE}")
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] != 3):
        raise ImageError(
            f"an array of shape {array.shape} is not a picture; "
            "expected (height, width) or (height, width, 3)"
        )
    if array.size == 0:
        raise ImageError(f"the picture is empty: an array of shape {array.shape}")
    return np.require(array, requirements=["C", "W"])


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image  # a damaged EXIF block; every viewer shows the pixels as they are stored


def _to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Returns an RGB or L image with its ICC profile applied; one that is broken, or of another
    kind than the pixels, is ignored, as viewers do.
    """
    if not isinstance(profile, bytes):
        return image
    gray = image.mode == "L"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        # A gray picture may carry an RGB profile, which maps gray to gray.
        space = {"RGB": "RGB", "GRAY": "L"}.get(source.profile.xcolor_space.strip())
        if space is None or (space == "L" and not gray):
            return image
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        if gray:  # the fast path interpolates between 33 shades, up to ten steps off in the dark
            flags |= ImageCms.Flags.NOOPTIMIZE
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            space,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=flags,
        )
        before = _all_grays() if gray else _colour_grid()
        after = _applied(transform, before.convert(space)).convert(image.mode)
        moved = np.asarray(after, np.int16) - np.asarray(before, np.int16)
        if np.abs(moved).max() <= SAME_COLOUR:
            return image
        return image.point(after.tobytes()) if gray else _applied(transform, image)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def _applied(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    turned = ImageCms.applyTransform(image, transform)
    assert turned is not None  # only inPlace=True gives None
    return turned


def _all_grays() -> Image.Image:
    return Image.fromarray(np.arange(256, dtype=np.uint8)[None])


def _colour_grid() -> Image.Image:
    steps = np.linspace(0, 255, 18).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(18, -1, 3))
