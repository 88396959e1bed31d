"""Parts of files: only what is needed is read, and damage costs what it hits and no more."""

import io
import random
import runpy
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aec.format import errors, recovery
from aec.format.chunks import pack_chunk, walk_chunks
from aec.format.container import Tile, open_info, read_file, write_file
from aec.format.header import FLAG_ALPHA, HEADER_SIZE, Header, pack_header
from aec.format.limits import Limits
from aec.format.metadata import NO_METADATA, Metadata
from aec.format.reader import PartReader

made = runpy.run_path(str(Path(__file__).with_name("test_format_tiles.py")))
png, tiles_of, tidx, tile = (made[name] for name in ("png", "tiles_of", "tidx", "tile"))
HEADER, ALPHA, TILES, PLANES, BLOCKS = (
    made[name] for name in ("HEADER", "ALPHA", "TILES", "PLANES", "BLOCKS")
)
SINGLE = Header(width=100, height=70, quality=5, model_id=bytes(8))
HEAD, INDEX, FOUR = made["HEAD"], made["INDEX"], made["FOUR"]
END = pack_chunk("AEND", b"")
META = pack_chunk("meTa", b"anything")
REGION = (0, 0, 10, 10)


def with_meta(data: bytes) -> bytes:
    """The file with ancillary chunks that nobody knows before and after its tiles."""
    return data[:HEADER_SIZE] + META + data[HEADER_SIZE : -len(END)] + META + END


FILES = {
    "tiles": with_meta(write_file(HEADER, TILES, BLOCKS)),
    "planes": with_meta(write_file(ALPHA, PLANES, BLOCKS)),
    "opaque": write_file(ALPHA, tiles_of(ALPHA, opaque=(0, 1, 2))),
    "single": with_meta(write_file(SINGLE, tiles_of(SINGLE), BLOCKS)),
    "plane": with_meta(
        write_file(
            replace(SINGLE, flags=FLAG_ALPHA), tiles_of(replace(SINGLE, flags=FLAG_ALPHA)), BLOCKS
        )
    ),
}
every_file = pytest.mark.parametrize("data", list(FILES.values()), ids=list(FILES))


class Spy(io.BytesIO):
    """A file that keeps what was read of it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.seen: set[int] = set()

    def read(self, size: int | None = -1) -> bytes:
        at = self.tell()
        block = super().read(size)
        self.seen.update(range(at, at + len(block)))
        return block


def kept(reader: PartReader) -> dict[int, Tile]:
    """The tiles that are left."""
    tiles = {}
    for number in range(reader.header.grid.count):
        try:
            tiles[number] = reader.tile(number)
        except errors.AecError:
            continue
    return tiles


def spans(data: bytes) -> dict[int, range]:
    """Where the chunks of each tile are."""
    found, start = {}, None
    for chunk in open_info(data).chunks:
        if chunk.type in ("ALPH", "TILE"):
            start = chunk.offset if start is None else start
            if chunk.type == "TILE":
                found[len(found)] = range(start, chunk.offset + 12 + chunk.length)
                start = None
    return found


# Sound files


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


# What is left


@pytest.mark.spec("S-232", "S-233", "S-235", "S-236")
@every_file
def test_every_change_of_one_byte(data):
    """At most the tile that is hit is lost, and what is hit besides the tiles is said."""
    whole = read_file(data)
    places = spans(data)
    for index in range(len(data)):
        for change in (1, 0x20, 0x80, 0xFF, data[index] or 2):
            broken = bytearray(data)
            broken[index] ^= change
            if index < HEADER_SIZE:
                with pytest.raises(errors.FormatError):
                    PartReader(broken, tolerant=True)
                continue
            reader = PartReader(broken, tolerant=True)
            wanted = {n: whole.tiles[n] for n in places if index not in places[n]}
            assert kept(reader) == wanted, (index, change)
            assert reader.header == whole.header
            hit = len(wanted) < len(places)
            assert hit or reader.damage, (index, change)
            blocks = whole.metadata.blocks()
            found = reader.metadata.blocks()
            assert found.items() <= blocks.items() and len(found) >= len(blocks) - 2
            assert not hit or found == blocks


@pytest.mark.spec("S-041", "S-232", "S-233", "S-236")
@every_file
def test_cut_at_every_length(data):
    whole = read_file(data)
    places = spans(data)
    for size in range(len(data)):
        if size < HEADER_SIZE:
            with pytest.raises(errors.TruncatedError):
                PartReader(data[:size], tolerant=True)
            continue
        reader = PartReader(data[:size], tolerant=True)
        assert kept(reader) == {n: whole.tiles[n] for n in places if places[n].stop <= size}
        assert any(type(error) is errors.TruncatedError for error in reader.damage)
        for number in range(len(places)):
            if places[number].stop > size:
                with pytest.raises(errors.TruncatedError):
                    reader.tile(number)


@pytest.mark.spec("S-233", "S-235")
@pytest.mark.parametrize("name", ["tiles", "planes"])
def test_many_changes(name):
    data = FILES[name]
    whole = read_file(data)
    places = spans(data)
    rng = random.Random(6)
    for _ in range(500):
        broken = bytearray(data)
        hits = [rng.randrange(HEADER_SIZE, len(data)) for _ in range(rng.randint(2, 4))]
        for index in hits:
            broken[index] ^= 1 << rng.randrange(8)
        left = kept(PartReader(broken, tolerant=True))
        assert all(left[n] == whole.tiles[n] for n in left)
        # Without its neighbour a tile without alpha may be lost: it could have had some.
        if name == "tiles":
            assert {n for n in places if not set(hits) & {*places[n]}} <= {*left}


@pytest.mark.spec("S-235")
def test_a_tile_without_its_plane_is_not_taken_for_opaque():
    data = FILES["planes"]
    chunks = {c.offset: c for c in walk_chunks(memoryview(data), HEADER_SIZE)}
    index = next(o for o, c in chunks.items() if c.type == "TIDX")
    plane = [o for o, c in chunks.items() if c.type == "ALPH"][1]
    broken = bytearray(data)
    broken[index + 9] ^= 1
    assert kept(PartReader(broken, tolerant=True)) == dict(enumerate(PLANES))
    broken[plane + 20] ^= 1
    left = kept(PartReader(broken, tolerant=True))
    assert left == {n: tile for n, tile in enumerate(PLANES) if n != 2}


@pytest.mark.spec("S-235")
def test_an_index_behind_a_damaged_length_is_found():
    data = FILES["tiles"]
    broken = bytearray(data)
    broken[HEADER_SIZE + 1] = 1  # the length of the first chunk
    reader = PartReader(broken, tolerant=True)
    assert kept(reader) == dict(enumerate(TILES))
    assert len(reader.damage) == 1 and reader.metadata == NO_METADATA
    broken[spans(data)[1].start] ^= 4  # and a tile's: only with the index is it told apart
    assert sorted(kept(PartReader(broken, tolerant=True))) == [0, 2, 3]


@pytest.mark.spec("S-232")
def test_an_intact_chunk_that_is_not_known_is_refused():
    new = pack_chunk("NEWC", b"x")
    for data in (HEAD + new + INDEX + FOUR + END, HEAD + INDEX + FOUR + new + END):
        with pytest.raises(errors.UnsupportedFeatureError, match="NEWC"):
            PartReader(data, tolerant=True)
        damaged = data.replace(b"NEWCx", b"NEWCy")
        reader = PartReader(damaged, tolerant=True)
        assert len(kept(reader)) == 4
        assert [type(error) for error in reader.damage] == [errors.ChecksumError]
    empty = PartReader(HEAD + pack_chunk("NEWC", b"") + INDEX + FOUR + END, tolerant=True)
    assert len(kept(empty)) == 4, "damaged, as no chunk is empty"


@pytest.mark.spec("S-232")
@pytest.mark.parametrize(
    ("rest", "match"),
    [
        (b"", "has 0 bytes, expected at least 8"),
        (META, "has 0 bytes"),
        (END + b"x", "AEND at offset 140 ends at 148, but the data ends at 149"),
        (pack_chunk("AEND", b"x"), "AEND at offset 140 ends at 153"),
        (tile(3) + END, "TILE at offset 140 comes after the tiles"),
        (pack_chunk("eXIf", b"x") + END, "eXIf at offset 140 comes after the tiles"),
        (META.replace(b"any", b"Any") + END, "CRC-32 of chunk meTa"),
        (b"\0\0\0\0ABcD" + END, "expected an upper-case third letter"),
    ],
)
def test_what_is_wrong_behind_the_tiles_is_said(rest, match):
    reader = PartReader(HEAD + INDEX + FOUR + rest, tolerant=True)
    assert len(kept(reader)) == 4
    (error,) = reader.damage
    assert isinstance(error, errors.FormatError)
    with pytest.raises(errors.FormatError, match=match):
        raise error


@pytest.mark.spec("S-232", "S-205")
def test_blocks_that_cannot_be_are_left_out():
    head = pack_chunk("iCCP", b"one") + pack_chunk("iCCP", b"two")
    data = HEAD + head + pack_chunk("eXIf", bytes(100)) + INDEX + FOUR + END
    reader = PartReader(data, Limits(max_block_bytes=99), tolerant=True)
    assert reader.metadata == Metadata(icc_profile=b"one")
    assert len(kept(reader)) == 4
    kinds = [type(error) for error in reader.damage]
    assert kinds == [errors.FormatError, errors.LimitError]


# Work and memory


@pytest.mark.spec("S-044", "S-235")
def test_a_search_is_bounded(monkeypatch):
    looks = []
    real = recovery.read_frame
    monkeypatch.setattr(recovery, "read_frame", lambda *args: looks.append(args[1]) or real(*args))
    head = HEAD + bytes(8)  # no chunk, and so no way to the index
    for bait in (b"TILE", struct.pack("<I", 1 << 20) + b"TILE" + bytes(4), b"ALPH", b"TIDX"):
        reader = PartReader(head + bait * 50_000 + FOUR, Limits(max_chunks=300), tolerant=True)
        assert kept(reader) == {}
        assert 0 < len(looks) <= 300
        looks.clear()
    wide = struct.pack("<I4s2I", 2 << 20, b"TILE", 1, 0) * 200_000
    PartReader(head + wide + FOUR, tolerant=True)
    assert 0 < len(looks) <= 5  # each would take the CRC of 2 MiB


@pytest.mark.spec("S-044")
def test_chunks_without_end_are_bounded():
    many = META * 40
    limits = Limits(max_chunks=30)
    reader = PartReader(HEAD + INDEX + FOUR + many + END, limits, tolerant=True)
    assert len(kept(reader)) == 4
    assert [type(error) for error in reader.damage] == [errors.LimitError]
    reader = PartReader(HEAD + many + INDEX + FOUR + END, limits, tolerant=True)
    assert len(kept(reader)) == 4, "found by its letters"


@pytest.mark.spec("S-044")
def test_a_promised_length_allocates_nothing():
    data = HEAD + tidx(8, (1 << 30) - 800, 8, 8) + tile(0) + struct.pack("<I4s", 1 << 29, b"TILE")
    tracemalloc.start()
    try:
        for source in (data, io.BytesIO(data)):
            for options in ({"region": REGION}, {"tolerant": True}):
                reader = PartReader(source, **options)
                for number in (1, 2):
                    with pytest.raises(errors.TruncatedError):
                        reader.tile(number)
                if source is not data:
                    source.seek(0)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


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
