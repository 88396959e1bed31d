"""Sound files to start from: containers whose tiles hold no picture, and those of a tiny model."""

import hashlib
import json
import random
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from layout import Frame, build, build_png, repaired

Rect = tuple[int, int, int, int]


def frame(type: bytes, payload: bytes = b"") -> Frame:
    """A chunk; `repaired` gives it its checksum."""
    return Frame(type, b"", 0, b"").with_payload(payload)


def png(width: int, height: int, samples: bytes | None = None) -> bytes:
    """The stream of a gray plane that holds these bytes, a ramp unless told."""
    rows = b"".join(b"\0" + bytes((x * 7 + y) % 256 for x in range(width)) for y in range(height))
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 0, 0, 0, 0))
    packed = zlib.compress(rows if samples is None else samples, 9)
    chunks = [frame(b"IHDR", head), frame(b"IDAT", packed), frame(b"IEND")]
    return build_png(chunks)


def header(
    width: int, height: int, *, tile_log2: int = 0, flags: int = 0, quality: int = 128
) -> bytes:
    """The 32 bytes of a header without its checksum."""
    sides = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    fixed = bytes.fromhex("914145430d0a1a0a01") + bytes((flags, quality, tile_log2))
    return fixed + sides + bytes(range(8)) + bytes(4)


def rects(width: int, height: int, tile_log2: int) -> list[Rect]:
    """Left, top, width and height of each tile."""
    side = 1 << tile_log2 if tile_log2 else max(width, height)
    return [
        (x, y, min(side, width - x), min(side, height - y))
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]


def container(
    width: int,
    height: int,
    *,
    tile_log2: int = 0,
    flags: int = 0,
    before: Iterable[Frame] = (),
    after: Iterable[Frame] = (),
    opaque: Iterable[int] = (),
) -> bytes:
    """A sound file with random words; tiles named in `opaque` have no alpha plane."""
    rng = random.Random(f"{width} {height} {tile_log2} {flags}")
    planes, index = [], b""
    for number, (_, _, columns, rows) in enumerate(rects(width, height, tile_log2)):
        mark = number.to_bytes(4, "little") if tile_log2 else b""
        chunks = []
        alpha = frame(b"ALPH", mark + png(columns, rows))
        if flags & 2 and number not in opaque:
            chunks.append(alpha)
        words = rng.randbytes(4 * rng.randrange(0, 9)) + rng.randbytes(3) + b"\1"
        tile = frame(b"TILE", mark + rng.randbytes(4) + words)
        if flags & 2:
            index += (alpha.length if chunks else 0).to_bytes(4, "little")
        index += tile.length.to_bytes(4, "little")
        planes += [*chunks, tile]
    head = [frame(b"TIDX", index)] if tile_log2 else []
    parts = [*before, *head, *planes, *after, frame(b"AEND")]
    return repaired(build(header(width, height, tile_log2=tile_log2, flags=flags), parts))


def containers() -> list[bytes]:
    """Files with every part that the format has."""
    note, copied = frame(b"meTa", b"anything"), frame(b"noTe", b"\0")
    blocks = [frame(b"iCCP", b"profile" * 9), frame(b"eXIf", b"II*\0"), frame(b"xMPd", b"<x/>")]
    return [
        container(7, 5),
        container(64, 64, flags=1, before=[note], after=[copied, note]),
        container(30, 20, flags=2, before=blocks),
        container(30, 20, flags=3),
        container(100, 90, tile_log2=6),
        container(64, 64, tile_log2=6, before=blocks[:1]),
        container(200, 256, tile_log2=6, before=[*blocks, note], after=[copied]),
        container(130, 70, tile_log2=6, flags=2, opaque=[1, 4]),
        container(130, 140, tile_log2=7, flags=3, before=blocks, opaque=range(4)),
        container(1024, 1, tile_log2=6, after=[note]),
    ]


def small_model(folder: Path, seed: int = 3) -> Path:
    """A model folder with random weights of a size that decodes a small picture in milliseconds."""
    import numpy as np
    import random_weights
    import safetensors.torch
    import torch

    from aec.codec.config import ModelConfig
    from aec.codec.loading import DECODER_FILE, ENCODER_FILE, MANIFEST_FILE, pack_encoder
    from aec.codec.model import Model

    config = ModelConfig(**random_weights.SMALL_CONFIG, g_a_blocks8=1, g_a_blocks16=1, knots=3)
    torch.manual_seed(seed)
    decoder = random_weights.random_tensors(np.random.default_rng(seed))
    parts = ("g_a.", "h_a.", "log_gain.")
    tensors: dict[str, dict[str, Any]] = {
        DECODER_FILE: {name: torch.from_numpy(t) for name, t in decoder.items()},
        ENCODER_FILE: pack_encoder(
            {k: v for k, v in Model(config).state_dict().items() if k.startswith(parts)}
        ),
    }
    digests = {}
    for name, content in tensors.items():
        data = safetensors.torch.save(content)
        (folder / name).write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    manifest = {"config": config.as_dict(), "sha256": digests}
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def pictures(codec: Any, seed: int = 1) -> Iterable[bytes]:
    """Files of pictures of all modes, most of several tiles, with 64 to 200 pixels a side."""
    import numpy as np

    rng = np.random.default_rng(seed)
    sizes = [(64, 64, 0), (100, 130, 64), (70, 200, 64), (128, 128, 64), (150, 90, 128)]
    for channels in (1, 2, 3, 4):
        for rows, columns, tile in sizes:
            shape = (rows, columns, channels)
            smooth = rng.integers(0, 256, (rows // 16 + 1, columns // 16 + 1, channels))
            pixels = smooth.repeat(16, axis=0).repeat(16, axis=1)[:rows, :columns]
            pixels = (pixels + rng.integers(0, 40, shape)).clip(0, 255).astype(np.uint8)
            if channels in (2, 4):
                pixels[:64, :64, -1] = 255  # a tile without an alpha plane
            if channels == 1:
                pixels = pixels[:, :, 0]
            yield codec.compress(pixels, quality=float(rng.integers(20, 100)), tile=tile)
