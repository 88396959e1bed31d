"""Pictures in files: formats, orientation, profiles, damage."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from picture_samples import (
    ORIENTATION,
    encoded,
    gray_profile,
    pixels,
    swapped_profile,
)
from PIL import Image, ImageCms

from aec.codec.pictures import open_picture, to_array
from aec.format.errors import ImageError


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000"])
def test_pictures_open_from_path_bytes_file_and_pipe(tmp_path: Path, format: str) -> None:
    data = encoded(Image.fromarray(pixels(20, 30)), format)
    path = tmp_path / "picture.bin"
    path.write_bytes(data)
    expected = np.asarray(Image.open(path).convert("RGB"))
    with path.open("rb") as file:
        for source in (path, str(path), data, bytearray(data), memoryview(data), file):
            picture = open_picture(source)
            assert type(picture) is Image.Image and picture.mode == "RGB"
            assert np.array_equal(np.asarray(picture), expected)

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    assert np.array_equal(np.asarray(open_picture(Pipe(data))), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    upright = np.zeros((4, 6), np.uint8)
    upright[0, 0], upright[0, -1], upright[-1, 0] = 80, 160, 240
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    for format in ("PNG", "TIFF"):
        data = encoded(Image.fromarray(np.ascontiguousarray(stored)), format, exif=exif)
        picture = open_picture(data, strip=["exif"])
        assert np.array_equal(np.asarray(picture), upright)
        assert not picture.info
        if format == "TIFF":  # has no EXIF block to go along, and Pillow turns it itself
            assert np.array_equal(np.asarray(open_picture(data)), upright)
    picture = open_picture(encoded(Image.fromarray(np.ascontiguousarray(stored)), exif=exif))
    assert np.array_equal(np.asarray(picture), stored)
    assert list(picture.info) == ["exif"]
    assert picture.getexif()[ORIENTATION] == orientation


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6" a:b="c"/></x:xmpmeta>'


def test_orientation_in_xmp_goes_with_it_or_is_applied() -> None:
    given = pixels()
    upright = np.rot90(given, -1)
    data = encoded(Image.fromarray(given), "WEBP", xmp=XMP, lossless=True)
    for strip, array, info in (
        ([], given, {"xmp": XMP}),
        (["xmp"], upright, {}),
        (["exif"], given, {"xmp": XMP}),
    ):
        picture = open_picture(data, strip)
        assert np.array_equal(np.asarray(picture), array) and picture.info == info
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    # EXIF counts where both are there; what is left must not turn the picture a second time.
    data = encoded(Image.fromarray(given), "WEBP", xmp=XMP, exif=exif, lossless=True)
    picture = open_picture(data, ["exif"])
    assert np.array_equal(np.asarray(picture), given[::-1, ::-1])
    assert picture.info == {"xmp": XMP.replace(b'tiff:Orientation="6"', b"")}
    picture = open_picture(data, ["xmp"])
    assert np.array_equal(np.asarray(picture), given)
    assert picture.getexif()[ORIENTATION] == 3


def test_blocks_go_along_and_nothing_else_does() -> None:
    profile = swapped_profile()
    exif = Image.Exif()
    exif[0x010E] = "a title"
    image = Image.fromarray(pixels())
    for format, options in (("PNG", {"dpi": (72, 72)}), ("WEBP", {}), ("JPEG", {"comment": "x"})):
        picture = open_picture(encoded(image, format, icc_profile=profile, exif=exif, **options))
        assert set(picture.info) == {"icc_profile", "exif"}
        assert picture.info["icc_profile"] == profile
        assert picture.info["exif"].removeprefix(b"Exif\0\0") == exif.tobytes()[6:]


def test_a_picture_handed_over_is_not_turned() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    given = pixels()
    with Image.open(io.BytesIO(encoded(Image.fromarray(given), exif=exif))) as file:
        assert np.array_equal(to_array(file), given)


def test_broken_exif_is_ignored() -> None:
    given = pixels()
    data = encoded(Image.fromarray(given), exif=b"Exif\0\0II*\0" + b"\xff" * 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)
        for strip in ([], ["exif"]):
            assert np.array_equal(np.asarray(open_picture(data, strip)), given)
    data = encoded(Image.fromarray(given), exif=b"Exif\0\0nothing of the kind")
    for strip in ([], ["exif"]):
        assert np.array_equal(np.asarray(open_picture(data, strip)), given)


def test_srgb_profile_is_dropped() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    given = pixels(40, 40)
    for array in (given, given[..., 0]):
        picture = open_picture(encoded(Image.fromarray(array), icc_profile=profile), ["icc"])
        assert np.array_equal(np.asarray(picture), array)
        assert not picture.info


def test_another_profile_is_turned_into_srgb() -> None:
    image = Image.new("RGB", (8, 8), (250, 40, 10))
    picture = open_picture(encoded(image, icc_profile=swapped_profile()), ["icc"])
    red, _, blue = to_array(picture)[0, 0]
    assert blue > 200 and red < 60
    assert not picture.info
    assert to_array(image)[0, 0, 0] == 250  # a picture handed over keeps its numbers


def test_gray_profile_is_turned_into_srgb() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(2, 0)
    picture = open_picture(encoded(Image.fromarray(ramp), icc_profile=gray_profile(1.0)), ["icc"])
    linear = np.arange(256) / 255
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert picture.mode == "L"
    assert np.abs(to_array(picture)[0] - 255 * curve).max() < 2
    # The same profile on a colour picture makes no sense and is ignored.
    given = pixels()
    picture = open_picture(encoded(Image.fromarray(given), icc_profile=gray_profile(1.0)), ["icc"])
    assert np.array_equal(np.asarray(picture), given)


def test_rgb_profile_on_a_gray_picture_keeps_it_gray() -> None:
    picture = open_picture(
        encoded(Image.new("L", (4, 4), 90), icc_profile=swapped_profile()), ["icc"]
    )
    assert picture.mode == "L"
    assert abs(int(to_array(picture)[0, 0]) - 90) <= 1


def test_broken_profile_is_ignored() -> None:
    given = pixels()
    for profile in (b"no profile", swapped_profile()[:200]):
        picture = open_picture(encoded(Image.fromarray(given), icc_profile=profile), ["icc"])
        assert np.array_equal(np.asarray(picture), given)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "JPEG2000"])
def test_truncated_pictures_are_image_errors(format: str) -> None:
    data = encoded(Image.fromarray(pixels(64, 64)), format)
    for length in range(0, len(data) - 20, max(1, len(data) // 40)):
        with pytest.raises(ImageError) as caught:
            open_picture(data[:length])
        assert "\n" not in str(caught.value)


def test_mutated_pictures_give_a_picture_or_an_image_error() -> None:
    rng = np.random.default_rng(3)
    for format in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM"):
        data = np.frombuffer(encoded(Image.fromarray(pixels(24, 24)), format), np.uint8)
        for _ in range(60):
            mutant = data.copy()
            mutant[rng.integers(0, len(mutant), 3)] = rng.integers(0, 256, 3)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("warnings.warn", lambda *args, **kwargs: None)
                try:
                    picture = open_picture(mutant.tobytes())
                except ImageError:
                    continue
            assert picture.mode in ("L", "LA", "RGB", "RGBA")


def test_text_is_not_a_picture() -> None:
    with pytest.raises(ImageError, match="not a picture"):
        open_picture(b"Dear Sir or Madam,\n")


def test_a_drawing_is_refused_before_anything_runs_it() -> None:
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    with pytest.raises(ImageError, match="EPS is a drawing"):
        open_picture(data)


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("L", (64, 64)))
    for limit in (1000, 3000):  # more than twice the limit raises, more than once warns
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ImageError, match="too many pixels"):
            open_picture(data)


def test_system_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_picture(tmp_path / "none.png")
    with pytest.raises(OSError):  # IsADirectoryError, on Windows PermissionError
        open_picture(tmp_path)

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        open_picture(Failing(b"x"))


def test_torch_is_not_imported() -> None:
    code = "import aec.codec.pictures, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
