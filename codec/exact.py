"""The settings under which float kernels are exact on integers, and the check that they are."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .config import SCALES, STEP_XOR
from .decoder import new_y_hat, place

if TYPE_CHECKING:
    from .decoder import Decoder

CANARY_SIDE = 2  # z cells; 128 px of picture
CANARY_QUALITY = 128


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Runs float32 as IEEE float32 whatever the host program asked for, and restores its wishes.

    Autocast, TF32 and bf16 matrix modes round the operands; NNPACK convolves by Winograd and FFT,
    which is inexact on integers. The modes are settings of the process, so a thread that changes
    them during a call can still break it; the checks of symbols then say so.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        for device in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(_process_modes())
        yield


_lock = threading.Lock()
_users = 0
_wishes = ExitStack()  # puts the host's settings back


@contextmanager
def _process_modes() -> Iterator[None]:
    """Holds the process's modes while any thread needs them: the last to leave restores them."""
    global _users
    with _lock:
        if not _users:
            _wishes.enter_context(torch.backends.nnpack.flags(enabled=False))
            for get, set, value in _modes():
                _wishes.callback(set, get())
                set(value)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _wishes.close()


Mode = tuple[Callable[[], Any], Callable[[Any], None], Any]


def _modes() -> list[Mode]:
    """The process-wide switches that let kernels round float32 operands: get, set, exact value."""
    cuda: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    mkldnn: Any = torch.backends.mkldnn
    if not hasattr(mkldnn, "matmul"):  # before torch 2.9 one switch served matrices everywhere
        get, set = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
        return [(get, set, "highest"), _attribute(cudnn, "allow_tf32", False)]
    holders = (cuda, cudnn.conv, mkldnn.matmul, mkldnn.conv)
    return [_attribute(holder, "fp32_precision", "ieee") for holder in holders]


def _attribute(holder: Any, name: str, value: Any) -> Mode:
    return partial(getattr, holder, name), partial(setattr, holder, name), value


def canary(decoder: Decoder) -> tuple[int, int]:
    """CRC-32 of the symbols' parameters and of the pixels that a fixed latent gives, about 10 ms.

    The latent comes from a linear congruential generator, x -> 1664525 x + 1013904223 mod 2^32.
    """
    state = np.uint64(1)
    cfg = decoder.cfg

    def draw(*shape: int) -> torch.Tensor:
        nonlocal state
        count = int(np.prod(shape))
        values = np.empty(count, dtype=np.int64)
        x = int(state)
        for i in range(count):
            x = (1664525 * x + 1013904223) % 2**32
            values[i] = x >> 24
        state = np.uint64(x)
        # small numbers, most of them zero, as in a picture
        values = np.where(values < 192, 0, values - 224)
        return torch.from_numpy(values.reshape(shape)).to(decoder.device, torch.float32)

    z_hat = draw(CANARY_SIDE, CANARY_SIDE, cfg.n_z)
    # one pattern of residuals serves all steps
    residual = draw(4, 2 * CANARY_SIDE, 2 * CANARY_SIDE, cfg.m // 4) / 8
    residual = residual.floor()
    feature = decoder.features(z_hat, CANARY_QUALITY)
    y_hat = new_y_hat(feature, cfg.m)
    symbols = 0
    for step in range(len(STEP_XOR)):
        mu, index = decoder.step(step, feature, y_hat)
        symbols = zlib.crc32(index.cpu().numpy().tobytes(), symbols)
        symbols = zlib.crc32(mu.cpu().numpy().astype("<i4").tobytes(), symbols)
        place(y_hat, step, mu, residual)
    pixels = 0
    for scale in SCALES:
        picture = decoder.synthesis(y_hat, CANARY_QUALITY, scale)
        pixels = zlib.crc32(picture.cpu().numpy().tobytes(), pixels)
    return symbols, pixels
