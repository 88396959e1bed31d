"""The files under tests/vectors/uncommon: no writer makes them, and every decoder must accept them.

They come from those under tests/vectors/valid and from the weights by integer arithmetic alone, so
they are the same bytes on every machine.
"""

from collections.abc import Mapping

from vector_parts import (
    AEND,
    ALPHA,
    GRAY,
    Author,
    File,
    Vector,
    Writer,
    draws,
    filtered,
    head,
    plain,
    plane,
    png,
    ramp,
    stored,
    u32,
)


def uncommon(valid: Mapping[str, bytes], writer: Writer) -> dict[str, Vector]:
    """The files by name."""
    files = {name: File.parse(data) for name, data in valid.items()}
    made = {**_other_chunks(files), **_other_planes(files), **_other_tiles(files, writer)}
    return {name: Vector(about, file.data()) for name, (about, file) in made.items()}


def _other_chunks(files: Mapping[str, File]) -> dict[str, tuple[str, File]]:
    gradient, tiles, alpha = files["gradient"], files["tiles"], files["alpha"]
    noise = bytes(number for number, _ in zip(draws(1), range(300), strict=False))
    first = ("noTe", b"safe to copy"), ("usAF", noise), ("usAF", b"\0"), ("zzZz", u32(0))
    last = ("noTe", b"again"), ("aaAA", noise), ("vpAg", u32(len(noise)))
    blocks = dict(
        chunk for chunk in files["metadata"].chunks if chunk[0] in ("iCCP", "eXIf", "xMPd")
    )
    icc, exif, xmp = blocks.items()
    return {
        "unknown_chunks": (
            "Ancillary chunks that nobody knows, before and after the tile.",
            gradient.before("TILE", *first).before("AEND", *last),
        ),
        "unknown_chunks_tiles": (
            "Ancillary chunks that nobody knows, before the index and after the tiles.",
            tiles.before("TIDX", *first).before("AEND", *last),
        ),
        "unknown_chunks_alpha": (
            "Ancillary chunks around ALPH, and between it and TILE.",
            alpha.before("ALPH", *first).before("TILE", *last).before("AEND", *first),
        ),
        "many_chunks": (
            "A hundred chunks of one byte.",
            gradient.before("TILE", *[("maNy", b"\0")] * 50).before(
                "AEND", *[("maNY", b"\1")] * 50
            ),
        ),
        "metadata_order": (
            "Metadata from back to front, other chunks in between.",
            gradient.before("TILE", xmp, ("noTe", b"x"), exif, ("aaAA", b"y"), icc),
        ),
        "metadata_alpha": (
            "Metadata between ALPH and TILE, where one tile allows it.",
            alpha.before("ALPH", icc).before("TILE", exif, xmp),
        ),
        "metadata_nonsense": (
            "Blocks of metadata that make no sense, which a decoder never looks into.",
            gradient.before("TILE", ("iCCP", b"\0"), ("eXIf", b"Exif\0\0II"), ("xMPd", noise)),
        ),
    }


def _other_planes(files: Mapping[str, File]) -> dict[str, tuple[str, File]]:
    alpha, tiles = files["alpha"], files["tiles_alpha"]
    wide, high = alpha.width, alpha.height
    rows = ramp(wide, high)
    packed = stored(filtered(rows))
    single = [packed[at : at + 1] for at in range(40)]
    opaque = [chunk for chunk in tiles.chunks if chunk[0] != "ALPH"]
    lengths = [n for type, payload in opaque if type == "TILE" for n in (0, len(payload))]
    opaque = [("TIDX", u32(*lengths)) if chunk[0] == "TIDX" else chunk for chunk in opaque]
    last = png(head(36, 26), stored(plain([b"\xff" * 36] * 26)))
    both = [*tiles.chunks[:-2], ("ALPH", u32(3) + last), *tiles.chunks[-2:]]
    entries = tiles.payload("TIDX")
    both[0] = ("TIDX", entries[:24] + u32(4 + len(last)) + entries[28:])
    return {
        "alpha_filters": (
            "A PNG with all five filters in ALPH, its data not packed.",
            alpha.changed("ALPH", png(head(wide, high), packed)),
        ),
        "alpha_parts": (
            "ALPH with many IDAT chunks, some of one byte, some empty.",
            alpha.changed("ALPH", png(head(wide, high), b"", *single, b"", packed[40:], b"")),
        ),
        "alpha_window": (
            "ALPH whose zlib stream names the smallest window and a high level.",
            alpha.changed("ALPH", png(head(wide, high), _small_window(plain(rows)))),
        ),
        "tiles_opaque": (
            "The flag alpha, and no tile with an alpha plane.",
            tiles.having(opaque),
        ),
        "tiles_opaque_plane": (
            "A tile has an alpha plane that is 255 everywhere.",
            tiles.having(both),
        ),
        "tile_opaque": (
            "One tile in a tiled file with the flag alpha, without an alpha plane.",
            alpha.tiled(6, alpha=False),
        ),
    }


def _small_window(data: bytes) -> bytes:
    body = stored(data)[2:]
    first = 0x08  # deflate, window of 256 bytes
    second = 3 << 6
    return bytes([first, second + 31 - (first * 256 + second) % 31]) + body


def _other_tiles(files: Mapping[str, File], writer: Writer) -> dict[str, tuple[str, File]]:
    def by(author: Author, quality: int, wide: int, high: int, flags: int = 0) -> File:
        tile = writer.tile(quality, wide, high, author)
        planes = [("ALPH", plane(wide, high))] if flags & ALPHA else []
        return writer.file(quality, wide, high, tile, *planes, flags=flags)

    def without_words(quality: int, wide: int, high: int) -> File:
        return writer.file(quality, wide, high, writer.tile_of(quality, wide, high, b""))

    def strip(quality: int, count: int) -> File:
        # all of them 64 pixels wide but the last one, which has one
        widths = [64] * (count - 1) + [1]
        tiles = [
            u32(n) + writer.tile(quality, wide, 2, Author(n, rare=3))
            for n, wide in enumerate(widths)
        ]
        base = File(64 * count - 63, 2, quality, writer.model_id, tile_log2=6)
        index = ("TIDX", u32(*map(len, tiles)))
        return base.having([index, *(("TILE", tile) for tile in tiles), AEND])

    return {
        "tile_64": ("The tile of 'gradient' in a tiled file.", files["gradient"].tiled(6)),
        "tile_4096": (
            "A picture much smaller than its only tile might be.",
            files["metadata"].tiled(12),
        ),
        "tile_alpha": ("One tile with alpha in a tiled file.", files["alpha_gray"].tiled(7)),
        "no_words": (
            "No words: the decoder starts and ends with x = 0.",
            without_words(128, 20, 9),
        ),
        "no_words_tile": (
            "No words in a tiled file, at quality index 255.",
            without_words(255, 64, 64).tiled(6),
        ),
        "made_up": ("Symbols that no encoder would choose.", by(Author(1, spread=3), 60, 30, 20)),
        "made_up_gray": (
            "The same in gray and with alpha, at quality index 1.",
            by(Author(2, spread=2), 1, 40, 17, GRAY | ALPHA),
        ),
        "escapes": (
            "Escapes of all sizes, also of values that a table has, and z beyond 127.",
            by(Author(3, rare=20), 128, 40, 33),
        ),
        "extremes": (
            "Most symbols are escapes of 16 bits, so that y and z reach their clamps.",
            by(Author(4, rare=200), 254, 16, 16),
        ),
        "strip": ("Five tiles in a row, the last one a pixel wide.", strip(90, 5)),
    }
