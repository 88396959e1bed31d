"""Files of every kind for the tests of the reader, and what is told of them."""

import io
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from aec.format import errors
from aec.format.chunks import pack_chunk
from aec.format.container import Tile, open_info, write_file
from aec.format.header import FLAG_ALPHA, HEADER_SIZE, Header
from aec.format.reader import PartReader

made = runpy.run_path(str(Path(__file__).with_name("test_format_tiles.py")))
png, tiles_of, tidx, tile = (made[name] for name in ("png", "tiles_of", "tidx", "tile"))
HEADER, ALPHA, TILES, PLANES, BLOCKS = (
    made[name] for name in ("HEADER", "ALPHA", "TILES", "PLANES", "BLOCKS")
)
SINGLE = Header(width=100, height=70, quality=5, model_id=bytes(8))
HEAD, INDEX, FOUR = made["HEAD"], made["INDEX"], made["FOUR"]
END = pack_chunk("AEND", b"")
META = pack_chunk("meTa", b"anything")
REGION = (0, 0, 10, 10)


def with_meta(data: bytes) -> bytes:
    """The file with ancillary chunks that nobody knows before and after its tiles."""
    return data[:HEADER_SIZE] + META + data[HEADER_SIZE : -len(END)] + META + END


FILES = {
    "tiles": with_meta(write_file(HEADER, TILES, BLOCKS)),
    "planes": with_meta(write_file(ALPHA, PLANES, BLOCKS)),
    "opaque": write_file(ALPHA, tiles_of(ALPHA, opaque=(0, 1, 2))),
    "single": with_meta(write_file(SINGLE, tiles_of(SINGLE), BLOCKS)),
    "plane": with_meta(
        write_file(
            replace(SINGLE, flags=FLAG_ALPHA), tiles_of(replace(SINGLE, flags=FLAG_ALPHA)), BLOCKS
        )
    ),
}
every_file = pytest.mark.parametrize("data", list(FILES.values()), ids=list(FILES))


class Spy(io.BytesIO):
    """A file that keeps what was read of it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.seen: set[int] = set()

    def read(self, size: int | None = -1) -> bytes:
        at = self.tell()
        block = super().read(size)
        self.seen.update(range(at, at + len(block)))
        return block


def kept(reader: PartReader) -> dict[int, Tile]:
    """The tiles that are left."""
    tiles = {}
    for number in range(reader.header.grid.count):
        try:
            tiles[number] = reader.tile(number)
        except errors.AecError:
            continue
    return tiles


def spans(data: bytes) -> dict[int, range]:
    """Where the chunks of each tile are."""
    found, start = {}, None
    for chunk in open_info(data).chunks:
        if chunk.type in ("ALPH", "TILE"):
            start = chunk.offset if start is None else start
            if chunk.type == "TILE":
                found[len(found)] = range(start, chunk.offset + 12 + chunk.length)
                start = None
    return found
