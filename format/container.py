"""Whole files: header, ancillary chunks and perhaps ALPH, TILE, ancillary chunks, AEND, the end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from .alpha import alpha_data
from .chunks import FRAME_SIZE, Chunk, pack_chunk, walk_chunks
from .errors import FormatError, TruncatedError, UnsupportedFeatureError
from .header import FLAG_ALPHA, HEADER_SIZE, VERSION, Header, pack_header, parse_header
from .limits import DEFAULT_LIMITS, Limits
from .metadata import METADATA_CHUNKS, NO_METADATA, Metadata, pack_metadata, parse_metadata

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

ALPH = "ALPH"
TILE = "TILE"
AEND = "AEND"
SYMBOL_CRC_SIZE = 4
WORD_SIZE = 4
READ_SIZE = 1 << 20  # read(n) may set aside n bytes before it knows that the file is shorter

Buffer = bytes | bytearray | memoryview
Source = Buffer | str | os.PathLike[str] | BinaryIO


@dataclass(frozen=True, slots=True)
class Tile:
    """Holds the coded data of one tile: its number in row-major order, the CRC-32 of the symbols
    that decoding must give, and the entropy coder's words as little-endian bytes.
    """

    number: int
    symbol_crc: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Container:
    """Holds what a whole file says: its header, its tiles in order, its metadata and, where the
    flag is set, its alpha plane as a PNG stream.
    """

    header: Header
    tiles: tuple[Tile, ...]
    metadata: Metadata = NO_METADATA
    alpha: bytes | None = None


@dataclass(frozen=True, slots=True)
class ChunkInfo:
    """Describes one chunk: its type, where its first byte is and its payload length (bytes)."""

    type: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class FileInfo:
    """Describes a file without decoding it: sides in pixels, quality from 0 to 100, sizes in bytes,
    ``bpp`` in bits of the whole file per pixel, ``metadata`` the bytes of each block by name.
    """

    version: int
    width: int
    height: int
    mode: str
    quality: float
    quality_index: int
    tile_log2: int
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
    alpha: bytes | None = None,
) -> bytes:
    """Returns the bytes of a file; raises FormatError when the tiles or the alpha plane (a PNG
    stream) do not fit the header, and LimitError when the metadata is too long.
    """
    if [tile.number for tile in tiles] != [0]:
        raise FormatError(f"tiles {[tile.number for tile in tiles]}, expected [0]")
    payload = tiles[0].symbol_crc.to_bytes(SYMBOL_CRC_SIZE, "little") + tiles[0].payload
    _check_tile_length(len(payload), "the tile to be written")
    blocks = pack_metadata(metadata, limits)
    if (alpha is not None) != bool(header.flags & FLAG_ALPHA):
        raise FormatError(f"flags {header.flags:#04x} do not fit the alpha plane to be written")
    if alpha is not None:
        where = "the alpha plane to be written"
        alpha_data(memoryview(alpha), header.width, header.height, where, limits)
        blocks += pack_chunk(ALPH, alpha)
    return pack_header(header) + blocks + pack_chunk(TILE, payload) + pack_chunk(AEND, b"")


def read_file(data: Buffer, limits: Limits = DEFAULT_LIMITS) -> Container:
    """Returns the header and the tiles of a whole file, every checksum of the container checked.

    Raises FormatError or one of its subclasses, or LimitError.
    """
    view = memoryview(data).cast("B")
    header = _read_header(view, limits)
    chunks = _read_chunks(view, header, limits)
    tiles = tuple(_tile(chunk) for chunk in chunks if chunk.type == TILE)
    alpha = next((bytes(chunk.payload) for chunk in chunks if chunk.type == ALPH), None)
    return Container(header, tiles, parse_metadata(chunks, limits), alpha)


def open_info(source: Source, limits: Limits = DEFAULT_LIMITS) -> FileInfo:
    """Returns a description of a file given as bytes, as a path or as a binary file object, every
    checksum of the container checked and nothing decoded.

    Raises FormatError or one of its subclasses, LimitError, or OSError from reading the source.
    """
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return open_info(file, limits)
    if isinstance(source, (bytes, bytearray, memoryview)):
        view = memoryview(source).cast("B")
    else:
        # The header is judged before the rest is read, so that no limit is passed on the way.
        head = _read_up_to(source, HEADER_SIZE)
        _read_header(memoryview(head), limits)
        rest = _read_up_to(source, limits.max_file_bytes + 1 - len(head))
        view = memoryview(head + rest)
    header = _read_header(view, limits)
    chunks = _read_chunks(view, header, limits)
    return FileInfo(
        version=VERSION,
        width=header.width,
        height=header.height,
        mode=header.mode,
        quality=header.quality * 100 / 255,
        quality_index=header.quality,
        tile_log2=header.tile_log2,
        model_id=header.model_id.hex(),
        total_bytes=len(view),
        bpp=len(view) * 8 / (header.width * header.height),
        metadata=parse_metadata(chunks, limits).sizes(),
        chunks=tuple(ChunkInfo(c.type, c.offset, len(c.payload)) for c in chunks),
    )


def _read_header(view: memoryview, limits: Limits) -> Header:
    header = parse_header(view)
    limits.check_picture(header.width, header.height)
    limits.check_file_bytes(len(view))
    return header


def _read_chunks(view: memoryview, header: Header, limits: Limits) -> list[Chunk]:
    """Returns all chunks after the header once their order is checked."""
    chunks: list[Chunk] = []
    tiles = 0
    alphas = 0
    wanted_alphas = int(bool(header.flags & FLAG_ALPHA))
    for chunk in walk_chunks(view, HEADER_SIZE, limits):
        where = f"chunk {chunk.type} at offset {chunk.offset}"
        chunks.append(chunk)
        if chunk.type == TILE:
            tiles += 1
            if tiles > 1:
                raise FormatError(f"{where} is tile chunk number {tiles}, expected 1")
            if alphas < wanted_alphas:
                raise FormatError(f"{where} comes before the alpha plane, expected after it")
            _check_tile_length(len(chunk.payload), where)
        elif chunk.type == ALPH:
            alphas += 1
            if alphas > wanted_alphas:
                raise FormatError(f"{where} is alpha plane number {alphas}, not {wanted_alphas}")
            alpha_data(chunk.payload, header.width, header.height, where, limits)
        elif chunk.type == AEND:
            if len(chunk.payload):
                raise FormatError(f"{where} has length {len(chunk.payload)}, expected 0")
            if not tiles:
                raise FormatError(f"{where} comes after 0 tile chunks, expected 1")
            end = chunk.offset + FRAME_SIZE
            if end != len(view):
                raise FormatError(f"{where} ends at {end}, but the data ends at {len(view)}")
            return chunks
        elif chunk.critical:
            raise UnsupportedFeatureError(f"{where} is critical and not known to this reader")
        elif tiles and chunk.type in METADATA_CHUNKS.values():
            raise FormatError(f"{where} comes after the tile, expected before it")
    raise TruncatedError(f"data ends at offset {len(view)} without the end chunk {AEND}")


def _check_tile_length(length: int, where: str) -> None:
    if length < SYMBOL_CRC_SIZE or (length - SYMBOL_CRC_SIZE) % WORD_SIZE:
        raise FormatError(
            f"{where} has length {length}, expected {SYMBOL_CRC_SIZE} bytes of CRC-32 "
            f"and a multiple of {WORD_SIZE}"
        )


def _tile(chunk: Chunk) -> Tile:
    symbol_crc = int.from_bytes(chunk.payload[:SYMBOL_CRC_SIZE], "little")
    return Tile(0, symbol_crc, bytes(chunk.payload[SYMBOL_CRC_SIZE:]))


def _read_up_to(file: BinaryIO, size: int) -> bytes:
    """Returns ``size`` bytes, or fewer at the end; pipes and raw files may give less per call."""
    blocks = []
    while size > 0 and (block := file.read(min(size, READ_SIZE))):
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)
