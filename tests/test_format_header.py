import zlib

import pytest

from aec.format import errors
from aec.format.header import (
    FIELDS,
    FLAG_ALPHA,
    FLAG_GRAY,
    HEADER_SIZE,
    SIGNATURE,
    Header,
    pack_header,
    parse_header,
)
from aec.format.tiles import Grid

HEADER = Header(width=768, height=512, quality=40, model_id=bytes(range(1, 9)))


def edited(offset: int, new: bytes) -> bytes:
    """The bytes of HEADER with some replaced and the CRC made right again."""
    data = bytearray(pack_header(HEADER))
    data[offset : offset + len(new)] = new
    data[28:] = zlib.crc32(data[:28]).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.spec("S-010")
def test_fields_fill_the_header_without_gaps():
    end = 0
    for field in FIELDS:
        assert field.offset == end
        end += field.size
    assert end == HEADER_SIZE == 32


@pytest.mark.spec("S-001", "S-010", "S-017")
def test_bytes_of_a_header():
    body = bytes.fromhex("914145430d0a1a0a 01 01 ff 00 01020000 00000001 0102030405060708")
    header = Header(0x201, 0x1000000, 255, bytes(range(1, 9)), flags=FLAG_GRAY)
    assert pack_header(header) == body + zlib.crc32(body).to_bytes(4, "little")
    assert parse_header(pack_header(header)) == header


@pytest.mark.spec("S-013")
@pytest.mark.parametrize(
    ("flags", "mode"),
    [(0, "RGB"), (FLAG_GRAY, "L"), (FLAG_ALPHA, "RGBA"), (FLAG_ALPHA | FLAG_GRAY, "LA")],
)
def test_mode(flags, mode):
    assert parse_header(edited(9, bytes([flags]))).mode == mode


@pytest.mark.spec("S-011")
@pytest.mark.parametrize("index", range(8))
def test_wrong_signature(index):
    data = bytearray(edited(index, b"\x00"))
    for size in (index + 1, 32):
        with pytest.raises(errors.FormatError, match="signature at offset 0") as caught:
            parse_header(bytes(data[:size]))
        assert type(caught.value) is errors.FormatError


@pytest.mark.spec("S-012")
@pytest.mark.parametrize("version", [0, 2, 255])
def test_unknown_version_is_named_whatever_follows(version):
    for tail in (b"", bytes(23), b"\xff" * 23):
        with pytest.raises(
            errors.UnsupportedVersionError, match=f"version at offset 8 is {version}, .* knows 1"
        ):
            parse_header(SIGNATURE + bytes([version]) + tail)


@pytest.mark.spec("S-013")
@pytest.mark.parametrize("bit", range(2, 8))
def test_unknown_flag(bit):
    with pytest.raises(errors.UnsupportedFeatureError, match=f"are {1 << bit:#04x}, .* 0x03"):
        parse_header(edited(9, bytes([1 << bit])))


@pytest.mark.spec("S-015")
@pytest.mark.parametrize("tile_log2", range(15))
def test_tile_sides(tile_log2):
    data = edited(11, bytes([tile_log2]))
    if tile_log2 == 0 or 6 <= tile_log2 <= 12:
        grid = parse_header(data).grid
        assert grid == Grid(768, 512, tile_log2)
        assert grid.rect(0)[2] == (min(2**tile_log2, 768) if tile_log2 else 768)
    else:
        with pytest.raises(errors.FormatError, match=f"tile_log2 .* 11 is {tile_log2}") as caught:
            parse_header(data)
        assert type(caught.value) is errors.FormatError


@pytest.mark.spec("S-016")
@pytest.mark.parametrize("field", [f for f in FIELDS if f.name in ("width", "height")])
def test_side_out_of_range(field):
    for side in (1, 2**24):
        header = parse_header(edited(field.offset, side.to_bytes(4, "little")))
        assert getattr(header, field.name) == side
    for side in (0, 2**24 + 1, 2**32 - 1):
        with pytest.raises(
            errors.FormatError,
            match=f"{field.name} at offset {field.offset} is {side}, expected 1 to 16777216",
        ):
            parse_header(edited(field.offset, side.to_bytes(4, "little")))


@pytest.mark.parametrize("size", [0, 7, 9])
def test_writer_refuses_a_wrong_model_id(size):
    with pytest.raises(errors.FormatError, match=f"model_id is {size} bytes, expected 8"):
        Header(1, 1, 0, bytes(size))


@pytest.mark.parametrize("quality", [-1, 256])
def test_writer_refuses_a_wrong_quality(quality):
    with pytest.raises(errors.FormatError, match=f"quality .* is {quality}, expected 0 to 255"):
        Header(1, 1, quality, bytes(8))


@pytest.mark.spec("S-018")
def test_crc_comes_before_the_other_fields():
    data = bytearray(edited(12, bytes(4)))  # width 0
    data[31] ^= 1
    with pytest.raises(errors.ChecksumError, match=r"CRC-32 at offset 28 is .*, computed"):
        parse_header(bytes(data))


@pytest.mark.spec("S-002")
def test_crc_is_the_one_of_the_standard_library():
    assert zlib.crc32(b"123456789") == 0xCBF43926
    data = pack_header(HEADER)
    assert data[28:] == zlib.crc32(data[:28]).to_bytes(4, "little")
