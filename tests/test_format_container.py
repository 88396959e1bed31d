import io
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aec.format import errors
from aec.format.chunks import pack_chunk
from aec.format.container import Tile, open_info, read_file, write_file
from aec.format.header import FLAG_GRAY, SIGNATURE, Header, pack_header
from aec.format.limits import Limits

HEADER = Header(width=7, height=5, quality=51, model_id=b"\x00\x01\x02\x03\x04\x05\x06\xff")
WORDS = bytes(range(8))
FILE = write_file(HEADER, [Tile(0, 0xDEADBEEF, WORDS)])
HEAD = pack_header(HEADER)
TILE = pack_chunk("TILE", b"\xef\xbe\xad\xde" + WORDS)
END = pack_chunk("AEND", b"")
META = pack_chunk("meTa", b"anything")


def refused(data: bytes, cls: type[Exception], match: str | None = None) -> None:
    """Both readers refuse the data with this class and no subclass of it."""
    for read in (read_file, open_info, lambda data: open_info(io.BytesIO(data))):
        with pytest.raises(cls, match=match) as caught:
            read(data)
        assert type(caught.value) is cls


@pytest.mark.spec("S-026", "S-027", "S-028")
def test_round_trip():
    assert FILE == HEAD + TILE + END
    container = read_file(FILE)
    assert container.header == HEADER
    assert container.tiles == (Tile(0, 0xDEADBEEF, WORDS),)


@pytest.mark.spec("S-030")
@pytest.mark.parametrize("words", [0, 1, 1000])
def test_overhead_is_56_bytes(words):
    assert len(write_file(HEADER, [Tile(0, 0, bytes(4 * words))])) - 4 * words == 56


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: memoryview(b).cast("I")])
def test_any_buffer_will_do(kind):
    assert read_file(kind(FILE)).tiles[0].payload == WORDS
    assert open_info(kind(FILE)).total_bytes == len(FILE)


@pytest.mark.parametrize("numbers", [[], [1], [0, 0], [0, 1]])
def test_writer_refuses_other_tiles(numbers):
    with pytest.raises(errors.FormatError, match=r"tiles \[.*\] of \d, expected \[0\]"):
        write_file(HEADER, [Tile(number, 0, b"") for number in numbers])


def test_writer_refuses_half_words():
    with pytest.raises(errors.FormatError, match="length 9, expected"):
        write_file(HEADER, [Tile(0, 0, b"12345")])


@pytest.mark.spec("S-024")
def test_ancillary_chunks_are_skipped_before_and_after_the_tile():
    data = HEAD + META + META + TILE + META + END
    assert read_file(data) == read_file(FILE)
    assert [c.type for c in open_info(data).chunks] == ["meTa", "meTa", "TILE", "meTa", "AEND"]
    refused(data.replace(b"anything", b"anythinG", 1), errors.ChecksumError, "chunk meTa")


@pytest.mark.spec("S-023")
@pytest.mark.parametrize("type", ["TILD", "ALPA", "TILe"])
def test_unknown_critical_chunk_is_named(type):
    refused(
        HEAD + TILE + pack_chunk(type, b"x") + END,
        errors.UnsupportedFeatureError,
        f"chunk {type} at offset 56 is critical",
    )


@pytest.mark.spec("S-026", "S-027", "S-029")
@pytest.mark.parametrize(
    ("data", "cls", "match"),
    [
        (HEAD + TILE + TILE + END, errors.FormatError, "TILE at offset 56 is tile chunk number 2"),
        (HEAD + TILE + META + TILE + END, errors.FormatError, "tile chunk number 2, expected 1"),
        (HEAD + END, errors.FormatError, "AEND at offset 32 comes after 0 tile chunks"),
        (HEAD + END + TILE, errors.FormatError, "AEND at offset 32 comes after 0 tile chunks"),
        (FILE + END, errors.FormatError, "AEND at offset 56 ends at 64, but .* at 72"),
        (FILE + b"\0", errors.FormatError, "AEND at offset 56 ends at 64, but .* at 65"),
        (FILE + META, errors.FormatError, "AEND at offset 56 ends at 64"),
        (HEAD + TILE, errors.TruncatedError, "ends at offset 56 without the end chunk"),
        (HEAD + TILE + META, errors.TruncatedError, "without the end chunk AEND"),
        (HEAD, errors.TruncatedError, "without the end chunk AEND"),
        (HEAD + TILE + pack_chunk("AEND", b"x"), errors.FormatError, "length 1, expected 0"),
    ],
)
def test_order(data, cls, match):
    refused(data, cls, match)


@pytest.mark.spec("S-028")
@pytest.mark.parametrize("length", [0, 1, 3, 5, 6, 7, 9])
def test_tile_length(length):
    refused(
        HEAD + pack_chunk("TILE", bytes(length)) + END,
        errors.FormatError,
        f"TILE at offset 32 has length {length}, expected",
    )


@pytest.mark.spec("S-041", "S-029")
def test_cut_at_every_length():
    data = HEAD + META + TILE + META + END
    read_file(data)
    for size in range(len(data)):
        refused(data[:size], errors.TruncatedError)


@pytest.mark.spec("S-042", "S-040", "S-043")
def test_every_change_of_one_byte():
    data = HEAD + META + TILE + END
    for index in range(len(data)):
        for value in range(256):
            if value == data[index]:
                continue
            broken = bytearray(data)
            broken[index] = value
            with pytest.raises(errors.AecError):
                read_file(broken)


@pytest.mark.spec("S-043")
@given(st.binary(max_size=200), st.sampled_from([b"", SIGNATURE, SIGNATURE + b"\x01", HEAD]))
def test_random_bytes(tail, start):
    _accept_or_refuse(start + tail)


FIELD_VALUES = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**24, 2**31]))
CHUNK = st.builds(
    pack_chunk,
    st.sampled_from(["TILE", "AEND", "meTa", "META", "tILE", "iCCP", "eXIf", "xMPd", "ALPH"]),
    st.one_of(st.binary(max_size=12), st.just(bytes(8))),
)


@pytest.mark.spec("S-043")
@given(st.tuples(*[FIELD_VALUES] * 7), st.lists(CHUNK, max_size=5), st.booleans())
def test_wrong_values_under_right_checksums(values, chunks, good_header):
    flags, quality, tile_log2, width, height, low, high = values
    body = SIGNATURE + bytes([1, flags & 255, quality & 255, tile_log2 & 255])
    body += b"".join(value.to_bytes(4, "little") for value in (width, height, low, high))
    head = HEAD if good_header else body + zlib.crc32(body).to_bytes(4, "little")
    _accept_or_refuse(head + b"".join(chunks))


def _accept_or_refuse(data: bytes) -> None:
    """Both readers accept the data, or both refuse it with the same error of the tree."""
    outcomes = []
    for read in (read_file, open_info):
        try:
            read(data)
            outcomes.append("accepted")
        except errors.AecError as error:
            outcomes.append(repr(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.spec("S-044")
@pytest.mark.parametrize(("width", "height"), [(2**24, 2**24), (32_769, 1), (20_000, 20_000)])
def test_a_bomb_is_refused_from_the_header_alone(width, height):
    data = pack_header(Header(width, height, 0, bytes(8)))
    # Nothing follows the header, so any look beyond it would be a TruncatedError.
    refused(data, errors.LimitError, r"over the limit max_(side|pixels)=")
    limits = Limits(max_side=2**24, max_pixels=2**48, max_tile_pixels=2**48)
    assert open_info(data + TILE + END, limits).width == width
    assert read_file(data + TILE + END, limits).header.width == width


@pytest.mark.spec("S-044")
def test_a_promised_length_allocates_nothing():
    data = HEAD + (2**30).to_bytes(4, "little") + b"TILE"
    tracemalloc.start()
    try:
        refused(data, errors.TruncatedError)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.spec("S-044")
def test_an_endless_stream_is_cut_off():
    class Endless(io.RawIOBase):
        given = 0

        def readinto(self, buffer):
            block = (FILE[self.given :] or bytes(1000))[: len(buffer)]
            buffer[: len(block)] = block
            self.given += len(block)
            return len(block)

    source = Endless()
    with pytest.raises(errors.LimitError, match=r"file of 5001 bytes .* max_file_bytes=5000"):
        open_info(source, Limits(max_file_bytes=5000))
    assert source.given <= 5001
    with pytest.raises(errors.LimitError, match="max_file_bytes=63"):
        read_file(FILE, Limits(max_file_bytes=63))


def test_a_slow_pipe_is_read_to_its_end():
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 3))

    assert open_info(Slow(FILE)) == open_info(FILE)


@pytest.mark.spec("S-014")
def test_info(tmp_path):
    path = tmp_path / "a.aec"
    path.write_bytes(FILE)
    info = open_info(path)
    assert info == open_info(str(path)) == open_info(FILE)
    assert json.loads(json.dumps(info.as_dict())) == {
        "version": 1,
        "width": 7,
        "height": 5,
        "mode": "RGB",
        "quality": 20.0,
        "quality_index": 51,
        "tile_log2": 0,
        "tile_side": 0,
        "tiles": 1,
        "model_id": "00010203040506ff",
        "total_bytes": 64,
        "bpp": 64 * 8 / 35,
        "metadata": {},
        "chunks": [
            {"type": "TILE", "offset": 32, "length": 12},
            {"type": "AEND", "offset": 56, "length": 0},
        ],
    }
    gray = write_file(Header(1, 1, 255, bytes(8), flags=FLAG_GRAY), [Tile(0, 0, b"")])
    assert (open_info(gray).mode, open_info(gray).quality) == ("L", 100.0)


def test_errors_of_the_system_pass_through(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_info(tmp_path / "missing.aec")
