"""What export costs: the integer model against the float model that it came from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .. import coding
from ..api import Codec, _padded, quality_index
from ..exact import exact_arithmetic
from ..model import Model, ste_round
from .export import FloatDecoder


class Cost(NamedTuple):
    """Integer against float, means over pictures and qualities."""

    bits: float  # ratio of coded sizes
    psnr: float  # difference in dB
    seconds: float  # ratio of the time of h_s, context and g_s


def _psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return 10 * math.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2))


def _median_seconds(call: Callable[[], object], repeat: int = 3) -> float:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def compare(
    model: Model, codec: Codec, pictures: list[NDArray[np.uint8]], qualities: list[float]
) -> Cost:
    """Codes pictures with both, with the same tables and the same float encoder.

    The float decoder that is timed is the trained model itself in float32, as a program without
    exactness would run it; the one that is measured for rate and PSNR runs in float64.
    """
    model = model.cpu().float().eval()
    floats = FloatDecoder(model)
    weights, exact = codec._weights, codec._decoder
    bits, psnr, seconds = [], [], []
    for picture in pictures:
        height, width = picture.shape[:2]
        for quality in map(quality_index, qualities):
            x = _padded(picture, exact.device)
            sizes, quality_db = [], []
            for decoder in (floats, exact):
                with exact_arithmetic():
                    y, z = codec._encoder.latents(x, quality)
                    side = coding.EncoderSide(y, z, weights.y_tables, weights.z_tables)
                    y_hat, _ = coding.walk(decoder, side, quality, height, width)
                    out = decoder.synthesis(y_hat, quality)[:height, :width].numpy()
                sizes.append(len(side.coder.finish()))
                quality_db.append(_psnr(out, picture))
            bits.append(sizes[1] / sizes[0])
            psnr.append(quality_db[1] - quality_db[0])
        with torch.inference_mode():
            q = torch.tensor([quality / 255])
            y_float, z_float = model.analysis(x, q), z[None]

            def run_float(y: torch.Tensor = y_float, z: torch.Tensor = z_float) -> None:
                model.synthesis(model.predict(y, ste_round(z), q)[0], q)

            def run_exact(z: torch.Tensor = z) -> None:
                feature = exact.features(z.permute(1, 2, 0).contiguous(), quality)
                y_hat = coding.new_y_hat(feature, exact.cfg.m)
                for step in range(4):
                    mu, _ = exact.step(step, feature, y_hat)
                    coding.place(y_hat, step, mu, torch.zeros_like(mu))
                exact.synthesis(y_hat, quality)

            with exact_arithmetic():
                z = ste_round(z)
                seconds.append(_median_seconds(run_exact) / _median_seconds(run_float))
    return Cost(float(np.mean(bits)), float(np.mean(psnr)), float(np.median(seconds)))
