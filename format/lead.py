"""What comes before the tiles, chunk by chunk, and no more of it in memory than is needed."""

from __future__ import annotations

from .access import Access
from .chunks import (
    AEND,
    ALPH,
    CRC_SIZE,
    FRAME_SIZE,
    TIDX,
    TILE,
    Chunk,
    Frame,
    check_crc,
    read_chunk,
    read_frame,
)
from .errors import AecError, FormatError, LimitError, UnsupportedFeatureError
from .header import FLAG_ALPHA, HEADER_SIZE, Header
from .index import Index, index_length, parse_index
from .limits import Limits
from .metadata import METADATA_CHUNKS, NO_METADATA, parse_metadata

__all__ = ["Lead", "Place"]

Place = tuple[Frame | None, Frame]
"""Where the ALPH chunk of a tile, if it has one, and its TILE chunk stand."""


class Lead:
    """Walks from the header up to the index, or to the tile where there is one only, and holds the
    metadata and where the tiles are.

    A tolerant one notes in ``damage`` what is wrong, leaves it out, goes on as far as the lengths
    lead, and says where a search for the tiles must ``start``; any other raises it.
    """

    def __init__(self, access: Access, header: Header, limits: Limits, tolerant: bool) -> None:
        self.metadata = NO_METADATA
        self.index: Index | None = None
        self.places: dict[int, Place] = {}
        self.damage: list[AecError] = []
        self.start: int | None = None  # of the first chunk that is not as it should be
        self.offset = HEADER_SIZE
        self._access = access
        self._header = header
        self._limits = limits
        self._tolerant = tolerant
        self._plane: Frame | None = None
        self._blocks: list[Chunk] = []
        for _ in range(limits.max_chunks):
            if self._step():
                return
        self._note(
            LimitError(
                f"chunk at offset {self.offset} is over the limit max_chunks={limits.max_chunks}"
            )
        )

    @property
    def ends(self) -> set[int]:
        """Where the first tile of a tiled file may start when its index is damaged."""
        frame = FRAME_SIZE + index_length(self._header) + CRC_SIZE
        return {self.offset, self.offset + frame}

    def _note(self, error: AecError) -> None:
        if not self._tolerant:
            raise error
        self.damage.append(error)
        if self.start is None:
            self.start = self.offset

    def _step(self) -> bool:
        """Takes the next chunk; returns True when there is no reason or no way to go on."""
        try:
            frame = read_frame(self._access, self.offset, self._limits)
        except (FormatError, LimitError) as error:
            self._note(error)
            return True
        tiles = frame.type in (TIDX, ALPH, TILE, AEND)
        try:
            if tiles:
                self._take_tiles(frame)
            else:
                self._take_other(frame)
        except UnsupportedFeatureError:
            raise
        except (FormatError, LimitError) as error:
            self._note(error)
            if tiles:
                return True
        if self.index or self.places:
            return True
        self.offset = frame.after
        return False

    def _take_tiles(self, frame: Frame) -> None:
        where = f"chunk {frame.type} at offset {frame.offset}"
        tiled = bool(self._header.tile_log2)
        alpha = bool(self._header.flags & FLAG_ALPHA)
        if frame.type == TIDX and tiled:
            # Its length is known beforehand: nothing longer is read.
            if frame.length != index_length(self._header):
                raise FormatError(
                    f"{where} has length {frame.length}, expected {index_length(self._header)} "
                    f"for {self._header.grid.count} tiles"
                )
            payload = read_chunk(self._access, frame).payload
            self.index = parse_index(payload, self._header, frame.after, where)
        elif frame.type == ALPH and alpha and not tiled and not self._plane:
            self._plane = frame
        elif frame.type == TILE and not tiled and alpha == bool(self._plane):
            self.places[0] = self._plane, frame
        else:
            wanted = TIDX if tiled else ALPH if alpha and not self._plane else TILE
            raise FormatError(f"{where} is not expected before {wanted}")

    def _take_other(self, frame: Frame) -> None:
        where = f"chunk {frame.type} at offset {frame.offset}"
        if frame.critical:
            check_crc(self._access, frame)
            raise UnsupportedFeatureError(f"{where} is critical and not known to this reader")
        names = {type: name for name, type in METADATA_CHUNKS.items()}
        if frame.type in names:
            self._limits.check_metadata({names[frame.type]: frame.length})
            blocks = [*self._blocks, read_chunk(self._access, frame)]
            self.metadata = parse_metadata(blocks, self._limits)
            self._blocks = blocks
        else:  # a damaged letter of its type may have been one of those
            check_crc(self._access, frame)
