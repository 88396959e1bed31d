"""Parts of files: only what is needed is read, and what is read is checked."""

import io
import struct
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reader_files import (
    ALPHA,
    END,
    FILES,
    FOUR,
    HEAD,
    HEADER,
    INDEX,
    META,
    REGION,
    SINGLE,
    Spy,
    every_file,
    kept,
    png,
    spans,
    tidx,
    tile,
)

from aec.format import errors
from aec.format.chunks import pack_chunk
from aec.format.container import Tile, read_file
from aec.format.header import FLAG_ALPHA, pack_header
from aec.format.limits import Limits
from aec.format.reader import PartReader


@pytest.mark.spec("S-230", "S-231")
@every_file
@pytest.mark.parametrize("options", [{}, {"region": REGION}, {"tolerant": True}])
def test_every_way_in_gives_the_same(data, options, tmp_path):
    whole = read_file(data)
    path = tmp_path / "a.aec"
    path.write_bytes(data)
    behind = io.BytesIO(b"head" + data)
    behind.seek(4)
    for source in (data, bytearray(data), memoryview(data), str(path), path, behind):
        with PartReader(source, **options) as reader:
            assert (reader.header, reader.metadata) == (whole.header, whole.metadata)
            assert reader.damage == []
            for number in reversed(range(len(whole.tiles))):
                assert reader.tile(number) == whole.tiles[number]
            for number in (-1, len(whole.tiles)):
                with pytest.raises(ValueError, match=f"tile {number} is none of the tiles 0 to"):
                    reader.tile(number)


@pytest.mark.spec("S-230")
@pytest.mark.parametrize("name", ["tiles", "planes"])
def test_only_what_is_needed_is_read(name):
    data = FILES[name]
    source = Spy(data)
    reader = PartReader(source, region=REGION)
    places = spans(data)
    assert max(source.seen) < places[0].start
    assert len(source.seen) == places[0].start
    before = set(source.seen)
    reader.tile(2)
    assert source.seen - before == set(places[2])


def test_bytes_are_not_copied():
    data = HEAD + tidx(8, 8 + (32 << 20), 8, 8) + tile(0) + tile(1, bytes(32 << 20))
    data += tile(2) + tile(3) + END
    tracemalloc.start()
    try:
        with PartReader(data, region=REGION) as reader:
            reader.tile(0)
        with PartReader(data, tolerant=True) as reader:
            reader.tile(3)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_file_of_its_own_is_closed(tmp_path):
    path = tmp_path / "a.aec"
    path.write_bytes(FILES["tiles"])
    with PartReader(path) as reader:
        pass
    with pytest.raises(ValueError, match="closed file"):
        reader.tile(0)
    path.write_bytes(FILES["tiles"][:40])
    with pytest.raises(errors.TruncatedError):
        PartReader(path)  # a file left open would be a ResourceWarning, which is an error here
    with pytest.raises(FileNotFoundError):
        PartReader(tmp_path / "none.aec")
    given = io.BytesIO(FILES["tiles"])
    with PartReader(given):
        pass
    assert not given.closed


def test_a_file_that_shrinks_is_cut_short():
    source = io.BytesIO(FILES["tiles"])
    reader = PartReader(source)
    source.truncate(spans(FILES["tiles"])[1].start + 5)
    reader.tile(0)
    with pytest.raises(errors.TruncatedError, match="data ends at"):
        reader.tile(1)


@pytest.mark.spec("S-227")
def test_limits_of_a_region():
    data = FILES["tiles"]
    assert kept(PartReader(data, Limits(max_pixels=64 * 64), region=REGION))
    with pytest.raises(errors.LimitError, match="tile of 64 x 64 = 4096 pixels is over the limit"):
        PartReader(data, Limits(max_tile_pixels=64 * 64 - 1), region=REGION)
    with pytest.raises(errors.LimitError, match="region of 65 x 65 = 4225 pixels is over the"):
        PartReader(data, Limits(max_pixels=64 * 64), region=(3, 3, 65, 65))
    with pytest.raises(errors.LimitError, match=r"^100 x 70 = 7000 pixels is over the limit"):
        PartReader(data, Limits(max_pixels=6999))
    with pytest.raises(errors.LimitError, match="tile of 100 x 70 = 7000 pixels"):
        PartReader(FILES["single"], Limits(max_tile_pixels=6999), region=(0, 0, 1, 1))
    for limits, match in (
        (Limits(max_side=99), "width 100 is over the limit max_side=99"),
        (Limits(max_chunks=3), "4 tiles are over the limit max_chunks=3"),
        (Limits(max_file_bytes=100), "max_file_bytes=100"),
    ):
        for options in ({"region": REGION}, {"tolerant": True}, {}):
            with pytest.raises(errors.LimitError, match=match):
                PartReader(data, limits, **options)


@pytest.mark.parametrize(
    "region",
    [(-1, 0, 5, 5), (0, -1, 5, 5), (0, 0, 0, 5), (0, 0, 5, 0), (0, 0, 101, 1), (99, 69, 1, 2)],
)
def test_a_region_is_inside_the_picture(region):
    with pytest.raises(ValueError, match=r"region .* is not inside .* up to 100, .* up to 70"):
        PartReader(FILES["tiles"], region=region)
    PartReader(FILES["tiles"], region=(99, 69, 1, 1))


# A part of a damaged file, strictly


@pytest.mark.spec("S-230")
@every_file
def test_what_is_read_is_checked(data):
    whole = read_file(data)
    places = spans(data)
    last = len(places) - 1
    for index in range(len(data)):
        broken = bytearray(data)
        broken[index] ^= 1
        try:
            reader = PartReader(broken, region=REGION)
            assert reader.tile(last) == whole.tiles[last]
        except errors.AecError:
            assert index < places[0].start or index in places[last] or not last
        else:
            assert index >= places[0].start and index not in places[last]


@pytest.mark.spec("S-231", "S-223")
@pytest.mark.parametrize(
    ("body", "cls", "match"),
    [
        (tidx(8, 8, 8), errors.FormatError, "TIDX at offset 32 has length 12, expected 16"),
        (FOUR, errors.FormatError, "TILE at offset 32 is not expected before TIDX"),
        (END, errors.FormatError, "AEND at offset 32 is not expected before TIDX"),
        (pack_chunk("NEWC", b"x"), errors.UnsupportedFeatureError, "NEWC at offset 32 is critical"),
        (pack_chunk("NEWC", b""), errors.FormatError, "NEWC at offset 32 has length 0"),
        (pack_chunk("iCCP", b""), errors.FormatError, "iCCP at offset 32 has length 0"),
        (pack_chunk("iCCP", b"x") * 2, errors.FormatError, "is the second of its type"),
        (INDEX, errors.TruncatedError, "data ends at"),
        (INDEX + tile(1), errors.FormatError, "TILE at offset 60 is of tile 1, expected 0"),
        (INDEX + pack_chunk("TILd", bytes(8)), errors.FormatError, "is b'TILd' of 8 bytes"),
        (b"", errors.TruncatedError, "chunk at offset 32 has 0 bytes"),
    ],
)
def test_order(body, cls, match):
    for options in ({}, {"region": REGION}):
        with pytest.raises(cls, match=match) as caught:
            PartReader(HEAD + body, **options).tile(0)
        assert type(caught.value) is cls


@pytest.mark.spec("S-210", "S-231")
def test_order_of_one_tile():
    plain, alpha = pack_header(SINGLE), pack_header(replace(SINGLE, flags=FLAG_ALPHA))
    plane, words = pack_chunk("ALPH", png(100, 70)), pack_chunk("TILE", bytes(4))
    assert PartReader(alpha + plane + META + words).tile(0) == Tile(0, 0, b"", png(100, 70))
    for body, match in (
        (alpha + words, "TILE at offset 32 is not expected before ALPH"),
        (alpha + plane + plane, "ALPH at .* is not expected before TILE"),
        (plain + plane, "ALPH at offset 32 is not expected before TILE"),
        (plain + tidx(4), "TIDX at offset 32 is not expected before TILE"),
        (plain + pack_chunk("TILE", bytes(5)), "TILE at offset 32 has length 5"),
    ):
        with pytest.raises(errors.FormatError, match=match):
            PartReader(body).tile(0)


@pytest.mark.spec("S-044", "S-205")
def test_limits_of_what_comes_before_the_tiles():
    data = HEAD + META * 5 + INDEX + FOUR + END
    with pytest.raises(errors.LimitError, match="is over the limit max_chunks=5"):
        PartReader(data, Limits(max_chunks=5))
    PartReader(data, Limits(max_chunks=6))
    long = HEAD + struct.pack("<I4s", 5000, b"iCCP") + bytes(5004) + INDEX + FOUR + END
    with pytest.raises(errors.LimitError, match="icc_profile of 5000 bytes"):
        PartReader(long, Limits(max_block_bytes=4999))


CHUNKS = st.one_of(
    st.builds(tile, st.integers(0, 5), st.sampled_from([b"", b"word", b"wor"])),
    st.builds(tidx, *[st.sampled_from([8, 12, 0, 2**32 - 1])] * 4),
    st.sampled_from([INDEX, FOUR, END, META, pack_chunk("NEWC", b"x"), pack_chunk("NEWC", b"")]),
    st.sampled_from([pack_chunk("iCCP", b"x"), pack_chunk("ALPH", bytes(90)), b"TILE", b"TIDX"]),
    st.binary(max_size=9),
)


@pytest.mark.spec("S-043", "S-230", "S-232")
@given(
    st.sampled_from([HEADER, ALPHA, SINGLE, replace(SINGLE, flags=FLAG_ALPHA)]),
    st.lists(CHUNKS, max_size=7),
    st.booleans(),
    st.booleans(),
)
def test_any_bytes_are_read_or_refused(header, parts, tolerant, region):
    data = pack_header(header) + b"".join(parts)
    results = []
    for source in (data, io.BytesIO(data)):
        try:
            reader = PartReader(source, region=REGION if region else None, tolerant=tolerant)
            results.append((kept(reader), reader.metadata, repr(reader.damage)))
        except errors.AecError as error:
            results.append(repr(error))
    assert results[0] == results[1]
    try:
        whole = read_file(data)
    except errors.AecError:
        return
    assert results[0] == (dict(enumerate(whole.tiles)), whole.metadata, "[]")
