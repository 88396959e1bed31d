"""Weights files: reading them, naming them, and refusing them when anything is wrong.

A model is a folder with `decoder.safetensors` (integers; normative; its SHA-256 names the model),
`encoder.safetensors` (float g_a, h_a and gains, which only choose symbols) and `manifest.json`
with the SHA-256 of both.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ..format.errors import ModelIntegrityError, ModelNotFoundError
from .config import SCALE_LEVELS, ModelConfig
from .entropy import Table, make_tables

DECODER_FILE = "decoder.safetensors"
ENCODER_FILE = "encoder.safetensors"
MANIFEST_FILE = "manifest.json"
DEFAULT_MODEL = Path(__file__).parent / "weights"
MODEL_ID_BYTES = 8
#: Types in the decoder file by the last part of a tensor's name. Bounds are computed in int64,
#: which holds them because no weight has more than 16 bits.
DECODER_TYPES = {
    "weight": torch.int16,
    "bias": torch.int32,
    "shift": torch.int8,
    "low": torch.int32,
    "high": torch.int32,
    "inverse_gain": torch.int32,
    "frequency": torch.int32,
    "reach": torch.int16,
    "canary": torch.int32,
}


@dataclass(frozen=True)
class Weights:
    """One model as read from its folder, every tensor checked for type and range."""

    cfg: ModelConfig
    model_id: bytes  # the first 8 bytes of the SHA-256 of the decoder file
    decoder: dict[str, Tensor]
    encoder: dict[str, Tensor]
    y_tables: list[Table]  # table t serves index t + 1
    z_tables: list[Table]  # one a channel
    canary: tuple[int, int]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelNotFoundError(
            f"cannot read {path}: {error.strerror}; name a folder that `aec train export` wrote"
        ) from error


def _tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelIntegrityError(f"{path} is no safetensors file: {error}") from error


def _config(manifest: dict[str, object]) -> ModelConfig:
    try:
        config = manifest["config"]
        if not isinstance(config, dict):
            raise TypeError("not an object")
        if not all(type(value) is int and 0 <= value < 2**16 for value in config.values()):
            raise TypeError("not all values are small integers")
        return ModelConfig(**config)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelIntegrityError(f"the manifest's config does not fit: {error}") from error


def load_weights(folder: Path | None = None) -> Weights:
    """Reads a model folder, by default the one in the package.

    Raises ModelNotFoundError when a file cannot be read and ModelIntegrityError when a digest,
    a shape, a type or a range is wrong.
    """
    folder = folder or DEFAULT_MODEL
    try:
        manifest = json.loads(_read(folder / MANIFEST_FILE))
        digests = {name: str(manifest["sha256"][name]) for name in (DECODER_FILE, ENCODER_FILE)}
        if len(manifest["sha256"]) != len(digests):
            raise ValueError(f"digests of {sorted(manifest['sha256'])}")
    except (ValueError, KeyError, TypeError) as error:
        raise ModelIntegrityError(f"{folder / MANIFEST_FILE}: {error!r}") from error
    contents = {}
    for name, expected in digests.items():
        contents[name] = _read(folder / name)
        found = hashlib.sha256(contents[name]).hexdigest()
        if found != expected:
            raise ModelIntegrityError(
                f"{folder / name} has SHA-256 {found}, its manifest says {expected}; reinstall it"
            )
    decoder = _tensors(contents[DECODER_FILE], folder / DECODER_FILE)
    encoder = _tensors(contents[ENCODER_FILE], folder / ENCODER_FILE)
    for name, tensor in decoder.items():
        expected_type = DECODER_TYPES.get(name.rpartition(".")[2])
        if tensor.dtype != expected_type:
            raise ModelIntegrityError(
                f"decoder tensor {name} is {tensor.dtype}, expected {expected_type}"
            )
    for name, tensor in encoder.items():
        if tensor.dtype != torch.float32 or not bool(torch.isfinite(tensor).all()):
            raise ModelIntegrityError(f"encoder tensor {name} is not finite float32")
    cfg = _config(manifest)
    try:
        tables = {
            name: make_tables(
                decoder[f"entropy.{name}.frequency"].numpy().astype(np.int64),
                decoder[f"entropy.{name}.reach"].numpy().astype(np.int64),
            )
            for name in ("y", "z")
        }
        first, second = (int(crc) & 0xFFFFFFFF for crc in decoder["canary"].tolist())
    except KeyError as error:
        raise ModelIntegrityError(f"the decoder file lacks tensor {error}") from None
    except (TypeError, ValueError) as error:
        raise ModelIntegrityError(f"the decoder file's canary: {error}") from None
    if len(tables["y"]) != SCALE_LEVELS - 1 or len(tables["z"]) != cfg.n_z:
        raise ModelIntegrityError(
            f"{len(tables['y'])} and {len(tables['z'])} entropy tables, "
            f"expected {SCALE_LEVELS - 1} and {cfg.n_z}"
        )
    return Weights(
        cfg=cfg,
        model_id=bytes.fromhex(digests[DECODER_FILE])[:MODEL_ID_BYTES],
        decoder=decoder,
        encoder=encoder,
        y_tables=tables["y"],
        z_tables=tables["z"],
        canary=(first, second),
    )
