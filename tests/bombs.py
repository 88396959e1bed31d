"""Files of a few bytes that ask for a lot, and what refusing them costs.

    python tests/bombs.py

prints for each file and reader the class of the error, the time, and the most memory that Python
held; at the end, by how much the process grew and which heavy modules it has loaded: none.
"""

import contextlib
import io
import json
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable

from layout import Frame, build, build_png, repaired
from samples import container, frame, header

from aec.format.container import open_info, read_file
from aec.format.errors import AecError
from aec.format.reader import PartReader

GRAY, ALPHA = 1, 2
END = frame(b"AEND")
WORD = frame(b"TILE", bytes(7) + b"\1")


def sides(width: int, height: int, *frames: Frame, tile_log2: int = 0, flags: int = 0) -> bytes:
    """A header of these sides with these chunks behind it."""
    return repaired(build(header(width, height, tile_log2=tile_log2, flags=flags), frames))


def claims(type: bytes, length: int, *before: Frame, tile_log2: int = 0, flags: int = 0) -> bytes:
    """A chunk that says it has this length, and has 20 bytes."""
    chunk = Frame(type, bytes(20), length, b"")
    return sides(100, 90, *before, chunk, tile_log2=tile_log2, flags=flags)


def alpha(stream: bytes, width: int = 100, height: int = 90) -> bytes:
    """One tile with this for its alpha plane."""
    return sides(width, height, frame(b"ALPH", stream), WORD, END, flags=ALPHA)


def stream(width: int, height: int, packed: bytes, *more: Frame) -> bytes:
    """A PNG of these sides with these packed samples, and more chunks before them."""
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 0, 0, 0, 0))
    return build_png([frame(b"IHDR", head), *more, frame(b"IDAT", packed), frame(b"IEND")])


def packed_zeros(size: int) -> bytes:
    """What unpacks to so many zeros."""
    return zlib.compress(bytes(size), 9)


MOST = 2**24
ZEROS = packed_zeros(1 << 19)
BOMBS = {
    "sides of 2^24": sides(MOST, MOST, WORD, END),
    "width of 2^24": sides(MOST, 1, WORD, END),
    "height of 2^24": sides(1, MOST, WORD, END),
    "2^30 pixels": sides(32768, 32768, WORD, END),
    "2^28 pixels with alpha": sides(16384, 16384, WORD, END, flags=GRAY | ALPHA),
    "2^30 pixels in 2^18 tiles": sides(32768, 32768, frame(b"TIDX", bytes(8)), tile_log2=6),
    "2^24 x 2^24 in the largest tiles": sides(MOST, MOST, frame(b"TIDX", bytes(8)), tile_log2=12),
    "a tile of 2^32 - 1 bytes": claims(b"TILE", 2**32 - 1),
    "a tile of 2^30 + 1 bytes": claims(b"TILE", 2**30 + 1),
    "an index of 2^32 - 4 bytes": claims(b"TIDX", 2**32 - 4, tile_log2=6),
    "an alpha plane of 2^31 bytes": claims(b"ALPH", 2**31, flags=ALPHA),
    "an end of 2^32 - 1 bytes": claims(b"AEND", 2**32 - 1, WORD),
    "EXIF of 2^31 - 1 bytes": claims(b"eXIf", 2**31 - 1),
    "a profile of 2^32 - 1 bytes": claims(b"iCCP", 2**32 - 1, frame(b"meTa", b"x")),
    "an unknown chunk of 2^31 bytes": claims(b"meTa", 2**31),
}
"""Each of these is a LimitError."""

NOT_LIMITS = {
    "2^19 zeros for an alpha plane": alpha(stream(100, 90, ZEROS)),
    "a PNG of 2^31 - 1 a side": alpha(stream(2**31 - 1, 2**31 - 1, packed_zeros(9))),
    "a text in a PNG": alpha(
        stream(100, 90, b"", frame(b"zTXt", b"a\0\0" + packed_zeros(1 << 18)))
    ),
    "a PNG chunk of 2^32 - 1 bytes": alpha(
        build_png([Frame(b"IHDR", bytes(13), 13, b""), Frame(b"IDAT", b"", 2**32 - 1, b"")])
    ),
    "a tile of 2^30 bytes": claims(b"TILE", 2**30),
    "110 empty chunks": sides(9, 9, *[frame(b"noTe")] * 110),
    "an index for other tiles": sides(4096, 4096, frame(b"TIDX", bytes(400)), END, tile_log2=6),
    "tiles of 2^32 - 4 bytes": sides(
        90, 90, frame(b"TIDX", b"\xfc\xff\xff\xff" * 4), WORD, END, tile_log2=6
    ),
}
"""These ask for no more than a file may have, and lie about it, which is a FormatError."""

SOUND = container(100, 90, tile_log2=6)


def part(data: bytes, **options: object) -> None:
    """Reads the tile in the corner, of a file object, as decoding a part does."""
    with PartReader(io.BytesIO(data), **options) as reader:  # type: ignore[arg-type]
        reader.tile(0)


READERS: dict[str, Callable[[bytes], object]] = {
    "read_file": read_file,
    "open_info": open_info,
    "open_info of a file": lambda data: open_info(io.BytesIO(data)),
    "region": lambda data: part(data, region=(0, 0, 1, 1)),
    "tolerant": lambda data: part(data, tolerant=True),
}


def cost(read: Callable[[bytes], object], data: bytes) -> tuple[str, float, float]:
    """Class of the error, seconds of the processor, and MiB at the peak of Python's memory."""
    start = time.process_time()
    try:
        read(data)
        outcome = "accepted"
    except AecError as error:
        outcome = type(error).__name__
    seconds = time.process_time() - start
    tracemalloc.start()
    with contextlib.suppress(AecError):
        read(data)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return outcome, seconds, most / 2**20


def main() -> None:
    import resource  # not there on Windows, where the rest is

    for read in READERS.values():
        read(SOUND)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, data in (BOMBS | NOT_LIMITS).items():
        for reader, read in READERS.items():
            outcome, seconds, most = cost(read, data)
            figures = {"ms": round(1000 * seconds, 3), "MiB": round(most, 3)}
            print(json.dumps({"bomb": name, "reader": reader, "outcome": outcome} | figures))
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    heavy = sorted({"torch", "numpy", "PIL", "constriction"} & set(sys.modules))
    print(json.dumps({"growth MiB": round(growth, 1), "heavy": heavy}))


if __name__ == "__main__":
    main()
