"""Checkpoints as safetensors: weights, their average and the optimisers, never a pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..config import ModelConfig
from .optimizer import RATE

if TYPE_CHECKING:
    from .trainer import Trainer


def save_checkpoint(trainer: Trainer, state: dict[str, Tensor], path: Path) -> None:
    """Writes everything that a resumed run needs, whole or not at all.

    `state` is the optimiser's.
    """
    tensors = {f"net.{k}": v for k, v in trainer.net.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in trainer.ema.items()}
    tensors |= {f"opt.{k}": v for k, v in state.items()}
    metadata = {
        "config": json.dumps(trainer.net.model.cfg.as_dict()),
        "lr": str(trainer.lr),
        "step": str(trainer.step),
        "seconds": str(trainer.seconds),
        "running_norm": str(trainer.running_norm),
        "skipped": str(trainer.skipped),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    # numel 0 buffers and shared storage are refused by safetensors; contiguous copies are not
    save_file(
        {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()},
        temporary,
        metadata=metadata,
    )
    os.replace(temporary, path)


def load_checkpoint(trainer: Trainer, path: Path) -> None:
    """Puts a run back to where `save_checkpoint` left it."""
    with _opened(path) as (file, metadata):
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (not a dict)
    trainer.net.load_state_dict(_under(tensors, "net."))
    for name, value in _under(tensors, "ema.").items():
        trainer.ema[name].copy_(value)
    trainer.optimizer.load_state(_under(tensors, "opt."))
    trainer.step = int(metadata["step"])
    trainer.seconds = float(metadata["seconds"])
    trainer.running_norm = float(metadata["running_norm"])
    trainer.skipped = int(metadata["skipped"])


def read_run(path: Path) -> tuple[ModelConfig, float]:
    """The configuration and the peak learning rate of the run that wrote a checkpoint."""
    with _opened(path) as (_, metadata):
        return _config(metadata), float(metadata.get("lr", RATE))


def read_averaged(path: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """The configuration and the averaged weights (names of `TrainingModel`) of a checkpoint."""
    with _opened(path) as (file, metadata):
        config = _config(metadata)
        tensors = {k: file.get_tensor(k) for k in file.keys() if k.startswith("ema.")}  # noqa: SIM118
    return config, _under(tensors, "ema.")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """The file and its metadata; raises ValueError when it is no checkpoint."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if "config" not in metadata:
                raise ValueError(f"{path} is no checkpoint that `aec train` wrote")
            yield file, metadata
    except SafetensorError as error:
        raise ValueError(f"{path} is no checkpoint that `aec train` wrote: {error}") from error


def _config(metadata: dict[str, str]) -> ModelConfig:
    return ModelConfig(**json.loads(metadata["config"]))


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
