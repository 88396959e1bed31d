"""The codec as functions, for programs that need no more than the package's model."""

from __future__ import annotations

from functools import lru_cache

from PIL import Image

from ..format.container import Source
from ..format.limits import Limits
from .api import Codec, Picture, Recovered, Region
from .targets import Reached


@lru_cache(maxsize=4)
def _shared(device: str) -> Codec:
    return Codec(device=device)


def compress(
    image: Picture,
    *,
    quality: float = 75,
    effort: int = 1,
    tile: int | None = None,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    limits: Limits | None = None,
    device: str = "auto",
) -> bytes:
    """Compresses one picture with the package's model; see `Codec.compress`."""
    return _shared(device).compress(
        image,
        quality=quality,
        effort=effort,
        tile=tile,
        icc_profile=icc_profile,
        exif=exif,
        xmp=xmp,
        limits=limits,
    )


def compress_to(
    image: Picture,
    *,
    size: int | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    effort: int = 1,
    tile: int | None = None,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    limits: Limits | None = None,
    device: str = "auto",
) -> Reached:
    """Compresses one picture to a size or a PSNR with the package's model; see
    `Codec.compress_to`.
    """
    return _shared(device).compress_to(
        image,
        size=size,
        bpp=bpp,
        psnr=psnr,
        effort=effort,
        tile=tile,
        icc_profile=icc_profile,
        exif=exif,
        xmp=xmp,
        limits=limits,
    )


def decompress(
    source: Source,
    *,
    region: Region | None = None,
    scale: int = 1,
    limits: Limits | None = None,
    device: str = "auto",
) -> Image.Image:
    """Decompresses one file with the package's model; see `Codec.decompress`."""
    return _shared(device).decompress(source, region=region, scale=scale, limits=limits)


def recover(
    source: Source, *, scale: int = 1, limits: Limits | None = None, device: str = "auto"
) -> Recovered:
    """What a damaged file still holds, with the package's model; see `Codec.recover`."""
    return _shared(device).recover(source, scale=scale, limits=limits)
