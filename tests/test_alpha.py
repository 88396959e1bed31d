"""The alpha plane: its frame against hostile streams, and pictures with holes in them."""

import random
import runpy
import struct
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import reference_decoder as reference
from numpy.typing import NDArray
from PIL import Image

import aec
from aec.codec.alpha import filled, pack_alpha, unpack_alpha
from aec.codec.loading import DECODER_FILE, DEFAULT_MODEL
from aec.format.chunks import pack_chunk
from aec.format.container import Tile, open_info, read_file, write_file
from aec.format.errors import FormatError, LimitError
from aec.format.header import FLAG_ALPHA, FLAG_GRAY, Header, pack_header
from aec.format.limits import Limits

aec_run = runpy.run_path(str(Path(__file__).with_name("running.py")))["aec_run"]
Array = NDArray[np.uint8]
HEADER = Header(width=7, height=5, quality=51, model_id=bytes(8), flags=FLAG_ALPHA)
HEAD = pack_header(HEADER)
TILE = pack_chunk("TILE", bytes(12))
END = pack_chunk("AEND", b"")
PLANE = np.arange(35, dtype=np.uint8).reshape(5, 7)
PNG = pack_alpha(PLANE)
META = pack_chunk("meTa", b"x")


def part(type: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + type + body + struct.pack(">I", zlib.crc32(type + body))


def ihdr(width: int = 7, height: int = 5, rest: bytes = b"\x08\0\0\0\0") -> bytes:
    return part(b"IHDR", struct.pack(">2I", width, height) + rest)


START = b"\x89PNG\r\n\x1a\n"
ROWS = b"".join(b"\0" + row.tobytes() for row in PLANE)
DATA = part(b"IDAT", zlib.compress(ROWS))
IEND = part(b"IEND", b"")


def refused(data: bytes, match: str) -> None:
    for read in (read_file, open_info):
        with pytest.raises(FormatError, match=match) as caught:
            read(data)
        assert caught.type is FormatError


@pytest.mark.spec("S-210", "S-211", "S-213")
def test_the_chunk_stands_before_the_tile() -> None:
    data = write_file(HEADER, [Tile(0, 0, bytes(8), PNG)])
    assert data == HEAD + pack_chunk("ALPH", PNG) + TILE + END
    container = read_file(data)
    assert container.tiles[0].alpha == PNG
    assert np.array_equal(np.asarray(unpack_alpha(PNG, 7, 5)), PLANE)
    assert read_file(HEAD + META + pack_chunk("ALPH", PNG) + META + TILE + END) == container
    assert open_info(data).mode == "RGBA"
    gray = Header(7, 5, 51, bytes(8), flags=FLAG_ALPHA | FLAG_GRAY)
    assert open_info(write_file(gray, [Tile(0, 0, b"", PNG)])).mode == "LA"


@pytest.mark.spec("S-210", "S-026")
def test_flag_and_chunk_belong_together() -> None:
    alph = pack_chunk("ALPH", PNG)
    refused(HEAD + TILE + END, "TILE at offset 32 comes before the alpha plane")
    refused(HEAD + TILE + alph + END, "TILE at offset 32 comes before the alpha plane")
    refused(HEAD + alph + alph + TILE + END, "is alpha plane number 2, not 1")
    refused(HEAD + alph + TILE + alph + END, "is alpha plane number 2, not 1")
    plain = Header(7, 5, 51, bytes(8))
    refused(pack_header(plain) + alph + TILE + END, "is alpha plane number 1, not 0")
    for header, alpha in ((HEADER, None), (plain, PNG)):
        with pytest.raises(FormatError, match="do not fit the alpha plane"):
            write_file(header, [Tile(0, 0, b"", alpha)])
    with pytest.raises(FormatError, match="holds a PNG that starts with"):
        write_file(HEADER, [Tile(0, 0, b"", pack_alpha(PLANE.T.copy()))])


@pytest.mark.spec("S-211")
@pytest.mark.parametrize(
    ("stream", "match"),
    [
        (b"\x89", "expected a PNG"),
        (b"\xff\xd8\xff", "expected a PNG"),
        (START, "cut short"),
        (START + ihdr(), "cut short"),
        (START + ihdr() + DATA, "cut short"),
        (START + ihdr() + DATA[:-1], "cut short"),
        (START + struct.pack(">I", 2**32 - 1) + b"IHDR" + bytes(20), "cut short"),
        (START + ihdr(8) + DATA + IEND, "starts with b'IHDR' 00 00 00 08"),
        (START + ihdr(7, 2**31 - 1) + DATA + IEND, "starts with b'IHDR'"),
        (START + ihdr(rest=b"\x10\0\0\0\0") + DATA + IEND, "starts with b'IHDR'"),
        (START + ihdr(rest=b"\x08\x03\0\0\0") + DATA + IEND, "starts with b'IHDR'"),
        (START + ihdr(rest=b"\x08\0\0\0\x01") + DATA + IEND, "starts with b'IHDR'"),
        (START + ihdr(rest=b"\x08\0\0\0\0\0") + DATA + IEND, "starts with b'IHDR'"),
        (START + DATA + ihdr() + IEND, "starts with b'IDAT'"),
        (START + ihdr() + part(b"zTXt", b"a\0\0x") + DATA + IEND, "with b'zTXt' at offset 33"),
        (START + ihdr() + part(b"acTL", bytes(8)) + DATA + IEND, "with b'acTL'"),
        (START + ihdr() + ihdr() + DATA + IEND, "with b'IHDR' at offset 33"),
        (START + ihdr() + IEND, "with b'IEND' at offset 33"),
        (START + ihdr() + DATA + IEND + b"x", "with b'IEND'"),
        (START + ihdr() + DATA + part(b"IEND", b"x"), "with b'IEND'"),
        (START + ihdr() + DATA[:-1] + b"x" + IEND, "damaged chunk at offset 33"),
    ],
)
def test_other_streams_are_refused(stream: bytes, match: str) -> None:
    refused(HEAD + pack_chunk("ALPH", stream) + TILE + END, match)


@pytest.mark.spec("S-212")
@pytest.mark.parametrize(
    ("packed", "match"),
    [
        (zlib.compress(ROWS[:-1]), "unpacks to 39 bytes, expected 40"),
        (zlib.compress(ROWS + b"x"), "unpacks to 41 bytes, expected 40"),
        (zlib.compress(b""), "unpacks to 0 bytes, expected 40"),
        (zlib.compress(ROWS)[:-1], "unpacks to 40 bytes and does not end there"),
        (zlib.compress(ROWS) + b"x", "unpacks to 40 bytes and does not end there"),
        (b"nothing of the kind", "damaged"),
        (zlib.compress(b"\x09" + ROWS[1:]), "cannot be read"),
    ],
)
def test_other_samples_are_refused(packed: bytes, match: str) -> None:
    for data in (part(b"IDAT", packed), part(b"IDAT", packed[:5]) + part(b"IDAT", packed[5:])):
        with pytest.raises(FormatError, match=match):
            unpack_alpha(START + ihdr() + data + IEND, 7, 5)


@pytest.mark.spec("S-211")
def test_any_number_of_data_chunks_will_do() -> None:
    packed = zlib.compress(ROWS)
    data = b"".join(part(b"IDAT", packed[i : i + 1]) for i in range(len(packed)))
    plane = unpack_alpha(START + ihdr() + data + part(b"IDAT", b"") + IEND, 7, 5)
    assert np.array_equal(np.asarray(plane), PLANE)


@pytest.mark.spec("S-044")
def test_the_chunks_of_a_stream_are_bounded() -> None:
    stream = START + ihdr() + part(b"IDAT", b"") * 3 + DATA + IEND
    data = write_file(HEADER, [Tile(0, 0, b"", stream)])
    assert read_file(data, Limits(max_chunks=4)).tiles[0].alpha == stream
    with pytest.raises(LimitError, match="chunks than the limit max_chunks=3"):
        read_file(data, Limits(max_chunks=3))
    with pytest.raises(LimitError, match="max_chunks=3"):
        unpack_alpha(stream, 7, 5, Limits(max_chunks=3))


@pytest.mark.spec("S-212")
def test_a_long_tail_takes_no_time() -> None:
    packed = zlib.compress(ROWS) + bytes(64 << 20)
    with pytest.raises(FormatError, match="unpacks to 40 bytes and does not end there"):
        unpack_alpha(START + ihdr() + part(b"IDAT", packed) + IEND, 7, 5)


@pytest.mark.spec("S-212")
def test_a_bomb_unpacks_to_next_to_nothing() -> None:
    stream = START + ihdr() + part(b"IDAT", zlib.compress(bytes(300 << 20), 9)) + IEND
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"unpacks to .* expected 40"):
            unpack_alpha(stream, 7, 5)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.spec("S-043")
def test_mutated_streams_are_read_or_refused() -> None:
    generator = random.Random(4)
    read = 0
    for _ in range(2000):
        body = bytearray(PNG[41:-16])
        for _ in range(generator.randint(1, 3)):
            body[generator.randrange(len(body))] = generator.randrange(256)
        try:
            plane = unpack_alpha(START + ihdr() + part(b"IDAT", bytes(body)) + IEND, 7, 5)
        except FormatError:
            continue
        assert plane.size == (7, 5)
        read += 1
    assert read < 100, "the checksum of zlib should find nearly all"


def test_a_plane_larger_than_pillow_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(np.asarray(unpack_alpha(PNG, 7, 5)), PLANE)


# Colours that are not seen


@pytest.mark.spec("S-214")
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (31, 2), (40, 57)])
@pytest.mark.parametrize("channels", [1, 3])
def test_filling_changes_only_what_is_not_seen(shape: tuple[int, int], channels: int) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(100, 140, (*shape, channels), dtype=np.uint8).squeeze(
        2 if channels == 1 else ()
    )
    alpha = rng.choice([0, 1, 255], shape).astype(np.uint8)
    alpha[0, 0] = 1
    alpha[shape[0] // 3 :] = 0 if shape[0] > 3 else alpha[shape[0] // 3 :]
    done = filled(pixels, alpha)
    assert done.dtype == np.uint8 and done.shape == pixels.shape
    assert np.array_equal(done[alpha > 0], pixels[alpha > 0])
    assert done.min() >= 97 and done.max() <= 142, "made of what is seen"
    unseen = pixels.copy()
    unseen[alpha == 0] = 255
    assert np.array_equal(filled(unseen, alpha), done), "what is hidden leaves no trace"
    assert (filled(pixels, np.zeros(shape, np.uint8)) == 128).all()


# Whole pictures


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


@pytest.fixture(scope="module")
def cutout() -> Array:
    """A round part of the photo with a soft edge; noise where nothing is seen."""
    with Image.open(Path(__file__).parent / "images" / "astronaut.png") as image:
        photo = np.array(image.convert("RGB").crop((150, 30, 230, 100)))
    y, x = np.mgrid[:70, :80]
    alpha = (255 * (1 - (np.hypot(y - 35, x - 40) - 25) / 6).clip(0, 1)).astype(np.uint8)
    photo[alpha == 0] = np.random.default_rng(0).integers(0, 256, ((alpha == 0).sum(), 3))
    return np.dstack([photo, alpha])


@pytest.mark.spec("S-213", "S-214")
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_comes_back_exactly(codec: aec.Codec, cutout: Array, mode: str) -> None:
    image = Image.fromarray(cutout).convert(mode)
    data = codec.compress(image, quality=80)
    assert codec.compress(np.asarray(image), quality=80) == data
    codec.verify(data)
    back = codec.decompress(data)
    assert back.mode == mode == open_info(data).mode
    given, found = np.asarray(image).astype(int), np.asarray(back).astype(int)
    assert np.array_equal(found[..., -1], given[..., -1])
    seen = given[..., -1] > 0
    error = np.mean((found[seen] - given[seen])[..., :-1] ** 2)
    assert error < 0.05 * given[seen][..., :-1].var()
    # The same colours without alpha give the same tile: nothing else depends on it.
    colours = filled(np.asarray(image.convert(mode[:-1])), np.asarray(image)[..., -1])
    (plain,) = read_file(codec.compress(colours, quality=80)).tiles
    assert plain == replace(read_file(data).tiles[0], alpha=None)


@pytest.mark.spec("S-214")
def test_hidden_noise_costs_nothing(codec: aec.Codec, cutout: Array) -> None:
    clean = cutout.copy()
    clean[clean[..., 3] == 0] = 0
    data = codec.compress(cutout)
    assert codec.compress(clean) == data
    tiles = [
        len(read_file(file).tiles[0].payload)
        for file in (data, codec.compress(clean[..., :3]), codec.compress(cutout[..., :3]))
    ]
    # Black holes have edges, noise has no end of detail.
    assert tiles[0] < 0.8 * tiles[1] and tiles[0] < 0.4 * tiles[2]


def test_an_opaque_picture_is_the_same_file_as_before(codec: aec.Codec, cutout: Array) -> None:
    opaque = cutout.copy()
    opaque[..., 3] = 255
    data = codec.compress(np.ascontiguousarray(opaque[..., :3]))
    assert codec.compress(opaque) == codec.compress(Image.fromarray(opaque)) == data


@pytest.mark.spec("S-170", "S-202")
def test_another_decoder_gives_the_same_picture(codec: aec.Codec, cutout: Array) -> None:
    """One written from the specification, which passes over metadata."""
    tensors = reference.read_tensors((DEFAULT_MODEL / DECODER_FILE).read_bytes())
    for array in (cutout, cutout[..., 2:]):
        data = codec.compress(array, exif=b"II*\0 nonsense", icc_profile=b"TILE", xmp=bytes(9))
        np.testing.assert_array_equal(codec.decompress(data), reference.decode(data, tensors))


@pytest.mark.spec("S-170")
def test_a_damaged_plane_gives_no_picture(codec: aec.Codec, cutout: Array) -> None:
    container = read_file(codec.compress(cutout))
    (tile,) = container.tiles
    assert tile.alpha is not None
    packed = zlib.compress(bytes(81 * 70 - 1))
    short = START + ihdr(80, 70) + part(b"IDAT", packed) + IEND
    data = write_file(container.header, [replace(tile, alpha=short)])
    assert open_info(data).mode == "RGBA"  # the frame is sound
    for read in (codec.decompress, codec.verify):
        with pytest.raises(FormatError, match="unpacks to 5669 bytes, expected 5670"):
            read(data)


def test_the_command_line_keeps_alpha(
    tmp_path: Path, cutout: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = Image.fromarray(cutout)
    image.save("a.png")
    image.save("b.webp", lossless=True)
    image.convert("RGB").quantize(16).save("c.gif", transparency=3)
    aec_run("compress", "a.png", "b.webp", "c.gif")
    aec_run("verify", "a.aec", "b.aec", "c.aec")
    for extension in ("png", "webp", "tif"):
        aec_run("decompress", "a.aec", "b.aec", "c.aec", "--format", extension, "-o", "out/")
        for name in "abc":
            with Image.open(f"out/{name}.{extension}") as back:
                assert back.mode == "RGBA"
                alpha = np.asarray(back.getchannel("A"))
            if name != "c":
                assert np.array_equal(alpha, cutout[..., 3])
            else:
                assert set(np.unique(alpha)) == {0, 255}
    result = aec_run("decompress", "a.aec", "-o", "a.jpg", code=4)
    assert "Pillow cannot write it as JPEG: cannot write mode RGBA" in result.stderr
    assert "80 x 70 pixels, RGBA" in aec_run("info", "a.aec").stdout
