"""The public codec: pictures to bytes and back."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..format.container import Container, Source, Tile, read_file
from ..format.errors import (
    AecError,
    BackendMismatchError,
    FormatError,
    LimitError,
    ModelNotFoundError,
)
from ..format.header import Header
from ..format.limits import DEFAULT_LIMITS, Limits
from ..format.reader import PartReader
from . import coding
from .config import SCALES
from .encoding import Job, prepare, quality_index
from .engine import Parts, Work, load_parts, pick_device, resources
from .exact import exact_arithmetic
from .loading import load_weights
from .painting import Canvas, alpha_plane
from .rects import Rect, tile_cells
from .targets import Reached, psnr_of, reach_psnr, reach_size
from .tiling import Synthesis

Pixels = NDArray[np.uint8]
Picture = Image.Image | Pixels
Region = tuple[int, int, int, int]
Progress = Callable[[float], object]


def _unwatched(share: float) -> None:
    pass


class Recovered(NamedTuple):
    """What `recover` found: `mask` is a gray image of the picture's size, 255 where the pixels are
    those of the intact file, 128 where they lie beside a lost tile and may differ, 0 where lost.
    """

    picture: Image.Image
    mask: Image.Image
    tiles_ok: int
    tiles_total: int
    errors: tuple[AecError, ...]


class Codec:
    """Compresses and decompresses with weights that stay loaded.

    >>> import aec, numpy
    >>> codec = aec.Codec(device="cpu")
    >>> data = codec.compress(numpy.full((40, 60), 128, numpy.uint8), quality=50)
    >>> codec.decompress(data).size
    (60, 40)
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        model: str | Path | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Loads a model (default: the one in the package) onto "auto", "cpu" or "cuda[:n]".

        Raises ModelError for weights that cannot be used, ResourceError for a device that is not
        there, BackendMismatchError for one whose arithmetic is not exact.
        """
        self.model = None if model is None else Path(model)
        self.limits = limits
        self._asked = device
        self._weights = load_weights(self.model)
        self._loaded: dict[torch.device, Parts] = {}
        self.device = pick_device(device)
        try:
            self.parts()
        except BackendMismatchError:
            if self.device.type == "cpu":
                raise
            warnings.warn(f"{self.device} is not exact; the CPU is used instead", stacklevel=2)
            self.device = torch.device("cpu")
            self.parts()

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self._asked, self.model, self.limits, self.model_id)

    @property
    def model_id(self) -> str:
        """The hexadecimal id that files written by this codec carry."""
        return self._weights.model_id.hex()

    def parts(self, device: torch.device | None = None) -> Parts:
        """The networks on a device, by default the codec's own; raises BackendMismatchError when it
        does not compute exactly.
        """
        device = device or self.device
        if device not in self._loaded:
            self._loaded[device] = load_parts(self._weights, device)
        return self._loaded[device]

    def _work(self, limits: Limits) -> Work:
        cpu = torch.device("cpu")
        elsewhere = None if self.device == cpu else lambda: self.parts(cpu)
        return Work(self.parts(), elsewhere, limits)

    def compress(
        self,
        image: Picture,
        *,
        quality: float = 75,
        effort: int = 1,
        tile: int | None = None,
        progress: Progress = _unwatched,
        icc_profile: bytes | None = None,
        exif: bytes | None = None,
        xmp: bytes | None = None,
        limits: Limits | None = None,
    ) -> bytes:
        """A whole file of a PIL image (RGB, RGBA or gray) or a uint8 array: (H, W), (H, W, 2) gray
        with alpha, (H, W, 3) or (H, W, 4). Alpha is kept without loss, colours where it is 0 not.

        `quality` runs from 0 to 100, higher is better, and 100 is not lossless. Of pictures up to
        512x512 pixels, a file below 8 KiB is of a quality up to 5 higher where that takes fewer
        bytes. `effort` runs from 1 to 9: with more of it the encoder searches longer for fewer bits
        at the same PSNR, while decoding takes no longer. `progress` is called now and then with the
        share of the work that is done, 0 to 1, for each file that is made. `tile` is the side of
        the tiles in pixels, a power of two from 64 to 4096, or 0 for one tile; by default pictures
        above 2 megapixels have tiles of 1024. A block of metadata that is None comes from the
        `info` of a PIL image; b"" leaves it out. Pixels are coded as they are, neither turned nor
        converted.
        Raises ImageError for pictures of other kinds, LimitError for too large ones, too long
        blocks and too long work, ValueError for quality, effort or tile, TypeError for blocks that
        are not bytes, ResourceError when memory ends.
        """
        quality_index(quality)  # told before the picture is read
        blocks = {"icc_profile": icc_profile, "exif": exif, "xmp": xmp}
        return self._job(image, tile, blocks, limits, effort, progress).encode_at(quality)

    def compress_to(
        self,
        image: Picture,
        *,
        size: int | None = None,
        bpp: float | None = None,
        psnr: float | None = None,
        effort: int = 1,
        tile: int | None = None,
        progress: Progress = _unwatched,
        icc_profile: bytes | None = None,
        exif: bytes | None = None,
        xmp: bytes | None = None,
        limits: Limits | None = None,
    ) -> Reached:
        """The best file of at most `size` bytes, or of at most `bpp` bits a pixel, or the smallest
        one of at least `psnr` dB over the colours that can be seen, with the quality that gave it.

        It makes some files to find it, as a rule three to six. Raises what `compress` raises,
        LimitError when no quality gets there, and ValueError unless there is one aim, above 0.
        """
        aims = [aim for aim in (size, bpp, psnr) if aim is not None]
        if len(aims) != 1 or not 0 < aims[0] < math.inf:
            raise ValueError("compress_to takes one of size, bpp and psnr, and it is above 0")
        blocks = {"icc_profile": icc_profile, "exif": exif, "xmp": xmp}
        job = self._job(image, tile, blocks, limits, effort, progress)
        if psnr is not None:
            return reach_psnr(
                job.encode,
                lambda data: psnr_of(job.source, self.decompress(data, limits=limits)),
                psnr,
            )
        if bpp is not None:
            size = int(bpp * job.source.width * job.source.height / 8)
        return reach_size(job.encode, size or 1)

    def _job(
        self,
        image: Picture,
        tile: int | None,
        blocks: dict[str, bytes | None],
        limits: Limits | None,
        effort: int,
        progress: Progress,
    ) -> Job:
        limits = limits or self.limits
        work = self._work(limits)
        return prepare(image, tile, blocks, self._weights.model_id, limits, work, effort, progress)

    def decompress(
        self,
        source: Source,
        *,
        region: Region | None = None,
        scale: int = 1,
        limits: Limits | None = None,
    ) -> Image.Image:
        """The picture of a file (bytes, a path or a binary file object), mode RGB, L, RGBA or LA,
        its metadata in `info` and not applied.

        `region` is (left, top, width, height) in pixels: that part alone is decoded, and of a path
        or a seekable file no more is read than it takes. `scale` 2, 4 or 8 gives a picture smaller
        by that much, cheaper than decoding it whole and averaging, and up to 2 dB further from the
        original; a region then has to start at multiples of it.
        Raises FormatError for bytes that are no intact file, LimitError for too large pictures and
        too long work, ModelNotFoundError for files of other weights, BackendMismatchError when the
        symbols come out wrong though the file is intact, ValueError for a region or a scale that
        does not fit, ResourceError when memory ends, OSError from reading.
        """
        limits = limits or self.limits
        _check_scale(scale, region)
        if region is None:
            container = self._container(source, limits)
            canvas = Canvas(container.header, scale, limits)
            self._paint(canvas, container.tiles.__getitem__, self._work(limits))
            return canvas.picture(container.metadata)
        with PartReader(source, limits, region=region) as reader:
            self._check_model(reader.header)
            left, top, width, height = region
            part = Rect(left, top, left + width, top + height)
            canvas = Canvas(reader.header, scale, limits, part)
            self._paint(canvas, reader.tile, self._work(limits))
            return canvas.picture(reader.metadata)

    def recover(self, source: Source, *, scale: int = 1, limits: Limits | None = None) -> Recovered:
        """What a damaged or truncated file still holds: the tiles that are intact, and a mask.

        Lost tiles are gray, and transparent where the picture has alpha; damaged metadata is left
        out. Raises what `decompress` raises when no tile is intact.
        """
        limits = limits or self.limits
        _check_scale(scale, None)
        work = self._work(limits)
        with PartReader(source, limits, tolerant=True) as reader:
            header = reader.header
            self._check_model(header)
            canvas = Canvas(header, scale, limits)
            errors: list[AecError] = []
            lost: list[int] = []

            def tile_y(number: int) -> Tensor:
                try:
                    tile = reader.tile(number)
                except (FormatError, LimitError) as error:
                    return without(number, error)
                try:
                    return self._painted_y(canvas, tile, work)
                except (FormatError, BackendMismatchError) as error:
                    return without(number, error)

            def without(number: int, error: AecError) -> Tensor:
                errors.append(error)
                lost.append(number)
                cells = tile_cells(header.grid, number)
                return torch.zeros(cells.height, cells.width, self._weights.cfg.m)

            self._paint_with(canvas, tile_y, work)
            if len(lost) == header.grid.count:
                raise errors[0]  # what is wrong with a tile says more than what is beside it
            errors += reader.damage
            mask = canvas.lose(lost, work.parts.decoder.halo(scale))
            count = header.grid.count
            picture = canvas.picture(reader.metadata)
            return Recovered(picture, mask, count - len(lost), count, tuple(errors))

    def verify(self, source: Source, *, limits: Limits | None = None) -> None:
        """Returns when a whole file is sound: all that `decompress` checks, without making pixels,
        which cannot fail; raises what `decompress` raises.
        """
        limits = limits or self.limits
        container = self._container(source, limits)
        header = container.header
        work = self._work(limits)
        with resources(), exact_arithmetic():
            for tile in container.tiles:
                alpha_plane(header, tile.number, tile.alpha, limits)
                self._tile_y(header, tile, work)

    def _container(self, source: Source, limits: Limits) -> Container:
        container = read_file(source, limits)
        self._check_model(container.header)
        return container

    def _check_model(self, header: Header) -> None:
        if header.model_id != self._weights.model_id:
            raise ModelNotFoundError(
                f"the file needs model {header.model_id.hex()}, this codec has {self.model_id}; "
                "install the version of aec that wrote it, or pass its model"
            )

    def _paint(self, canvas: Canvas, get_tile: Callable[[int], Tile], work: Work) -> None:
        self._paint_with(canvas, lambda n: self._painted_y(canvas, get_tile(n), work), work)

    def _paint_with(self, canvas: Canvas, tile_y: Callable[[int], Tensor], work: Work) -> None:
        header = canvas.header
        with resources(), exact_arithmetic():
            synthesis = Synthesis(work, header.grid, header.quality, canvas.scale, tile_y)
            for piece, pixels in synthesis.pieces(canvas.cells):
                canvas.paint(piece, pixels)

    def _painted_y(self, canvas: Canvas, tile: Tile, work: Work) -> Tensor:
        """The y of one tile, its alpha on the canvas."""
        canvas.paint_alpha(tile.number, tile.alpha)
        return self._tile_y(canvas.header, tile, work)

    def _tile_y(self, header: Header, tile: Tile, work: Work) -> Tensor:
        """y_hat (H/16, W/16, M) at 2^-7 of one tile once its symbols are checked."""
        _, _, width, height = header.grid.rect(tile.number)

        def decode(parts: Parts) -> Tensor:
            side = parts.decoder_side(tile.payload, header.quality)
            y_hat, crc = coding.walk(parts.decoder, side, header.quality, height, width)
            if crc != tile.symbol_crc or not side.coder.at_start():
                raise BackendMismatchError(
                    f"tile {tile.number}: its bytes are intact but its symbols have CRC "
                    f"{crc:08x}, not {tile.symbol_crc:08x}; the file was made by a faulty encoder, "
                    f"or {parts.device} is not exact here (try device='cpu')"
                )
            return y_hat

        return work.run(decode)


def _check_scale(scale: int, region: Region | None) -> None:
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(map(str, SCALES))}, got {scale}")
    if region is not None and (region[0] % scale or region[1] % scale):
        raise ValueError(
            f"a region at scale 1/{scale} must start at multiples of {scale}, got {region[:2]}"
        )


def _rebuild(device: str, model: Path | None, limits: Limits, model_id: str) -> Codec:
    codec = Codec(device=device, model=model, limits=limits)
    if codec.model_id != model_id:
        raise ModelNotFoundError(f"pickled with model {model_id}, found {codec.model_id}")
    return codec
