"""Peak memory and time on one huge picture: a mosaic, encoded, decoded, and decoded in part.

Each step runs in a process of its own, whose peak is then that step's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from .runs import environment, open_opaque, timed

__all__ = ["REGION", "STEPS", "mosaic", "run"]

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
                "paths": [str(path) for path in paths],
                "size": (width, height),
                "quality": quality,
                "device": device,
                "file": file,
            }
            command = [sys.executable, "-m", "aec.bench.memory"]
            done = subprocess.run(command, input=json.dumps(asked), text=True, capture_output=True)
            if done.returncode:
                raise RuntimeError(f"{step} failed: {done.stderr.strip().splitlines()[-1:]}")
            steps[step] = json.loads(done.stdout)
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


def _step(asked: dict[str, Any]) -> dict[str, Any]:
    """Does one step in this process, and returns its seconds and the peak."""
    from ..codec.api import Codec

    codec = Codec(device=asked["device"])
    width, height = asked["size"]
    codec.decompress(codec.compress(Image.new("RGB", (64, 64))))  # kernels are chosen and kept
    seconds, picture_bytes = 0.0, 0
    if asked["step"] == "encode":
        picture = mosaic([Path(path) for path in asked["paths"]], width, height)
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
    return {"seconds": seconds, "peak_bytes": _peak(), "picture_bytes": picture_bytes}


def _peak() -> int:
    """The most bytes of memory that this process has held."""
    import resource  # not on every system

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    print(json.dumps(_step(json.load(sys.stdin))))
