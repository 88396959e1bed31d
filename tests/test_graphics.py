"""Generated graphics among the training pictures."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from torch import Tensor

from aec.codec.config import ModelConfig
from aec.codec.training.data import CropSampler
from aec.codec.training.graphics import KINDS, make_graphics

pytestmark = pytest.mark.skipif(
    not features.check("freetype2"), reason="Pillow lacks FreeType, and so letters of any size"
)


@pytest.fixture(scope="module")
def graphics() -> list[np.ndarray]:
    return make_graphics(40, side=128, seed=5)


def test_graphics_depend_on_the_seed_and_their_number_alone(graphics: list[np.ndarray]) -> None:
    again = make_graphics(6, side=128, seed=5)
    other = make_graphics(6, side=128, seed=6)
    for n in range(6):
        assert np.array_equal(graphics[n], again[n])
        assert not np.array_equal(graphics[n], other[n])


def test_graphics_are_pictures_of_the_side_asked_for(graphics: list[np.ndarray]) -> None:
    for picture in [*graphics, *make_graphics(8, side=100, seed=1)]:
        assert picture.shape in {(128, 128, 3), (100, 100, 3)}
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_drawn_at_every_side(kind) -> None:
    shown = []
    for n, side in enumerate((64, 97, 160, 64, 97, 160)):
        picture = kind(np.random.default_rng(n), side)
        assert picture.shape == (side, side, 3)
        assert picture.dtype == np.uint8
        shown.append(picture)
    assert max(int(np.ptp(picture)) for picture in shown) > 100


def test_graphics_vary_and_have_sharp_edges(graphics: list[np.ndarray]) -> None:
    assert len({round(float(picture.mean())) for picture in graphics}) > 25
    steps = [np.abs(np.diff(picture.astype(int), axis=1)).max() for picture in graphics]
    assert sum(step > 100 for step in steps) > 30
    # and not alike in how much of them is edges
    shares = [np.mean(np.abs(np.diff(p.astype(int), axis=1)).max(-1) > 60) for p in graphics]
    assert min(shares) < 0.03
    assert max(shares) > 0.3


def test_the_share_of_graphics_is_as_asked() -> None:
    photographs = [np.zeros((80, 100, 3), np.uint8)]
    drawn = [np.full((80, 80, 3), 100 + n, np.uint8) for n in range(4)]
    sampler = CropSampler(photographs, crop=64, seed=2, graphics=drawn, share=0.25)
    crops = np.concatenate([sampler.batch(10, step) for step in range(60)])
    values = crops[:, 0, 0, 0]
    assert 0.2 < np.mean(values > 0) < 0.3
    assert set(values.tolist()) == {0, 100, 101, 102, 103}
    assert np.array_equal(sampler.batch(10, 7), crops[70:80])


def test_graphics_are_never_scaled() -> None:
    y, x = np.mgrid[:200, :200]
    checks = np.repeat(255 * ((x + y) % 2)[..., None], 3, axis=2).astype(np.uint8)
    sampler = CropSampler([checks], crop=64, seed=0, graphics=[checks], share=1.0)
    crops = np.concatenate([sampler.batch(8, step) for step in range(5)])
    assert set(np.unique(crops).tolist()) == {0, 255}


def test_without_graphics_the_crops_are_what_they_always_were() -> None:
    """Or a run begun without them would not go on where it ended."""
    random = np.random.default_rng(0)
    sides = ((96, 64), (70, 200), (150, 90))
    photographs = [random.integers(0, 256, (*side, 3), dtype=np.uint8) for side in sides]
    plain = CropSampler(photographs, crop=64, seed=3)
    none = CropSampler(photographs, crop=64, seed=3, graphics=photographs, share=0.0)
    for step in range(5):
        assert np.array_equal(plain.batch(4, step), none.batch(4, step))
    assert zlib.crc32(plain.batch(16, 5).tobytes()) == 2993558327


def test_a_share_of_no_graphics_is_refused() -> None:
    with pytest.raises(ValueError, match="but there are none"):
        CropSampler([np.zeros((64, 64, 3), np.uint8)], crop=64, seed=0, share=0.1)


@pytest.mark.filterwarnings("ignore")  # of compressai and what it imports
def test_a_run_learns_from_graphics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("compressai", reason="needs the extra `train`")
    from aec.codec.training.trainer import Options, Trainer

    tiny = ModelConfig(
        m=16, n_z=8, c8=8, c16=12, g_a_blocks8=1, g_a_blocks16=1, g_s_blocks16=1, g_s_blocks8=1,
        c_h=12, c_ctx=12, ctx_blocks=1, knots=3,
    )  # fmt: skip
    for n in range(2):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{n}.png")
    options = Options([tmp_path], tmp_path / "x.safetensors", steps=1, batch=2, crop=64)
    options.sizes = tiny.as_dict()
    for share, said in ((0.0, "0 generated"), (1.0, "2 generated")):
        options.graphics = share
        run = Trainer(options)
        seen: list[Tensor] = []
        step = run.train_step
        run.train_step = lambda batch, seen=seen, step=step: seen.append(batch) or step(batch)
        run.run()
        assert said in capsys.readouterr().err
        coloured = [bool(crop.any()) for batch in seen for crop in batch]
        assert all(coloured) if share == 1 else not all(coloured)
