"""Whole files: header, ancillary chunks, the tiles and what belongs to them, AEND, the end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .access import Source, read_up_to
from .chunks import AEND, ALPH, TIDX, TILE, Chunk, pack_chunk
from .errors import FormatError
from .header import FLAG_ALPHA, HEADER_SIZE, VERSION, Header, pack_header, parse_header
from .index import pack_index
from .limits import DEFAULT_LIMITS, Limits
from .metadata import NO_METADATA, Metadata, pack_metadata, parse_metadata
from .order import ordered_chunks
from .payloads import check_plane, pack_number, pack_tile, parse_tile, unnumbered

__all__ = [
    "ChunkInfo",
    "Container",
    "FileInfo",
    "Source",
    "Tile",
    "open_info",
    "read_file",
    "write_file",
]


@dataclass(frozen=True, slots=True)
class Tile:
    """Holds the coded data of one tile: its number in row-major order, the CRC-32 of the symbols
    that decoding must give, the entropy coder's words as little-endian bytes, and its alpha plane
    as a PNG stream, None where it has none.
    """

    number: int
    symbol_crc: int
    payload: bytes
    alpha: bytes | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """Holds what a whole file says: its header, its tiles in order and its metadata."""

    header: Header
    tiles: tuple[Tile, ...]
    metadata: Metadata = NO_METADATA


@dataclass(frozen=True, slots=True)
class ChunkInfo:
    """Describes one chunk: its type, where its first byte is and its payload length (bytes)."""

    type: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class FileInfo:
    """Describes a file without decoding it: sides in pixels (``tile_side`` 0: one tile), quality
    from 0 to 100, sizes in bytes, ``bpp`` in bits of the whole file per pixel, ``tiles`` their
    number, ``metadata`` the bytes of each block by name.
    """

    version: int
    width: int
    height: int
    mode: str
    quality: float
    quality_index: int
    tile_log2: int
    tile_side: int
    tiles: int
    model_id: str
    total_bytes: int
    bpp: float
    metadata: dict[str, int]
    chunks: tuple[ChunkInfo, ...]

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields as a dictionary of JSON values."""
        return {**asdict(self), "chunks": [asdict(chunk) for chunk in self.chunks]}


def write_file(
    header: Header,
    tiles: Sequence[Tile],
    metadata: Metadata = NO_METADATA,
    limits: Limits = DEFAULT_LIMITS,
) -> bytes:
    """Returns the bytes of a file; raises FormatError when the tiles or their alpha planes do not
    fit the header, and LimitError when there are too many chunks or the metadata is too long.
    """
    count = header.grid.count
    limits.check_tiles(count, *header.grid.rect(0)[2:])
    numbers = [tile.number for tile in tiles]
    if numbers != list(range(count)):
        wanted = f"[0, ..., {count - 1}]" if count > 1 else "[0]"
        raise FormatError(f"tiles {numbers[:9]} of {len(numbers)}, expected {wanted}")
    blocks = pack_metadata(metadata, limits)
    parts: list[bytes] = []
    lengths: list[tuple[int, int]] = []
    planes = 0
    for tile in tiles:
        payload = pack_tile(header, tile.number, tile.symbol_crc, tile.payload)
        plane = _pack_plane(header, tile)
        if plane is not None:
            where = f"the alpha plane of tile {tile.number} to be written"
            planes += check_plane(memoryview(plane), header, tile.number, where, limits, planes)
            parts.append(pack_chunk(ALPH, plane))
        parts.append(pack_chunk(TILE, payload))
        lengths.append((len(plane or b""), len(payload)))
    if header.tile_log2:
        parts.insert(0, pack_chunk(TIDX, pack_index(header, lengths)))
    parts.append(pack_chunk(AEND, b""))
    limits.check_chunks(len(metadata.blocks()) + len(parts))
    return b"".join([pack_header(header), blocks, *parts])


def read_file(source: Source, limits: Limits = DEFAULT_LIMITS) -> Container:
    """Returns the header and the tiles of a whole file, given as bytes, as a path or as a binary
    file object, every checksum of the container checked.

    Raises FormatError or one of its subclasses, LimitError, or OSError from reading the source; a
    TruncatedError says how many tiles come before the end of the data.
    """
    view = _read_source(source, limits)
    header = _read_header(view, limits)
    chunks = ordered_chunks(view, header, limits)
    metadata = parse_metadata(chunks, limits)
    return Container(header, tuple(_tiles(chunks, header)), metadata)


def open_info(source: Source, limits: Limits = DEFAULT_LIMITS) -> FileInfo:
    """Returns a description of a file given as bytes, as a path or as a binary file object, every
    checksum of the container checked and nothing decoded.

    Raises FormatError or one of its subclasses, LimitError, or OSError from reading the source.
    """
    view = _read_source(source, limits)
    header = _read_header(view, limits)
    chunks = ordered_chunks(view, header, limits)
    return FileInfo(
        version=VERSION,
        width=header.width,
        height=header.height,
        mode=header.mode,
        quality=header.quality * 100 / 255,
        quality_index=header.quality,
        tile_log2=header.tile_log2,
        tile_side=1 << header.tile_log2 if header.tile_log2 else 0,
        tiles=header.grid.count,
        model_id=header.model_id.hex(),
        total_bytes=len(view),
        bpp=len(view) * 8 / (header.width * header.height),
        metadata=parse_metadata(chunks, limits).sizes(),
        chunks=tuple(ChunkInfo(c.type, c.offset, len(c.payload)) for c in chunks),
    )


def _read_source(source: Source, limits: Limits) -> memoryview:
    """Returns all bytes of a source, or of one that is too long one more than there may be."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return memoryview(source).cast("B")
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return _read_source(file, limits)
    # The header is judged before the rest is read, so that no limit is passed on the way.
    head = read_up_to(source, HEADER_SIZE)
    _read_header(memoryview(head), limits)
    rest = read_up_to(source, limits.max_file_bytes + 1 - len(head))
    return memoryview(head + rest)


def _read_header(view: memoryview, limits: Limits) -> Header:
    header = parse_header(view)
    limits.check_picture(header.width, header.height)
    limits.check_tiles(header.grid.count, *header.grid.rect(0)[2:])
    limits.check_file_bytes(len(view))
    return header


def _tiles(chunks: Sequence[Chunk], header: Header) -> list[Tile]:
    """Returns what chunks in good order say."""
    tiles: list[Tile] = []
    alpha: bytes | None = None
    for chunk in chunks:
        where = f"chunk {chunk.type} at offset {chunk.offset}"
        if chunk.type == ALPH:
            alpha = bytes(unnumbered(chunk.payload, header, len(tiles), where))
        elif chunk.type == TILE:
            symbol_crc, words = parse_tile(chunk.payload, header, len(tiles), where)
            tiles.append(Tile(len(tiles), symbol_crc, bytes(words), alpha))
            alpha = None
    return tiles


def _pack_plane(header: Header, tile: Tile) -> bytes | None:
    """Returns the payload of a tile's ALPH chunk, None where it has none."""
    flag = bool(header.flags & FLAG_ALPHA)
    # A tile among several may do without: it is opaque then.
    if (tile.alpha is not None) != flag and not (flag and header.tile_log2):
        raise FormatError(f"flags {header.flags:#04x} do not fit the alpha plane to be written")
    return None if tile.alpha is None else pack_number(header, tile.number) + tile.alpha
