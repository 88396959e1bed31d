"""Fine-tuning: integer weights turned back into floats, trained on, exported and used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from running import aec_run
from tiny import TINY

import aec
from aec.codec.loading import DEFAULT_MODEL, load_weights
from aec.codec.model import Model

pytest.importorskip("compressai", reason="needs the extra `train`")
pytestmark = pytest.mark.filterwarnings("ignore")  # of compressai and what it imports

from aec.codec.training import small  # noqa: E402 (after importorskip)
from aec.codec.training.checkpoint import read_run  # noqa: E402
from aec.codec.training.compare import compare  # noqa: E402
from aec.codec.training.data import load_pictures  # noqa: E402
from aec.codec.training.export import export  # noqa: E402
from aec.codec.training.floats import foldings  # noqa: E402
from aec.codec.training.loss import TrainingModel  # noqa: E402
from aec.codec.training.optimizer import RATE, TUNING_RATE  # noqa: E402
from aec.codec.training.restore import excess, restore, z_law  # noqa: E402
from aec.codec.training.trainer import Options, Trainer  # noqa: E402

PHOTO = Path(__file__).parent / "images" / "astronaut.png"


@pytest.fixture(scope="module")
def net() -> TrainingModel:
    """The shipped model in floats."""
    return restore(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few pictures of 128x128."""
    path = tmp_path_factory.mktemp("pictures")
    with Image.open(PHOTO) as photo:
        for i, left in enumerate((0, 100, 200)):
            photo.convert("RGB").crop((left, 40, left + 128, 168)).save(path / f"{i}.png")
    return path


def perturbed(seed: int) -> Model:
    """A model none of whose parameters is where it started."""
    torch.manual_seed(seed)
    model = Model(TINY)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return model


@pytest.fixture(scope="module")
def tiny_model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `perturbed(1)`."""
    path = tmp_path_factory.mktemp("model")
    net = TrainingModel(perturbed(1))
    pictures = load_pictures([folder], min_side=64)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small, "STEPS", 5)  # smaller pictures are not looked at
        export(net.model, net.prior, pictures, path, lambda _: None)
    return path


def test_what_is_folded_unfolds() -> None:
    source, target = perturbed(1), perturbed(2)
    unfolded = foldings(target)
    for name, folding in foldings(source).items():
        layer = folding.layer()
        unfolded[name].unfold(layer.weight, layer.bias)
    expected = source.state_dict()
    decoders = ("g_s.", "h_s.", "context.")
    names = [name for name, _ in target.named_parameters() if name.startswith(decoders)]
    assert len(names) == len([name for name in expected if name.startswith(decoders)])
    for name in names:
        assert torch.allclose(target.state_dict()[name], expected[name], atol=2e-5), name


def test_what_was_exported_is_restored(tiny_model: Path) -> None:
    expected, found = perturbed(1).state_dict(), restore(tiny_model).model.state_dict()
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        # weights, some of 4 bits, are rounded for what their layer gives, and its bias makes good
        # what that does to the mean: 0.16 of a bias was met
        assert float((found[name] - value).norm()) < 0.25 * float(value.norm()), name


def test_the_restored_floats_code_as_the_integers_do(net: TrainingModel) -> None:
    with Image.open(PHOTO) as photo:
        picture = np.asarray(photo.convert("RGB"))[:192, 128:384]
    for quality in (5.0, 50.0, 95.0):
        cost = compare(net.model, aec.Codec(device="cpu"), [picture], [quality])
        # measured: up to 3 words of the coder at quality 5, each 1 % of that file, and 0.06 dB, and
        # 0.05 dB from 50 on: the trellis makes other choices for the slightest difference
        assert abs(cost.bits - 1) < (0.035 if quality < 50 else 0.016)
        assert abs(cost.psnr) < (0.12 if quality < 50 else 0.1)


def test_what_only_the_encoder_has_comes_back_bit_for_bit(net: TrainingModel) -> None:
    found = net.model.state_dict()
    encoder = load_weights().encoder
    assert encoder
    assert all(torch.equal(found[name], tensor) for name, tensor in encoder.items())


def test_inverse_gains_come_back(net: TrainingModel) -> None:
    expected = load_weights().decoder["inverse_gain"].double() * 2.0**-20
    found = torch.exp(net.model.log_inverse_gain(torch.linspace(0, 1, 256)))[:, :, 0, 0]
    # a gain may be as small as some thousand of the units that it is stored in
    assert torch.allclose(found.double(), expected, rtol=1e-5, atol=0.75 * 2.0**-20)


def test_the_prior_of_z_is_near_the_tables(net: TrainingModel) -> None:
    with torch.no_grad():
        left = excess(net.prior, z_law(load_weights().z_tables))
    assert float(left.mean()) < 0.01  # bits a symbol; 0.0023 measured
    assert float(left.max()) < 0.1


def test_a_model_that_is_not_sound_is_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    common = ("train", "--data", folder, "--out", out, "--steps", 1, "--crop", 64)
    done = aec_run(*common, "--resume", tmp_path, code=6)
    assert "manifest.json" in done.output
    done = aec_run(*common, "--resume", "defualt", code=2)
    assert "not the word default" in done.output
    done = aec_run(*common, "--resume", PHOTO, code=1)
    assert "no checkpoint that `aec train` wrote" in done.output
    done = aec_run(*common, "--resume", "default", "--set", "c8=8", code=1)
    assert "cannot be 8" in done.output
    assert not out.exists()


def test_a_run_from_a_model_starts_gently_and_minds_spikes_at_once(
    tiny_model: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.safetensors"
    options = Options(data=[folder], out=out, steps=40, batch=2, crop=64, device="cpu")
    options.resume = tiny_model
    trainer = Trainer(options)
    assert (trainer.step, trainer.lr) == (0, TUNING_RATE)
    assert not trainer.optimizer.adam.state and not trainer.optimizer.muon.state
    trainer._set_rates(0.0)
    assert trainer.optimizer.muon.param_groups[0]["lr"] < 0.01 * TUNING_RATE
    batch = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    trainer.train_step(batch)
    trainer.running_norm = 1e-6
    before = {k: v.clone() for k, v in trainer.net.state_dict().items()}
    trainer.train_step(batch)
    assert trainer.skipped == 1
    assert all(torch.equal(v, before[k]) for k, v in trainer.net.state_dict().items())


def test_a_checkpoint_keeps_the_rate(tiny_model: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "x.safetensors"
    options = Options(data=[folder], out=out, steps=2, batch=1, crop=64, device="cpu")
    options.resume = tiny_model
    Trainer(options).run()
    assert read_run(out)[1] == TUNING_RATE
    options.resume = out
    assert Trainer(options).lr == TUNING_RATE
    options.lr = RATE
    assert Trainer(options).lr == RATE


def test_from_default_to_files_that_need_the_new_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small, "STEPS", 5)  # smaller pictures are not looked at
    out, model, coded = tmp_path / "mine.safetensors", tmp_path / "mine", tmp_path / "a.aec"
    budget = ("--steps", 3, "--batch", 2, "--crop", 64, "--device", "cpu")
    aec_run("train", "--resume", "default", "--data", folder, "--out", out, *budget)
    done = aec_run("train", "export", out, model, "--data", folder)
    new = aec.Codec(model=model, device="cpu")
    assert new.model_id in done.output
    assert new.model_id != aec.Codec(device="cpu").model_id
    photo = folder / "1.png"
    aec_run("compress", photo, "-o", coded, "--model", model, "-q", 50)
    done = aec_run("decompress", coded, code=6)
    assert new.model_id in done.output
    back = tmp_path / "back.png"
    aec_run("decompress", coded, "-o", back, "--model", model)
    with Image.open(photo) as original, Image.open(back) as decoded:
        error = np.asarray(original, np.float64) - np.asarray(decoded.convert("RGB"), np.float64)
    usual = aec.compress(Image.open(photo), quality=50)
    assert coded.stat().st_size < 1.1 * len(usual)
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 30
