"""Which pictures are taken, and what they become."""

from __future__ import annotations

import io

import numpy as np
import pytest
from picture_samples import (
    ORIENTATION,
    encoded,
    gray_profile,
    pixels,
    swapped_profile,
    with_alpha,
)
from PIL import Image, features

from aec.codec.pictures import open_picture, to_array
from aec.format.errors import ImageError


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
