"""Pictures that are hard to code: the set itself, and that aec breaks none of the usual kinds."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import aec
from aec.bench import hard
from aec.bench.metrics import psnr

TESTS = Path(__file__).parent
aec_run = runpy.run_path(str(TESTS / "running.py"))["aec_run"]

SIZES = {
    "text": (512, 384),
    "text_on_black": (384, 320),
    "text_coloured": (512, 384),
    "text_gray": (384, 320),
    "screenshot": (512, 384),
    "line_art": (448, 384),
    "plan": (384, 384),
    "checks_1": (256, 256),
    "checks_2": (256, 256),
    "stripes": (256, 256),
    "primaries": (256, 256),
    "zone_plate": (384, 384),
    "dithered": (320, 256),
    "noise": (128, 128),
    "gradients": (512, 384),
    "flat": (256, 256),
    "texture_gray": (384, 256),
    "dark": (256, 256),
    "bright": (256, 256),
    "strip": (3, 200),
}


@pytest.mark.parametrize("name", SIZES)
def test_pictures_are_the_same_each_time(name: str) -> None:
    one, two = hard.PICTURES[name](), hard.PICTURES[name]()
    assert one.tobytes() == two.tobytes()
    assert one.size == SIZES[name]
    assert one.mode == ("L" if name.endswith("gray") else "RGB")
    assert np.ptp(np.asarray(one)) > 0


def test_names() -> None:
    assert len(hard.DRAWN) == len(hard.PICTURES)  # no name stands for two
    assert list(hard.PICTURES) == list(SIZES)


def test_patterns_are_what_they_are_called() -> None:
    checks = np.asarray(hard.checks_1())[..., 0]
    assert np.array_equal(checks, 255 - np.roll(checks, 1, axis=0))
    assert np.array_equal(checks, 255 - np.roll(checks, 1, axis=1))
    assert set(np.unique(np.asarray(hard.dithered()))) == {0, 255}
    assert np.asarray(hard.dark()).max() < 16 and np.asarray(hard.bright()).min() > 239
    colours = np.unique(np.asarray(hard.primaries()).reshape(-1, 3), axis=0)
    assert set(map(tuple, colours.tolist())) == set(hard.PRIMARIES)


def test_command_writes_what_rd_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: hard.PICTURES[name] for name in ("text_gray", "strip")}
    monkeypatch.setattr(hard, "PICTURES", few)
    folder = tmp_path / "new" / "pictures"
    assert aec_run("bench", "pictures", folder).stdout == f"2 pictures in {folder}\n"
    for name, draw in few.items():
        with Image.open(folder / f"{name}.png") as image:
            assert (image.mode, image.tobytes()) == (draw().mode, draw().tobytes())
    done = aec_run("bench", "rd", folder, "--codecs", "webp", "--no-cache")
    assert "means over 2 of 2 pictures" in done.stdout
    done = aec_run("bench", "pictures", folder, code=1)
    assert "text_gray.png exists; replace it with --force" in done.stderr
    aec_run("bench", "pictures", folder, "--force")
    done = aec_run("bench", "pictures", folder / "strip.png" / "x", code=1)
    assert "cannot write to" in done.stderr


def photo() -> Image.Image:
    with Image.open(TESTS / "images" / "astronaut.png") as image:
        return image.convert("RGB")


PARTS = {
    # Each floor lies some 3 dB below what is reached, and a broken picture far below the floor.
    "text": (hard.text, (0, 0, 160, 96), (14, 23, 27)),
    "screenshot": (hard.screenshot, (250, 140, 410, 268), (19, 26, 30)),
    "text_gray": (hard.text_gray, (0, 0, 160, 96), (16, 25, 29)),
    "stripes": (hard.stripes, (0, 0, 128, 128), (9, 22, 32)),
    # fine detail in colour alone
    "text_coloured": (hard.text_coloured, (0, 0, 160, 96), (12, 20, 30)),
    "primaries": (hard.primaries, (0, 0, 128, 128), (14, 23, 33)),
    "checks_2": (hard.checks_2, (0, 0, 128, 128), (7, 14, 23)),
    "noise": (hard.noise, (0, 0, 128, 128), (9, 17, 26)),
    "flat": (hard.flat, (60, 60, 188, 188), (35, 41, 46)),
    "photo": (photo, (170, 60, 298, 188), (23, 28, 34)),
}
QUALITIES = (10, 50, 90)


@pytest.mark.parametrize("name", PARTS)
def test_nothing_breaks(name: str) -> None:
    draw, box, floors = PARTS[name]
    picture = draw().crop(box)
    sizes = []
    for quality, floor in zip(QUALITIES, floors, strict=True):
        data = aec.compress(picture, quality=quality, device="cpu")
        decoded = aec.decompress(data, device="cpu")
        assert (decoded.mode, decoded.size) == (picture.mode, picture.size)
        one, other = (np.asarray(image.convert("RGB")) for image in (picture, decoded))
        assert psnr(one, other) > floor
        error = one.astype(float) - other
        assert np.abs(error.mean(axis=(0, 1))).max() < 8  # brightness and colour on the whole
        sizes.append(len(data))
    assert sizes == sorted(sizes)


def test_bytes_never_fall_with_a_step_of_quality() -> None:
    sizes = [len(aec.compress(hard.flat(), quality=q, device="cpu")) for q in range(40, 61)]
    assert sizes == sorted(sizes)
