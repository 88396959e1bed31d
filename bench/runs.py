"""What every benchmark needs: its pictures, a clock, and a note of what it ran on."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from .. import __version__
from ..codec.metadata import KINDS
from ..codec.pictures import open_picture
from ..format.errors import ImageError

__all__ = [
    "environment",
    "find_pictures",
    "finite",
    "open_opaque",
    "picture_id",
    "set_threads",
    "spread",
    "timed",
]

_T = TypeVar("_T")
_I = TypeVar("_I")


def find_pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """Returns the files of a folder whose names end like those of pictures, sorted; raises OSError
    for a folder that cannot be read.
    """
    endings = Image.registered_extensions()
    return sorted(
        path
        for path in Path(folder).iterdir()
        if endings.get(path.suffix.lower()) in Image.OPEN and path.is_file()
    )


def open_opaque(path: Path) -> Image.Image:
    """Returns a picture in mode RGB or L, upright, in sRGB and without metadata, which would count
    for some codecs only; raises what `open_picture` raises, and ImageError for transparency.
    """
    picture = open_picture(path, strip=KINDS)
    if picture.mode not in ("RGB", "L"):
        raise ImageError("the picture has transparent pixels, and PSNR has no measure for those")
    return picture


def picture_id(picture: Image.Image) -> str:
    """Returns a name for the content of a picture: a hash of its pixels, sides and mode."""
    head = f"{picture.mode} {picture.width} {picture.height}\n".encode()
    return hashlib.sha256(head + picture.tobytes()).hexdigest()


def timed(call: Callable[[], _T]) -> tuple[_T, float]:
    """Returns what a call returns, and its seconds."""
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def environment() -> dict[str, object]:
    """Returns versions, threads and kind of machine, for the head of a result."""
    facts: dict[str, object] = {
        "aec": __version__,
        "python": platform.python_version(),
        "pillow": version("pillow"),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }
    torch = sys.modules.get("torch")  # a run without aec need not load it to describe it
    if torch is not None:
        facts |= {"torch": torch.__version__, "torch_threads": torch.get_num_threads()}
    return facts


def finite(value: Any) -> Any:
    """Returns a structure of lists and dicts with null for infinite numbers, which JSON lacks."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def set_threads(threads: int) -> None:
    """Sets the threads of torch in a process that has it: it comes with the weights."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


_task_of_process: list[Callable[[Any], Any]] = []


def _start_process(task: Callable[[Any], Any], threads: int) -> None:
    _task_of_process[:] = [task]
    set_threads(threads)


def _work_in_process(item: Any) -> Any:
    return _task_of_process[0](item)


@contextmanager
def spread(task: Callable[[_I], _T], items: Sequence[_I], jobs: int) -> Iterator[Iterator[_T]]:
    """Gives what a task returns for each item, in their order, done by `jobs` processes to which
    the task travels once.
    """
    if jobs == 1:
        yield map(task, items)
        return
    # Not threads: the codec sets modes of the process. Not forks: torch has threads.
    pool = ProcessPoolExecutor(
        jobs,
        multiprocessing.get_context("spawn"),
        _start_process,
        (task, max(1, (os.cpu_count() or 1) // jobs)),
    )
    try:
        yield pool.map(_work_in_process, items)
    finally:
        pool.shutdown(cancel_futures=True)
