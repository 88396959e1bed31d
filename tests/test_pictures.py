import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

from aec.codec.pictures import open_picture, to_array
from aec.format.errors import ImageError

ORIENTATION = 0x0112
Array = NDArray[np.uint8]


def pixels(height: int = 6, width: int = 9, channels: int = 3) -> Array:
    rng = np.random.default_rng(7)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def with_alpha(alpha: int) -> Image.Image:
    image = Image.fromarray(pixels()).convert("RGBA")
    image.putpixel((3, 2), (*pixels()[2, 3].tolist(), alpha))
    return image


def gray_profile(gamma: float) -> bytes:
    """Returns an ICC version 2 profile of gray with the given gamma and a D50 white point."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"g\0" + bytes(78) + b"\0\0\0"
    tags, body = b"", b""
    for name, data in ((b"wtpt", white), (b"kTRC", curve), (b"desc", text)):
        data += bytes(-len(data) % 4)
        tags += name + struct.pack(">2I", 128 + 4 + 3 * 12 + len(body), len(data))
        body += data
    head = struct.pack(">I4sI", 128 + 4 + len(tags) + len(body), b"none", 0x02100000)
    head += b"mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + struct.pack(">I", 3) + tags + body


def swapped_profile() -> bytes:
    """Returns an sRGB profile in which red and blue have changed places, which is easy to see."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = data.index(b"rXYZ"), data.index(b"bXYZ")
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(data)


def test_rgb_and_gray_pass_unchanged() -> None:
    rgb = pixels()
    gray = rgb[..., 0]
    for given in (rgb, gray):
        for image in (given, Image.fromarray(given)):
            array = to_array(image)
            assert array.dtype == np.uint8
            assert np.array_equal(array, given)


def test_arrays_come_out_contiguous_and_writable() -> None:
    given = pixels()[::-1, ::2]
    given.flags.writeable = False
    for image in (given, Image.fromarray(given)):
        array = to_array(image)
        assert array.flags.c_contiguous and array.flags.writeable
        assert np.array_equal(array, given)


def test_bilevel_becomes_gray() -> None:
    bits = pixels()[..., 0] > 127
    array = to_array(Image.fromarray(bits))
    assert np.array_equal(array, np.where(bits, 255, 0))


def test_palette_becomes_rgb() -> None:
    image = Image.fromarray(pixels()).convert("P", palette=Image.Palette.ADAPTIVE, colors=7)
    assert np.array_equal(to_array(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "PA"])
def test_opaque_alpha_is_dropped(mode: str) -> None:
    image = Image.fromarray(pixels()).convert("P" if mode == "PA" else "RGB").convert(mode)
    assert np.array_equal(to_array(image), np.asarray(image.convert("RGB")))


def test_opaque_gray_alpha_is_dropped() -> None:
    gray = pixels()[..., 0]
    assert np.array_equal(to_array(Image.fromarray(gray).convert("LA")), gray)


@pytest.mark.parametrize("alpha", [0, 254])
def test_one_transparent_pixel_makes_an_alpha_channel(alpha: int) -> None:
    image = with_alpha(alpha)
    for mode in ("RGBA", "LA"):
        array = to_array(image.convert(mode))
        assert np.array_equal(array, np.asarray(image.convert(mode)))
        assert array[2, 3, -1] == alpha
        assert np.array_equal(to_array(array), array)


@pytest.mark.parametrize(
    ("mode", "used", "unused"), [("L", 255, 77), ("RGB", (255, 255, 255), (1, 2, 3)), ("1", 0, 255)]
)
def test_a_transparent_colour_counts_only_when_used(
    mode: str, used: object, unused: object
) -> None:
    image = Image.new("RGB", (4, 4), "black" if mode == "1" else "white").convert(mode)
    image.putpixel((1, 2), (9, 9, 9) if mode == "RGB" else 1 if mode == "1" else 9)
    with Image.open(io.BytesIO(encoded(image, transparency=unused))) as file:
        assert file.has_transparency_data
        if mode != "1":  # of its two colours both are used
            assert np.array_equal(to_array(file), to_array(image))
    picture = open_picture(encoded(image, transparency=used))
    assert picture.mode == ("RGBA" if mode == "RGB" else "LA") and not picture.info
    alpha = np.asarray(picture)[..., -1]
    assert alpha[2, 1] == 255 and (np.delete(alpha.ravel(), 9) == 0).all()


def test_a_transparent_palette_becomes_rgba() -> None:
    image = Image.fromarray(pixels()).convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    for format in ("PNG", "GIF"):
        picture = open_picture(encoded(image, format, transparency=2))
        assert picture.mode == "RGBA" and not picture.info
        array, indices = to_array(picture), np.asarray(image)
        assert np.array_equal(array[..., 3], np.where(indices == 2, 0, 255))
        seen = indices != 2
        assert np.array_equal(array[seen, :3], np.asarray(image.convert("RGB"))[seen])


@pytest.mark.parametrize("channels", [2, 4])
def test_arrays_lose_an_alpha_that_says_nothing(channels: int) -> None:
    array = pixels(channels=channels)
    array[..., -1] = 255
    expected = array[..., 0] if channels == 2 else array[..., :3]
    assert np.array_equal(to_array(array), expected)
    assert to_array(array).flags.c_contiguous


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_profile_and_orientation_leave_alpha_as_it_is(mode: str) -> None:
    colour = (250, 40, 10, 70) if mode == "RGBA" else (90, 70)
    image = Image.new(mode, (8, 6), colour)
    image.putpixel((0, 0), (*colour[:-1], 0))
    profile = swapped_profile() if mode == "RGBA" else gray_profile(1.0)
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    picture = open_picture(encoded(image, icc_profile=profile, exif=exif), ["icc", "exif"])
    assert picture.mode == mode and picture.size == (8, 6)
    array = np.asarray(picture)
    assert array[-1, -1, -1] == 0 and (array[:-1, :, -1] == 70).all()
    if mode == "RGBA":
        assert array[0, 0, 2] > 200 and array[0, 0, 0] < 60
    else:
        assert 155 < array[0, 0, 0] < 165


def test_a_palette_with_unused_transparency_is_taken() -> None:
    image = Image.fromarray(pixels()).convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    data = encoded(image, transparency=bytes([255] * 200 + [0] * 56))
    assert np.array_equal(to_array(open_picture(data)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("mode", "advice"),
    [
        ("CMYK", "convert"),
        ("YCbCr", "convert"),
        ("HSV", "convert"),
        ("LAB", "ImageCms"),
        ("I;16", "8 bits"),
        ("I;16B", "8 bits"),
        ("I", "8 bits"),
        ("F", "8 bits"),
        ("RGBX", "convert"),
        ("RGBa", "convert"),
    ],
)
def test_other_modes_are_refused_with_advice(mode: str, advice: str) -> None:
    with pytest.raises(ImageError, match=f"mode {mode} .*{advice}") as caught:
        to_array(Image.new(mode, (3, 2)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64", "bool"])
def test_other_array_types_are_refused(dtype: str) -> None:
    with pytest.raises(ImageError, match=f"{dtype} .*8 bits"):
        to_array(np.ones((4, 4), dtype).astype(dtype))


@pytest.mark.parametrize("shape", [(4,), (4, 4, 1), (4, 4, 5), (1, 4, 4, 3), ()])
def test_other_array_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"expected \(height, width\)"):
        to_array(np.zeros(shape, np.uint8))


def test_empty_pictures_are_refused() -> None:
    for image in (
        np.zeros((0, 4), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        Image.new("RGB", (0, 4)),
        Image.new("L", (4, 0)),
    ):
        with pytest.raises(ImageError, match="empty"):
            to_array(image)


def test_something_else_is_refused_by_its_type() -> None:
    with pytest.raises(ImageError, match="a str is not a picture"):
        to_array("photo.png")  # type: ignore[arg-type]


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_several_frames_are_refused(format: str) -> None:
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="3 frames"):
        open_picture(data)


def test_one_frame_of_many_can_be_chosen() -> None:
    frames = [Image.new("L", (16, 16), shade) for shade in (10, 200)]
    with Image.open(
        io.BytesIO(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    ) as file:
        file.seek(1)
        assert to_array(file.copy())[0, 0] == 200


def test_the_extra_frames_of_a_camera_jpeg_are_left_out() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    picture = open_picture(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    assert to_array(picture)[0, 0, 0] > 250


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
