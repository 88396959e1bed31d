"""The files under vectors/: the package and the reference decoder against expected.json."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import make_vectors
import numpy as np
import pytest
import reference_decoder as reference
from PIL import Image

import aec
from aec.format.errors import AecError

TOLD = json.loads(make_vectors.EXPECTED.read_text(encoding="utf-8"))
FILES = make_vectors.present()
SOUND = [name for name, entry in TOLD["files"].items() if "error" not in entry]
BROKEN = [name for name, entry in TOLD["files"].items() if "error" in entry]
#: What only decoding shows: the container of a file that breaks one of these is sound.
INSIDE = ("S-113", "S-114", "S-172", "S-212")


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


@pytest.fixture(scope="module")
def weights() -> reference.Weights:
    return reference.read_weights(make_vectors.WEIGHTS.read_bytes())


def entry(name: str) -> dict[str, Any]:
    return dict(TOLD["files"][name])


def test_the_files_are_those_of_the_list() -> None:
    assert FILES.keys() == TOLD["files"].keys()
    kinds = Counter(Path(name).parent.name for name in FILES)
    assert kinds.keys() == {"valid", "uncommon", "invalid"}
    assert min(kinds.values()) >= 12 and kinds.total() >= 40
    assert {Path(name).parent.name for name in BROKEN} == {"invalid"}
    assert max(map(len, FILES.values())) < 12_000 and sum(map(len, FILES.values())) < 250_000


def test_each_class_of_errors_and_each_requirement_is_known() -> None:
    spec = (Path(__file__).parent.parent / "spec.md").read_text(encoding="utf-8")
    assert {entry(name)["breaks"] for name in BROKEN} <= set(re.findall(r"\[(S-\d{3})\]", spec))
    classes = {"BackendMismatchError", "ModelNotFoundError"} | set(
        re.findall(r"^\| (\w+Error) \|", spec, re.MULTILINE)
    )
    assert {entry(name)["error"] for name in BROKEN} == classes


def test_the_files_are_of_the_weights_in_the_package(weights: reference.Weights) -> None:
    """If they are not: python tests/make_vectors.py --write"""
    assert TOLD["model_id"] == weights.id.hex()


@pytest.mark.spec("S-171")
def test_what_no_writer_makes_comes_from_the_script(weights: reference.Weights) -> None:
    made = make_vectors.derived(make_vectors.valid_among(FILES), weights)
    rest = {name: data for name, data in FILES.items() if not name.startswith("valid/")}
    assert {name: vector.data for name, vector in made.items()} == rest
    for name, vector in made.items():
        told = entry(name)
        assert vector.about == told["about"]
        assert (vector.error, vector.breaks) == (told.get("error", ""), told.get("breaks", ""))


@pytest.mark.spec("S-170", "S-260")
@pytest.mark.parametrize("name", SOUND)
def test_the_reference_accepts(name: str, weights: reference.Weights) -> None:
    told = entry(name)
    found = make_vectors.accepted(FILES[name], weights, "scaled" in told)
    assert found == {key: value for key, value in told.items() if key != "about"}


@pytest.mark.spec("S-170")
@pytest.mark.parametrize("name", BROKEN)
def test_the_reference_refuses(name: str, weights: reference.Weights) -> None:
    told = entry(name)
    if told["error"] == "LimitError":
        pytest.skip("the reference has no bounds")
    with pytest.raises(reference.Invalid) as caught:
        reference.decode_with(weights, FILES[name])
    assert (caught.value.error, caught.value.id) == (told["error"], told["breaks"])


def test_the_reference_is_a_program(tmp_path: Path, weights: reference.Weights) -> None:
    def run(name: str, out: str) -> subprocess.CompletedProcess[str]:
        paths = make_vectors.VECTORS / name, make_vectors.WEIGHTS, tmp_path / out
        command = [sys.executable, str(reference.__file__), *map(str, paths)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert run("valid/alpha.aec", "alpha.npy").returncode == 0
    pixels = reference.decode_with(weights, FILES["valid/alpha.aec"])
    np.testing.assert_array_equal(np.load(tmp_path / "alpha.npy"), pixels)
    assert run("valid/odd.aec", "odd.ppm").returncode == 0
    pixels = reference.decode_with(weights, FILES["valid/odd.aec"])
    with Image.open(tmp_path / "odd.ppm") as image:
        np.testing.assert_array_equal(image, pixels)
    assert "has alpha" in run("valid/alpha.aec", "alpha.ppm").stderr
    failed = run("invalid/critical.aec", "none.npy")
    assert failed.returncode == 1 and failed.stderr.endswith("chunk NEWc [S-023]\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alpha.npy", "odd.ppm"]


@pytest.mark.spec("S-170", "S-024", "S-026", "S-102", "S-106", "S-201", "S-202", "S-211", "S-221")
@pytest.mark.parametrize("name", SOUND)
def test_the_package_accepts(name: str, codec: aec.Codec) -> None:
    told, data = entry(name), FILES[name]
    image = codec.decompress(data)
    assert (image.mode, list(image.size)) == (told["mode"], told["size"])
    assert make_vectors.digest(np.asarray(image)) == told["pixels"]
    for scale, digest in told.get("scaled", {}).items():
        assert make_vectors.digest(np.asarray(codec.decompress(data, scale=int(scale)))) == digest
    codec.verify(data)
    info = aec.open_info(data)
    assert (info.mode, [info.width, info.height]) == (told["mode"], told["size"])
    assert (info.quality_index, info.tile_log2) == (told["quality"], told["tile_log2"])
    assert (info.tiles, info.model_id) == (len(told["symbol_crcs"]), TOLD["model_id"])


@pytest.mark.spec("S-232")
@pytest.mark.parametrize("name", SOUND)
def test_nothing_is_missing_from_a_sound_file(name: str, codec: aec.Codec) -> None:
    told = entry(name)
    found = codec.recover(FILES[name])
    assert (found.tiles_ok, found.errors) == (len(told["symbol_crcs"]), ())
    assert make_vectors.digest(np.asarray(found.picture)) == told["pixels"]
    assert found.mask.getextrema() == (255, 255)


@pytest.mark.spec("S-011", "S-012", "S-013", "S-015", "S-016", "S-018", "S-021", "S-022", "S-023")
@pytest.mark.spec("S-024", "S-027", "S-028", "S-029", "S-040", "S-041", "S-044", "S-113", "S-114")
@pytest.mark.spec("S-172", "S-201", "S-210", "S-211", "S-212", "S-221", "S-222", "S-223", "S-224")
@pytest.mark.parametrize("name", BROKEN)
def test_the_package_refuses(name: str, codec: aec.Codec) -> None:
    told, data = entry(name), FILES[name]
    for read in (codec.decompress, codec.verify):
        with pytest.raises(AecError) as caught:
            read(data)
        assert type(caught.value).__name__ == told["error"]
    if told["breaks"] in INSIDE or told["error"] == "BackendMismatchError":
        aec.open_info(data)
    else:
        with pytest.raises(AecError) as caught:
            aec.open_info(data)
        assert type(caught.value).__name__ == told["error"]


@pytest.mark.spec("S-232", "S-233", "S-235", "S-236")
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_left_of_a_broken_file(name: str, codec: aec.Codec) -> None:
    left = entry(name)["recover"]
    if left is None:
        with pytest.raises(AecError):
            codec.recover(FILES[name])
        return
    found = codec.recover(FILES[name])
    assert [found.tiles_ok, found.tiles_total] == left
    assert found.errors
