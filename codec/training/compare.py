"""What export costs: the integer model against the float model that it came from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import coding
from ..api import Codec
from ..config import QUALITY_LEVELS, STEP_XOR
from ..decoder import Decoder, new_y_hat, place
from ..distortion import Distortion
from ..encoder import padded
from ..encoding import quality_index
from ..engine import Parts
from ..exact import exact_arithmetic
from ..model import Model, ste_round
from .floats import FloatDecoder


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
    parts = codec.parts()
    bits, psnr, seconds = [], [], []
    for picture in pictures:
        for quality in map(quality_index, qualities):
            with exact_arithmetic():
                y = parts.encoder.analysis(padded(picture, parts.device), quality)
                z = parts.encoder.hyper_analysis(y, quality)
                size, db = _code(parts, floats, y, z, picture, quality)
                exact_size, exact_db = _code(parts, parts.decoder, y, z, picture, quality)
                bits.append(exact_size / size)
                psnr.append(exact_db - db)
                seconds.append(_time_ratio(model, parts.decoder, y, ste_round(z), quality))
    return Cost(float(np.mean(bits)), float(np.mean(psnr)), float(np.median(seconds)))


def _code(
    parts: Parts,
    networks: Decoder | FloatDecoder,
    y: Tensor,
    z: Tensor,
    picture: NDArray[np.uint8],
    quality: int,
) -> tuple[int, float]:
    """Bytes and PSNR of a picture through one of the decoders."""
    height, width = picture.shape[:2]
    counts = Distortion(padded(picture, parts.device) * 255).along(parts.decoder.energies)[0]
    side = parts.encoder_side(y, z, quality, counts)
    y_hat, _ = coding.walk(networks, side, quality, height, width)
    pixels = networks.synthesis(y_hat, quality)[:height, :width].numpy()
    return len(side.coder.finish()), _psnr(pixels, picture)


def _time_ratio(model: Model, exact: Decoder, y: Tensor, z_hat: Tensor, quality: int) -> float:
    """Seconds of all decoder networks, integer over float."""
    q = torch.tensor([quality / (QUALITY_LEVELS - 1)])
    y_planes = y.permute(2, 0, 1)[None].contiguous()

    def run_float() -> None:
        y_hat, *_ = model.predict(y_planes, z_hat[None], q)
        model.synthesis(y_hat, q)

    def run_exact() -> None:
        feature = exact.features(z_hat.permute(1, 2, 0).contiguous(), quality)
        y_hat = new_y_hat(feature, exact.cfg.m)
        for step in range(len(STEP_XOR)):
            mu, _ = exact.step(step, feature, y_hat)
            place(y_hat, step, mu, torch.zeros_like(mu))
        exact.synthesis(y_hat, quality)

    return _median_seconds(run_exact) / _median_seconds(run_float)
