"""The files under tests/vectors/invalid: each breaks one rule, and every decoder must refuse it.

They come from those under tests/vectors/valid and from the weights by integer arithmetic alone, so
they are the same bytes on every machine.
"""

import struct
from collections.abc import Mapping

from vector_parts import (
    AEND,
    PNG,
    Author,
    Chunk,
    File,
    Vector,
    Writer,
    head,
    plain,
    plane,
    png,
    png_chunk,
    ramp,
    stored,
    u32,
)


def invalid(valid: Mapping[str, bytes], writer: Writer) -> dict[str, Vector]:
    """The files by name; each breaks one rule."""
    files = {name: File.parse(data) for name, data in valid.items()}
    return {
        **_bad_headers(files["gradient"]),
        **_bad_ends(files["gradient"], files["tiles"]),
        **_bad_chunks(files["gradient"]),
        **_bad_planes(files["alpha"]),
        **_bad_tiles(files["tiles_alpha"], files["gradient"]),
        **_bad_words(files["gradient"], files["tiles"], writer),
    }


def _bad_headers(file: File) -> dict[str, Vector]:
    data = file.data()

    def bad(about: str, breaks: str, error: str = "FormatError", **fields: int | bytes) -> Vector:
        return Vector(about, file.but(**fields).data(), error, breaks)

    def raw(about: str, data: bytes, error: str, breaks: str) -> Vector:
        return Vector(about, data, error, breaks)

    other = bytes(byte ^ 0x55 for byte in file.model_id)
    return {
        "empty": raw("No bytes at all.", b"", "TruncatedError", "S-041"),
        "header_cut": raw("Half a header.", data[:16], "TruncatedError", "S-041"),
        "signature_text": raw(
            "CR LF became LF on the way.", data.replace(b"\r\n", b"\n", 1), "FormatError", "S-011"
        ),
        "signature_bit": raw(
            "The eighth bits are gone.",
            bytes([data[0] & 127]) + data[1:],
            "FormatError",
            "S-011",
        ),
        "header_crc": raw(
            "Another quality than the crc was taken of.",
            data[:10] + bytes([data[10] ^ 1]) + data[11:],
            "ChecksumError",
            "S-018",
        ),
        "version_2": bad("A later version.", "S-012", "UnsupportedVersionError", version=2),
        "version_0": bad("Version 0.", "S-012", "UnsupportedVersionError", version=0),
        "flags_4": bad("A flag that is not known.", "S-013", "UnsupportedFeatureError", flags=4),
        "flags_128": bad("Another one.", "S-013", "UnsupportedFeatureError", flags=128),
        "width_0": bad("No columns.", "S-016", width=0),
        "height_0": bad("No rows.", "S-016", height=0),
        "width_wide": bad("More columns than there may be.", "S-016", width=2**24 + 1),
        "tile_log2_5": bad("Tiles of 32 pixels.", "S-015", tile_log2=5),
        "tile_log2_13": bad("Tiles of 8192 pixels.", "S-016", tile_log2=13),
        "limit_side": bad("2^24 columns, one row.", "S-044", "LimitError", width=2**24, height=1),
        "limit_pixels": bad(
            "Nine hundred million pixels.", "S-044", "LimitError", width=30000, height=30000
        ),
        "model_unknown": bad("Other weights.", "S-172", "ModelNotFoundError", model_id=other),
    }


def _bad_ends(file: File, tiles: File) -> dict[str, Vector]:
    data, many = file.data(), tiles.data()
    third = many.index(b"TILE" + u32(2)) - 4

    def cut(about: str, data: bytes, breaks: str = "S-041") -> Vector:
        return Vector(about, data, "TruncatedError", breaks)

    return {
        "cut_header": cut("Nothing behind the header.", data[:32], "S-029"),
        "cut_frame": cut("Cut in the length of TILE.", data[:35]),
        "cut_words": cut("Cut in the words of the tile.", data[: len(data) // 2]),
        "cut_crc": cut("Cut in the crc of the tile.", data[:-10]),
        "cut_end": cut("AEND is not there.", data[:-8], "S-029"),
        "cut_tiles": cut("Cut in the third of six tiles.", many[: third + 20]),
        "cut_index": cut("Cut in the index.", many[: many.index(b"TIDX") + 11]),
        "after_end": Vector("A byte behind AEND.", data + b"\n", "FormatError", "S-029"),
        "two_ends": Vector("A second AEND.", data + data[-8:], "FormatError", "S-029"),
    }


def _bad_chunks(file: File) -> dict[str, Vector]:
    tile = file.payload("TILE")
    data = file.data()

    def bad(about: str, file: File, breaks: str, error: str = "FormatError") -> Vector:
        return Vector(about, file.data(), error, breaks)

    def flipped(data: bytes, at: int) -> bytes:
        return data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]

    exif = ("eXIf", b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    noted = file.before("TILE", ("noTe", b"a note")).data()
    long = file.header() + b"\xff" * 4 + data[36:]
    return {
        "crc_words": Vector(
            "A word of the tile is damaged.",
            flipped(data, len(data) // 2),
            "ChecksumError",
            "S-040",
        ),
        "crc_tile": Vector(
            "The crc of the tile is damaged.",
            flipped(data, len(data) - 9),
            "ChecksumError",
            "S-040",
        ),
        "crc_ancillary": Vector(
            "A chunk is damaged that nobody needs.",
            flipped(noted, noted.index(b"a note")),
            "ChecksumError",
            "S-024",
        ),
        "limit_length": Vector("A chunk of 4 GiB.", long, "LimitError", "S-044"),
        "type_lower": bad(
            "The third letter of a type is lower-case.",
            file.before("TILE", ("note", b"?")),
            "S-022",
        ),
        "type_digit": bad("A type with a digit.", file.before("TILE", ("noT3", b"?")), "S-022"),
        "chunk_empty": bad("An empty chunk.", file.before("TILE", ("noTe", b"")), "S-021"),
        "critical": bad(
            "A critical chunk that is not known.",
            file.before("TILE", ("NEWc", b"needed")),
            "S-023",
            "UnsupportedFeatureError",
        ),
        "critical_after": bad(
            "A critical chunk that is not known, behind the tile.",
            file.before("AEND", ("NEWc", b"needed")),
            "S-023",
            "UnsupportedFeatureError",
        ),
        "tile_none": bad("No tile.", file.without("TILE"), "S-027"),
        "tile_twice": bad("Two tiles.", file.before("TILE", ("TILE", tile)), "S-027"),
        "tile_empty": bad("A tile of length 0.", file.changed("TILE", b""), "S-021"),
        "tile_short": bad(
            "A tile without a whole symbol CRC.", file.changed("TILE", tile[:3]), "S-028"
        ),
        "tile_odd": bad("Words of two bytes.", file.changed("TILE", tile[:6]), "S-028"),
        "end_payload": bad(
            "AEND has a payload.", file.having([*file.chunks[:-1], ("AEND", b"\0")]), "S-029"
        ),
        "metadata_twice": bad("Two EXIF blocks.", file.before("TILE", exif, exif), "S-201"),
        "metadata_empty": bad("An empty profile.", file.before("TILE", ("iCCP", b"")), "S-021"),
        "metadata_late": bad(
            "XMP behind the tile.", file.before("AEND", ("xMPd", b"<x/>")), "S-201"
        ),
        "index_single": bad(
            "An index where there is one tile.",
            file.before("TILE", ("TIDX", u32(len(tile)))),
            "S-223",
        ),
        "plane_unasked": bad(
            "An alpha plane, but no flag.",
            file.before("TILE", ("ALPH", plane(file.width, file.height))),
            "S-210",
        ),
    }


def _bad_planes(file: File) -> dict[str, Vector]:
    wide, high = file.width, file.height
    rows = plain(ramp(wide, high))
    packed, ihdr, sound = stored(rows), head(wide, high), plane(wide, high)
    note = png_chunk(b"tEXt", b"Title\0x")

    def bad(about: str, payload: bytes, breaks: str = "S-211") -> Vector:
        return Vector(about, file.changed("ALPH", payload).data(), "FormatError", breaks)

    def kind(about: str, *fields: int) -> Vector:
        return bad(about, png(head(wide, high, *fields), packed))

    def other(about: str, file: File, breaks: str) -> Vector:
        return Vector(about, file.data(), "FormatError", breaks)

    end = struct.unpack(">I", packed[-4:])[0]
    wrong_sum = packed[:-4] + struct.pack(">I", end ^ 1)
    deflate = packed[:2] + b"\x07" + packed[3:]  # a kind of block that there is not
    return {
        "plane_none": other("The flag alpha, but no plane.", file.without("ALPH"), "S-210"),
        "plane_twice": other("Two planes.", file.before("ALPH", ("ALPH", sound)), "S-210"),
        "plane_late": other(
            "The plane comes after the tile.",
            file.without("ALPH").before("AEND", ("ALPH", sound)),
            "S-210",
        ),
        "plane_signature": bad("Not a PNG.", b"\x8aMNG" + sound[4:]),
        "plane_cut": bad("A PNG that is cut short.", sound[:-12]),
        "plane_no_data": bad("A PNG without IDAT.", PNG + ihdr + png_chunk(b"IEND", b"")),
        "plane_wide": bad("A PNG one pixel too wide.", png(head(wide + 1, high), packed)),
        "plane_16_bits": kind("16 bits per sample.", 16, 0, 0, 0, 0),
        "plane_colour": kind("A PNG in colours.", 8, 2, 0, 0, 0),
        "plane_interlaced": kind("An interlaced PNG.", 8, 0, 0, 0, 1),
        "plane_text": bad("A text between IDAT and IEND.", png(ihdr, packed, after=note)),
        "plane_text_first": bad("A text in front of IDAT.", png(ihdr + note, packed)),
        "plane_after": bad("Bytes behind IEND.", sound + b"\0"),
        "plane_crc": bad("A CRC of the PNG is wrong.", sound[:-18] + b"\x01" + sound[-17:]),
        "plane_few": bad("A row is missing.", png(ihdr, stored(rows[: -1 - wide])), "S-212"),
        "plane_many": bad("A byte too many.", png(ihdr, stored(rows + b"\0")), "S-212"),
        "plane_rest": bad("Bytes behind the zlib stream.", png(ihdr, packed + b"\0"), "S-212"),
        "plane_unpackable": bad("The data do not unpack.", png(ihdr, deflate), "S-212"),
        "plane_sum": bad("The checksum of zlib is wrong.", png(ihdr, wrong_sum), "S-212"),
        "plane_open": bad("The zlib stream has no end.", png(ihdr, packed[:-4]), "S-212"),
        "plane_filter": bad(
            "A filter that PNG does not have.", png(ihdr, stored(b"\5" + rows[1:])), "S-212"
        ),
    }


def _bad_tiles(file: File, single: File) -> dict[str, Vector]:
    # TIDX, ALPH and TILE 0, TILE 1, TILE 2, TILE 3, AEND
    index, alpha, first, second, third, fourth, _ = file.chunks
    entries = list(struct.unpack("<8I", index[1]))

    def bad(about: str, breaks: str, *chunks: Chunk) -> Vector:
        return Vector(about, file.having([*chunks, AEND]).data(), "FormatError", breaks)

    def indexed(about: str, breaks: str, *entries: int) -> Vector:
        return bad(about, breaks, ("TIDX", u32(*entries)), *file.chunks[1:-1])

    def swapped(chunk: Chunk, number: int) -> Chunk:
        return chunk[0], u32(number) + chunk[1][4:]

    more = [*entries[:3], entries[3] + 4, *entries[4:]]
    odd = [*entries[:3], entries[3] + 1, *entries[4:]]
    short = [*entries[:3], 0, *entries[4:]]
    sliver = [3, *entries[1:]]
    turned = [*entries[:2], *entries[4:6], *entries[2:4], *entries[6:]]
    return {
        "index_none": bad("No index.", "S-221", alpha, first, second, third, fourth),
        "index_twice": bad("Two indices.", "S-221", index, *file.chunks[:-1]),
        "index_late": bad("The index comes last.", "S-221", *file.chunks[1:-1], index),
        "index_short": indexed("An entry is missing.", "S-222", *entries[:6]),
        "index_long": indexed("The index has an entry too many.", "S-222", *entries, 0, 8),
        "index_300": Vector(
            "An index of 300 tiles for a picture of one.",
            single.tiled(6).changed("TIDX", u32(*[8] * 300)).data(),
            "FormatError",
            "S-222",
        ),
        "index_odd": indexed("A tile of a length that none has.", "S-222", *odd),
        "index_zero": indexed("A tile of length 0.", "S-222", *short),
        "index_plane": indexed("An alpha plane of three bytes.", "S-222", *sliver),
        "index_more": indexed("A tile is longer in the index than it is.", "S-223", *more),
        "index_alpha": indexed("The index lacks an alpha plane.", "S-223", 0, *entries[1:]),
        "tiles_fewer": bad(
            "The last tile is missing.", "S-027", index, alpha, first, second, third
        ),
        "tiles_more": bad("A tile too many.", "S-027", *file.chunks[:-1], swapped(fourth, 4)),
        "tiles_order": bad(
            "Two tiles change places, in the index too.",
            "S-223",
            ("TIDX", u32(*turned)),
            alpha,
            first,
            third,
            second,
            fourth,
        ),
        "tiles_number": bad(
            "A tile with the number of another.",
            "S-223",
            index,
            alpha,
            first,
            swapped(second, 2),
            third,
            fourth,
        ),
        "tiles_plane": bad(
            "An alpha plane with the number of another tile.",
            "S-224",
            index,
            swapped(alpha, 1),
            first,
            second,
            third,
            fourth,
        ),
        "tiles_between": bad(
            "An ancillary chunk between tiles.",
            "S-221",
            index,
            alpha,
            first,
            ("noTe", b"x"),
            second,
            third,
            fourth,
        ),
        "tiles_plane_after": bad(
            "An alpha plane behind its tile.", "S-223", index, first, alpha, second, third, fourth
        ),
    }


def _bad_words(file: File, tiles: File, writer: Writer) -> dict[str, Vector]:
    tile = file.payload("TILE")
    wide, high, quality = file.width, file.height, file.quality

    def bad(about: str, payload: bytes, error: str, breaks: str) -> Vector:
        return Vector(about, file.changed("TILE", payload).data(), error, breaks)

    wrong = bytes([tile[0] ^ 1]) + tile[1:]
    many = File.parse(tiles.data())
    fifth = [payload for type, payload in many.chunks if type == "TILE"][4]
    other = fifth[:4] + bytes([fifth[4] ^ 1]) + fifth[5:]
    author = Author(9)
    longer = u32(1) + writer.tile(quality, wide, high, author)[4:]
    return {
        "words_zero": bad("The last word is 0.", tile + bytes(4), "FormatError", "S-113"),
        "symbol_crc": bad("The symbols have another CRC.", wrong, "BackendMismatchError", "S-040"),
        "symbol_crc_tile": Vector(
            "The symbols of the fifth of six tiles have another CRC.",
            many.changed("TILE", other, 4).data(),
            "BackendMismatchError",
            "S-040",
        ),
        "words_left": bad(
            "The symbols are as their CRC says, and there is something left.",
            writer.tile_of(quality, wide, high, longer),
            "BackendMismatchError",
            "S-114",
        ),
    }
