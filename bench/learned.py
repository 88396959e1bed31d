"""Learned codecs of CompressAI, to time beside this one: random weights, so that no file is worth
anything, and all layers, entropy coding included, at the sizes that were published.
"""

from __future__ import annotations

import pickle
from importlib import import_module
from importlib.metadata import version

import numpy as np
import torch
from PIL import Image

from .codecs import BenchCodec, MissingCodecError

__all__ = ["LEARNED", "CompressAi"]

LEARNED = ("mbt2018-mean", "cheng2020-anchor")

CELL = 64  # the models take sides that are multiples of it


class CompressAi(BenchCodec):
    """A model of CompressAI's zoo on the CPU; the setting is the quality that says how large it is,
    from 1 to 6.
    """

    def __init__(self, name: str, quality: int = 4) -> None:
        """Raises MissingCodecError where CompressAI is missing."""
        try:
            zoo = import_module("compressai.zoo")
        except ImportError as error:
            raise MissingCodecError(
                f"{name} needs the package compressai: pip install 'aec-codec[train]'"
            ) from error
        self.name = name
        self.settings = (quality,)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = getattr(zoo, name.replace("-", "_"))(quality=quality).eval()
        self.model.update(force=True)
        self.description = f"{name} of CompressAI {version('compressai')}, random weights, cpu"
        self.identity = self.description

    @torch.inference_mode()
    def encode(self, picture: Image.Image, setting: float) -> bytes:
        samples = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None] / 255
        width, height = picture.size
        padding = (0, -width % CELL, 0, -height % CELL)
        found = self.model.compress(torch.nn.functional.pad(samples, padding))
        return pickle.dumps((picture.size, found["strings"], tuple(found["shape"])))

    @torch.inference_mode()
    def decode(self, data: bytes) -> Image.Image:
        (width, height), strings, shape = pickle.loads(data)
        samples = self.model.decompress(strings, shape)["x_hat"][0, :, :height, :width]
        pixels = (samples.clamp(0, 1) * 255).round().to(torch.uint8)
        return Image.fromarray(pixels.permute(1, 2, 0).numpy())
