"""Damaged files: damage costs what it hits and no more."""

import io
import random
import struct
import tracemalloc

import pytest
from reader_files import (
    END,
    FILES,
    FOUR,
    HEAD,
    INDEX,
    META,
    PLANES,
    REGION,
    TILES,
    every_file,
    kept,
    spans,
    tidx,
    tile,
)

from aec.format import errors, recovery
from aec.format.chunks import pack_chunk, walk_chunks
from aec.format.container import read_file
from aec.format.header import HEADER_SIZE
from aec.format.limits import Limits
from aec.format.metadata import NO_METADATA, Metadata
from aec.format.reader import PartReader


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


@pytest.mark.spec("S-233", "S-235")
@pytest.mark.parametrize("name", ["tiles", "planes"])
@pytest.mark.parametrize("change", [-9, -1, 1, 300])
def test_bytes_lost_or_gained_among_the_tiles(name, change):
    """A transfer that drops or repeats bytes costs the tiles in which it does."""
    data = FILES[name]
    whole = read_file(data)
    places = [
        (int.from_bytes(chunk.payload[:4], "little"), chunk.offset, chunk.offset + size)
        for chunk in walk_chunks(memoryview(data), HEADER_SIZE)
        if chunk.type in ("ALPH", "TILE")
        for size in [len(chunk.payload) + 12]
    ]
    for at in range(places[0][1], places[-1][2]):
        until = at + max(-change, 0)
        broken = data[:at] + bytes(max(change, 0)) + data[until:]
        # between two chunks there may be more bytes
        hit = {n for n, start, stop in places if start < max(until, at) and at < stop}
        reader = PartReader(broken, tolerant=True)
        assert kept(reader) == {n: whole.tiles[n] for n in range(4) if n not in hit}, at
        assert reader.damage, at


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
