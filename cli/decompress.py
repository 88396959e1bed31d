"""The command ``aec decompress``."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ..format.container import FileInfo, open_info
from ..format.errors import AecError, FormatError
from ..format.header import Header, parse_header
from ..format.limits import DEFAULT_LIMITS, Limits
from ..format.reader import PartReader
from .batch import Batch, Output, arguments
from .codes import EXIT_CODES
from .files import STANDARD, Content, open_input, read_input
from .kinds import kind_of
from .limits import limits_of, max_pixels_option, max_seconds_option
from .naming import is_folder, shown
from .report import Partial, Row, explain
from .saving import drop_damaged_exif, lost_blocks, prepared, saving
from .strip import strip_option

if TYPE_CHECKING:
    from PIL import Image

    from ..codec.api import Codec, Recovered

__all__ = ["decompress", "read_aec"]

_SCALES = {"1/2": 2, "1/4": 4, "1/8": 8}
_REGION = re.compile(r"(\d+),(\d+),(\d+),(\d+)", re.ASCII)

Region = tuple[int, int, int, int]


def _region(_context: click.Context, _option: click.Parameter, value: str | None) -> Region | None:
    if value is None:
        return None
    match = _REGION.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not X,Y,W,H, four numbers of pixels")
    left, top, width, height = map(int, match.groups())
    if not width or not height:
        raise click.BadParameter(f"{value!r} has no pixels")
    return left, top, width, height


@click.command(short_help="Decompress .aec files to pictures.", epilog=EXIT_CODES)
@click.option(
    "--format",
    "extension",
    metavar="EXT",
    help="Picture format where OUT does not say it: png, jpg, webp, ppm, ...  [default: png]",
)
@click.option(
    "--region",
    metavar="X,Y,W,H",
    callback=_region,
    help="Only the part W wide and H high that is X from the left and Y from the top, in pixels.",
)
@click.option(
    "--scale",
    type=click.Choice(tuple(_SCALES)),
    metavar="|".join(_SCALES),
    help="A smaller picture, in less time; X and Y of a region must be multiples of 2, 4, or 8.",
)
@click.option("--allow-partial", is_flag=True, help="Write what is left of a damaged file.")
@strip_option
@max_pixels_option
@max_seconds_option
@arguments
@click.pass_context
def decompress(
    context: click.Context,
    /,
    extension: str | None,
    region: Region | None,
    scale: str | None,
    allow_partial: bool,
    strip: frozenset[str],
    max_pixels: int | None,
    max_seconds: float | None,
    **shared: Any,
) -> None:
    """Decompress .aec files to pictures, in any format that Pillow writes.

    Without -o, photo.aec becomes photo.png in the same folder. Several inputs take a folder as
    OUT. The name - stands for standard input or output. An existing output is an error without
    --force.

    Metadata goes along to png, jpg, webp, avif and tif. For other formats, and with --strip, the
    picture is turned upright and converted to sRGB, so that it looks the same without. A region is
    counted in the pixels of the file, before EXIF says how to turn them.

    Where --allow-partial finds something missing, photo.mask.png beside photo.png is white where
    the pixels are exact, gray where damage is so near that they are not, and black where there
    are none.
    """
    if region is not None and allow_partial:
        raise click.UsageError("--region and --allow-partial exclude each other")
    divisor = 1 if scale is None else _SCALES[scale]
    if region is not None and (region[0] % divisor or region[1] % divisor):
        raise click.UsageError(f"with --scale {scale}, X and Y must be multiples of {divisor}")
    batch = Batch(**shared)
    format = _format(batch.output, extension)
    jobs = batch.plan(f".{(extension or 'png').lower().lstrip('.')}", masks=allow_partial)
    decoding = Decoding(
        format=format,
        gone=frozenset(lost_blocks(format, strip)),
        region=region,
        scale=divisor,
        allow_partial=allow_partial,
        limits=limits_of(max_pixels, max_seconds),
    )
    context.exit(batch.run(jobs, lambda job: decoding.output(job.source, batch.codec)))


@dataclass(frozen=True)
class Decoding:
    """Holds what is to be made of each file: a picture in a format of Pillow, without the kinds of
    blocks in ``gone``.
    """

    format: str
    gone: frozenset[str]
    region: Region | None
    scale: int
    allow_partial: bool
    limits: Limits

    def output(self, name: str, get_codec: Callable[[], Codec]) -> Output:
        """Decodes a file; raises what reading and decoding raise, and click.UsageError for a region
        that it does not have.
        """
        with ExitStack() as stack:
            source: bytes | BinaryIO
            if self.region is not None:  # the rest of the file is not needed
                source = stack.enter_context(open_input(name, _check_start))
            elif self.allow_partial:
                source = read_input(name, _check_start)
            else:
                source, _ = read_aec(name, self.limits)
            header, size = self._described(source)
            codec = get_codec()
            start = time.perf_counter()
            if self.allow_partial:
                recovered = codec.recover(source, scale=self.scale, limits=self.limits)
                picture = recovered.picture
            else:
                recovered = None
                picture = self._decoded(codec, source)
            seconds = time.perf_counter() - start
        row = Row(
            *picture.size,
            size,
            seconds,
            header.quality * 100 / 255,
            coded=(header.width, header.height),
        )
        drop_damaged_exif(picture, self.format, self.gone)
        if recovered is None or not recovered.errors:
            return Output(self._content(picture), row)
        # The mask first: making the picture ready may turn its pixels and change its blocks.
        mask = self._mask(recovered) if recovered.tiles_ok < recovered.tiles_total else None
        partial = Partial(recovered.tiles_ok, recovered.tiles_total, _reason(recovered))
        return Output(self._content(picture), row, partial, mask)

    def _described(self, source: bytes | BinaryIO) -> tuple[Header, int]:
        """Returns the header of a file, and its size in bytes, once all is checked that needs no
        codec; of a whole file, `read_aec` has done it.
        """
        if isinstance(source, bytes):
            size = len(source)
            if not self.allow_partial:
                return parse_header(source), size
        else:
            size = source.seek(0, os.SEEK_END)
            source.seek(0)
        with self._usage_errors():
            reader = PartReader(
                source, self.limits, region=self.region, tolerant=self.allow_partial
            )
        reader.close()
        if not isinstance(source, bytes):
            source.seek(0)
        return reader.header, size

    def _decoded(self, codec: Codec, source: bytes | BinaryIO) -> Image.Image:
        with self._usage_errors():
            return codec.decompress(
                source, region=self.region, scale=self.scale, limits=self.limits
            )

    @contextmanager
    def _usage_errors(self) -> Iterator[None]:
        """Turns what is wrong with the region into wrong usage."""
        try:
            yield
        except ValueError as error:
            if isinstance(error, AecError) or self.region is None:
                raise
            raise click.UsageError(str(error)) from error

    def _content(self, picture: Image.Image) -> Content:
        return saving(prepared(picture, self.format, self.gone), self.format)

    def _mask(self, recovered: Recovered) -> Content:
        """Returns the mask as a PNG, turned where the pixels of the picture are."""
        mask = recovered.mask
        blocks = recovered.picture.info
        mask.info.update({key: blocks[key] for key in ("exif", "xmp") if key in blocks})
        mask = prepared(mask, self.format, self.gone)
        mask.info.clear()
        return saving(mask, "PNG")


def _reason(recovered: Recovered) -> str:
    first, *others = recovered.errors
    return explain(first) + (f" (and {len(others)} more)" if others else "")


def read_aec(name: str, limits: Limits = DEFAULT_LIMITS) -> tuple[bytes, FileInfo]:
    """Returns the bytes of an .aec file and their description, before anything is loaded to decode
    them; raises OSError, LimitError, or FormatError, with a hint if it is another kind of picture.
    """
    data = read_input(name, _check_start)
    return data, open_info(data, limits)


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
