"""Time of encoding and decoding, where decoding spends it, and JPEG and AVIF beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image

from ..codec import api, coding
from ..codec.decoder import Decoder
from ..codec.loading import load_weights
from ..format.errors import AecError
from . import cost
from .codecs import Aec, BenchCodec
from .runs import environment, open_opaque, timed

__all__ = ["BESIDE", "STAGES", "run", "stage_clock"]

BESIDE = {"jpeg": 75, "avif": 60}
"""The settings of the other codecs in the same run."""

STAGES: dict[str, tuple[tuple[Any, str], ...]] = {
    "container and entropy coding": (
        (api, "read_file"),
        (coding.DecoderSide, "__init__"),
        (coding.DecoderSide, "z"),
        (coding.DecoderSide, "residual"),
    ),
    "entropy networks": ((Decoder, "features"), (Decoder, "step")),
    "synthesis": ((Decoder, "synthesis"),),
}
"""The stages of decoding, each with the calls that it consists of; none calls another."""
OTHER = "other"


@contextmanager
def stage_clock(device: torch.device) -> Iterator[dict[str, float]]:
    """Adds up the seconds of each stage of what is decoded inside, for the whole process."""
    seconds = dict.fromkeys(STAGES, 0.0)

    def clocked(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            _wait(device)
            result, elapsed = timed(lambda: _finished(device, function(*args, **kwargs)))
            seconds[stage] += elapsed
            return result

        return call

    with ExitStack() as stack:
        for stage, calls in STAGES.items():
            for owner, name in calls:
                function = getattr(owner, name)
                stack.callback(setattr, owner, name, function)
                setattr(owner, name, clocked(stage, function))
        yield seconds


def _finished(device: torch.device, result: Any) -> Any:
    _wait(device)
    return result


def _wait(device: torch.device) -> None:
    """Lets a GPU finish, which otherwise returns before it has computed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def run(
    paths: Sequence[Path],
    codec: Aec,
    others: Sequence[BenchCodec],
    *,
    repeat: int = 3,
    threads: int | None = None,
    report: Callable[[str, str | None], object] = lambda name, reason: None,
) -> dict[str, Any]:
    """Returns medians of `repeat` runs for each picture, in seconds and megapixels per second,
    sums over all pictures, and what the model costs. `codec` runs at its first setting, with
    `threads` threads (default: as many as torch takes), the others as `BESIDE` says. Reports as
    `rd.run` does.
    """
    settings = {codec.name: codec.settings[0]} | {each.name: BESIDE[each.name] for each in others}
    pictures: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    warm: set[tuple[int, int]] = set()
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        facts = environment() | {"device": str(codec.codec.device)}
        for path in paths:
            try:
                picture = open_opaque(path)
                if picture.size not in warm:  # kernels are chosen and kept by size
                    codec.decode(codec.encode(picture, codec.settings[0]))
                    warm.add(picture.size)
                times: dict[str, Any] = {
                    each.name: _times(each, picture, settings[each.name], repeat)
                    for each in (codec, *others)
                }
                times["stages"] = _stages(codec, picture, repeat)
                size = {"width": picture.width, "height": picture.height}
                pictures.append({"image": path.name, **size, **times})
            except (AecError, OSError, ValueError, MemoryError) as error:
                skipped[path.name] = " ".join(str(error).split()) or type(error).__name__
            report(path.name, skipped.get(path.name))
    finally:
        torch.set_num_threads(before)
    weights = load_weights(codec.codec.model)
    return {
        "environment": facts,
        "repeat": repeat,
        "settings": settings,
        "codecs": {each.name: each.description for each in (codec, *others)},
        "pictures": pictures,
        "skipped": skipped,
        "total": _total(pictures, tuple(settings)) if pictures else None,
        "multiply_adds_per_pixel": cost.multiply_adds(weights),
        "parameters": cost.parameters(weights),
        "file_bytes": cost.file_bytes(codec.codec.model),
    }


def _times(
    codec: BenchCodec, picture: Image.Image, setting: float, repeat: int
) -> dict[str, float]:
    encode, decode = [], []
    for _ in range(repeat):
        data, seconds = timed(partial(codec.encode, picture, setting))
        encode.append(seconds)
        _, seconds = timed(partial(codec.decode, data))
        decode.append(seconds)
    times = {"encode_seconds": median(encode), "decode_seconds": median(decode)}
    return {"bytes": len(data), **times}


def _stages(codec: Aec, picture: Image.Image, repeat: int) -> dict[str, float]:
    """Median seconds of each stage of decoding, and of the rest."""
    data = codec.encode(picture, codec.settings[0])
    rows = []
    for _ in range(repeat):
        with stage_clock(codec.codec.device) as seconds:
            _, total = timed(lambda: codec.decode(data))
        rows.append({**seconds, OTHER: total - sum(seconds.values())})
    return {stage: median(row[stage] for row in rows) for stage in (*STAGES, OTHER)}


def _total(pictures: Sequence[dict[str, Any]], codecs: Sequence[str]) -> dict[str, Any]:
    """Sums over the pictures, and what can be derived from them."""
    megapixels = sum(row["width"] * row["height"] for row in pictures) / 1e6
    total: dict[str, Any] = {"pictures": len(pictures), "megapixels": megapixels}
    for name in codecs:
        part = {key: sum(row[name][key] for row in pictures) for key in pictures[0][name]}
        for way in ("encode", "decode"):
            part[f"{way}_megapixels_per_second"] = megapixels / part[f"{way}_seconds"]
        total[name] = part
    for name in codecs:
        for way in ("encode", "decode"):
            seconds = total["aec"][f"{way}_seconds"]
            total[name][f"aec_{way}_ratio"] = seconds / total[name][f"{way}_seconds"]
    stages = {s: sum(row["stages"][s] for row in pictures) for s in (*STAGES, OTHER)}
    total["stage_share"] = {s: part / sum(stages.values()) for s, part in stages.items()}
    return total
