"""Peak memory: of aec on one huge picture, a mosaic that is encoded, decoded, and decoded in part,
and of any codec on one picture.

Each step runs in a process of its own, whose peak is then that step's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from .apart import apart, peak, peak_of
from .codecs import BenchCodec
from .runs import environment, open_opaque, set_threads, timed

__all__ = ["REGION", "STEPS", "mosaic", "peaks", "run"]

REGION = 512
"""Side of the part that is decoded alone, in pixels."""

STEPS = ("start", "encode", "decode", "region", "eighth")


def run(
    paths: Sequence[Path],
    width: int,
    height: int,
    *,
    quality: float = 50,
    device: str = "auto",
    report: Callable[[str], object] = lambda step: None,
) -> dict[str, Any]:
    """Returns bytes at the peak and seconds of each step on a mosaic of the pictures, and what of
    the peak is the picture itself as Pillow holds it.

    "start" codes one tiny picture: what torch and the weights take. Raises RuntimeError, with what
    it said, when a step fails.
    """
    steps: dict[str, dict[str, Any]] = {}
    with TemporaryDirectory() as folder:
        file = str(Path(folder) / "mosaic.aec")
        for step in STEPS:
            report(step)
            asked = {
                "step": step,
                "paths": paths,
                "size": (width, height),
                "quality": quality,
                "device": device,
                "file": file,
            }
            try:
                steps[step] = apart(_step, asked)
            except RuntimeError as error:
                raise RuntimeError(f"{step} failed: {error}") from error
        size = Path(file).stat().st_size
    return {
        "environment": environment(),
        "width": width,
        "height": height,
        "quality": quality,
        "bytes": size,
        "bpp": 8 * size / (width * height),
        "steps": steps,
        "region_share": steps["region"]["seconds"] / steps["decode"]["seconds"],
    }


def mosaic(paths: Sequence[Path], width: int, height: int) -> Image.Image:
    """A picture of this size in mode RGB that the given ones fill, row after row, over and over."""
    whole = Image.new("RGB", (width, height))
    pictures = cycle([open_opaque(path).convert("RGB") for path in paths])
    top = 0
    while top < height:
        left, below = 0, height
        while left < width:
            picture = next(pictures)
            whole.paste(picture, (left, top))
            left += picture.width
            below = min(below, top + picture.height)  # no gap under the lowest of a row
        top = below
    return whole


def peaks(
    codec: BenchCodec, opened: Callable[[], Image.Image], setting: float, threads: int
) -> dict[str, int]:
    """Returns the bytes that a codec takes at its peak to encode a picture and to decode it again,
    the decoded picture among them, and those that each process held before: the package, what one
    tiny picture leaves, and the picture or the file. Raises RuntimeError when the codec fails.
    """
    data, *encoding = apart(_encoding, codec, opened, setting, threads)
    decoding = apart(_decoding, codec, data, setting, threads)
    found: dict[str, int] = {}
    for way, (before, most) in (("encode", encoding), ("decode", decoding)):
        found |= {f"{way}_memory_bytes": most - before, f"{way}_base_bytes": before}
    return found


def _encoding(
    codec: BenchCodec, opened: Callable[[], Image.Image], setting: float, threads: int
) -> tuple[bytes, int, int]:
    _warm_up(codec, setting, threads)
    picture = opened()
    return peak_of(lambda: codec.encode(picture, setting))


def _decoding(codec: BenchCodec, data: bytes, setting: float, threads: int) -> tuple[int, int]:
    _warm_up(codec, setting, threads)
    _, before, most = peak_of(lambda: codec.decode(data))
    return before, most


def _warm_up(codec: BenchCodec, setting: float, threads: int) -> None:
    set_threads(threads)
    codec.decode(codec.encode(Image.new("RGB", (64, 64)), setting))


def _step(asked: dict[str, Any]) -> dict[str, Any]:
    """Does one step in this process, and returns its seconds and the peak."""
    from ..codec.api import Codec

    codec = Codec(device=asked["device"])
    width, height = asked["size"]
    codec.decompress(codec.compress(Image.new("RGB", (64, 64))))  # kernels are chosen and kept
    seconds, picture_bytes = 0.0, 0
    if asked["step"] == "encode":
        picture = mosaic(asked["paths"], width, height)
        data, seconds = timed(lambda: codec.compress(picture, quality=asked["quality"]))
        Path(asked["file"]).write_bytes(data)
        picture_bytes = 4 * width * height  # Pillow keeps a byte beside each RGB
    elif asked["step"] != "start":
        options: dict[str, Any] = {}
        if asked["step"] == "region":
            side = min(REGION, width, height)
            options = {"region": ((width - side) // 2, (height - side) // 2, side, side)}
        elif asked["step"] == "eighth":
            options = {"scale": 8}
        picture, seconds = timed(lambda: codec.decompress(asked["file"], **options))
        picture_bytes = 4 * picture.width * picture.height
    return {"seconds": seconds, "peak_bytes": peak(), "picture_bytes": picture_bytes}
