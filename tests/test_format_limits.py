import pytest

from aec.format import errors
from aec.format.limits import DEFAULT_LIMITS, MAX_FILE_BYTES, MAX_PIXELS, MAX_SIDE, Limits


@pytest.mark.spec("S-044")
@pytest.mark.parametrize(
    ("width", "height", "fits"),
    [
        (1, 1, True),
        (MAX_SIDE, 1, True),
        (MAX_SIDE + 1, 1, False),
        (1, MAX_SIDE + 1, False),
        (MAX_SIDE, MAX_PIXELS // MAX_SIDE, True),
        (MAX_SIDE, MAX_PIXELS // MAX_SIDE + 1, False),
    ],
)
def test_picture_limits_are_inclusive(width, height, fits):
    if fits:
        DEFAULT_LIMITS.check_picture(width, height)
    else:
        with pytest.raises(errors.LimitError, match=r"max_(side|pixels)="):
            DEFAULT_LIMITS.check_picture(width, height)


def test_file_limit_is_inclusive():
    DEFAULT_LIMITS.check_file_bytes(MAX_FILE_BYTES)
    with pytest.raises(errors.LimitError, match=f"file of {MAX_FILE_BYTES + 1} bytes"):
        DEFAULT_LIMITS.check_file_bytes(MAX_FILE_BYTES + 1)


def test_pixel_limit_is_the_one_of_pillow():
    from PIL import Image

    assert MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("name", Limits.__slots__)
def test_a_limit_is_at_least_one(name):
    assert getattr(Limits(**{name: 1}), name) == 1
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        Limits(**{name: 0})
