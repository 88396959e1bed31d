"""Weights files: reading them, naming them, and refusing them when anything is wrong.

A model is a folder with `decoder.safetensors` (integers; normative; its SHA-256 names the model),
`encoder.safetensors` (float g_a, h_a and gains, which only choose symbols) and `manifest.json`
with the SHA-256 of both; or one safetensors file whose tensors are the bytes of these three.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from ..format.errors import ModelIntegrityError, ModelNotFoundError
from .config import Z_BANDS, ModelConfig
from .entropy import Table, make_tables
from .layers import by_row
from .trellis import COLUMNS

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
#: Weights in the encoder file are whole numbers of 8 bits and a scale a row (`pack_encoder`).
INT8_MAX = 127
WEIGHT, SCALE = ".weight", ".scale"


@dataclass(frozen=True)
class Weights:
    """One model as read from its folder, every tensor checked for type and range."""

    cfg: ModelConfig
    model_id: bytes  # the first 8 bytes of the SHA-256 of the decoder file
    decoder: dict[str, Tensor]
    encoder: dict[str, Tensor]  # float32
    y_tables: list[Table]  # those of one lattice, then those of the other, see `trellis`
    z_tables: list[list[Table]]  # by band of qualities, one a channel
    canary: tuple[int, int]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelNotFoundError(
            f"cannot read {path}: {error.strerror}; name what `aec train export` wrote"
        ) from error


def is_model(path: Path) -> bool:
    """Whether the path is a folder or a single file as `aec train export` writes, by its names."""
    if not path.is_file():
        return path.is_dir()
    try:
        with safe_open(path, "pt") as file:
            return MANIFEST_FILE in file.keys()  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError):
        return False


def model_files(path: Path) -> dict[str, bytes]:
    """The bytes of a model's three files, by name, of a folder or of a single file.

    Raises ModelNotFoundError when one cannot be read and ModelIntegrityError for another file.
    """
    if path.is_dir() or not path.exists():
        return {name: _read(path / name) for name in (MANIFEST_FILE, DECODER_FILE, ENCODER_FILE)}
    tensors = _tensors(_read(path), path)
    names = {MANIFEST_FILE, DECODER_FILE, ENCODER_FILE}
    if tensors.keys() != names or any(t.dtype != torch.uint8 for t in tensors.values()):
        of_training = any(name.startswith("ema.") for name in tensors)
        what = "a checkpoint of training" if of_training else "something else"
        raise ModelIntegrityError(
            f"{path} is {what}, not a model: `aec train export` makes one of a checkpoint"
        )
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def write_model(files: Mapping[str, bytes], path: Path) -> None:
    """Writes a model's three files: into one if the name ends in .safetensors, or into a folder."""
    if path.suffix == ".safetensors":
        tensors = {k: torch.frombuffer(bytearray(v), dtype=torch.uint8) for k, v in files.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(save(tensors))
        return
    path.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (path / name).write_bytes(data)


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


def pack_encoder(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the encoder file has for float tensors: each `weight` (out, ...) as int8 with a `scale`
    (out,) beside it, as its rows are next to none the worse for that; all else in float32.
    """
    out = {}
    for name, tensor in tensors.items():
        if name.endswith(WEIGHT):
            rows = tensor.float().flatten(1)
            scale = (rows.abs().amax(1) / INT8_MAX).clamp(min=torch.finfo(torch.float32).tiny)
            whole = (rows / scale[:, None]).round().to(torch.int8)
            out[name] = whole.view_as(tensor).contiguous()
            out[name.removesuffix(WEIGHT) + SCALE] = scale
        else:
            out[name] = tensor.float().contiguous().clone()
    return out


def _unpack_encoder(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `pack_encoder`, but for the rounding; raises ModelIntegrityError."""
    out = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) + WEIGHT in tensors:
            continue
        if tensor.dtype == torch.int8 and name.endswith(WEIGHT):
            scale = tensors.get(name.removesuffix(WEIGHT) + SCALE, torch.zeros(0))
            if scale.shape != tensor.shape[:1]:
                raise ModelIntegrityError(f"encoder tensor {name} has no scale for each row")
            _check_float(name, scale)
            tensor = tensor.float() * by_row(scale, tensor)
        _check_float(name, tensor)
        out[name] = tensor
    return out


def _check_float(name: str, tensor: Tensor) -> None:
    if tensor.dtype != torch.float32 or not bool(torch.isfinite(tensor).all()):
        raise ModelIntegrityError(
            f"encoder tensor {name} is not finite float32; a model that another version of aec "
            "exported has to be exported again"
        )


def load_weights(model: Path | None = None) -> Weights:
    """Reads a model, a folder or a file, by default the one in the package.

    Raises ModelNotFoundError when a file cannot be read and ModelIntegrityError when a digest,
    a shape, a type or a range is wrong.
    """
    folder = model or DEFAULT_MODEL
    contents = model_files(folder)
    try:
        manifest = json.loads(contents[MANIFEST_FILE])
        digests = {name: str(manifest["sha256"][name]) for name in (DECODER_FILE, ENCODER_FILE)}
        if len(manifest["sha256"]) != len(digests):
            raise ValueError(f"digests of {sorted(manifest['sha256'])}")
    except (ValueError, KeyError, TypeError) as error:
        raise ModelIntegrityError(f"{folder / MANIFEST_FILE}: {error!r}") from error
    for name, expected in digests.items():
        found = hashlib.sha256(contents[name]).hexdigest()
        if found != expected:
            raise ModelIntegrityError(
                f"{folder / name} has SHA-256 {found}, its manifest says {expected}; reinstall it"
            )
    decoder = _tensors(contents[DECODER_FILE], folder / DECODER_FILE)
    encoder = _unpack_encoder(_tensors(contents[ENCODER_FILE], folder / ENCODER_FILE))
    for name, tensor in decoder.items():
        expected_type = DECODER_TYPES.get(name.rpartition(".")[2])
        if tensor.dtype != expected_type:
            raise ModelIntegrityError(
                f"decoder tensor {name} is {tensor.dtype}, expected {expected_type}"
            )
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
    counts = [len(made) for made in tables.values()]
    wanted = [COLUMNS - 1, Z_BANDS * cfg.n_z]
    if counts != wanted:
        raise ModelIntegrityError(
            f"{counts} entropy tables for y and z, expected {wanted}; a model that another version "
            "of aec exported has to be exported again"
        )
    return Weights(
        cfg=cfg,
        model_id=bytes.fromhex(digests[DECODER_FILE])[:MODEL_ID_BYTES],
        decoder=decoder,
        encoder=encoder,
        y_tables=tables["y"],
        z_tables=[tables["z"][b * cfg.n_z :][: cfg.n_z] for b in range(Z_BANDS)],
        canary=(first, second),
    )
