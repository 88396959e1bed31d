"""The option --model: weights of one's own, which a file then needs."""

from pathlib import Path

import pytest
import samples
from running import aec_run

import aec

PHOTO = Path(__file__).parent / "images" / "astronaut.png"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.small_model(tmp_path_factory.mktemp("model"))


def test_a_file_needs_the_model_that_made_it(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.aec"
    aec_run("compress", PHOTO, "-o", out, "--model", model, "-q", "20")
    own = aec.Codec(device="cpu", model=model)
    assert aec.open_info(out).model_id == own.model_id
    done = aec_run("decompress", out, code=6)
    assert own.model_id in done.stderr and not (tmp_path / "a.png").exists()
    aec_run("verify", out, code=6)
    aec_run("verify", out, "--model", model)
    aec_run("decompress", out, "--model", model)
    assert (tmp_path / "a.png").exists()


def test_models_that_cannot_be_used(tmp_path: Path) -> None:
    aec_run("compress", PHOTO, "-o", tmp_path / "a.aec", "--model", tmp_path / "no", code=2)
    done = aec_run("compress", PHOTO, "-o", tmp_path / "a.aec", "--model", tmp_path, code=6)
    assert "cannot start the codec" in done.stderr and not (tmp_path / "a.aec").exists()
