"""Blocks of metadata that travel with a picture: ICC profile, EXIF block, XMP packet.

Nothing here looks into a block. A file carries its bytes and hands them over, so that no damaged
or hostile block can harm a decoder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from .chunks import Chunk, pack_chunk
from .errors import FormatError
from .limits import Limits

__all__ = ["METADATA_CHUNKS", "NO_METADATA", "Metadata", "pack_metadata", "parse_metadata"]

METADATA_CHUNKS = {"icc_profile": "iCCP", "exif": "eXIf", "xmp": "xMPd"}
"""The chunk type of each block, in the order of writing."""

EXIF_PREFIX = b"Exif\0\0"
"""What stands before the block in a JPEG file and in Pillow's ``info``, but not in PNG, WebP and
this format: the type of the chunk says it already."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """Holds the blocks of a file, each None when it has none; an empty one counts as none. Raises
    TypeError for what is not bytes.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            block = getattr(self, field.name)
            if block is not None and not isinstance(block, bytes):
                raise TypeError(f"{field.name} must be bytes, not {type(block).__name__}")
            object.__setattr__(self, field.name, block or None)

    @classmethod
    def from_info(
        cls, icc_profile: bytes | None = None, exif: bytes | None = None, xmp: bytes | None = None
    ) -> Metadata:
        """Returns the blocks that Pillow's ``info`` holds, EXIF with or without its prefix; raises
        TypeError for what is not bytes.
        """
        if isinstance(exif, bytes):
            exif = exif.removeprefix(EXIF_PREFIX)
        return cls(icc_profile, exif, xmp)

    def blocks(self) -> dict[str, bytes]:
        """Returns the blocks that are there by name."""
        return {name: getattr(self, name) for name in METADATA_CHUNKS if getattr(self, name)}

    def sizes(self) -> dict[str, int]:
        """Returns the lengths (bytes) of the blocks that are there by name."""
        return {name: len(block) for name, block in self.blocks().items()}

    def info(self) -> dict[str, bytes]:
        """Returns the blocks as Pillow's ``info`` holds them: EXIF with its prefix."""
        blocks = self.blocks()
        if "exif" in blocks:
            blocks["exif"] = EXIF_PREFIX + blocks["exif"]
        return blocks


NO_METADATA = Metadata()


def pack_metadata(metadata: Metadata, limits: Limits) -> bytes:
    """Returns the chunks of all blocks; raises LimitError when a block or their sum is too long."""
    limits.check_metadata(metadata.sizes())
    blocks = metadata.blocks().items()
    return b"".join(pack_chunk(METADATA_CHUNKS[name], block) for name, block in blocks)


def parse_metadata(chunks: Iterable[Chunk], limits: Limits) -> Metadata:
    """Returns the blocks among the chunks before the tile, other chunks ignored.

    Raises FormatError for a second block of its kind, and LimitError.
    """
    names = {type: name for name, type in METADATA_CHUNKS.items()}
    found: dict[str, Chunk] = {}
    for chunk in chunks:
        if chunk.type not in names:
            continue
        where = f"chunk {chunk.type} at offset {chunk.offset}"
        if chunk.type in found:
            raise FormatError(f"{where} is the second of its type, expected at most 1")
        found[chunk.type] = chunk
    limits.check_metadata({names[type]: len(chunk.payload) for type, chunk in found.items()})
    return Metadata(**{names[type]: bytes(chunk.payload) for type, chunk in found.items()})
