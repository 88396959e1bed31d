"""Every way in which a model folder can be wrong, and the error that says so."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import random_weights
import torch
from model_folder import Folder, small_config, sound

from aec.codec.loading import DECODER_FILE, ENCODER_FILE, MANIFEST_FILE
from aec.format.errors import (
    BackendMismatchError,
    ModelError,
    ModelIntegrityError,
    ModelNotFoundError,
)

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


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return sound(tmp_path / "model")


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
    ("h_a.enter.scale", np.nan),
)
def unusable_encoder_number(folder: Folder, name: str, value: float) -> None:
    tensors = folder.tensors(ENCODER_FILE)
    tensors[name].view(-1)[-1] = value
    folder.write(ENCODER_FILE, tensors)


@damage(
    ModelIntegrityError,
    "is not finite float32",
    *[(dtype,) for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int32)],
)
def encoder_tensor_of_another_type(folder: Folder, dtype: torch.dtype) -> None:
    tensors = folder.tensors(ENCODER_FILE)
    tensors["h_a.enter.weight"] = tensors["h_a.enter.weight"].to(dtype)
    folder.write(ENCODER_FILE, tensors)


@damage(ModelIntegrityError, "has no scale for each row", ("missing",), ("short",))
def encoder_scales_that_do_not_fit(folder: Folder, how: str) -> None:
    tensors = folder.tensors(ENCODER_FILE)
    scale = tensors.pop("h_a.enter.scale")
    if how == "short":
        tensors["h_a.enter.scale"] = scale[:-1].contiguous()
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
            tensors["h_a.enter.weight"] = old[:, :-1].contiguous()
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
