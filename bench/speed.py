"""Time and memory of encoding and decoding, where the time goes, and other codecs beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image

from ..codec import api, coding, encoding, entropy
from ..codec.decoder import Decoder
from ..codec.encoder import Encoder
from ..codec.loading import load_weights
from ..format.errors import AecError
from . import cost
from .codecs import Aec, Avif, BenchCodec, Jpeg, Jxl, MissingCodecError, make
from .learned import LEARNED, CompressAi
from .memory import mosaic, peaks
from .runs import environment, open_opaque, timed

__all__ = ["BESIDE", "OTHER", "STAGES", "USUAL", "WAYS", "others", "run", "stage_clock"]

BESIDE = {
    "jpeg": 75,
    "webp": 75,
    "avif": 60,
    "jxl": 75,
    "heic": 45,
    "jp2": 24,
    "mbt2018-mean": 4,
    "cheng2020-anchor": 4,
}
"""The settings of the other codecs in the same run: files of about the same use."""

USUAL = ("jpeg", "webp", "avif", "jxl")
"""The other codecs when nobody asks for some."""

WAYS = ("encode", "decode")

_UNFIT = (AecError, OSError, ValueError, MemoryError, Image.DecompressionBombError)

_CONTEXT = ((Decoder, "features"), (Decoder, "step"))

STAGES: dict[str, dict[str, tuple[tuple[Any, str], ...]]] = {
    "encode": {
        "analysis": ((Encoder, "analysis"), (Encoder, "hyper_analysis")),
        "entropy networks": _CONTEXT,
        "choice and entropy coding": (
            (coding.EncoderSide, "z"),
            (coding.EncoderSide, "residual"),
            (entropy.Encoder, "finish"),
        ),
        "container": ((encoding, "write_file"),),
    },
    "decode": {
        "container": ((api, "read_file"),),
        "entropy coding": (
            (coding.DecoderSide, "__init__"),
            (coding.DecoderSide, "z"),
            (coding.DecoderSide, "residual"),
        ),
        "entropy networks": _CONTEXT,
        "synthesis": ((Decoder, "synthesis"),),
    },
}
"""The stages of each way, each with the calls that it consists of; none calls another."""
OTHER = "other"


@contextmanager
def stage_clock(way: str, device: torch.device) -> Iterator[dict[str, float]]:
    """Adds up the seconds of each stage of this way inside, for the whole process."""
    seconds = dict.fromkeys(STAGES[way], 0.0)

    def clocked(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            _wait(device)
            result, elapsed = timed(lambda: _finished(device, function(*args, **kwargs)))
            seconds[stage] += elapsed
            return result

        return call

    with ExitStack() as stack:
        for stage, calls in STAGES[way].items():
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


def others(names: Iterable[str] | None, threads: int | None = None) -> list[BenchCodec]:
    """Returns the other codecs of these names, or the usual ones that this machine has, with
    `threads` threads where they have several; raises MissingCodecError for one that is missing.
    """
    special: dict[str, Callable[[], BenchCodec]] = {
        "jpeg": partial(Jpeg, "4:2:0"),  # no search for better options: it would be timed
        "avif": partial(Avif, threads, speed=4),
        "jxl": partial(Jxl, threads),
        **{name: partial(CompressAi, name) for name in LEARNED},
    }
    made = []
    for name in USUAL if names is None else names:
        try:
            made.append(special[name]() if name in special else make(name))
        except MissingCodecError:
            if names is not None:
                raise
    return made


def run(
    paths: Sequence[Path],
    codec: Aec,
    others: Sequence[BenchCodec],
    *,
    megapixels: Sequence[float] = (),
    repeat: int = 3,
    threads: int | None = None,
    memory: bool = True,
    report: Callable[[str, str | None], object] = lambda name, reason: None,
) -> dict[str, Any]:
    """Returns medians of `repeat` runs for each picture, in seconds and megapixels per second,
    sums over all pictures, and what the model costs. `codec` runs at its first setting, with
    `threads` threads (default: as many as torch takes), the others as `BESIDE` says; in each run
    they take turns. With `megapixels`, a mosaic of the pictures of each of these sizes takes their
    place, and there is a sum for each. With `memory`, each codec then codes every such size, or
    else the largest picture, once more in processes of its own, for the peak of their memory.
    Reports as `rd.run` does.
    """
    settings = {codec.name: codec.settings[0]} | {each.name: BESIDE[each.name] for each in others}
    codecs = (codec, *others)
    named = dict(_pictures(paths, megapixels))
    pictures: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    warm: set[tuple[int, int]] = set()
    before = torch.get_num_threads()
    threads = threads or before
    torch.set_num_threads(threads)
    try:
        facts = environment() | {"device": str(codec.codec.device)}
        for name, opened in named.items():
            try:
                picture = opened()
                if picture.size not in warm:  # kernels are chosen and kept by size
                    codec.decode(codec.encode(picture, codec.settings[0]))
                    warm.add(picture.size)
                times: dict[str, Any] = _times(codecs, picture, settings, repeat)
                times["stages"] = _stages(codec, picture, repeat)
                size = {"width": picture.width, "height": picture.height}
                pictures.append({"image": name, **size, **times})
            except _UNFIT as error:
                skipped[name] = " ".join(str(error).split()) or type(error).__name__
            report(name, skipped.get(name))
        largest = sorted(pictures, key=_pixels)[-1:]
        measured = (pictures if megapixels else largest) if memory else []
        for row, each in product(measured, codecs):
            name = f"memory of {each.name}, {row['image']}"
            try:
                row[each.name] |= peaks(each, named[row["image"]], settings[each.name], threads)
            except RuntimeError as error:
                skipped[name] = str(error)
            report(name, skipped.get(name))
    finally:
        torch.set_num_threads(before)
    weights = load_weights(codec.codec.model)
    return {
        "environment": facts,
        "repeat": repeat,
        "settings": settings,
        "codecs": {each.name: each.description for each in codecs},
        "pictures": pictures,
        "memory_of": [row["image"] for row in measured],
        "skipped": skipped,
        "total": _total(pictures, tuple(settings)) if pictures else None,
        "sizes": [_size(row) | _total([row], tuple(settings)) for row in pictures if megapixels],
        "multiply_adds_per_pixel": cost.multiply_adds(weights),
        "parameters": cost.parameters(weights),
        "file_bytes": cost.file_bytes(codec.codec.model),
    }


def _pictures(
    paths: Sequence[Path], megapixels: Sequence[float]
) -> Sequence[tuple[str, Callable[[], Image.Image]]]:
    """The names of what is timed, and how it is opened."""
    if not megapixels:
        return [(path.name, partial(open_opaque, path)) for path in paths]
    found = []
    for size in megapixels:
        width = round(math.sqrt(1.5e6 * size))
        height = max(1, round(1e6 * size / width))
        found.append((f"mosaic of {size:g} MP", partial(mosaic, paths, width, height)))
    return found


def _times(
    codecs: Sequence[BenchCodec], picture: Image.Image, settings: Mapping[str, float], repeat: int
) -> dict[str, dict[str, Any]]:
    """Medians and all runs in seconds, and bytes. The codecs take turns, so that what else the
    machine does meets all of them.
    """
    found: dict[str, dict[str, Any]] = {
        codec.name: {"encode_runs": [], "decode_runs": []} for codec in codecs
    }
    for _ in range(repeat):
        for codec in codecs:
            row = found[codec.name]
            data, seconds = timed(partial(codec.encode, picture, settings[codec.name]))
            row["encode_runs"].append(seconds)
            _, seconds = timed(partial(codec.decode, data))
            row["decode_runs"].append(seconds)
            row["bytes"] = len(data)
    return {
        name: {"bytes": row["bytes"]}
        | {f"{way}_seconds": median(row[f"{way}_runs"]) for way in WAYS}
        | {f"{way}_runs": row[f"{way}_runs"] for way in WAYS}
        for name, row in found.items()
    }


def _stages(codec: Aec, picture: Image.Image, repeat: int) -> dict[str, dict[str, float]]:
    """Median seconds of each stage of each way, and of the rest."""
    setting = codec.settings[0]
    data = codec.encode(picture, setting)
    calls: dict[str, Callable[[], Any]] = {
        "encode": partial(codec.encode, picture, setting),
        "decode": partial(codec.decode, data),
    }
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(repeat):
        for way, call in calls.items():
            with stage_clock(way, codec.codec.device) as seconds:
                _, total = timed(call)
            rows[way].append({**seconds, OTHER: total - sum(seconds.values())})
    return {
        way: {stage: median(row[stage] for row in rows[way]) for stage in (*STAGES[way], OTHER)}
        for way in WAYS
    }


def _pixels(row: Mapping[str, Any]) -> int:
    return int(row["width"] * row["height"])


def _size(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("image", "width", "height")}


def _total(pictures: Sequence[dict[str, Any]], codecs: Sequence[str]) -> dict[str, Any]:
    """Sums over the pictures, and what can be derived from them; of memory, the most."""
    megapixels = sum(map(_pixels, pictures)) / 1e6
    total: dict[str, Any] = {"pictures": len(pictures), "megapixels": megapixels}
    for name in codecs:
        rows = [row[name] for row in pictures]
        part: dict[str, Any] = {"bytes": sum(row["bytes"] for row in rows)}
        for way in WAYS:
            part[f"{way}_seconds"] = sum(row[f"{way}_seconds"] for row in rows)
            part[f"{way}_megapixels_per_second"] = megapixels / part[f"{way}_seconds"]
            for key in (f"{way}_memory_bytes", f"{way}_base_bytes"):
                if known := [row[key] for row in rows if key in row]:
                    part[key] = max(known)
        total[name] = part
    for name in codecs:
        for way in WAYS:
            seconds = total["aec"][f"{way}_seconds"]
            total[name][f"aec_{way}_ratio"] = seconds / total[name][f"{way}_seconds"]
            # The runs of one number were made in turn.
            ours, theirs = (
                [sum(run) for run in zip(*(row[n][f"{way}_runs"] for row in pictures), strict=True)]
                for n in ("aec", name)
            )
            ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
            total[name][f"aec_{way}_ratio_range"] = [min(ratios), max(ratios)]
    total["stage_share"] = {}
    for way in WAYS:
        sums = {s: sum(row["stages"][way][s] for row in pictures) for s in (*STAGES[way], OTHER)}
        total["stage_share"][way] = {s: part / sum(sums.values()) for s, part in sums.items()}
    return total
