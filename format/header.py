"""The fixed 32-byte header, little-endian, as section 2 of spec.md defines it.

``FIELDS`` is the one description of the layout: the writer, the reader, ``aec info`` and the test
that compares the table in spec.md all go through it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from .errors import (
    ChecksumError,
    FormatError,
    TruncatedError,
    UnsupportedFeatureError,
    UnsupportedVersionError,
)
from .tiles import Grid

__all__ = [
    "FIELDS",
    "FLAG_ALPHA",
    "FLAG_GRAY",
    "HEADER_SIZE",
    "SIGNATURE",
    "VERSION",
    "Field",
    "Header",
    "pack_header",
    "parse_header",
]

SIGNATURE = bytes.fromhex("91 41 45 43 0D 0A 1A 0A")
VERSION = 1
FLAG_GRAY = 1 << 0
FLAG_ALPHA = 1 << 1
KNOWN_FLAGS = FLAG_GRAY | FLAG_ALPHA


@dataclass(frozen=True, slots=True)
class Field:
    """Describes one header field: offset and size in bytes, and the range of the integer that its
    bytes hold; the range is None for a field of opaque bytes.
    """

    name: str
    offset: int
    size: int
    range: tuple[int, int] | None = None

    def read(self, data: bytes) -> int:
        """Returns the integer that the field holds in the bytes of a header."""
        return int.from_bytes(data[self.offset : self.offset + self.size], "little")

    def raw(self, data: bytes) -> bytes:
        """Returns the field's part of the bytes of a header."""
        return data[self.offset : self.offset + self.size]

    def check(self, value: int) -> None:
        """Raises FormatError when the value is out of the field's range."""
        if self.range is not None and not self.range[0] <= value <= self.range[1]:
            low, high = self.range
            raise FormatError(
                f"{self.name} at offset {self.offset} is {value}, expected {low} to {high}"
            )


FIELDS = (
    Field("signature", 0, 8),
    Field("version", 8, 1, (1, 1)),
    Field("flags", 9, 1, (0, 255)),
    Field("quality", 10, 1, (0, 255)),
    Field("tile_log2", 11, 1, (0, 12)),
    Field("width", 12, 4, (1, 2**24)),
    Field("height", 16, 4, (1, 2**24)),
    Field("model_id", 20, 8),
    Field("crc", 28, 4, (0, 2**32 - 1)),
)
_BY_NAME = {field.name: field for field in FIELDS}
_CRC = _BY_NAME["crc"]
HEADER_SIZE = _CRC.offset + _CRC.size


@dataclass(frozen=True, slots=True)
class Header:
    """Holds the header of one file: width and height in pixels, the quality index (0 to 255), the
    8-byte model id, the flag bits and the base-2 logarithm of the tile side (0: one tile). Raises
    FormatError when a value is out of range, UnsupportedFeatureError for unknown flags.
    """

    width: int
    height: int
    quality: int
    model_id: bytes
    flags: int = 0
    tile_log2: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "height", "quality", "flags", "tile_log2"):
            _BY_NAME[name].check(getattr(self, name))
        model_id = _BY_NAME["model_id"]
        if len(self.model_id) != model_id.size:
            raise FormatError(f"model_id is {len(self.model_id)} bytes, expected {model_id.size}")
        if self.flags & ~KNOWN_FLAGS:
            raise UnsupportedFeatureError(
                f"flags at offset {_BY_NAME['flags'].offset} are {self.flags:#04x}, "
                f"this reader knows {KNOWN_FLAGS:#04x}"
            )
        if 0 < self.tile_log2 < 6:
            raise FormatError(
                f"tile_log2 at offset {_BY_NAME['tile_log2'].offset} is {self.tile_log2}, "
                "expected 0 or 6 to 12"
            )

    @property
    def grid(self) -> Grid:
        """The tiles of the picture."""
        return Grid(self.width, self.height, self.tile_log2)

    @property
    def mode(self) -> str:
        """The Pillow mode of the picture: "L" for one gray channel, "RGB" for three, "LA" or
        "RGBA" when there is an alpha plane besides.
        """
        alpha = "A" if self.flags & FLAG_ALPHA else ""
        return ("L" if self.flags & FLAG_GRAY else "RGB") + alpha


def pack_header(header: Header) -> bytes:
    """Returns the 32 bytes of a header."""
    out = b""
    for field in FIELDS:
        value: bytes | int
        match field.name:
            case "signature":
                value = SIGNATURE
            case "version":
                value = VERSION
            case "crc":
                value = zlib.crc32(out)  # the last field, so `out` is all that it covers
            case name:
                value = getattr(header, name)
        out += value if isinstance(value, bytes) else value.to_bytes(field.size, "little")
    return out


def parse_header(data: bytes | memoryview) -> Header:
    """Returns the header that the first 32 bytes of ``data`` hold.

    Raises TruncatedError, UnsupportedVersionError, ChecksumError, UnsupportedFeatureError, or
    FormatError when the signature or a value is wrong.
    """
    head = bytes(data[:HEADER_SIZE])
    # The signature and the version come before the CRC: only they keep their place in every
    # version, and "not an .aec file" or "too new" says more than "damaged" would.
    found = head[: len(SIGNATURE)]
    if found != SIGNATURE[: len(found)]:
        raise FormatError(
            f"not an .aec file: signature at offset 0 is {found.hex(' ')}, "
            f"expected {SIGNATURE.hex(' ')}"
        )
    version = _BY_NAME["version"]
    if len(head) > version.offset and version.read(head) != VERSION:
        raise UnsupportedVersionError(
            f"version at offset {version.offset} is {version.read(head)}, "
            f"this reader knows {VERSION}"
        )
    if len(head) < HEADER_SIZE:
        raise TruncatedError(f"header ends at offset {len(head)}, expected {HEADER_SIZE} bytes")
    computed = zlib.crc32(head[: _CRC.offset])
    if _CRC.read(head) != computed:
        raise ChecksumError(
            f"header CRC-32 at offset {_CRC.offset} is {_CRC.read(head):08x}, "
            f"computed {computed:08x}"
        )
    numbers = {
        name: _BY_NAME[name].read(head)
        for name in ("width", "height", "quality", "flags", "tile_log2")
    }
    return Header(model_id=_BY_NAME["model_id"].raw(head), **numbers)
