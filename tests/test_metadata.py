"""Metadata through every layer: chunks, the codec, and the command line with real pictures."""

import io
import json
import os
import runpy
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

import aec
from aec.cli import strip
from aec.codec import metadata
from aec.format.chunks import pack_chunk
from aec.format.container import Tile, open_info, read_file, write_file
from aec.format.errors import ChecksumError, FormatError, LimitError
from aec.format.header import Header, pack_header
from aec.format.limits import MAX_BLOCK_BYTES, MAX_METADATA_BYTES, Limits
from aec.format.metadata import METADATA_CHUNKS, Metadata, pack_metadata

aec_run = runpy.run_path(str(Path(__file__).with_name("running.py")))["aec_run"]
Array = NDArray[np.uint8]
ORIENTATION = 0x0112
PREFIX = b"Exif\0\0"
HEADER = Header(width=7, height=5, quality=51, model_id=bytes(8))
HEAD = pack_header(HEADER)
TILE = pack_chunk("TILE", bytes(12))
END = pack_chunk("AEND", b"")
BLOCKS = Metadata(icc_profile=b"profile", exif=b"II*\0", xmp=b"<x/>")


def gamma_profile() -> bytes:
    """An RGB profile that sRGB colours look dark under: its curves are straight lines."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", data, 128)
    for entry in range(132, 132 + 12 * count, 12):
        name, offset, _ = struct.unpack_from(">4sII", data, entry)
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            struct.pack_into(">4sIHHI", data, offset, b"para", 0, 0, 0, 1 << 16)
    return bytes(data)


# The container


@pytest.mark.spec("S-200", "S-201")
def test_each_block_has_its_chunk() -> None:
    data = write_file(HEADER, [Tile(0, 0, bytes(8))], BLOCKS)
    chunks = [("iCCP", b"profile"), ("eXIf", b"II*\0"), ("xMPd", b"<x/>")]
    assert data == HEAD + b"".join(pack_chunk(*chunk) for chunk in chunks) + TILE + END
    assert read_file(data).metadata == BLOCKS
    assert read_file(HEAD + b"".join(pack_chunk(*c) for c in chunks[::-1]) + TILE + END) == (
        read_file(data)
    )
    assert open_info(data).metadata == {"icc_profile": 7, "exif": 4, "xmp": 4}
    assert write_file(HEADER, [Tile(0, 0, bytes(8))]) == HEAD + TILE + END


@pytest.mark.spec("S-200")
def test_exif_is_stored_without_the_prefix_of_jpeg() -> None:
    made = Metadata.from_info(exif=PREFIX + b"II*\0")
    assert made == Metadata.from_info(exif=b"II*\0") == Metadata(exif=b"II*\0")
    assert made.info() == {"exif": PREFIX + b"II*\0"}
    assert Metadata.from_info(exif=PREFIX, xmp=b"", icc_profile=None).blocks() == {}
    # Taken off once: what stands behind it is the block, whatever it looks like.
    twice = Metadata.from_info(exif=PREFIX * 2)
    assert twice.exif == PREFIX
    assert read_file(write_file(HEADER, [Tile(0, 0, b"")], twice)).metadata == twice


@pytest.mark.parametrize("name", METADATA_CHUNKS)
def test_blocks_are_bytes(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be bytes, not str"):
        Metadata.from_info(**{name: "text"})  # type: ignore[arg-type]


@pytest.mark.spec("S-201")
@pytest.mark.parametrize("type", METADATA_CHUNKS.values())
def test_misplaced_blocks_are_refused(type: str) -> None:
    block, other = pack_chunk(type, b"x"), pack_chunk("meTa", b"x")
    for data, match in (
        (HEAD + block + other + block + TILE + END, f"{type} at offset 58 is the second"),
        (HEAD + TILE + block + END, f"{type} at offset 56 comes after the tile"),
        (HEAD + pack_chunk(type, b"") + TILE + END, f"{type} at offset 32 has length 0"),
    ):
        for read in (read_file, open_info):
            with pytest.raises(FormatError, match=match) as caught:
                read(data)
            assert caught.type is FormatError


@pytest.mark.spec("S-024")
def test_a_damaged_block_is_a_damaged_file() -> None:
    data = write_file(HEADER, [Tile(0, 0, b"")], BLOCKS).replace(b"profile", b"Profile")
    with pytest.raises(ChecksumError, match="chunk iCCP"):
        read_file(data)


@pytest.mark.spec("S-205")
@pytest.mark.parametrize("name", METADATA_CHUNKS)
def test_the_bound_of_a_block_holds_on_both_sides(name: str) -> None:
    most = Metadata(**{name: bytes(MAX_BLOCK_BYTES)})
    data = write_file(HEADER, [Tile(0, 0, b"")], most)
    assert read_file(data).metadata == most
    over = Metadata(**{name: bytes(MAX_BLOCK_BYTES + 1)})
    match = rf"{name} of {MAX_BLOCK_BYTES + 1} bytes is over the limit max_block_bytes="
    with pytest.raises(LimitError, match=match):
        write_file(HEADER, [Tile(0, 0, b"")], over)
    raised = Limits(max_block_bytes=MAX_BLOCK_BYTES + 1)
    data = write_file(HEADER, [Tile(0, 0, b"")], over, raised)
    assert read_file(data, raised).metadata == over
    for read in (read_file, open_info):
        with pytest.raises(LimitError, match=match):
            read(data)


@pytest.mark.spec("S-205")
def test_the_bound_of_all_blocks_holds_on_both_sides() -> None:
    half = MAX_METADATA_BYTES // 2
    assert half == MAX_BLOCK_BYTES, "two blocks may be as long as one can be"
    fits = Metadata(icc_profile=bytes(half), exif=bytes(half - 1), xmp=b"x")
    assert read_file(write_file(HEADER, [Tile(0, 0, b"")], fits)).metadata == fits
    over = Metadata(icc_profile=bytes(half), exif=bytes(half - 1), xmp=b"xy")
    match = f"{MAX_METADATA_BYTES + 1} bytes together are over the limit max_metadata_bytes="
    with pytest.raises(LimitError, match=match):
        write_file(HEADER, [Tile(0, 0, b"")], over)
    raised = Limits(max_metadata_bytes=MAX_METADATA_BYTES + 1)
    data = HEAD + pack_metadata(over, raised) + TILE + END
    assert read_file(data, raised).metadata == over
    with pytest.raises(LimitError, match=match):
        read_file(data)


# The codec


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


@pytest.fixture(scope="module")
def photo() -> Array:
    with Image.open(Path(__file__).parent / "images" / "astronaut.png") as image:
        return np.array(image.convert("RGB").crop((150, 30, 182, 54)))


@pytest.mark.spec("S-200", "S-202")
def test_blocks_come_back_and_leave_the_pixels_alone(codec: aec.Codec, photo: Array) -> None:
    plain = codec.compress(photo)
    pixels = codec.decompress(plain).tobytes()
    rng = np.random.default_rng(1)
    for size in (1, 2, 1000):
        # Bytes at random: nothing may depend on what a block says.
        info = {
            "icc_profile": rng.bytes(size),
            "exif": PREFIX + rng.bytes(size),
            "xmp": rng.bytes(size),
        }
        image = Image.fromarray(photo)
        image.info.update(info, dpi=(72, 72))
        data = codec.compress(image)
        assert codec.compress(photo, **info) == data
        assert read_file(data).tiles == read_file(plain).tiles
        back = codec.decompress(data)
        assert back.info == info
        assert back.tobytes() == pixels
    assert codec.decompress(plain).info == {}


def test_what_is_given_counts_before_what_the_image_has(codec: aec.Codec, photo: Array) -> None:
    image = Image.fromarray(photo)
    image.info.update(icc_profile=b"old", xmp=b"packet", exif=None)
    back = codec.decompress(codec.compress(image, icc_profile=b"new", exif=b"II*\0"))
    assert back.info == {"icc_profile": b"new", "exif": PREFIX + b"II*\0", "xmp": b"packet"}
    back = codec.decompress(aec.compress(image, icc_profile=b"", xmp=b"", device="cpu"))
    assert back.info == {}


@pytest.mark.spec("S-205")
def test_the_limits_of_a_codec_bound_metadata(photo: Array) -> None:
    small = aec.Codec(device="cpu", limits=Limits(max_block_bytes=10, max_metadata_bytes=15))
    assert small.decompress(small.compress(photo, xmp=bytes(10))).info == {"xmp": bytes(10)}
    with pytest.raises(LimitError, match="xmp of 11 bytes is over"):
        small.compress(photo, xmp=bytes(11))
    with pytest.raises(LimitError, match="icc_profile, exif of 16 bytes together"):
        small.compress(photo, icc_profile=bytes(8), exif=bytes(8))


# The command line


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opened(name: str) -> Image.Image:
    with Image.open(name) as image:
        image.load()
    return image


def as_shown(image: Image.Image) -> Array:
    """What a viewer makes of a picture: turned by its tag, its corners far apart in colour."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)
        orientation = image.getexif().get(ORIENTATION, 1)
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90,
    }[orientation]
    return np.asarray(turn(np.asarray(image.convert("L"))))


def corners(array: Array) -> list[int]:
    """Mean levels of the quarters of a picture, rounded to the four that the test uses."""
    height, width = (side // 2 for side in array.shape)
    quarters = [array[:height, :width], array[:height, width:], array[height:, :width]]
    return [round(float(q.mean()) / 60) for q in [*quarters, array[height:, width:]]]


@pytest.mark.spec("S-203")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_once(folder: Path, orientation: int) -> None:
    stored = np.kron([[0, 60], [120, 240]], np.ones((20, 32))).astype(np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010E] = "a title"
    Image.fromarray(stored).save("a.png", exif=exif)
    upright = as_shown(opened("a.png"))
    aec_run("compress", "a.png", "-o", "kept.aec", "-q", 90)
    aec_run("compress", "a.png", "-o", "stripped.aec", "-q", 90, "--strip", "exif")
    assert (opened("a.png").size) == (64, 40)
    info = open_info("kept.aec")
    assert (info.width, info.height) == (64, 40), "stored as it was"
    info = open_info("stripped.aec")
    assert (info.height, info.width) == upright.shape
    for name in ("kept", "stripped"):
        for extension in ("png", "jpg", "webp", "tif", "bmp", "bare.png"):
            out = f"{name}.{extension}"
            options = ["--strip", "all"] if extension == "bare.png" else []
            aec_run("decompress", f"{name}.aec", "-o", out, *options)
            shown = as_shown(opened(out))
            assert shown.shape == upright.shape and corners(shown) == corners(upright), out
    assert opened("kept.png").info["exif"] == opened("a.png").info["exif"]
    for bare in ("stripped.png", "kept.bare.png"):
        assert "exif" not in opened(bare).info


@pytest.mark.parametrize(
    "extension",
    [
        "png",
        "jpg",
        "webp",
        "tif",
        pytest.param(
            "avif", marks=pytest.mark.skipif(not features.check("avif"), reason="needs AVIF")
        ),
    ],
)
def test_all_blocks_reach_the_formats_that_take_them(
    folder: Path, photo: Array, extension: str
) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a title"
    exif[ORIENTATION] = 6
    profile, xmp = gamma_profile(), b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    Image.fromarray(photo).save("a.webp", lossless=True, icc_profile=profile, exif=exif, xmp=xmp)
    aec_run("compress", "a.webp")
    aec_run("decompress", "a.aec", "-o", f"back.{extension}")
    back = opened(f"back.{extension}")
    assert back.info["icc_profile"] == profile
    assert back.info["xmp"] == xmp
    assert back.getexif()[0x010E] == "a title"


def level(name: str) -> float:
    return float(np.asarray(opened(name).convert("L")).mean())


@pytest.mark.spec("S-204")
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_profile_is_applied_once(folder: Path, mode: str) -> None:
    """A level of 60 in a linear space is 133 in sRGB, whoever converts it."""
    profile = gamma_profile()
    Image.new("RGB", (32, 32), (60, 60, 60)).convert(mode).save("a.png", icc_profile=profile)
    aec_run("compress", "a.png", "-o", "kept.aec", "-q", 90)
    aec_run("compress", "a.png", "-o", "stripped.aec", "-q", 90, "--strip", "icc")
    for extension in ("png", "jpg"):
        for name, shade, block in (("kept", 60, profile), ("stripped", 133, None)):
            aec_run("decompress", f"{name}.aec", "-o", f"{name}.{extension}")
            assert abs(level(f"{name}.{extension}") - shade) < 4
            assert opened(f"{name}.{extension}").info.get("icc_profile") == block
    aec_run("decompress", "kept.aec", "-o", "kept.bmp")  # cannot say it, so it is applied
    aec_run("decompress", "kept.aec", "-o", "late.png", "--strip", "icc")
    assert abs(level("kept.bmp") - 133) < 4 and abs(level("late.png") - 133) < 4


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        ([], []),
        (["--strip", "all"], ["icc_profile", "exif", "xmp"]),
        (["--strip", "icc,xmp"], ["icc_profile", "xmp"]),
        (["--strip", "exif", "--strip", "icc"], ["icc_profile", "exif"]),
    ],
)
def test_stripping_leaves_no_trace(
    folder: Path, photo: Array, options: list[str], gone: list[str]
) -> None:
    exif = Image.Exif()
    exif[0x010E] = "in the exif block"
    profile = gamma_profile()
    # JPEG, PNG and the rest leave texts of their own; none of these may come along either.
    Image.fromarray(photo).save(
        "a.jpg", icc_profile=profile, exif=exif, xmp=b"in the xmp packet", comment="in a comment"
    )
    aec_run("compress", "a.jpg", *options)
    data = Path("a.aec").read_bytes()
    traces = {"icc_profile": profile[:60], "exif": b"in the exif", "xmp": b"in the xmp"}
    for name, trace in traces.items():
        assert (trace in data) == (name not in gone)
        assert (METADATA_CHUNKS[name].encode() in data) == (name not in gone)
    assert b"in a comment" not in data
    assert sorted(open_info(data).metadata) == sorted({*traces} - {*gone})


def test_unknown_kinds_are_wrong_usage(folder: Path) -> None:
    assert tuple(metadata.KINDS) == strip.KINDS
    for verb, name in (("compress", "a.png"), ("decompress", "a.aec")):
        result = aec_run(verb, name, "--strip", "icc,gps", code=2)
        assert "'gps' is none of all, icc, exif, xmp" in result.stderr


def test_info_tells_the_sizes(folder: Path, codec: aec.Codec, photo: Array) -> None:
    Path("a.aec").write_bytes(codec.compress(photo, exif=PREFIX + bytes(30), xmp=bytes(7)))
    lines = [line.split(maxsplit=1) for line in aec_run("info", "a.aec").stdout.splitlines()]
    assert ["EXIF", "30 bytes"] in lines and ["XMP", "7 bytes"] in lines
    row = json.loads(aec_run("info", "a.aec", "--json").stdout)
    assert row["metadata"] == {"exif": 30, "xmp": 7}


def test_a_damaged_exif_block_does_not_keep_the_picture_back(
    folder: Path, codec: aec.Codec, photo: Array
) -> None:
    Path("a.aec").write_bytes(codec.compress(photo, exif=b"nonsense", icc_profile=b"nonsense"))
    expected = np.asarray(codec.decompress(Path("a.aec").read_bytes()))
    for extension in ("png", "webp", "tif", "bmp"):
        result = aec_run("decompress", "a.aec", "-o", f"a.{extension}")
        assert ("left out a damaged EXIF block" in result.stderr) == (extension == "tif")
        assert np.array_equal(np.asarray(opened(f"a.{extension}")), expected)


def test_too_long_blocks_are_one_message(folder: Path, codec: aec.Codec, photo: Array) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "WEBP", exif=bytes(MAX_BLOCK_BYTES + 1))
    Path("a.webp").write_bytes(buffer.getvalue())
    result = aec_run("compress", "a.webp", code=5)
    assert result.stderr.startswith("aec: a.webp: exif of 4194305 bytes is over the limit")
    aec_run("compress", "a.webp", "--strip", "exif")
    Path("b.aec").write_bytes(codec.compress(photo, exif=bytes(70_000)))
    result = aec_run("decompress", "b.aec", "-o", "b.jpg", code=4)
    assert "Pillow cannot write it as JPEG: EXIF data is too long" in result.stderr
    assert sorted(os.listdir()) == ["a.aec", "a.webp", "b.aec"]
    aec_run("decompress", "b.aec", "-o", "b.jpg", "--strip", "exif")
