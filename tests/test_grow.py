"""Larger networks from smaller ones: what they compute at the start, and that they can be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from running import aec_run
from tiny import TINY

from aec.codec.dct import dct_shortcut
from aec.codec.model import Model, from_phases, to_phases

pytest.importorskip("compressai", reason="needs the extra `train`")
pytestmark = pytest.mark.filterwarnings("ignore")  # of compressai and what it imports

from aec.codec.training.export import export  # noqa: E402 (after importorskip)
from aec.codec.training.grow import grow  # noqa: E402
from aec.codec.training.loss import TrainingModel  # noqa: E402
from aec.codec.training.trainer import Options, Trainer  # noqa: E402

LARGE = replace(
    TINY, m=16, c8=10, c16=12, g_a_blocks8=2, g_s_blocks16=3, c_h=9, c_ctx=7, ctx_blocks=2
)
#: Where the channels of y of TINY are in LARGE, whose groups have two more each.
OLD = torch.tensor([0, 1, 4, 5, 8, 9, 12, 13])
NEW = torch.tensor([c for c in range(16) if c not in OLD])


@pytest.fixture(scope="module")
def small() -> TrainingModel:
    """Networks none of whose parameters is where it started."""
    torch.manual_seed(1)
    net = TrainingModel(Model(TINY))
    with torch.no_grad():
        for name, value in net.model.named_parameters():
            value.add_(0.02 * torch.randn_like(value) * (1 if "shortcut" in name else 5))
    return net.eval()


@pytest.fixture(scope="module")
def large(small: TrainingModel) -> TrainingModel:
    return grow(small, LARGE).eval()


@torch.no_grad()
def test_every_network_computes_the_same(small: TrainingModel, large: TrainingModel) -> None:
    torch.manual_seed(2)
    x, q = torch.rand(2, 3, 128, 64), torch.tensor([0.2, 0.9])
    old, new = small.model, large.model
    y = old.analysis(x, q)
    found = new.analysis(x, q)
    assert torch.allclose(found[:, OLD], y, atol=1e-4)

    wide = torch.zeros_like(found)
    wide[:, OLD] = y
    assert torch.allclose(new.synthesis(wide, q), old.synthesis(y, q), atol=1e-5)
    z = old.h_a(y, q)
    assert torch.allclose(new.h_a(found, q), z, atol=1e-5)  # new channels are not read
    feature, wide_feature = old.h_s(z, q), new.h_s(z, q)
    assert torch.allclose(wide_feature[:, : TINY.c_h], feature, atol=1e-5)
    for step in range(4):
        known, wide_known = (y, found) if step else (None, None)
        for a, b in zip(
            old.context(step, feature, known),
            new.context(step, wide_feature, wide_known),
            strict=True,
        ):
            assert torch.allclose(b[:, :, : TINY.m // 4], a, atol=1e-4)
    likelihood = (
        net.prior._likelihood(z.permute(1, 0, 2, 3).reshape(4, 1, -1)) for net in (small, large)
    )
    assert all(torch.equal(a, b) for a, b in zip(*likelihood, strict=True))


def test_groups_keep_their_channels() -> None:
    y = torch.arange(16.0)[None, :, None, None].expand(1, 16, 2, 2)
    groups = to_phases(y)[0, 0, :, :2, 0, 0].flatten().long()
    assert torch.equal(groups, OLD)
    assert torch.equal(from_phases(to_phases(y)), y)


def test_new_channels_are_what_is_missing(small: TrainingModel, large: TrainingModel) -> None:
    rows = large.model.g_a.shortcut.detach()
    vectors = dct_shortcut(16)
    assert all((vectors - row).abs().sum(1).min() < 1e-5 for row in rows[NEW])
    basis = torch.linalg.qr(rows[OLD].t()).Q
    chosen = (rows[NEW] @ basis).square().sum(1)
    others = (vectors @ basis).square().sum(1).sort().values[len(NEW) :]
    assert chosen.max() <= others.min() + 1e-6
    assert torch.equal(large.model.g_s.shortcut.detach()[:, NEW], rows[NEW].t())
    assert not large.model.g_a.leave.weight[NEW].any()


def test_everything_that_is_new_can_learn(small: TrainingModel) -> None:
    net = grow(small, LARGE)
    torch.manual_seed(3)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3)
    for _ in range(2):  # what zeros keep from moving in the first step moves in the second
        optimizer.zero_grad()
        net(torch.rand(2, 3, 64, 64), torch.tensor([0.3, 0.8])).loss.mean().backward()
        optimizer.step()
    idle = [n for n, p in net.named_parameters() if p.requires_grad and not p.grad.any()]
    assert not idle


def test_nothing_can_shrink(small: TrainingModel) -> None:
    with pytest.raises(ValueError, match="c8 is 6 in the weights to start from, and cannot be 5"):
        grow(small, replace(LARGE, c8=5))
    with pytest.raises(ValueError, match="n_z is 4"):
        grow(small, replace(LARGE, n_z=8))


def test_training_goes_on_in_a_larger_network(
    small: TrainingModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aec.codec.training import small as smaller

    monkeypatch.setattr(smaller, "STEPS", 2)  # smaller pictures are not looked at
    pictures = [torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8).numpy()]
    model = tmp_path / "small.safetensors"
    export(small.model, small.prior, pictures, model, lambda _: None)
    options = Options(data=[], out=tmp_path / "x", resume=model, sizes={"m": 12}, device="cpu")
    trainer = Trainer(options)
    assert trainer.net.model.cfg == replace(TINY, m=12)
    batch = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert trainer.train_step(batch).loss.isfinite().all()


def test_a_checkpoint_has_its_sizes(tmp_path: Path) -> None:
    checkpoint = tmp_path / "x.safetensors"
    checkpoint.write_bytes(b"not looked at")
    done = aec_run(
        "train", "--data", tmp_path, "--out", tmp_path / "y", "--steps", 1,
        "--resume", checkpoint, "--set", "c8=64", code=2,
    )  # fmt: skip
    assert "a checkpoint has its own" in done.output
