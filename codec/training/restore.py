"""From integer weights back to float ones: a model becomes networks that train on."""

from __future__ import annotations

from pathlib import Path

import torch
from compressai.entropy_models import EntropyBottleneck
from torch import Tensor

from ..decoder import GAIN_BITS, Z_MAX, Decoder
from ..encoder import Encoder
from ..entropy import Table
from ..layers import by_row
from ..loading import Weights, load_weights
from ..model import Model
from .floats import fit_table, foldings, input_bits
from .loss import TrainingModel

PRIOR_STEPS = 200  # leave 0.0023 bits a symbol of z, of 0.71; half as many leave 0.0043
PRIOR_RATE = 0.1


def restore(model: Path) -> TrainingModel:
    """The float networks that a model was made from, as nearly as its integers tell.

    Raises ModelError when it is no sound model.
    """
    weights = load_weights(model)
    cpu = torch.device("cpu")
    Decoder(weights.cfg, weights.decoder, cpu)  # these two refuse what does not fit
    Encoder(weights.cfg, weights.encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = TrainingModel(Model(weights.cfg))
        _set_decoder(net.model, weights)
        net.model.load_state_dict(weights.encoder, strict=False)  # the rest is set already
        fit_prior(net.prior, z_law(weights.z_tables))
    return net


def _set_decoder(model: Model, weights: Weights) -> None:
    """Undoes what `export.ExportOps` did, but for the rounding."""
    tensors = weights.decoder
    for name, folding in foldings(model).items():
        weight, bias, shift = (
            tensors[f"{name}.{part}"].double() for part in ("weight", "bias", "shift")
        )
        unit = torch.exp2(input_bits(name) - folding.bits - shift)  # of the weight, by row
        weight = weight * by_row(unit, weight)
        folding.unfold(weight, bias * unit * 2.0 ** -input_bits(name))
    gain = tensors["inverse_gain"].double() * 2.0**-GAIN_BITS
    fit_table(model.log_inverse_gain, torch.log(gain))


def law(tables: list[Table]) -> Tensor:
    """The probabilities (N, 255) that frozen tables give to z = -127..127."""
    p = torch.zeros(len(tables), 2 * Z_MAX + 1, dtype=torch.float64)
    for row, table in zip(p, tables, strict=True):
        reach = min(table.reach, Z_MAX)
        middle = torch.from_numpy(table.bits)[table.reach - reach : table.reach + reach + 1]
        row[Z_MAX - reach : Z_MAX + reach + 1] = torch.exp2(-middle.double())
    return p / p.sum(1, keepdim=True)


def z_law(bands: list[list[Table]]) -> Tensor:
    """The probabilities (N, 255) that z has over all qualities, which training draws evenly."""
    return torch.stack([law(tables) for tables in bands]).mean(0)


def excess(prior: EntropyBottleneck, p: Tensor) -> Tensor:
    """Bits a symbol (N,) that training's prior costs beyond the law p (N, 255) itself."""
    values = torch.arange(-Z_MAX, Z_MAX + 1, dtype=torch.float32)
    likelihood, _, _ = prior._likelihood(values.expand(len(p), 1, -1).contiguous())
    found = likelihood[:, 0].clamp(min=1e-9).log2()
    return (p * (p.clamp(min=1e-12).log2() - found)).sum(1)


def fit_prior(prior: EntropyBottleneck, p: Tensor) -> float:
    """Brings training's factorised prior near the law p; returns the mean excess that is left."""
    optimizer = torch.optim.Adam([p for p in prior.parameters() if p.requires_grad], PRIOR_RATE)
    left = 0.0
    for step in range(PRIOR_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = PRIOR_RATE * (1 - step / PRIOR_STEPS)
        loss = excess(prior, p)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        left = float(loss.detach().mean())
    return left
