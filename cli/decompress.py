"""The command ``aec decompress``."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import click

from ..format.container import FileInfo, open_info
from ..format.errors import FormatError, ImageError
from ..format.header import parse_header
from .batch import Batch, arguments
from .codes import EXIT_CODES
from .files import STANDARD, read_input
from .kinds import kind_of
from .naming import Job, is_folder, shown
from .report import Row, complain, explain
from .strip import KINDS, strip_option

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["decompress", "read_aec"]

_SAVE_OPTIONS: Mapping[str, Mapping[str, object]] = {
    # The picture has been through one lossy codec; a second one should not add what can be seen.
    "AVIF": {"quality": 95},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}
_CARRIERS = frozenset(("AVIF", "JPEG", "PNG", "TIFF", "WEBP"))  # formats that take all blocks
_TIFF_XMP = 700  # the tag that holds an XMP packet


@click.command(short_help="Decompress .aec files to pictures.", epilog=EXIT_CODES)
@click.option(
    "--format",
    "extension",
    metavar="EXT",
    help="Picture format where OUT does not say it: png, jpg, webp, ppm, ...  [default: png]",
)
@strip_option
@arguments
@click.pass_context
def decompress(
    context: click.Context, /, extension: str | None, strip: frozenset[str], **shared: Any
) -> None:
    """Decompress .aec files to pictures, in any format that Pillow writes.

    Without -o, photo.aec becomes photo.png in the same folder. Several inputs take a folder as
    OUT. The name - stands for standard input or output. An existing output is an error without
    --force.

    Metadata goes along to png, jpg, webp, avif and tif. For other formats, and with --strip, the
    picture is turned upright and converted to sRGB, so that it looks the same without.
    """
    batch = Batch(**shared)
    format = _format(batch.output, extension)
    jobs = batch.plan(f".{(extension or 'png').lower().lstrip('.')}")

    def convert(job: Job) -> tuple[bytes, Row]:
        data, info = read_aec(job.source)
        codec = batch.codec()
        start = time.perf_counter()
        picture = codec.decompress(data)
        seconds = time.perf_counter() - start
        row = Row(picture.width, picture.height, len(data), seconds, info.quality)
        return _saved(picture, format, strip), row

    context.exit(batch.run(jobs, convert))


def read_aec(name: str) -> tuple[bytes, FileInfo]:
    """Returns the bytes of an .aec file and their description, before anything is loaded to decode
    them; raises OSError, LimitError, or FormatError, with a hint if it is another kind of picture.
    """
    data = read_input(name, _check_start)
    return data, open_info(data)


def _check_start(start: bytes) -> None:
    if not start:
        raise FormatError("the file is empty")
    kind = kind_of(start)
    if kind is not None:
        raise FormatError(f"not an aec file (it looks like {kind}); did you mean aec compress?")
    parse_header(start)


def _format(output: str | None, extension: str | None) -> str:
    """Returns Pillow's name of the format to write; raises click.UsageError if there is none."""
    from PIL import Image

    known = {
        suffix: format
        for suffix, format in Image.registered_extensions().items()
        if format in Image.SAVE
    }
    wanted = None if extension is None else known.get(f".{extension.lower().lstrip('.')}")
    if extension is not None and wanted is None:
        raise click.UsageError(f"Pillow cannot write {extension!r} pictures; try png")
    if output is None or output == STANDARD or is_folder(output):
        return wanted or "PNG"
    suffix = os.path.splitext(output)[1].lower()
    named = known.get(suffix)
    if wanted is not None and named is not None and wanted != named:
        raise click.UsageError(f"--format {extension} contradicts the name {shown(output)}")
    format = named or wanted
    if format is None:
        what = f"cannot write {suffix!r} pictures" if suffix else "needs a file extension"
        raise click.UsageError(
            f"{shown(output)}: {what}; end the name with .png, or give --format png"
        )
    return format


def _saved(picture: Image.Image, format: str, strip: Collection[str] = ()) -> bytes:
    from PIL import ImageOps

    from ..codec.metadata import settled

    if format not in _CARRIERS:
        strip = KINDS  # without its blocks, the picture would lie on its side in other colours
    if strip:
        picture = settled(picture, strip)
    if format in ("AVIF", "TIFF"):
        _drop_damaged_exif(picture)  # Pillow writes them from what it reads in the block
    if format == "TIFF":
        # Some readers of TIFF pass over the orientation, and Pillow (13.0) garbles pictures that
        # have it when it maps them into memory.
        picture = ImageOps.exif_transpose(picture)
    buffer = io.BytesIO()
    try:
        picture.save(buffer, format, **_SAVE_OPTIONS.get(format, {}), **_blocks(picture, format))
    except Exception as error:
        # Each format has limits of its own on sides and modes, and its own way to say so.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"Pillow cannot write it as {format}: {reason}") from error
    return buffer.getvalue()


def _drop_damaged_exif(picture: Image.Image) -> None:
    from PIL import Image

    try:
        Image.Exif().load(picture.info.get("exif", b""))
    except Exception as error:
        complain(f"warning: left out a damaged EXIF block: {explain(ImageError(str(error)))}")
        del picture.info["exif"]


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
