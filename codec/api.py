"""The public codec: pictures to bytes and back."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..format.container import Container, Tile, read_file, write_file
from ..format.errors import (
    AecError,
    BackendMismatchError,
    ModelNotFoundError,
    ResourceError,
)
from ..format.header import FLAG_ALPHA, FLAG_GRAY, Header
from ..format.limits import DEFAULT_LIMITS, Limits
from ..format.metadata import Metadata
from . import coding
from .alpha import filled, pack_alpha, unpack_alpha
from .config import QUALITY_LEVELS, Z_STRIDE
from .decoder import GAIN_BITS, Decoder
from .exact import canary, exact_arithmetic
from .loading import load_weights
from .metadata import blocks_of
from .model import Encoder
from .pictures import to_array

Pixels = NDArray[np.uint8]
Picture = Image.Image | Pixels


def quality_index(quality: float) -> int:
    """The quality index 0..255 of a quality 0..100; raises ValueError outside."""
    if not 0 <= quality <= 100:
        raise ValueError(f"quality must be from 0 to 100, got {quality}")
    return int(quality * (QUALITY_LEVELS - 1) / 100 + 0.5)


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
        """Loads a model folder (default: the one in the package) onto "auto", "cpu" or "cuda[:n]".

        Raises ModelError for weights that cannot be used, ResourceError for a device that is not
        there, BackendMismatchError for one whose arithmetic is not exact.
        """
        self.model = None if model is None else Path(model)
        self.limits = limits
        self._asked = device
        self._weights = load_weights(self.model)
        self.device = _pick_device(device)
        with torch.device("cpu"):  # whatever torch's default device is, and its default type
            self._decoder = self._prepare(self.device)
            encoder = Encoder(self._weights.cfg, self._weights.encoder)
        self._encoder = encoder.to(self.device, torch.float32)
        self._rates = coding.RateTable(self._weights.y_tables, self.device)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self._asked, self.model, self.limits, self.model_id)

    @property
    def model_id(self) -> str:
        """The hexadecimal id that files written by this codec carry."""
        return self._weights.model_id.hex()

    def _prepare(self, device: torch.device) -> Decoder:
        decoder = Decoder(self._weights.cfg, self._weights.decoder, device)
        with exact_arithmetic():
            exact = canary(decoder) == self._weights.canary
        if exact:
            return decoder
        if device.type == "cpu":
            raise BackendMismatchError(
                "this machine's arithmetic does not give the symbols that the model was made "
                "with; please report the output of `python -m torch.utils.collect_env`"
            )
        warnings.warn(f"{device} is not exact; the CPU is used instead", stacklevel=3)
        self.device = torch.device("cpu")
        return self._prepare(self.device)

    def compress(
        self,
        image: Picture,
        *,
        quality: float = 75,
        icc_profile: bytes | None = None,
        exif: bytes | None = None,
        xmp: bytes | None = None,
    ) -> bytes:
        """A whole file of a PIL image (RGB, RGBA or gray) or a uint8 array: (H, W), (H, W, 2) gray
        with alpha, (H, W, 3) or (H, W, 4). Alpha is kept without loss, colours where it is 0 not.

        `quality` runs from 0 to 100, higher is better, and 100 is not lossless. A block of metadata
        that is None comes from the `info` of a PIL image; b"" leaves it out. Pixels are coded as
        they are, neither turned nor converted. Raises ImageError for pictures of other kinds,
        LimitError for too large ones and too long blocks, ValueError for the quality, TypeError for
        blocks that are not bytes, ResourceError when memory ends.
        """
        index = quality_index(quality)
        pixels = to_array(image)
        height, width = pixels.shape[:2]
        self.limits.check_picture(width, height)
        blocks = blocks_of(image) if isinstance(image, Image.Image) else {}
        given = {"icc_profile": icc_profile, "exif": exif, "xmp": xmp}
        blocks |= {name: block for name, block in given.items() if block is not None}
        metadata = Metadata.from_info(**blocks)
        self.limits.check_metadata(metadata.sizes())  # said before the long work
        with _resources(), exact_arithmetic():
            pixels, flags, alpha = _separated(pixels)
            y, z = self._encoder.latents(_padded(pixels, self.device), index)
            side = self._encoder_side(y, z, index)
            _, crc = coding.walk(self._decoder, side, index, height, width)
            tile = Tile(number=0, symbol_crc=crc, payload=side.coder.finish())
        header = Header(
            width=width, height=height, quality=index, model_id=self._weights.model_id, flags=flags
        )
        return write_file(header, [tile], metadata, self.limits, alpha)

    def _encoder_side(self, y: Tensor, z: Tensor, index: int) -> coding.EncoderSide:
        cost = coding.error_cost(self._decoder.inverse_gain[index] * 2.0**-GAIN_BITS, index)
        tables = self._weights.y_tables, self._weights.z_tables
        return coding.EncoderSide(y, z, cost, *tables, self._rates)

    def decompress(self, data: bytes) -> Image.Image:
        """The picture of a whole file, mode RGB, L, RGBA or LA, its metadata in `info` and not
        applied.

        Raises FormatError for bytes that are no intact file, LimitError for too large pictures,
        ModelNotFoundError for files of other weights, BackendMismatchError when the symbols come
        out wrong though the file is intact, ResourceError when memory ends.
        """
        container = self._container(data)
        header = container.header
        with _resources(), exact_arithmetic():
            alpha = self._alpha(container)
            y_hat = self._symbols(container)
            whole = self._decoder.synthesis(y_hat, header.quality)
            cut = whole[: header.height, : header.width].contiguous()
            pixels: NDArray[np.uint8] = cut.cpu().numpy()
        if header.flags & FLAG_GRAY:
            total = pixels.sum(axis=2, dtype=np.uint16)
            pixels = ((total + 1) // 3).astype(np.uint8)
        picture = Image.fromarray(pixels)
        if alpha is not None:
            picture.putalpha(alpha)
        picture.info.update(container.metadata.info())
        return picture

    def verify(self, data: bytes) -> None:
        """Returns when a whole file is sound: all that `decompress` checks, without making pixels,
        which cannot fail; raises what `decompress` raises.
        """
        container = self._container(data)
        with _resources(), exact_arithmetic():
            self._alpha(container)
            self._symbols(container)

    def _container(self, data: bytes) -> Container:
        container = read_file(data, self.limits)
        if container.header.model_id != self._weights.model_id:
            raise ModelNotFoundError(
                f"the file needs model {container.header.model_id.hex()}, this codec has "
                f"{self.model_id}; install the version of aec that wrote it, or pass its model "
                "folder"
            )
        return container

    def _alpha(self, container: Container) -> Image.Image | None:
        if container.alpha is None:
            return None
        header = container.header
        return unpack_alpha(container.alpha, header.width, header.height, self.limits)

    def _symbols(self, container: Container) -> Tensor:
        """y_hat (H/16, W/16, M) at 2^-7 of the one tile, once its symbols are checked."""
        header, tile = container.header, container.tiles[0]
        side = coding.DecoderSide(tile.payload, self._weights.y_tables, self._weights.z_tables)
        size = header.height, header.width
        y_hat, crc = coding.walk(self._decoder, side, header.quality, *size)
        if crc != tile.symbol_crc or not side.coder.at_start():
            raise BackendMismatchError(
                f"tile {tile.number}: its bytes are intact but its symbols have CRC "
                f"{crc:08x}, not {tile.symbol_crc:08x}; the file was made by a faulty encoder, or "
                f"{self.device} is not exact here (try device='cpu')"
            )
        return y_hat


def _separated(pixels: Pixels) -> tuple[Pixels, int, bytes | None]:
    """Pixels (H, W, 3) to code, the flags of the header, and the alpha plane as a PNG stream."""
    flags = 0
    alpha: bytes | None = None
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        flags |= FLAG_ALPHA
        plane = np.ascontiguousarray(pixels[:, :, -1])
        colours = pixels[:, :, 0] if pixels.shape[2] == 2 else pixels[:, :, :3]
        pixels, alpha = filled(np.ascontiguousarray(colours), plane), pack_alpha(plane)
    if pixels.ndim == 2:
        flags |= FLAG_GRAY
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return pixels, flags, alpha


def _padded(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(H, W, 3) uint8 to (1, 3, H', W') in [0, 1], edges repeated to whole z cells."""
    height, width = pixels.shape[:2]
    x = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(2, 0, 1)[None]
    x = x.to(torch.float32) / 255
    return F.pad(x, (0, -width % Z_STRIDE, 0, -height % Z_STRIDE), mode="replicate")


def _pick_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device {name!r} is none of auto, cpu, cuda, cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r} is none of auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ResourceError(
            f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices"
        )
    return device


@contextmanager
def _resources() -> Iterator[None]:
    """Turns the ways in which torch and numpy say that memory ended into ResourceError."""
    try:
        yield
    except AecError:
        raise
    except MemoryError as error:
        raise ResourceError(f"out of memory: {error}") from error
    except RuntimeError as error:
        # the CPU allocator has no exception type of its own
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise ResourceError(f"out of memory: {error}") from error
        raise


def _rebuild(device: str, model: Path | None, limits: Limits, model_id: str) -> Codec:
    codec = Codec(device=device, model=model, limits=limits)
    if codec.model_id != model_id:
        raise ModelNotFoundError(f"pickled with model {model_id}, found {codec.model_id}")
    return codec


@lru_cache(maxsize=4)
def _shared(device: str) -> Codec:
    return Codec(device=device)


def compress(
    image: Picture,
    *,
    quality: float = 75,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    device: str = "auto",
) -> bytes:
    """Compresses one picture with the package's model; see `Codec.compress`."""
    codec = _shared(device)
    return codec.compress(image, quality=quality, icc_profile=icc_profile, exif=exif, xmp=xmp)


def decompress(data: bytes, *, device: str = "auto") -> Image.Image:
    """Decompresses one file with the package's model; see `Codec.decompress`."""
    return _shared(device).decompress(data)
