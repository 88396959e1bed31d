"""Model folders: what spec.md says is in them, and every way in which they can be wrong."""

import hashlib
import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import random_weights
import reference_decoder as reference
import safetensors.torch
import torch

import aec
from aec.codec.config import ModelConfig
from aec.codec.loading import (
    DECODER_FILE,
    DEFAULT_MODEL,
    ENCODER_FILE,
    MANIFEST_FILE,
    MODEL_ID_BYTES,
    load_weights,
)
from aec.codec.model import Model
from aec.format.container import read_file
from aec.format.errors import (
    BackendMismatchError,
    ModelError,
    ModelIntegrityError,
    ModelNotFoundError,
)

SPEC = (Path(__file__).parent.parent / "spec.md").read_text(encoding="utf-8")
Tensors = dict[str, torch.Tensor]


def table(*columns: str) -> list[list[str]]:
    """The cells of the one table in spec.md with these columns."""
    title = re.escape("| " + " | ".join(columns) + " |")
    (body,) = re.findall(rf"^{title}\n[|-]+\n((?:\|.*\n)+)", SPEC, re.MULTILINE)
    return [line[2:-2].split(" | ") for line in body.splitlines()]


def small_config() -> ModelConfig:
    return ModelConfig(**random_weights.SMALL_CONFIG, g_a_blocks8=1, g_a_blocks16=1, knots=3)


class Folder:
    """A folder with a small model in it, made to be damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tensors(self, file: str) -> Tensors:
        return safetensors.torch.load((self.path / file).read_bytes())

    def manifest(self) -> Any:
        return json.loads((self.path / MANIFEST_FILE).read_text(encoding="utf-8"))

    def write(self, file: str, content: Tensors | bytes) -> None:
        """Replaces a file of tensors, and its digest in the manifest."""
        data = content if isinstance(content, bytes) else safetensors.torch.save(content)
        (self.path / file).write_bytes(data)
        manifest = self.manifest()
        manifest["sha256"][file] = hashlib.sha256(data).hexdigest()
        self.write_manifest(manifest)

    def write_manifest(self, manifest: Any) -> None:
        (self.path / MANIFEST_FILE).write_text(json.dumps(manifest), encoding="utf-8")

    def load(self) -> aec.Codec:
        return aec.Codec(device="cpu", model=self.path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Folder(tmp_path_factory.mktemp("model"))
    folder.write_manifest({"config": small_config().as_dict(), "sha256": {}})
    decoder = random_weights.random_tensors(np.random.default_rng(3))
    folder.write(DECODER_FILE, {name: torch.from_numpy(t) for name, t in decoder.items()})
    torch.manual_seed(0)
    state = Model(small_config()).state_dict()
    names = ("g_a.", "h_a.", "log_gain.")
    folder.write(ENCODER_FILE, {k: v.clone() for k, v in state.items() if k.startswith(names)})
    return folder.path


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Folder:
    shutil.copytree(sound, tmp_path / "model")
    return Folder(tmp_path / "model")


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 90, 3)).astype(np.uint8)


# Sound ones


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
        "entropy.y.reach": (63,),
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
def test_the_tables_of_the_specification(which: str, sound: Path) -> None:
    path = DEFAULT_MODEL if which == "shipped" else sound
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


# Damaged ones

Damage = Callable[[Folder], None]
DAMAGES: list[Any] = []


def damage(error: type[ModelError], match: str, *cases: Any) -> Callable[[Callable], Callable]:
    """Adds a way to damage a folder, once for each of the cases."""

    def add(function: Callable) -> Callable:
        for case in cases or [()]:
            name = "-".join([function.__name__, *map(str, case)])
            DAMAGES.append(
                pytest.param(lambda f, c=case: function(f, *c), error, match, id=name[:60])
            )
        return function

    return add


FILES = [(DECODER_FILE,), (ENCODER_FILE,), (MANIFEST_FILE,)]
TENSOR_FILES = FILES[:2]


@damage(ModelNotFoundError, "cannot read")
def no_folder(folder: Folder) -> None:
    shutil.rmtree(folder.path)


@damage(ModelNotFoundError, "cannot read .*: No such file", *FILES)
def no_file(folder: Folder, file: str) -> None:
    (folder.path / file).unlink()


@damage(ModelNotFoundError, "cannot read", *FILES)
def folder_for_a_file(folder: Folder, file: str) -> None:
    (folder.path / file).unlink()
    (folder.path / file).mkdir()


@damage(
    ModelIntegrityError,
    "has SHA-256 .* its manifest says",
    *[(file, place) for (file,) in TENSOR_FILES for place in (0.0, 0.3, 0.6, 1.0)],
)
def flipped_bit(folder: Folder, file: str, place: float) -> None:
    data = bytearray((folder.path / file).read_bytes())
    data[int(place * (len(data) - 1))] ^= 4
    (folder.path / file).write_bytes(data)


@damage(ModelIntegrityError, "has SHA-256", *TENSOR_FILES)
def shortened(folder: Folder, file: str) -> None:
    (folder.path / file).write_bytes((folder.path / file).read_bytes()[:-1])


@damage(ModelIntegrityError, "has SHA-256")
def swapped(folder: Folder) -> None:
    a, b = folder.path / DECODER_FILE, folder.path / ENCODER_FILE
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


@damage(
    ModelIntegrityError,
    "is no safetensors file",
    *[(f, n) for (f,) in TENSOR_FILES for n in (0, 7, 8, 100, -1)],
)
def shortened_with_its_digest(folder: Folder, file: str, length: int) -> None:
    folder.write(file, (folder.path / file).read_bytes()[:length])


@damage(
    ModelIntegrityError,
    "manifest.json: ",
    *[(text,) for text in ("", "{", "[]", "3", "null", '"sha256"', "{}", '{"config": {}}')],
    *[(text,) for text in ('{"sha256": []}', '{"sha256": 3}', '{"sha256": {}}', "\xff")],
)
def broken_manifest(folder: Folder, text: str) -> None:
    (folder.path / MANIFEST_FILE).write_bytes(text.encode("latin-1"))


@damage(ModelIntegrityError, "manifest.json: ", *TENSOR_FILES)
def missing_digest(folder: Folder, file: str) -> None:
    manifest = folder.manifest()
    del manifest["sha256"][file]
    folder.write_manifest(manifest)


@damage(ModelIntegrityError, "manifest.json: .*more.safetensors")
def extra_digest(folder: Folder) -> None:
    manifest = folder.manifest()
    manifest["sha256"]["more.safetensors"] = "0" * 64
    folder.write_manifest(manifest)


@damage(ModelIntegrityError, "has SHA-256", ("",), (0,), (None,), ("0" * 64,), ([],))
def wrong_digest(folder: Folder, digest: object) -> None:
    manifest = folder.manifest()
    manifest["sha256"][DECODER_FILE] = digest
    folder.write_manifest(manifest)


@damage(ModelIntegrityError, "manifest's config does not fit", (None,), ([],), ("m",), (7,))
def config_of_another_kind(folder: Folder, config: object) -> None:
    folder.write_manifest(folder.manifest() | {"config": config})


@damage(ModelIntegrityError, "manifest's config does not fit")
def no_config(folder: Folder) -> None:
    folder.write_manifest({"sha256": folder.manifest()["sha256"]})


@damage(
    ModelIntegrityError,
    "manifest's config does not fit",
    *[("m", value) for value in (7, 8.0, "8", None, True, -8, 2**40, [8])],
    ("unheard_of", 1),
)
def odd_config(folder: Folder, key: str, value: object) -> None:
    manifest = folder.manifest()
    manifest["config"][key] = value
    folder.write_manifest(manifest)


@damage(
    ModelIntegrityError,
    ".",
    *[(key, by) for key in small_config().as_dict() for by in (-1, 1)],
)
def sizes_of_another_model(folder: Folder, key: str, by: int) -> None:
    manifest = folder.manifest()
    manifest["config"][key] += 4 * by if key == "m" else by
    folder.write_manifest(manifest)


KINDS = {re.sub(r"\d", "", n): n for n in random_weights.random_tensors(np.random.default_rng(0))}


@damage(ModelIntegrityError, "lacks tensor", *[(name,) for name in KINDS.values()])
def missing_tensor(folder: Folder, name: str) -> None:
    tensors = folder.tensors(DECODER_FILE)
    del tensors[name]
    folder.write(DECODER_FILE, tensors)


@damage(
    ModelIntegrityError,
    "extra|expected None",
    *[(f"extra.{part}",) for part in ("weight", "high", "canary", "other")],
)
def extra_tensor(folder: Folder, name: str) -> None:
    folder.write(DECODER_FILE, folder.tensors(DECODER_FILE) | {name: torch.ones(2).int()})


@damage(
    ModelIntegrityError,
    "is torch.*, expected torch.",
    *[
        (name, dtype)
        for name in (
            "h_s.enter.weight",
            "h_s.enter.bias",
            "h_s.enter.shift",
            "h_s.enter.low",
            "g_s.input.high",
            "inverse_gain",
            "entropy.y.frequency",
            "entropy.z.reach",
            "canary",
        )
        for dtype in (torch.int64, torch.float32, torch.bfloat16, torch.bool, torch.uint8)
    ],
)
def wrong_type(folder: Folder, name: str, dtype: torch.dtype) -> None:
    tensors = folder.tensors(DECODER_FILE)
    tensors[name] = tensors[name].to(dtype)
    folder.write(DECODER_FILE, tensors)


@damage(
    ModelIntegrityError,
    ".",
    ("h_s.up16.shift", 0),
    ("h_s.up16.shift", 41),
    ("h_s.up16.low", -(2**31)),
    ("h_s.up16.high", 2**31 - 1),
    ("h_s.block16.out.high", -1),
    ("g_s.input.high", 2**31 - 1),
    ("inverse_gain", 0),
    ("inverse_gain", 2**24),
    ("entropy.y.frequency", 0),
    ("entropy.z.frequency", -5),
    ("entropy.y.frequency", 2**24),
    ("entropy.y.reach", -1),
    ("entropy.z.reach", 2**15 - 1),
)
def number_out_of_range(folder: Folder, name: str, value: int) -> None:
    tensors = folder.tensors(DECODER_FILE)
    tensors[name].view(-1)[-1] = value
    folder.write(DECODER_FILE, tensors)


@damage(
    ModelIntegrityError,
    ".",
    *[
        (name, shape)
        for name in ("h_s.enter.weight", "h_s.enter.bias", "g_s.input.high", "inverse_gain")
        for shape in ("shorter", "longer", "deeper", "flat")
    ],
    *[
        (name, shape)
        for name in ("canary", "entropy.y.frequency", "entropy.z.reach", "entropy.y.reach")
        for shape in ("shorter", "longer", "deeper", "turned")
    ],
)
def wrong_shape(folder: Folder, name: str, shape: str) -> None:
    tensors = folder.tensors(DECODER_FILE)
    right = tensors[name]
    tensors[name] = {
        "shorter": right[:-1],
        "longer": torch.cat([right, right[-1:]]),
        "deeper": right[None],
        "turned": right[:, None],
        "flat": right.flatten()[:1],
    }[shape].contiguous()
    folder.write(DECODER_FILE, tensors)


@damage(BackendMismatchError, "does not give the symbols", (0,), (1,))
def wrong_canary(folder: Folder, which: int) -> None:
    tensors = folder.tensors(DECODER_FILE)
    tensors["canary"][which] ^= 1 << 20
    folder.write(DECODER_FILE, tensors)


@damage(
    BackendMismatchError,
    "does not give the symbols",
    ("h_s.enter.bias",),
    ("context.head.2.1.bias",),
    ("g_s.leave.bias",),
)
def numbers_of_another_training(folder: Folder, name: str) -> None:
    tensors = folder.tensors(DECODER_FILE)
    tensors[name] += 2**12
    folder.write(DECODER_FILE, tensors)


@damage(
    ModelIntegrityError,
    "is not finite float32",
    *[("log_gain.table", value) for value in (np.nan, np.inf, -np.inf)],
    ("g_a.shortcut", np.nan),
)
def unusable_encoder_number(folder: Folder, name: str, value: float) -> None:
    tensors = folder.tensors(ENCODER_FILE)
    tensors[name].view(-1)[5] = value
    folder.write(ENCODER_FILE, tensors)


@damage(
    ModelIntegrityError,
    "is not finite float32",
    *[(dtype,) for dtype in (torch.float64, torch.float16, torch.int32)],
)
def encoder_tensor_of_another_type(folder: Folder, dtype: torch.dtype) -> None:
    tensors = folder.tensors(ENCODER_FILE)
    tensors["h_a.enter.weight"] = tensors["h_a.enter.weight"].to(dtype)
    folder.write(ENCODER_FILE, tensors)


@damage(
    ModelIntegrityError, "encoder weights", ("missing",), ("extra",), ("shape",), ("everything",)
)
def encoder_tensors_that_do_not_fit(folder: Folder, how: str) -> None:
    tensors = folder.tensors(ENCODER_FILE)
    if how == "extra":
        tensors["g_a.more"] = torch.ones(1)
    elif how == "everything":
        tensors = {}
    else:
        old = tensors.pop("h_a.enter.weight")
        if how == "shape":
            tensors["h_a.enter.weight"] = old[:-1].contiguous()
    folder.write(ENCODER_FILE, tensors)


@pytest.mark.spec("S-152", "S-153", "S-154", "S-156", "S-173")
@pytest.mark.parametrize(("apply", "error", "match"), DAMAGES)
def test_a_damaged_model_is_refused(
    folder: Folder, apply: Damage, error: type[ModelError], match: str
) -> None:
    apply(folder)
    with pytest.raises(error, match=match) as caught:
        folder.load()
    assert type(caught.value) is error
    assert str(caught.value)


def test_the_folder_of_these_tests_is_sound(folder: Folder) -> None:
    codec = folder.load()
    assert codec.decompress(codec.compress(picture())).size == (90, 20)
