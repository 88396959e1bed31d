"""A folder with a small model in it, for tests that load, change or damage one."""

import atexit
import functools
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import random_weights
import safetensors.torch
import torch

import aec
from aec.codec.config import ModelConfig
from aec.codec.loading import DECODER_FILE, ENCODER_FILE, MANIFEST_FILE, pack_encoder
from aec.codec.model import Model

Tensors = dict[str, torch.Tensor]


def small_config() -> ModelConfig:
    return ModelConfig(**random_weights.SMALL_CONFIG, g_a_blocks8=1, g_a_blocks16=1, knots=3)


class Folder:
    """A folder with a small model in it, made to be damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tensors(self, file: str) -> Tensors:
        return safetensors.torch.load((self.path / file).read_bytes())

    def manifest(self) -> Any:
        return json.loads((self.path / MANIFEST_FILE).read_text(encoding="utf-8"))

    def write(self, file: str, content: Tensors | bytes) -> None:
        """Replaces a file of tensors, and its digest in the manifest."""
        data = content if isinstance(content, bytes) else safetensors.torch.save(content)
        (self.path / file).write_bytes(data)
        manifest = self.manifest()
        manifest["sha256"][file] = hashlib.sha256(data).hexdigest()
        self.write_manifest(manifest)

    def write_manifest(self, manifest: Any) -> None:
        (self.path / MANIFEST_FILE).write_text(json.dumps(manifest), encoding="utf-8")

    def load(self) -> aec.Codec:
        return aec.Codec(device="cpu", model=self.path)


def sound(path: Path) -> Folder:
    """A new folder with a model that loads."""
    shutil.copytree(_sound(), path)
    return Folder(path)


@functools.cache
def _sound() -> Path:
    made = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, made)
    folder = Folder(made)
    folder.write_manifest({"config": small_config().as_dict(), "sha256": {}})
    decoder = random_weights.random_tensors(np.random.default_rng(3))
    folder.write(DECODER_FILE, {name: torch.from_numpy(t) for name, t in decoder.items()})
    torch.manual_seed(0)
    state = Model(small_config()).state_dict()
    names = ("g_a.", "h_a.", "log_gain.")
    encoder = {k: v for k, v in state.items() if k.startswith(names)}
    folder.write(ENCODER_FILE, pack_encoder(encoder))
    return made


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 90, 3)).astype(np.uint8)
