"""Models as single files: the same as folders, and refused as clearly."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import samples
import torch
from PIL import Image
from running import aec_run
from safetensors.torch import load_file, save_file

import aec
from aec.codec.loading import (
    ENCODER_FILE,
    MANIFEST_FILE,
    is_model,
    load_weights,
    model_files,
    write_model,
)
from aec.format.errors import ModelIntegrityError, ModelNotFoundError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def file(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "new" / "mine.safetensors"
    write_model(model_files(folder), path)
    return path


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 90, 3)).astype(np.uint8)


def test_a_file_codes_as_its_folder_does(folder: Path, file: Path) -> None:
    of_folder, of_file = (aec.Codec(device="cpu", model=path) for path in (folder, file))
    assert of_file.model_id == of_folder.model_id
    data = of_file.compress(picture(), quality=50)
    assert data == of_folder.compress(picture(), quality=50)
    again = pickle.loads(pickle.dumps(of_file))
    assert again.decompress(data).tobytes() == of_folder.decompress(data).tobytes()


def test_a_file_gives_back_the_folder_byte_for_byte(
    folder: Path, file: Path, tmp_path: Path
) -> None:
    write_model(model_files(file), tmp_path / "back")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "back").iterdir()
    }


def test_spec_names_its_tensors(file: Path) -> None:
    names = load_file(file).keys()
    spec = (Path(__file__).parent.parent / "spec.md").read_text(encoding="utf-8")
    paragraph = spec[spec.index("[S-156]") :].split("\n- [", 1)[0]
    assert all(f"`{name}`" in paragraph for name in names) and len(names) == 3
    assert {t.dtype for t in load_file(file).values()} == {torch.uint8}


@pytest.mark.parametrize("name", ["mine.safetensors", "mine"])
def test_the_command_takes_either(folder: Path, tmp_path: Path, name: str) -> None:
    model, coded = tmp_path / name, tmp_path / "a.aec"
    write_model(model_files(folder), model)
    Image.fromarray(picture()).save(tmp_path / "a.png")
    aec_run("compress", tmp_path / "a.png", "-o", coded, "--model", model)
    aec_run("decompress", coded, "-o", tmp_path / "b.png", "--model", model)
    with Image.open(tmp_path / "b.png") as decoded:
        assert decoded.size == (90, 20)
    done = aec_run("decompress", coded, "-o", tmp_path / "c.png", code=6)
    assert "pass its model" in done.output


def test_other_files_are_refused(file: Path, tmp_path: Path) -> None:
    assert is_model(file) and is_model(file.parent)
    checkpoint = tmp_path / "run.safetensors"
    save_file({"ema.x": torch.zeros(3)}, checkpoint)
    assert not is_model(checkpoint) and not is_model(tmp_path / "missing")
    with pytest.raises(ModelIntegrityError, match="a checkpoint of training, not a model"):
        load_weights(checkpoint)
    text = tmp_path / "x.safetensors"
    text.write_text("no tensors")
    assert not is_model(text)
    with pytest.raises(ModelIntegrityError, match="no safetensors file"):
        load_weights(text)
    with pytest.raises(ModelNotFoundError, match="cannot read"):
        load_weights(tmp_path / "missing.safetensors")


def test_damage_inside_is_found(file: Path) -> None:
    tensors = load_file(file)
    tensors[ENCODER_FILE][-1] ^= 1
    save_file(tensors, file)
    with pytest.raises(ModelIntegrityError, match="its manifest says"):
        load_weights(file)
    del tensors[MANIFEST_FILE]
    save_file(tensors, file)
    with pytest.raises(ModelIntegrityError, match="is something else, not a model"):
        load_weights(file)
