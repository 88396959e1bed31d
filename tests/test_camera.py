"""Training crops as a camera would have given them: grain, and colour of half the resolution."""

from __future__ import annotations

import numpy as np

from aec.codec.training.data import LUMA, CropSampler, as_taken


def test_a_camera_s_grain_and_colour_come_as_often_as_asked() -> None:
    x = np.mgrid[:64, :64][1]
    stripes = np.where((x % 2)[..., None], (150, 100, 60), (90, 100, 140)).astype(np.uint8)
    red = np.array((1, 0, 0)) - np.array(LUMA)
    plain, soft, grainy = 0, 0, []
    random = np.random.default_rng(0)
    for _ in range(400):
        values = as_taken(stripes, 0.3, random).astype(float)
        assert abs(values.mean((0, 1)) - stripes.mean((0, 1))).max() < 1
        brightness = values @ LUMA
        rest = brightness[:, 8:-8:2].std()  # of stripes that were all alike
        if rest > 0.1:
            grainy.append(rest)
        colour = (values @ red)[:, ::2].mean() - (values @ red)[:, 1::2].mean()
        soft += abs(colour) < 5
        plain += np.array_equal(values, stripes)
    assert 0.22 < soft / 400 < 0.38
    assert 0.22 < len(grainy) / 400 < 0.38
    assert 0.4 < plain / 400 < 0.6  # 0.49 expected
    assert min(grainy) < 0.9 and 2.0 < max(grainy) < 2.8
    assert as_taken(stripes[:63, :61], 1.0, random).shape == (63, 61, 3)


def test_crops_are_as_a_camera_s_but_never_graphics() -> None:
    gray = np.full((80, 80, 3), 90, np.uint8)
    for camera in (0.0, 1.0):
        sampler = CropSampler([gray], crop=64, seed=1, camera=camera)
        assert bool(sampler.batch(4, 0).std() > 0.3) == bool(camera)
        graphics = CropSampler([gray], crop=64, seed=1, graphics=[gray], share=1.0, camera=camera)
        assert (graphics.batch(4, 0) == 90).all()
