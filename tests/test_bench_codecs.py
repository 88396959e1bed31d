"""The codecs of the benchmark: their files are those of their packages, used directly."""

import io
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from aec.bench import codecs, rd, runs
from aec.bench.codecs import MissingCodecError
from aec.bench.metrics import psnr

TESTS = Path(__file__).parent


def pillow_has(feature: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not features.check(feature), reason=f"this Pillow has no {feature}")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    with Image.open(TESTS / "images" / "astronaut.png") as image:
        return image.convert("RGB").crop((150, 30, 271, 111))  # odd sides


def plugin(name: str, module: str) -> codecs.BenchCodec:
    pytest.importorskip(module)
    return codecs.make(name)


def direct(picture: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("webp", {"format": "WEBP", "quality": 40, "method": 6}),
        pytest.param(
            "avif",
            {"format": "AVIF", "quality": 40, "speed": 6, "subsampling": "4:4:4"},
            marks=pillow_has("avif"),
        ),
        pytest.param(
            "avif-slow",
            {"format": "AVIF", "quality": 40, "speed": 2, "subsampling": "4:4:4"},
            marks=pillow_has("avif"),
        ),
        pytest.param(
            "jp2",
            {
                "format": "JPEG2000",
                "irreversible": True,
                "mct": 1,
                "quality_mode": "rates",
                "quality_layers": [40],
            },
            marks=pillow_has("jpg_2000"),
        ),
    ],
)
def test_files_are_those_of_pillow(name: str, options: Any, photo: Image.Image) -> None:
    codec = codecs.make(name)
    assert codec.name == name
    data = direct(photo, **options)
    assert codec.encode(photo, 40) == codec.prepare(photo, 40)() == data
    expected = Image.open(io.BytesIO(data)).convert("RGB").tobytes()
    assert codec.decode(data).convert("RGB").tobytes() == expected


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("jpeg", {"optimize": True, "progressive": True}),
        ("webp", {"method": 6}),
        pytest.param("avif", {"speed": 6, "subsampling": "4:4:4"}, marks=pillow_has("avif")),
    ],
)
def test_bytes_that_count_are_those_of_a_file(
    name: str, options: dict[str, Any], tmp_path: Path, photo: Image.Image
) -> None:
    pictures = {"a.png": photo.copy(), "b.png": photo.convert("L")}
    for file, picture in pictures.items():
        picture.info.clear()  # a profile would count
        picture.save(tmp_path / file)
    codec = codecs.make(name)
    codec.settings = (30, 60)  # where the better JPEG of this picture has half the colours
    points = rd.run(runs.find_pictures(tmp_path), [codec]).points[name]
    assert [(point.image, point.setting) for point in points] == [
        (file, setting) for file in pictures for setting in codec.settings
    ]
    for key, value in options.items():
        assert f"{key}={value}" in codec.description
    for point in points:
        picture = pictures[point.image]
        saved = tmp_path / f"{point.image}.{name}"
        picture.save(saved, quality=int(point.setting), **options)
        assert point.bytes == saved.stat().st_size
        assert point.bpp == 8 * point.bytes / (photo.width * photo.height)


@pytest.mark.parametrize("effort", [7, 9])
def test_files_are_those_of_the_jxl_plugin(effort: int, photo: Image.Image) -> None:
    codec = plugin("jxl" if effort == 7 else "jxl-slow", "pillow_jxl")
    data = codec.encode(photo, 40)
    assert data == direct(photo, format="JXL", quality=40, effort=effort)
    assert psnr(np.asarray(photo), np.asarray(codec.decode(data).convert("RGB"))) > 25


def test_jxl_never_keeps_the_jpeg_that_a_picture_came_from(
    tmp_path: Path, photo: Image.Image
) -> None:
    codec = plugin("jxl", "pillow_jxl")
    photo.save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        image.load()
        assert len(codec.encode(image, 15)) < (tmp_path / "a.jpg").stat().st_size / 3


def test_files_are_those_of_pillow_heif(photo: Image.Image) -> None:
    codec = plugin("heic", "pillow_heif")
    data = codec.encode(photo, 40)
    assert data == direct(photo, format="HEIF", quality=40, chroma=444)
    assert psnr(np.asarray(photo), np.asarray(codec.decode(data).convert("RGB"))) > 25


def test_jpeg_is_the_better_one_of_half_and_full_colours(photo: Image.Image) -> None:
    stripes = np.zeros((80, 120, 3), np.uint8)
    stripes[:, ::3] = (255, 0, 40)
    stripes[:, 1::3] = (0, 90, 200)
    for picture, full_wins in ((photo, False), (Image.fromarray(stripes), True)):

        def fixed(
            subsampling: str, quality: int, picture: Image.Image = picture
        ) -> tuple[int, float, bytes]:
            options = {"format": "JPEG", "optimize": True, "progressive": True}
            data = direct(picture, quality=quality, subsampling=subsampling, **options)
            assert codecs.Jpeg(subsampling).encode(picture, quality) == data
            with Image.open(io.BytesIO(data)) as image:
                return len(data), psnr(np.asarray(picture), np.asarray(image)), data

        full = [fixed("4:4:4", quality) for quality in range(1, 96)]
        for quality in (30, 60, 95):
            half = fixed("4:2:0", quality)
            fitting = [row for row in full if row[0] <= half[0]]
            found = codecs.Jpeg().encode(picture, quality)
            assert (max(row[1] for row in fitting) > half[1]) == full_wins
            assert (found in [row[2] for row in fitting[-3:]]) == full_wins
            assert (found == half[2]) != full_wins


@pytest.mark.parametrize("name", [name for name in codecs.CODECS if not name.startswith("aec")])
def test_gray_pictures_and_other_processes(name: str, photo: Image.Image) -> None:
    try:
        codec = codecs.make(name)
    except MissingCodecError as error:
        pytest.skip(str(error))
    codec = pickle.loads(pickle.dumps(codec))
    point = rd.measure(codec, photo.convert("L"), "x", codec.settings[len(codec.settings) // 2])
    assert point.psnr > 20


def test_sequence_of_settings_is_one_of_rates(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "a.png")
    made = [c for c in codecs.make_all(None) if c.name not in ("aec", "avif-slow", "jxl-slow")]
    result = rd.run(runs.find_pictures(tmp_path), made)
    for codec in made:
        rates = [point.bytes for point in result.points[codec.name]]
        assert rates == sorted(rates), codec.name


def test_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingCodecError, match=r"heic needs .* pip install 'aec-codec\[bench\]'"):
        codecs.make("heic")
    with pytest.raises(MissingCodecError, match=r"jxl needs the package pillow-jxl-plugin"):
        codecs.make_all(["jpeg", "jxl"])
    names = [codec.name for codec in codecs.make_all(None, device="cpu")]
    assert names[:3] == ["aec", "jpeg", "webp"]
    assert not {"jxl", "jxl-slow", "heic"} & set(names)


def test_missing_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda feature: feature != "avif")
    with pytest.raises(MissingCodecError, match="this Pillow was built without AVIF"):
        codecs.make("avif")
    with pytest.raises(ValueError, match="'gif' is none of aec, aec-slow, jpeg"):
        codecs.make("gif")
