"""Training, export and what export costs, on networks small enough for a test."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from aec.codec.api import Codec
from aec.codec.config import ModelConfig
from aec.codec.decoder import SYNTHESIS_BITS
from aec.codec.loading import ENCODER_FILE, load_weights
from aec.codec.model import Model, ste_round

pytest.importorskip("compressai", reason="needs the extra `train`")
pytestmark = pytest.mark.filterwarnings("ignore")  # of compressai and what it imports

from aec.codec.training import small  # noqa: E402 (after importorskip)
from aec.codec.training.checkpoint import read_averaged  # noqa: E402
from aec.codec.training.compare import compare  # noqa: E402
from aec.codec.training.data import (  # noqa: E402
    HELD_OUT_ONE_IN,
    CropSampler,
    batches,
    load_pictures,
    whole_cells,
)
from aec.codec.training.export import export  # noqa: E402
from aec.codec.training.floats import FloatDecoder  # noqa: E402
from aec.codec.training.loss import TrainingModel  # noqa: E402
from aec.codec.training.tables import Counter, tables  # noqa: E402
from aec.codec.training.trainer import Options, Trainer  # noqa: E402

TINY = ModelConfig(
    m=16, n_z=8, c8=8, c16=12, g_a_blocks8=1, g_a_blocks16=1, g_s_blocks16=1, g_s_blocks8=1,
    c_h=12, c_ctx=12, ctx_blocks=1, knots=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Smooth noise with edges, 128x192 RGB."""
    random = np.random.default_rng(0)
    out = []
    for i in range(6):
        small = random.integers(0, 256, (8, 12, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((192, 128), Image.Resampling.BICUBIC)
        array = np.asarray(image).copy()
        array[30 * i % 100 :, ::17] = 255 - array[30 * i % 100 :, ::17]
        out.append(array)
    return out


@pytest.fixture(scope="module")
def folder(pictures: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures as a folder of PNG and WebP and a tar shard, with one broken file."""
    path = tmp_path_factory.mktemp("pictures")
    for i, picture in enumerate(pictures[:4]):
        Image.fromarray(picture).save(path / f"{i}.{'png' if i % 2 else 'webp'}", lossless=True)
    Image.fromarray(pictures[4]).save(path / "4.png")
    with tarfile.open(path / "shard.tar", "w") as tar:
        tar.add(path / "4.png", "inside__4.png")
    (path / "broken.png").write_bytes(b"\x89PNG nonsense")
    return path


def options(folder: Path, out: Path, **kw: object) -> Options:
    values = {
        "steps": 6,
        "batch": 2,
        "crop": 64,
        "warmup": 2,
        "sizes": TINY.as_dict(),
        "device": "cpu",
    }
    return Options(data=[folder], out=out, **{**values, **kw})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "tiny.safetensors"
    Trainer(options(folder, out, steps=80)).run()
    return out


def test_pictures_come_from_folders_and_shards_and_broken_ones_are_left_out(folder: Path) -> None:
    with pytest.warns(UserWarning, match="broken.png: left out"):
        training, held_out = load_pictures([folder], min_side=64)
    assert len(training) + len(held_out) == 6
    assert all(p.shape == (128, 192, 3) for p in training)


def test_processes_share_the_pictures_out(folder: Path) -> None:
    parts = [load_pictures([folder], min_side=64, part=i, parts=2)[0] for i in range(2)]
    whole = load_pictures([folder], min_side=64)[0]
    assert sum(map(len, parts)) == len(whole)
    assert all(len(part) for part in parts)


def test_nothing_to_train_on_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    def error() -> str:
        with pytest.raises(ValueError, match="nothing to train on in") as caught:
            load_pictures([tmp_path], min_side=256)
        return str(caught.value)

    assert "no pictures; give a folder or a tar with files of the types avif, jpeg" in error()
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert "no picture can be read" in error()
    Image.new("RGB", (300, 200)).save(tmp_path / "b.png")
    assert "1 picture with less than 256 px along a side; a smaller crop takes" in error()
    (tmp_path / "b.png").unlink()
    names = (f"{i}.png" for i in range(1000))
    held_out = next(n for n in names if zlib.crc32(n.encode()) % HELD_OUT_ONE_IN == 0)
    (tmp_path / "a.png").unlink()
    Image.new("RGB", (300, 300)).save(tmp_path / held_out)
    assert "1 picture, held out for validation; give more" in error()


def test_of_large_pictures_the_middle_is_kept(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    large = random.integers(0, 256, (100, 3001, 3), dtype=np.uint8)
    Image.fromarray(large).save(tmp_path / "a.png")
    (kept,), _ = load_pictures([tmp_path], min_side=64)
    assert np.array_equal(kept, large[:, 476 : 476 + 2048])
    assert np.array_equal(whole_cells(kept).permute(1, 2, 0), kept[:64, 768 : 768 + 512])
    assert np.array_equal(whole_cells(kept[:, :200]).permute(1, 2, 0), kept[:64, :192])


def test_small_pictures_and_broken_shards_are_told(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (300, 100)).save(tmp_path / "small.png")
    with pytest.warns(UserWarning, match="left out: 1 picture with less than 128 px"):
        load_pictures([folder, tmp_path], min_side=128)
    (tmp_path / "x.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(ValueError, match="is no tar file"):
        load_pictures([tmp_path], min_side=64)


def test_crops_depend_on_seed_and_step_alone(pictures: list[np.ndarray]) -> None:
    a, b = (CropSampler(pictures, crop=64, seed=3) for _ in range(2))
    a.batch(4, step=0)
    assert np.array_equal(a.batch(4, step=7), b.batch(4, step=7))
    assert not np.array_equal(a.batch(4, step=7), a.batch(4, step=8))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_go_on_from_any_step_whoever_cuts_them(
    pictures: list[np.ndarray], workers: int
) -> None:
    sampler = CropSampler(pictures, crop=64, seed=3)
    made = batches(sampler, 4, start=5, workers=workers)
    for step in range(5, 12):
        assert np.array_equal(next(made).numpy(), sampler.batch(4, step))


def test_colours_change_now_and_then_but_never_those_of_graphics() -> None:
    photograph = np.full((64, 64, 3), (110, 80, 50), np.uint8)
    graphic = np.full((64, 64, 3), (10, 200, 90), np.uint8)
    sampler = CropSampler([photograph], crop=64, seed=0, graphics=[graphic], share=0.2)
    pixels = np.concatenate([sampler.batch(20, step)[:, :, 0, 0] for step in range(50)]).astype(int)
    drawn = (pixels == (10, 200, 90)).all(1)
    assert 0.15 < drawn.mean() < 0.25
    pixels = pixels[~drawn]
    assert 0.6 < (pixels == (110, 80, 50)).all(1).mean() < 0.8  # 0.75 * (0.9 + 0.1 / 6) expected
    assert (abs(pixels.sum(1) - 240) <= 3).all()  # neither lighter nor darker
    spread = pixels.max(1) - pixels.min(1)
    assert spread.min() < 35 and spread.max() > 120
    swapped = (pixels.argmax(1) != 0) | (pixels.argmin(1) != 2)
    assert 0.05 < swapped.mean() < 0.12


def test_the_loss_falls(pictures: list[np.ndarray], folder: Path, tmp_path: Path) -> None:
    trainer = Trainer(options(folder, tmp_path / "x.safetensors"))
    batch = torch.from_numpy(CropSampler(pictures, crop=64, seed=0).batch(2, 0))
    trainer._set_rates(0.0)
    losses = [float(trainer.train_step(batch).loss.mean()) for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:5])  # of roots


def test_a_resumed_run_equals_an_uninterrupted_one(folder: Path, tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    Trainer(options(folder, whole)).run()
    first = Trainer(options(folder, half))
    first.options.save_minutes = 0  # saves after every step; the last save is step 3
    step = first.train_step

    def stop_after_three(batch: torch.Tensor) -> object:
        if first.step == 3:
            raise KeyboardInterrupt
        return step(batch)

    first.train_step = stop_after_three  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyboardInterrupt):
        first.run()
    Trainer(options(folder, half, resume=half)).run()
    expected, found = read_averaged(whole)[1], read_averaged(half)[1]
    assert expected.keys() == found.keys()
    for name in expected:
        assert torch.equal(expected[name], found[name]), name


def test_a_spike_is_skipped(pictures: list[np.ndarray], folder: Path, tmp_path: Path) -> None:
    trainer = Trainer(options(folder, tmp_path / "x.safetensors"))
    batch = torch.from_numpy(CropSampler(pictures, crop=64, seed=0).batch(2, 0))
    trainer._set_rates(0.0)
    trainer.train_step(batch)
    trainer.step, trainer.running_norm = 500, 1e-6
    before = {k: v.clone() for k, v in trainer.net.state_dict().items()}
    trainer.train_step(batch)
    assert trainer.skipped == 1
    assert all(torch.equal(v, before[k]) for k, v in trainer.net.state_dict().items())


def test_two_processes_train_one_model(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "two.safetensors"
    sizes = [f"--set={k}={v}" for k, v in TINY.as_dict().items()]
    command = [
        *(sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--standalone", "-m", "aec", "train", "--data", folder, "--out", out),
        *("--steps", "3", "--batch", "2", "--crop", "64", "--device", "cpu", *sizes),
        *("--save-minutes", "0"),
    ]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert read_averaged(out)[0] == TINY


def test_the_graph_in_floats_is_the_model() -> None:
    """Moving the nonlinearity's factors into the weights changes nothing."""
    torch.manual_seed(1)
    model = Model(TINY).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "bias" in name or "gain" in name:
                value.add_(0.1 * torch.randn_like(value))
    floats = FloatDecoder(model)
    index = 93
    q = torch.tensor([index / 255])
    with torch.inference_mode():
        y = model.analysis(torch.rand(1, 3, 128, 64), q)
        z_hat = ste_round(model.h_a(y, q))
        y_hat, _, _, sigma = model.predict(y, z_hat, q)
        feature = floats.features(z_hat[0].permute(1, 2, 0), index)
        assert torch.allclose(
            feature.float(), model.h_s(z_hat, q)[0].permute(1, 2, 0), rtol=1e-4, atol=1e-4
        )
        mu, table = floats.step(0, feature, torch.zeros(0))
        expected_mu, expected_index = model.context(0, model.h_s(z_hat, q), None)
        assert torch.allclose(mu / 128, expected_mu[0].permute(0, 2, 3, 1), rtol=1e-3, atol=1e-3)
        nearest = torch.floor(expected_index[0].permute(0, 2, 3, 1) + 0.5).clamp(0, 63)
        assert float((table - nearest).abs().max()) <= 1  # ties may fall either way
        pixels = floats.synthesis(y_hat[0].permute(1, 2, 0) * 128, index).float()
        x_hat = model.synthesis(y_hat, q)[0].permute(1, 2, 0) * 255
        assert float((pixels - x_hat.clamp(0, 255)).abs().max()) < 0.51
    assert float(sigma.min()) > 0


def test_export_costs_little_and_its_files_decode(
    trained: Path, pictures: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small, "STEPS", 100)  # a trained model needs more
    config, tensors = read_averaged(trained)
    net = TrainingModel(Model(config))
    net.load_state_dict(tensors)
    digest = export(net.model, net.prior, pictures, tmp_path / "model", lambda _: None)
    codec = Codec(model=tmp_path / "model", device="cpu")
    assert digest.startswith(codec.model_id)
    stored = load_file(tmp_path / "model" / ENCODER_FILE)
    assert {name for name, t in stored.items() if t.dtype == torch.int8} == {
        name for name in stored if name.endswith(".weight")
    }
    weights = load_weights(tmp_path / "model")
    for name, tensor in weights.encoder.items():
        trained_to = net.model.state_dict()[name]
        step = tensor.abs().flatten(1).amax(1) / 127 if name.endswith(".weight") else torch.zeros(1)
        step = step.view(-1, *[1] * (tensor.dim() - 1))
        assert bool(((tensor - trained_to).abs() <= 0.51 * step).all())
    reach = weights.encoder["g_a.shortcut"].abs().sum(1) / 2 * 2**SYNTHESIS_BITS
    assert bool((weights.decoder["g_s.input.high"] >= reach).all())  # whatever calibration met
    cost = compare(net.model, codec, pictures[:2], [20, 80])
    assert cost.bits < 1.01
    assert cost.psnr > -0.1
    data = codec.compress(pictures[0], quality=50)
    whole = codec.decompress(data)
    assert whole.size == (192, 128)
    for scale in (2, 4, 8):
        smaller = np.asarray(codec.decompress(data, scale=scale), np.float64)
        averaged = np.asarray(whole.reduce(scale), np.float64)
        assert np.mean((smaller - averaged) ** 2) < 9


def test_smaller_pictures_are_fitted_to_clean_ones(
    trained: Path, pictures: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, tensors = read_averaged(trained)
    net = TrainingModel(Model(config))
    net.load_state_dict(tensors)
    fitted: list[list[small.Sample]] = []
    monkeypatch.setattr(small, "STEPS", 1)

    def watch(floats: FloatDecoder, samples: list[small.Sample], say: Callable[..., None]) -> None:
        fitted.append(samples)
        small.add_small(floats, samples, say)

    monkeypatch.setattr("aec.codec.training.export.add_small", watch)
    noise = np.random.default_rng(0).integers(0, 256, (128, 192, 3), np.uint8)
    for name, clean in (("without", None), ("with", pictures[:2])):
        export(net.model, net.prior, [noise], tmp_path / name, lambda _: None, clean=clean)
    assert [len(samples) for samples in fitted] == [small.SAMPLES, 2 * small.SAMPLES]
    without, with_clean = (load_weights(tmp_path / name).decoder for name in ("without", "with"))
    assert not torch.equal(without["g_s.leave2.weight"], with_clean["g_s.leave2.weight"])
    counted = "entropy.y.frequency"  # of the pictures as they were taken
    assert torch.equal(without[counted], with_clean[counted])


def test_each_band_of_qualities_has_its_own_z_tables() -> None:
    counter = Counter(2)
    counter.believe(tables(counter, np.full((2, 255), 1 / 255)))
    counter.quality = 200
    counter.z_float = torch.tensor([[[3.0, 3.0]], [[-1.0, 0.0]]])
    counter.z((2, 1, 2))
    assert counter.z_counts[3].sum() == 4 and counter.z_counts.sum() == 4
    made = tables(counter, np.full((2, 255), 1 / 255))
    frequency = made["entropy.z.frequency"].view(4, 2, 256)
    assert made["entropy.z.reach"].tolist() == [127] * 8
    assert bool((frequency.sum(2) == 2**24).all())
    at_3 = frequency[:, 0, 127 + 3].tolist()
    # where it was counted, elsewhere, and where no band counted anything
    assert at_3[3] > 1.5 * at_3[0] > 1.5 * int(frequency[0, 0, 0])
    assert at_3[0] == at_3[1] == at_3[2]


def test_export_from_the_command_line(trained: Path, folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "aec", "train", "export"]
    command += [str(trained), str(tmp_path / "model"), "--data", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert Codec(model=tmp_path / "model", device="cpu").model_id in result.stdout
    command = [sys.executable, "-W", "ignore", "-m", "aec", "train", "compare"]
    command += [str(trained), str(tmp_path / "model"), str(folder / "4.png")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "integer against float, 1 pictures" in result.stdout
