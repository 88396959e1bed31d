import zlib

import pytest

from aec.format import errors
from aec.format.chunks import pack_chunk, walk_chunks
from aec.format.limits import Limits


def walk(data: bytes, **limits):
    return list(walk_chunks(memoryview(data), 0, Limits(**limits)))


@pytest.mark.spec("S-020", "S-001")
def test_bytes_of_a_chunk():
    body = b"\x02\x00\x00\x00TESThi"
    data = pack_chunk("TEST", b"hi")
    assert data == body + zlib.crc32(body).to_bytes(4, "little")
    (chunk,) = walk(data)
    assert (chunk.type, chunk.offset, bytes(chunk.payload)) == ("TEST", 0, b"hi")


@pytest.mark.spec("S-021")
def test_only_the_end_is_empty():
    data = pack_chunk("AEND", b"") + pack_chunk("TEST", b"x")
    assert data[:8] == b"\x00\x00\x00\x00AEND"
    assert [(c.type, c.offset, len(c.payload)) for c in walk(data)] == [
        ("AEND", 0, 0),
        ("TEST", 8, 1),
    ]
    for type in ("aBCD", "TEST", "aEND", "AENd"):
        with pytest.raises(errors.FormatError, match=f"{type} at offset 8 has length 0, expected"):
            walk(pack_chunk("AEND", b"") + pack_chunk(type, b""))


@pytest.mark.spec("S-022")
@pytest.mark.parametrize("letters", [b"TESt\x00", b"TE T", b"TE1T", b"\xc4EST", b"TEsT", b"tesT"])
def test_types_that_are_not_valid(letters):
    body = b"\x01\x00\x00\x00" + letters[-4:] + b"x"
    with pytest.raises(errors.FormatError, match=r"at offset 4 is .*, expected"):
        walk(body + zlib.crc32(body).to_bytes(4, "little"))
    with pytest.raises(errors.FormatError, match=r"type is .*, expected"):
        pack_chunk(letters.decode("latin-1"), b"x")


@pytest.mark.spec("S-023", "S-024", "S-025")
@pytest.mark.parametrize(
    ("type", "critical", "safe"),
    [("ABCD", True, False), ("aBCD", False, False), ("ABCd", True, True), ("abCd", False, True)],
)
def test_letter_case(type, critical, safe):
    (chunk,) = walk(pack_chunk(type, b"x"))
    assert (chunk.critical, chunk.safe_to_copy) == (critical, safe)


@pytest.mark.spec("S-040")
def test_crc_covers_length_type_and_payload():
    data = pack_chunk("TEST", b"0123")
    for index in (*range(4, 6), *range(7, len(data))):
        broken = bytearray(data)
        broken[index] ^= 0x20 if index < 8 else 1
        with pytest.raises(errors.ChecksumError, match=r"at offset 12 is .*, computed"):
            walk(bytes(broken))
    shorter = b"\x03" + data[1:]
    with pytest.raises(errors.ChecksumError, match="at offset 11"):
        walk(shorter)


@pytest.mark.spec("S-041")
def test_cut_short():
    data = pack_chunk("TEST", b"0123")
    for size in range(1, len(data)):
        with pytest.raises(errors.TruncatedError):
            walk(data[:size])


@pytest.mark.spec("S-044")
def test_limits():
    data = pack_chunk("aBCD", b"x") * 3
    assert len(walk(data, max_chunks=3)) == 3
    with pytest.raises(errors.LimitError, match=r"offset 26 is number 3, .* max_chunks=2"):
        walk(data, max_chunks=2)
    huge = b"\x00\x00\x00\x80TEST"
    with pytest.raises(errors.LimitError, match="offset 0 of 2147483648 bytes"):
        walk(huge)
    with pytest.raises(errors.TruncatedError):
        walk(huge, max_file_bytes=2**32)
