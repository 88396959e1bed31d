"""The frame of the alpha plane: a PNG stream of one kind only, judged before anything decodes it.

A PNG may hold far more than a plane of samples: texts that unpack to gigabytes, several pictures,
palettes. Nothing of that is needed here, so nothing of it is let through to a decoder.
"""

from __future__ import annotations

import struct
import zlib

from .errors import FormatError, LimitError
from .limits import DEFAULT_LIMITS, Limits

__all__ = ["alpha_data", "check_inflated"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
FRAME = 12  # length, type and CRC of a PNG chunk
INFLATE_SIZE = 1 << 12  # deflate makes up to 1032 times as much of it


def alpha_data(
    payload: memoryview,
    width: int,
    height: int,
    where: str,
    limits: Limits = DEFAULT_LIMITS,
    used: int = 0,
) -> list[memoryview]:
    """Returns the parts of the packed samples, once the stream is seen to be an 8-bit gray PNG of
    this width and height (pixels) with intact chunks and nothing besides.

    Raises FormatError, or LimitError when it has, with the ``used`` parts of the tiles before, more
    parts than a file may have chunks.
    """
    if payload[:8] != SIGNATURE:
        raise FormatError(f"{where} starts with {bytes(payload[:8]).hex(' ')}, expected a PNG")
    # bit depth 8, gray, deflate, adaptive filters, not interlaced
    wanted = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    parts: list[memoryview] = []
    at = len(SIGNATURE)
    while True:
        if len(payload) - at < FRAME:
            raise FormatError(f"{where} holds a PNG that is cut short")
        (length,) = struct.unpack_from(">I", payload, at)
        type = bytes(payload[at + 4 : at + 8])
        body = payload[at + 8 : at + 8 + length]
        end = at + FRAME + length
        if end > len(payload):
            raise FormatError(f"{where} holds a PNG that is cut short")
        (stored,) = struct.unpack_from(">I", payload, end - 4)
        if stored != zlib.crc32(payload[at + 4 : end - 4]):
            raise FormatError(f"{where} holds a PNG with a damaged chunk at offset {at}")
        if at == len(SIGNATURE):
            if type != b"IHDR" or body != wanted:
                raise FormatError(
                    f"{where} holds a PNG that starts with {type!r} {bytes(body[:13]).hex(' ')}, "
                    f"expected b'IHDR' {wanted.hex(' ')}"
                )
        elif type == b"IDAT":
            parts.append(body)
            if (
                used + len(parts) > limits.max_chunks
            ):  # a long file of empty ones would take minutes
                raise LimitError(
                    f"{where} holds a PNG of more chunks than the limit "
                    f"max_chunks={limits.max_chunks}"
                )
        elif type != b"IEND" or length or end != len(payload) or not parts:
            raise FormatError(f"{where} holds a PNG with {type!r} at offset {at}, not expected")
        else:
            return parts
        at = end


def check_inflated(parts: list[memoryview], size: int) -> None:
    """Raises FormatError unless the parts unpack to ``size`` bytes exactly; holds no more than a
    few MiB of them at a time.
    """
    inflate = zlib.decompressobj()
    packed = memoryview(b"".join(parts))
    found = at = 0
    try:
        while at < len(packed) and found <= size and not inflate.eof:
            found += len(inflate.decompress(packed[at : at + INFLATE_SIZE]))
            at += INFLATE_SIZE
    except zlib.error as error:
        raise FormatError(f"the samples of the alpha plane are damaged: {error}") from error
    ends = inflate.eof and not inflate.unused_data and at >= len(packed)
    if found != size or not ends:
        more = "" if ends else " and does not end there"
        raise FormatError(f"the alpha plane unpacks to {found} bytes{more}, expected {size}")
