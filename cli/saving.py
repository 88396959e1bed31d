"""Writes decoded pictures in the formats of Pillow, with the metadata that each of them takes."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ..format.errors import ImageError
from .report import complain, explain
from .strip import KINDS

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["drop_damaged_exif", "lost_blocks", "prepared", "saving"]

_SAVE_OPTIONS: Mapping[str, Mapping[str, object]] = {
    # The picture has been through one lossy codec; a second one should not add what can be seen.
    "AVIF": {"quality": 95},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}
_CARRIERS = frozenset(("AVIF", "JPEG", "PNG", "TIFF", "WEBP"))  # formats that take all blocks
_TIFF_XMP = 700  # the tag that holds an XMP packet


def lost_blocks(format: str, strip: Collection[str]) -> Collection[str]:
    """Returns the kinds of blocks that a file of this format will not hold, ``strip`` and those
    that it cannot.
    """
    return strip if format in _CARRIERS else KINDS


def drop_damaged_exif(picture: Image.Image, format: str, gone: Collection[str]) -> None:
    """Takes away an EXIF block that Pillow cannot read where it would read it to write it."""
    if format not in ("AVIF", "TIFF") or "exif" in gone:
        return
    from PIL import Image

    try:
        Image.Exif().load(picture.info.get("exif", b""))
    except Exception as error:
        complain(f"warning: left out a damaged EXIF block: {explain(ImageError(str(error)))}")
        del picture.info["exif"]


def prepared(picture: Image.Image, format: str, gone: Collection[str]) -> Image.Image:
    """Returns the picture, itself if nothing is to be done, as it will look the same in a file of
    this format without the kinds of blocks in ``gone``.
    """
    from PIL import ImageOps

    from ..codec import metadata

    if any(metadata.KINDS[kind] in picture.info for kind in gone):
        picture = metadata.settled(picture, gone)
    if format == "TIFF":
        # Some readers of TIFF pass over the orientation, and Pillow (13.0) garbles pictures that
        # have it when it maps them into memory.
        ImageOps.exif_transpose(picture, in_place=True)
    return picture


def saving(picture: Image.Image, format: str) -> Callable[[BinaryIO], None]:
    """Returns a function that writes the picture to a seekable file, and raises OSError from there
    or ImageError for what the format does not take.
    """
    options = {**_SAVE_OPTIONS.get(format, {}), **_blocks(picture, format)}

    def save(file: BinaryIO) -> None:
        try:
            picture.save(cast(BinaryIO, _Plain(file)), format, **options)
        except Exception as error:
            if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
                raise
            # Each format has limits of its own on sides and modes, and its own way to say so.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ImageError(f"Pillow cannot write it as {format}: {reason}") from error

    return save


class _Plain(io.RawIOBase):
    """Passes on what is written to a file, whose descriptor it hides: Pillow would write to that
    itself, and of a full disk say no more than "encoder error".
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: Any, /) -> int:
        return self._file.write(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True


def _blocks(picture: Image.Image, format: str) -> dict[str, Any]:
    """Returns the options that make Pillow write the metadata of the picture in this format."""
    from PIL import Image, PngImagePlugin

    blocks: dict[str, Any] = {str(key): block for key, block in picture.info.items()}
    if "xmp" not in blocks:
        return blocks
    if format == "PNG":
        blocks["pnginfo"] = PngImagePlugin.PngInfo()
        blocks["pnginfo"].add_itxt("XML:com.adobe.xmp", blocks.pop("xmp"))
    elif format == "TIFF":
        tags = Image.Exif()
        tags.load(blocks.get("exif", b""))
        tags[_TIFF_XMP] = blocks.pop("xmp")
        blocks["exif"] = tags
    return blocks
