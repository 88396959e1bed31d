"""Model folders: what spec.md says is in them, and whose files they decode."""

import hashlib
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_decoder as reference
import safetensors.torch
from model_folder import Folder, picture, sound

import aec
from aec.codec.loading import (
    DECODER_FILE,
    DEFAULT_MODEL,
    MANIFEST_FILE,
    MODEL_ID_BYTES,
    load_weights,
)
from aec.format.container import read_file
from aec.format.errors import ModelNotFoundError

SPEC = (Path(__file__).parent.parent / "spec.md").read_text(encoding="utf-8")


def table(*columns: str) -> list[list[str]]:
    """The cells of the one table in spec.md with these columns."""
    title = re.escape("| " + " | ".join(columns) + " |")
    (body,) = re.findall(rf"^{title}\n[|-]+\n((?:\|.*\n)+)", SPEC, re.MULTILINE)
    return [line[2:-2].split(" | ") for line in body.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return sound(tmp_path / "model")


def expected_tensors(sizes: dict[str, int]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every tensor, read off the two tables of spec.md."""

    def size(text: str) -> int:
        return int(eval(re.sub(r"(\d) ([A-Z])", r"\1 * \2", text), {}, sizes))

    def names(cell: str) -> list[str]:
        counts = {"blocks": "context", "blocks16": "blocks16", "blocks8": "blocks8"}
        found = []
        for name in re.findall(r"`(.*?)`", cell):
            choices: list[Any] = []
            for part in name.split("."):
                count = sizes[counts[choices[-1][0]]] if part == "b" else 4
                choices.append(range(count) if part in {"b", "g", "s"} else [part])
            found += [".".join(map(str, chosen)) for chosen in itertools.product(*choices)]
        return found

    layers: dict[str, tuple[int, int, str]] = {}
    clamps = dict.fromkeys(("context.y_hat", "g_s.input", "g_s.enter.input"), sizes["M"])
    for cell, ins, outs, bias in table("layer", "in", "out", "bias"):
        for name in names(cell):
            if not name.endswith(".*"):
                layers[name] = (size(ins), size(outs), bias)
                continue
            block, width = name.removesuffix(".*"), size(ins)
            for part in ("w1", "dw", "w2"):
                layers[f"{block}.{part}"] = (width, width, bias)
            clamps[f"{block}.out"] = width
            if block.startswith("g_s"):
                layers[f"{block}.w3"] = (width, 2 * width, bias)
                layers[f"{block}.w4"] = (2 * width, width, bias)
                clamps[f"{block}.mid"] = width
    types: dict[str, str] = {}
    for cell, dtype, _ in table("tensor", "dtype", "shape"):
        types |= dict.fromkeys((n.rpartition(".")[2] for n in re.findall(r"`(.*?)`", cell)), dtype)
    shapes: dict[str, tuple[int, ...]] = {
        "inverse_gain": (256, sizes["M"]),
        "entropy.y.reach": (119,),
        "entropy.z.reach": (4 * sizes["N"],),
        "entropy.y.frequency": (sizes["y symbols"],),
        "entropy.z.frequency": (sizes["z symbols"],),
        "canary": (2,),
    }
    for name, (ins, outs, bias) in layers.items():
        shapes[f"{name}.weight"] = (outs, 3, 3) if name.endswith(".dw") else (outs, ins)
        shapes[f"{name}.bias"] = (256, outs) if bias == "each" else (outs,)
        shapes |= {f"{name}.{part}": (outs,) for part in ("shift", "low", "high")}
    shapes |= {f"{name}.high": (width,) for name, width in clamps.items()}
    return {name: (types[name.rpartition(".")[2]], shape) for name, shape in shapes.items()}


@pytest.mark.spec("S-150", "S-151", "S-152", "S-154", "S-156")
@pytest.mark.parametrize("which", ["shipped", "small"])
def test_the_tables_of_the_specification(which: str, folder: Folder) -> None:
    path = DEFAULT_MODEL if which == "shipped" else folder.path
    data = (path / DECODER_FILE).read_bytes()
    config = json.loads((path / MANIFEST_FILE).read_text(encoding="utf-8"))["config"]
    tensors = reference.read_tensors(data)
    fields = {"M": "m", "N": "n_z", "F": "c_h", "C": "c_ctx", "A": "c16", "B": "c8"}
    sizes = {letter: config[field] for letter, field in fields.items()}
    sizes |= {"context": config["ctx_blocks"], "blocks16": config["g_s_blocks16"]}
    sizes["blocks8"] = config["g_s_blocks8"]
    for name in "yz":
        reach = tensors[f"entropy.{name}.reach"]
        assert reach.min() >= 0
        sizes[f"{name} symbols"] = int((2 * reach + 2).sum())
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    found = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
    assert found == expected_tensors(sizes)
    for name, tensor in safetensors.torch.load(data).items():
        np.testing.assert_array_equal(tensor, tensors[name])


@pytest.mark.spec("S-017", "S-156")
def test_a_folder_names_its_model_by_its_decoder_file(folder: Folder) -> None:
    digest = hashlib.sha256((folder.path / DECODER_FILE).read_bytes()).digest()
    assert folder.manifest()["sha256"][DECODER_FILE] == digest.hex()
    weights = load_weights(folder.path)
    assert weights.model_id == digest[:MODEL_ID_BYTES] and len(weights.model_id) == 8
    codec = folder.load()
    assert codec.model_id == weights.model_id.hex()
    assert read_file(codec.compress(picture())).header.model_id == weights.model_id


@pytest.mark.spec("S-156")
def test_the_decoder_file_suffices_to_decode(folder: Folder) -> None:
    codec = aec.Codec(device="cpu", model=str(folder.path))
    data = codec.compress(picture(), quality=90)
    tensors = reference.read_tensors((folder.path / DECODER_FILE).read_bytes())
    np.testing.assert_array_equal(codec.decompress(data), reference.decode(data, tensors))


@pytest.mark.spec("S-150")
def test_metadata_in_the_header_is_ignored(folder: Folder) -> None:
    before = folder.load().compress(picture())
    data = safetensors.torch.save(folder.tensors(DECODER_FILE), metadata={"made": "today"})
    folder.write(DECODER_FILE, data)
    codec = folder.load()
    after = codec.compress(picture())
    assert after[32:] == before[32:] and codec.decompress(after).size == (90, 20)
    np.testing.assert_array_equal(
        reference.decode(after, reference.read_tensors(data)), codec.decompress(after)
    )


@pytest.mark.spec("S-172", "S-173")
def test_a_file_of_other_weights_is_not_decoded(folder: Folder) -> None:
    first = folder.load()
    tensors = folder.tensors(DECODER_FILE)
    tensors["inverse_gain"][0] += 1  # the canary looks at another quality
    folder.write(DECODER_FILE, tensors)
    second = folder.load()
    assert first.model_id != second.model_id
    for one, other in ((first, second), (second, first)):
        data = one.compress(picture())
        with pytest.raises(ModelNotFoundError, match=one.model_id) as caught:
            other.decompress(data)
        assert other.model_id in str(caught.value)


def test_the_folder_of_these_tests_is_sound(folder: Folder) -> None:
    codec = folder.load()
    assert codec.decompress(codec.compress(picture())).size == (90, 20)
