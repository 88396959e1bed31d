"""Where tiles lie, and whole files of several: what is written comes back, all else is refused."""

import random
import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aec.format import errors
from aec.format.chunks import pack_chunk
from aec.format.container import Tile, open_info, read_file, write_file
from aec.format.header import FLAG_ALPHA, HEADER_SIZE, Header, pack_header
from aec.format.limits import Limits
from aec.format.metadata import Metadata
from aec.format.tiles import Grid

HEADER = Header(width=100, height=70, quality=5, model_id=bytes(8), tile_log2=6)
ALPHA = replace(HEADER, flags=FLAG_ALPHA)
HEAD = pack_header(HEADER)
END = pack_chunk("AEND", b"")
META = pack_chunk("meTa", b"anything")
BLOCKS = Metadata(icc_profile=b"profile", xmp=b"<x/>")


def png(width: int, height: int) -> bytes:
    parts = (
        (b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes((width + 1) * height))),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + type + body + struct.pack(">I", zlib.crc32(type + body))
        for type, body in parts
    )


def tiles_of(header: Header, opaque: tuple[int, ...] = ()) -> list[Tile]:
    """Tiles with words of several lengths; with the flag, all but some have alpha."""
    rng = random.Random(header.grid.count)
    return [
        Tile(
            number,
            rng.getrandbits(32),
            rng.randbytes(4 * (number % 3)),
            png(*header.grid.rect(number)[2:])
            if header.flags & FLAG_ALPHA and number not in opaque
            else None,
        )
        for number in range(header.grid.count)
    ]


TILES = tiles_of(HEADER)
PLANES = tiles_of(ALPHA, opaque=(1, 3))


def tile(number: int, words: bytes = b"") -> bytes:
    return pack_chunk("TILE", struct.pack("<2I", number, 9) + words)


def tidx(*lengths: int) -> bytes:
    return pack_chunk("TIDX", struct.pack(f"<{len(lengths)}I", *lengths))


INDEX = tidx(8, 8, 8, 8)
FOUR = tile(0) + tile(1) + tile(2) + tile(3)
FILE = HEAD + INDEX + FOUR + END


def refused(data: bytes, match: str, cls: type[Exception] = errors.FormatError) -> None:
    for read in (read_file, open_info):
        with pytest.raises(cls, match=match) as caught:
            read(data)
        assert type(caught.value) is cls


# Where they lie


@pytest.mark.spec("S-220")
def test_tiles_of_a_picture():
    grid = HEADER.grid
    assert (grid.columns, grid.rows, grid.count) == (2, 2, 4)
    assert [grid.rect(n) for n in range(4)] == [
        (0, 0, 64, 64),
        (64, 0, 36, 64),
        (0, 64, 64, 6),
        (64, 64, 36, 6),
    ]
    assert Grid(100, 70, 0).rect(0) == (0, 0, 100, 70)
    assert Grid(100, 70, 0).count == Grid(64, 64, 6).count == Grid(1, 1, 12).count == 1
    for number in (-1, 4):
        with pytest.raises(ValueError, match=f"tile {number} is none of the tiles 0 to 3"):
            grid.rect(number)


@pytest.mark.spec("S-220")
@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([0, 6, 7, 12]))
def test_tiles_cover_each_pixel_once(width, height, tile_log2):
    grid = Grid(width, height, tile_log2)
    rects = [grid.rect(number) for number in range(grid.count)]
    assert sum(w * h for _, _, w, h in rects) == width * height
    assert rects == sorted(rects, key=lambda rect: (rect[1], rect[0]))
    side = 2**tile_log2 if tile_log2 else max(width, height)
    for left, top, w, h in rects:
        assert left % side == top % side == 0 and 0 < w <= side and 0 < h <= side
        assert left + w == min(left + side, width) and top + h == min(top + side, height)


RECTS = st.tuples(*[st.integers(-9, 420)] * 2, *[st.integers(0, 420)] * 2)


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([0, 6, 7]), RECTS)
def test_tiles_that_touch_a_rectangle(width, height, tile_log2, rect):
    grid = Grid(width, height, tile_log2)
    left, top, wide, high = rect

    def shared(number):
        x, y, w, h = grid.rect(number)
        columns = min(x + w, left + wide) - max(x, left)
        return columns > 0 and min(y + h, top + high) - max(y, top) > 0

    assert grid.touching(*rect) == [n for n in range(grid.count) if shared(n)]


# Whole files


@pytest.mark.spec("S-026", "S-027", "S-028", "S-221", "S-222")
def test_bytes_of_a_tiled_file():
    assert write_file(HEADER, [Tile(n, 9, b"") for n in range(4)]) == FILE
    assert read_file(HEAD + META + INDEX + FOUR + META + END).tiles == read_file(FILE).tiles
    one = Header(64, 64, 5, bytes(8), tile_log2=12)
    data = write_file(one, [Tile(0, 9, b"")])
    assert data == pack_header(one) + tidx(8) + tile(0) + END
    assert read_file(data).tiles == (Tile(0, 9, b""),)


@pytest.mark.spec("S-224", "S-223", "S-210")
@pytest.mark.parametrize(("header", "tiles"), [(HEADER, TILES), (ALPHA, PLANES)])
def test_round_trip(header, tiles):
    data = write_file(header, tiles, BLOCKS)
    container = read_file(data)
    assert (container.header, container.metadata) == (header, BLOCKS)
    assert list(container.tiles) == tiles
    info = open_info(data)
    assert (info.tiles, info.tile_side, info.tile_log2) == (4, 64, 6)
    each = ["ALPH", "TILE", "TILE"] * 2 if header is ALPHA else ["TILE"] * 4
    assert [c.type for c in info.chunks] == ["iCCP", "xMPd", "TIDX", *each, "AEND"]
    assert len(info.as_dict()["chunks"]) == len(info.chunks)


@pytest.mark.spec("S-224")
def test_a_picture_may_be_opaque_everywhere_though_it_has_alpha():
    tiles = tiles_of(ALPHA, opaque=(0, 1, 2, 3))
    assert list(read_file(write_file(ALPHA, tiles)).tiles) == tiles


@pytest.mark.spec("S-225")
@pytest.mark.parametrize("side", [64, 65, 640])
def test_overhead(side):
    header = replace(HEADER, width=side, height=side)
    count = header.grid.count
    data = write_file(header, [Tile(n, 0, bytes(40)) for n in range(count)])
    assert len(data) - 40 * count == 52 + 24 * count


@pytest.mark.parametrize("numbers", [[], [0], [0, 1, 2], [0, 2, 1, 3], [0, 1, 2, 3, 4], [1] * 4])
def test_writer_wants_each_tile_once(numbers):
    with pytest.raises(errors.FormatError, match=r"tiles \[.*\] of .*, expected \[0, ..., 3\]"):
        write_file(HEADER, [Tile(number, 0, b"") for number in numbers])


def test_writer_refuses_what_does_not_fit():
    with pytest.raises(errors.FormatError, match=r"length 13, expected 8 bytes of number and CRC"):
        write_file(HEADER, [*TILES[:3], Tile(3, 0, b"12345")])
    with pytest.raises(errors.FormatError, match="flags 0x00 do not fit the alpha plane"):
        write_file(HEADER, [replace(TILES[0], alpha=png(64, 64)), *TILES[1:]])
    with pytest.raises(errors.FormatError, match=r"alpha plane of tile 3 .* starts with b'IHDR'"):
        write_file(ALPHA, [*PLANES[:3], replace(PLANES[3], alpha=png(64, 64))])


@pytest.mark.spec("S-226", "S-044")
def test_too_many_tiles_are_refused_from_the_header_alone():
    refuse = pytest.raises(errors.LimitError, match="4 tiles are over the limit max_chunks=3")
    for read in (read_file, open_info):
        with refuse:
            read(HEAD, Limits(max_chunks=3))
    with refuse:
        write_file(HEADER, TILES, limits=Limits(max_chunks=3))
    assert write_file(HEADER, TILES, BLOCKS, Limits(max_chunks=8))
    with pytest.raises(errors.LimitError, match="8 chunks are over the limit max_chunks=7"):
        write_file(HEADER, TILES, BLOCKS, Limits(max_chunks=7))


@pytest.mark.spec("S-026", "S-027", "S-221", "S-222", "S-223", "S-231")
@pytest.mark.parametrize(
    ("body", "match"),
    [
        (FOUR + END, "TILE at offset 32 comes before the index"),
        (pack_chunk("ALPH", b"x") + INDEX + FOUR + END, "ALPH at offset 32 comes before the index"),
        (INDEX + INDEX + FOUR + END, "TIDX at offset 60 is the second of its type"),
        (INDEX + FOUR + INDEX + END, "TIDX at .* is the second of its type"),
        (INDEX + META + FOUR + END, "meTa at offset 60 stands among the tiles"),
        (INDEX + tile(0) + META + tile(1) + tile(2) + tile(3) + END, "meTa .* among the tiles"),
        (INDEX + FOUR + tile(3) + END, "TILE at .* comes after the last tile, 3"),
        (INDEX + FOUR + pack_chunk("xMPd", b"x") + END, "xMPd at .* comes after the tile"),
        (INDEX + tile(0) + tile(1) + tile(2) + END, "comes after 3 tile chunks, expected 4"),
        (END, "AEND at offset 32 comes after 0 tile chunks, expected 4"),
        (INDEX + tile(1), "TILE at offset 60 is of tile 1, expected 0"),
        (INDEX + tile(0) + tile(0), "TILE at offset 80 is of tile 0, expected 1"),
        (INDEX + tile(0) + tile(2), "is of tile 2, expected 1"),
        (INDEX + tile(0, b"word"), "TILE at offset 60 has length 12, expected TILE of 8 as the"),
        (INDEX + pack_chunk("ALPH", bytes(8)), "ALPH at offset 60 has length 8, expected TILE"),
        (tidx(8, 8, 8) + FOUR + END, "TIDX at offset 32 has length 12, expected 16 for 4 tiles"),
        (tidx(8, 8, 8, 8, 8) + FOUR, "has length 20, expected 16"),
        (tidx(0, 8) * 4, "has length 8, expected 16"),
        (tidx(8, 8, 8, 4) + FOUR + END, "tile 3 of chunk TIDX .* has length 4, expected 8 bytes"),
        (tidx(8, 9, 8, 8) + FOUR + END, "tile 1 of chunk TIDX .* has length 9, expected 8 bytes"),
    ],
)
def test_order(body, match):
    refused(HEAD + body, match)


@pytest.mark.spec("S-222", "S-223", "S-224")
def test_order_with_alpha():
    head = pack_header(ALPHA)
    streams = [png(*ALPHA.grid.rect(n)[2:]) for n in range(4)]
    plane = [pack_chunk("ALPH", struct.pack("<I", n) + streams[n]) for n in range(4)]
    size = len(streams[0]) + 4
    index = tidx(size, 8, 0, 8, 0, 8, 0, 8)
    read_file(head + index + plane[0] + FOUR + END)
    refused(head + index + FOUR + END, "TILE at offset 76 has length 8, expected ALPH of")
    refused(head + index + tile(0) + plane[0] + END, "TILE at offset 76 has length 8, expected")
    refused(head + index + plane[0] * 2 + FOUR + END, "ALPH at .*, expected TILE of 8")
    wrong = pack_chunk("ALPH", struct.pack("<I", 1) + streams[0])
    refused(head + index + wrong + FOUR + END, "ALPH at offset 76 is of tile 1, expected 0")
    low = tidx(len(streams[2]) + 4, 8, 0, 8, 0, 8, 0, 8)
    wrong = pack_chunk("ALPH", bytes(4) + streams[2])
    refused(head + low + wrong + FOUR + END, "holds a PNG that starts with b'IHDR'")
    for length in range(1, 5):
        few = tidx(0, 8, length, 8, 0, 8, 0, 8)
        refused(head + few, f"alpha of tile 1 of chunk TIDX .* has length {length}, a few bytes")
    refused(HEAD + tidx(*[0, 8] * 4), "has length 32, expected 16")


@pytest.mark.spec("S-223", "S-210")
def test_a_file_with_one_tile_has_no_index():
    head = pack_header(Header(100, 70, 5, bytes(8)))
    body = pack_chunk("TILE", bytes(4))
    refused(head + tidx(4) + body + END, "TIDX at offset 32 is an index of tiles, but tile_log2")


@pytest.mark.spec("S-023")
def test_an_unknown_chunk_among_the_tiles_is_named():
    data = HEAD + INDEX + pack_chunk("NEWC", b"x") + FOUR + END
    refused(data, "NEWC at offset 60 is critical", errors.UnsupportedFeatureError)


@pytest.mark.spec("S-211", "S-044")
def test_the_parts_of_all_planes_are_bounded_together():
    header = replace(ALPHA, width=64 * 12, height=64)
    tiles = tiles_of(header)
    stream = tiles[0].alpha
    many = stream[:33] + (bytes(4) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))) * 9
    full = [replace(tile, alpha=many + stream[33:]) for tile in tiles]
    assert list(read_file(write_file(header, full)).tiles) == full
    few = Limits(max_chunks=100)  # 12 tiles in 26 chunks, with 120 parts
    for attempt in (
        lambda: read_file(write_file(header, full), few),
        lambda: write_file(header, full, limits=few),
    ):
        with pytest.raises(errors.LimitError, match="more chunks than the limit max_chunks=100"):
            attempt()


# Damage

SOUND = write_file(HEADER, TILES, BLOCKS)
SOUND_ALPHA = write_file(ALPHA, PLANES)


@pytest.mark.spec("S-041", "S-234")
@pytest.mark.parametrize("data", [SOUND, SOUND_ALPHA])
def test_cut_at_every_length(data):
    chunks = open_info(data).chunks
    ends = [c.offset + 12 + c.length for c in chunks if c.type == "TILE"]
    for size in range(len(data)):
        for read in (read_file, open_info):
            with pytest.raises(errors.TruncatedError) as caught:
                read(data[:size])
            facts = (caught.value.tiles_ok, caught.value.tiles_total, caught.value.offset)
            if size >= HEADER_SIZE:
                assert facts == (sum(end <= size for end in ends), 4, size)
            else:
                assert facts[:2] == (None, None)


@pytest.mark.spec("S-042", "S-040", "S-043")
@pytest.mark.parametrize("data", [SOUND, SOUND_ALPHA])
def test_every_change_of_one_byte(data):
    for index in range(len(data)):
        for change in (1, 0x20, 0x80, 0xFF, data[index] or 2):
            broken = bytearray(data)
            broken[index] ^= change
            with pytest.raises(errors.AecError):
                read_file(broken)


PARTS = st.one_of(
    st.builds(tile, st.integers(0, 5), st.sampled_from([b"", b"word", b"wor"])),
    st.builds(tidx, *[st.sampled_from([8, 12, 0, 2**32 - 1])] * 4),
    st.sampled_from([INDEX, END, META, pack_chunk("ALPH", bytes(90)), FOUR, b"x"]),
)


@pytest.mark.spec("S-043")
@given(st.sampled_from([HEAD, pack_header(ALPHA)]), st.lists(PARTS, max_size=7))
def test_chunks_in_any_order(head, parts):
    data = head + b"".join(parts)
    try:
        assert write_file(HEADER, read_file(data).tiles)
    except errors.AecError as error:
        with pytest.raises(type(error)):
            open_info(data)
