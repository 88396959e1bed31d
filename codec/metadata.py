"""Metadata of pictures: which blocks are kept, and what becomes of those that are not.

A block changes how a picture looks: the profile its colours, EXIF which side is up. Where the block
goes along, the pixels stay as they are and a viewer applies it, once. Where it does not, its effect
is applied to the pixels, so that the picture looks the same. Nothing here imports torch.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

__all__ = ["KINDS", "blocks_of", "settled"]

KINDS = {"icc": "icc_profile", "exif": "exif", "xmp": "xmp"}
"""The kinds of blocks by their short names, each with its key in the ``info`` of Pillow."""

SAME_COLOUR = 2
"""Steps of 255 by which a profile may move a colour and still pass for sRGB. Rounding tables of the
many published sRGB profiles differ by one or two; converting those would only add noise."""

_XMP_ORIENTATION = re.compile(
    rb"""tiff:Orientation\s*=\s*(?:"[^"]*"|'[^']*')|<tiff:Orientation>[^<]*</tiff:Orientation>"""
)


def blocks_of(image: Image.Image) -> dict[str, bytes]:
    """Returns the blocks in the ``info`` of a Pillow image by their keys there, empty ones left
    out.
    """
    found = {key: image.info.get(key) for key in KINDS.values()}
    return {key: block for key, block in found.items() if isinstance(block, bytes) and block}


def settled(image: Image.Image, strip: Collection[str] = ()) -> Image.Image:
    """Returns a new image, of one in mode RGB, L, RGBA or LA, without the kinds of blocks in
    ``strip``: its ``info`` holds the others and nothing else, and its pixels look as before.
    """
    kept = blocks_of(image)
    gone = {kind: kept.pop(KINDS[kind], b"") for kind in strip}
    picture = image.copy()
    wanted, carried = _orientation(image.info), _orientation(kept)
    if wanted != carried:
        # The tag was in a block that goes, or in a text that is not one of the blocks. A packet
        # that says it too must not say it any longer.
        picture = ImageOps.exif_transpose(picture) if wanted != 1 else picture
        if "xmp" in kept:
            kept["xmp"] = _XMP_ORIENTATION.sub(b"", kept["xmp"])
    if gone.get("icc"):
        colours = {"LA": "L", "RGBA": "RGB"}.get(picture.mode)
        if colours is None:
            picture = _to_srgb(picture, gone["icc"])
        else:
            alpha = picture.getchannel("A")
            picture = _to_srgb(picture.convert(colours), gone["icc"])
            picture.putalpha(alpha)
    picture.info.clear()
    picture.info.update(kept)
    return picture


def _orientation(info: Mapping[Any, Any]) -> int:
    """Returns the orientation, 1 to 8, that Pillow finds in these blocks."""
    probe = Image.new("L", (1, 1))
    probe.info.update(info)
    try:
        found = probe.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1  # a damaged EXIF block; every viewer shows the pixels as they are stored
    return found if found in range(1, 9) else 1


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Returns an RGB or L image with its ICC profile applied; one that is broken, or of another
    kind than the pixels, is ignored, as viewers do.
    """
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
