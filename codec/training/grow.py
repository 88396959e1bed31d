"""A larger network that starts as what a smaller one has learnt (after Net2Net, 1511.05641)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import GROUPS, ModelConfig
from ..dct import dct_shortcut
from ..model import Model
from .loss import TrainingModel

#: Bias of the table index for new channels of y, in the units of the head: index 2, which takes
#: next to no bits while nothing is in them.
SMALL_INDEX = -2.25


def grow(small: TrainingModel, cfg: ModelConfig) -> TrainingModel:
    """Networks of the sizes `cfg` that compute what `small` does, for its channels of y.

    What is new reads everything, starts at random, and is not read by what is old: its weights
    there are zero. New channels of y start as the vectors of the DCT that `small` lacks.
    Raises ValueError when `cfg` is smaller somewhere, or differs in z or the knots.
    """
    _check(small.model.cfg, cfg)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = TrainingModel(Model(cfg))
    old = small.model.state_dict()
    channels = _channels(small.model.cfg.m, cfg.m)
    new_channels = _others(channels, cfg.m)
    vectors = _lacking(old["g_a.shortcut"], dct_shortcut(cfg.m))
    with torch.no_grad():
        net.model.g_a.shortcut[new_channels] = vectors
        net.model.g_s.shortcut[:, new_channels] = vectors.t()
        for name, new in net.model.state_dict().items():
            if name not in old:  # a block that is new: nothing of it goes into the sum yet
                if name.endswith(("w2.weight", "w4.weight")):
                    new.zero_()
                continue
            rows, columns = _places(name, old[name], small.model.cfg, cfg, channels)
            _put(name, new, old[name], rows, columns)
    net.prior.load_state_dict(small.prior.state_dict())
    return net


def _check(old: ModelConfig, new: ModelConfig) -> None:
    for name, size in old.as_dict().items():
        wanted = new.as_dict()[name]
        if wanted < size or (wanted > size and name in ("n_z", "knots")):
            raise ValueError(
                f"{name} is {size} in the weights to start from, and cannot be {wanted}"
            )


def _channels(old: int, new: int) -> Tensor:
    """Where each channel of y goes: every group gets its share of new ones at its end."""
    i = torch.arange(old)
    size = old // GROUPS
    return i // size * (new // GROUPS) + i % size


def _others(channels: Tensor, count: int) -> Tensor:
    """The channels that are new, each group's first ones before each group's second ones."""
    new = torch.ones(count, dtype=torch.bool)
    new[channels] = False
    return new.nonzero()[:, 0].reshape(GROUPS, -1).t().flatten()


def _places(
    name: str, value: Tensor, old: ModelConfig, new: ModelConfig, channels: Tensor
) -> tuple[Tensor, Tensor]:
    """Where the rows (first dimension) and columns (second) of an old parameter go."""
    rows = torch.arange(value.shape[0])
    columns = torch.arange(value.shape[1]) if value.dim() > 1 else torch.zeros(0)
    if name in ("g_a.shortcut", "g_a.leave.weight", "g_a.leave.bias"):
        rows = channels
    elif name in ("g_s.shortcut", "g_s.enter.weight", "h_a.enter.weight") or "log_" in name:
        columns = channels
    elif name.startswith("context.head"):  # mu, then the index, of one group each
        half = len(rows) // 2
        rows = torch.cat([torch.arange(half), torch.arange(half) + new.m // GROUPS])
    elif name.startswith("context.enter") and name.endswith("weight") and len(columns) > old.c_h:
        columns = torch.cat([torch.arange(old.c_h), new.c_h + channels])
    return rows, columns


def _put(name: str, new: Tensor, old: Tensor, rows: Tensor, columns: Tensor) -> None:
    if old.dim() != 2:
        if name.startswith("context.head"):
            new[len(new) // 2 :] = SMALL_INDEX
        new[rows] = old
        return
    if name == "g_a.leave.weight" or name.startswith("context.head"):
        new.zero_()  # a new channel is its vector of the DCT alone, and nobody can foretell it
    if not name.endswith(("table", "shortcut")):
        new[rows] = 0
    new[rows[:, None], columns] = old


def _lacking(old: Tensor, vectors: Tensor) -> Tensor:
    """Those of orthonormal `vectors` (m, d) that the rows of `old` (n, d) span least."""
    basis = torch.linalg.qr(old.t()).Q
    spanned = (vectors @ basis).square().sum(1)
    chosen = spanned.argsort(stable=True)[: len(vectors) - len(old)].sort().values
    return vectors[chosen]
