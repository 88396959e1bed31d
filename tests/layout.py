"""The layout of .aec files as spec.md has it, none of the package used: parts, and parts to bytes.

It takes what is damaged, too, and corrects nothing unless it is asked to.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

HEADER_SIZE = 32
FIELDS = {
    "signature": (0, 8),
    "version": (8, 1),
    "flags": (9, 1),
    "quality": (10, 1),
    "tile_log2": (11, 1),
    "width": (12, 4),
    "height": (16, 4),
    "model_id": (20, 8),
    "crc": (28, 4),
}
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass
class Frame:
    """One chunk as the bytes have it; the length that it claims is not always that of the payload.

    `crc` is what stands behind the payload: nothing behind an empty one.
    """

    type: bytes
    payload: bytes
    length: int
    crc: bytes

    def with_payload(self, payload: bytes) -> "Frame":
        """The same chunk, its length right, its checksum the old one."""
        crc = (self.crc or b"\xa5\x5a\x00\xff") if payload else b""
        return Frame(self.type, payload, len(payload), crc)


def parse(data: bytes) -> tuple[bytes, list[Frame], bytes]:
    """Header, chunks as far as their lengths lead, and the bytes that are left."""
    frames = []
    at = HEADER_SIZE
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        end = at + 8 + length
        after = end + 4 if length else end
        if after > len(data):
            break
        frames.append(Frame(data[at + 4 : at + 8], data[at + 8 : end], length, data[end:after]))
        at = after
    return data[:HEADER_SIZE], frames, data[at:]


def build(header: bytes, frames: Sequence[Frame], tail: bytes = b"") -> bytes:
    """The bytes of these parts, nothing corrected."""
    parts = [header]
    for frame in frames:
        parts += [frame.length.to_bytes(4, "little"), frame.type, frame.payload, frame.crc]
    return b"".join([*parts, tail])


def parse_png(stream: bytes) -> list[Frame]:
    """The chunks of a PNG stream (after its signature) as far as their lengths lead."""
    frames = []
    at = len(PNG)
    while at + 12 <= len(stream):
        length = int.from_bytes(stream[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(stream):
            break
        crc = stream[end : end + 4]
        frames.append(Frame(stream[at + 4 : at + 8], stream[at + 8 : end], length, crc))
        at = end + 4
    return frames


def build_png(frames: Sequence[Frame], rest: bytes = b"") -> bytes:
    """A PNG stream of these chunks, all checksums right."""
    parts = [PNG]
    for frame in frames:
        crc = zlib.crc32(frame.type + frame.payload).to_bytes(4, "big")
        parts += [frame.length.to_bytes(4, "big"), frame.type, frame.payload, crc]
    return b"".join([*parts, rest])


def png_start(payload: bytes) -> int:
    """Where the stream begins in the payload of ALPH: behind the number, where tiles have one."""
    return 4 if payload[4:12] == PNG else 0


def repaired(data: bytes) -> bytes:
    """The data with every checksum recomputed that the lengths lead to: header, chunks, PNG."""
    header, frames, tail = parse(data)
    if len(header) == HEADER_SIZE:
        header = header[:28] + zlib.crc32(header[:28]).to_bytes(4, "little")
    for frame in frames:
        start = png_start(frame.payload)
        if frame.type == b"ALPH" and frame.payload[start : start + 8] == PNG:
            stream = frame.payload[start:]
            chunks = parse_png(stream)
            size = len(PNG) + sum(12 + len(chunk.payload) for chunk in chunks)
            frame.payload = frame.payload[:start] + build_png(chunks, stream[size:])
        if frame.payload:
            body = frame.length.to_bytes(4, "little") + frame.type + frame.payload
            frame.crc = zlib.crc32(body).to_bytes(4, "little")
    return build(header, frames, tail)


def reindexed(data: bytes) -> bytes:
    """The data with the lengths in its index those of its tiles, as far as there are both."""
    header, frames, tail = parse(data)
    index = next((frame for frame in frames if frame.type == b"TIDX"), None)
    if index is None or len(header) < HEADER_SIZE:
        return data
    alpha = header[9] & 2
    entries: list[int] = []
    plane = 0
    for frame in frames:
        if frame.type == b"ALPH":
            plane = len(frame.payload)
        elif frame.type == b"TILE":
            entries += [plane, len(frame.payload)] if alpha else [len(frame.payload)]
            plane = 0
    payload = b"".join(entry.to_bytes(4, "little") for entry in entries)
    replaced = index.with_payload(payload)
    frames = [replaced if frame is index else frame for frame in frames]
    return build(header, frames, tail)
