"""The decoder's networks in floats against the reference in 64-bit integers, number for number."""

import re
from collections.abc import Iterator

import numpy as np
import pytest
import random_weights
import reference_decoder as reference
import torch
from numpy.typing import NDArray

from aec.codec.config import ModelConfig
from aec.codec.decoder import Y_MAX, Z_MAX, Decoder, new_y_hat, pick, place
from aec.codec.exact import canary, exact_arithmetic
from aec.codec.integer import FLOAT32_EXACT, FLOAT64_EXACT
from aec.codec.loading import DECODER_FILE, DEFAULT_MODEL, load_weights
from aec.format.errors import ModelIntegrityError

Ints = NDArray[np.int64]
CPU = torch.device("cpu")


def small_config() -> ModelConfig:
    return ModelConfig(**random_weights.SMALL_CONFIG)


def small_tensors(seed: int) -> dict[str, torch.Tensor]:
    tensors = random_weights.random_tensors(np.random.default_rng(seed))
    return {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}


def integers(tensors: dict[str, torch.Tensor]) -> dict[str, Ints]:
    return {name: tensor.numpy().astype(np.int64) for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def shipped() -> tuple[Decoder, dict[str, Ints]]:
    weights = load_weights()
    tensors = reference.read_tensors((DEFAULT_MODEL / DECODER_FILE).read_bytes())
    return Decoder(weights.cfg, weights.decoder, CPU), tensors


@pytest.fixture(params=[*range(8), "shipped"])
def pair(
    request: pytest.FixtureRequest, shipped: tuple[Decoder, dict[str, Ints]]
) -> tuple[Decoder, dict[str, Ints]]:
    """A decoder and the tensors that it was made from."""
    if request.param == "shipped":
        return shipped
    tensors = small_tensors(request.param)
    return Decoder(small_config(), tensors, CPU), integers(tensors)


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact_arithmetic():
        yield


def floats(x: Ints) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x)).float()


@pytest.mark.spec("S-126", "S-130", "S-131", "S-132", "S-133", "S-134", "S-135", "S-136")
@pytest.mark.parametrize("quality", [0, 140, 255])
@pytest.mark.parametrize("extreme", [False, True], ids=["usual", "extreme"])
def test_every_number_is_that_of_the_reference(
    pair: tuple[Decoder, dict[str, Ints]], quality: int, extreme: bool
) -> None:
    decoder, tensors = pair
    network = reference.Network(tensors, quality)
    rng = np.random.default_rng(quality)
    z_limit, r_limit = (Z_MAX, 2**15) if extreme else (2, 2)
    z = rng.integers(-z_limit, z_limit + 1, (1, 2, network.n))
    f = network.features(z)
    feature = decoder.features(floats(z), quality)
    np.testing.assert_array_equal(feature, f)
    y = np.zeros((*f.shape[:2], network.m), np.int64)
    y_hat = new_y_hat(feature, network.m)
    for s in range(4):
        mu, index = network.step(s, f, y)
        found = decoder.step(s, feature, y_hat)
        np.testing.assert_array_equal(found[0], mu)
        np.testing.assert_array_equal(found[1], index)
        r = rng.integers(-r_limit, r_limit, mu.shape)
        network.place(s, y, mu, 128 * r)
        place(y_hat, s, found[0], floats(r))
        np.testing.assert_array_equal(y_hat, y)
    assert not extreme or np.abs(y).max() == Y_MAX
    pixels = decoder.synthesis(y_hat, quality)
    assert pixels.dtype == torch.uint8
    np.testing.assert_array_equal(pixels, network.pixels(y))


def test_the_reference_case_is_no_flat_picture(shipped: tuple[Decoder, dict[str, Ints]]) -> None:
    """Agreement would mean little if all indices or all pixels were at their limits."""
    _, tensors = shipped
    network = reference.Network(tensors, 140)
    rng = np.random.default_rng(140)
    f = network.features(rng.integers(-2, 3, (1, 2, network.n)))
    y = np.zeros((*f.shape[:2], network.m), np.int64)
    used = set()
    for s in range(4):
        mu, index = network.step(s, f, y)
        network.place(s, y, mu, 128 * rng.integers(-2, 2, mu.shape))
        used.update(np.unique(index))
    assert len(used) > 8
    pixels = network.pixels(y)
    assert ((pixels > 0) & (pixels < 255)).mean() > 0.1


@pytest.mark.spec("S-103")
def test_four_steps_visit_every_number_once() -> None:
    y = torch.arange(4 * 6 * 8, dtype=torch.float32).reshape(4, 6, 8)
    copy = torch.full_like(y, -1)
    seen = []
    for s in range(4):
        values = pick(y, s)
        assert values.shape == (4, 2, 3, 2)
        for (p, i, j, k), value in np.ndenumerate(values.numpy()):
            a, b = divmod(p, 2)
            channel = (p ^ reference.X[s]) * 2 + k
            assert value == y[2 * i + a, 2 * j + b, channel]
            seen.append(int(value))
        place(copy, s, 64 * values, torch.zeros_like(values))
    assert sorted(seen) == list(range(4 * 6 * 8))
    assert torch.equal(copy, 64 * y)


@pytest.mark.spec("S-133")
def test_y_is_clamped() -> None:
    y = torch.zeros(2, 2, 4)
    mu = torch.tensor([60.0, -60.0, 5.0, -5.0]).reshape(4, 1, 1, 1)
    r = torch.tensor([1023.0, -1024.0, -32768.0, 2.0]).reshape(4, 1, 1, 1)
    place(y, 0, mu, r)
    assert pick(y, 0).flatten().tolist() == [131004, -131071, -131071, 251]


@pytest.mark.spec("S-155")
def test_canary(pair: tuple[Decoder, dict[str, Ints]]) -> None:
    decoder, tensors = pair
    crcs = reference.canary(tensors)
    assert canary(decoder) == crcs
    assert tuple(int(crc) % 2**32 for crc in tensors["canary"]) == crcs


# Bounds


class Bounds(reference.Network):  # type: ignore[misc]
    """Reads the reference's networks on largest magnitudes instead of numbers."""

    def __init__(self, tensors: dict[str, Ints]) -> None:
        super().__init__(tensors, 0)
        self.largest: dict[str, int] = {}
        self.inputs: dict[str, Ints] = {}

    def widest(self, name: str, x: Ints) -> Ints:
        self.inputs[name] = np.maximum(x.max(axis=(0, 1)), self.inputs.get(name, 0))
        return self.inputs[name]

    def L(self, name: str, x: Ints) -> Ints:
        sums = self.widest(name, x) @ abs(self.tensors[f"{name}.weight"]).T
        return self.spread(self.requantise(name, sums), x)

    def D(self, name: str, x: Ints) -> Ints:
        sums = abs(self.tensors[f"{name}.weight"]).sum(axis=(1, 2))
        return self.spread(self.requantise(name, self.widest(name, x) * sums), x)

    @staticmethod
    def spread(amax: Ints, x: Ints) -> Ints:
        return np.broadcast_to(amax, (*x.shape[:2], len(amax)))

    def requantise(self, name: str, sums: Ints) -> Ints:
        half = 1 << (self.tensors[f"{name}.shift"] - 1)
        bias = abs(self.tensors[f"{name}.bias"]).reshape(-1, len(half)).max(axis=0)
        self.largest[name] = int((sums + bias + half).max())
        low, high = self.tensors[f"{name}.low"], self.tensors[f"{name}.high"]
        return np.maximum(abs(low), abs(high))

    def h(self, x: Ints) -> Ints:
        return x

    def K(self, name: str, x: Ints) -> Ints:
        return self.spread(self.tensors[f"{name}.high"], x)

    def prove(self) -> dict[str, int]:
        """The bound of S-141 by layer."""
        f = self.features(np.full((1, 1, self.n), 127))
        for s in range(4):
            self.step(s, f, np.full((4, 4, self.m), 131071))
        for scale in (1, 2, 4, 8):
            self.pixels(np.zeros((4, 4, self.m), np.int64), scale)
        return self.largest


@pytest.mark.spec("S-140", "S-141")
def test_weights_keep_their_bounds(pair: tuple[Decoder, dict[str, Ints]]) -> None:
    decoder, tensors = pair
    layers = decoder.entropy.layers | decoder.pixels.layers
    bounds = Bounds(tensors).prove()
    assert bounds.keys() == layers.keys()
    for name, bound in bounds.items():
        wide = layers[name].dtype == torch.float64
        assert wide == (bound > FLOAT32_EXACT), f"{name} reaches {bound}"
        assert bound <= FLOAT64_EXACT
    for name, tensor in tensors.items():
        part = name.rpartition(".")[2]
        if part == "shift":
            assert tensor.min() >= 1 and tensor.max() <= 40
        elif part == "low":
            assert (tensor <= tensors[name.removesuffix("low") + "high"]).all()
        if part in ("low", "high"):
            assert abs(tensor).max() <= 2**22


@pytest.mark.spec("S-140", "S-141", "S-152", "S-153")
@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("g_s.enter.weight", 2**46, "layer g_s.enter: sums reach"),
        ("context.blocks.0.dw.weight", 2**50, r"layer context.blocks.0.dw: sums reach"),
        ("h_s.enter.bias", 2**53, "layer h_s.enter: sums reach"),
        ("g_s.leave.shift", 0, "layer g_s.leave: shift or clamp"),
        ("context.head.2.1.high", 2**22 + 1, "layer context.head.2.1: shift or clamp"),
        ("context.enter.3.low", -(2**22) - 1, "layer context.enter.3: shift or clamp"),
        ("h_s.block32.out.high", -1, "clamp h_s.block32.out"),
        ("h_s.block32.out.high", 2**22 + 1, "clamp h_s.block32.out"),
        ("g_s.input.high", 2**22 + 1, "clamp g_s.input"),
        ("context.y_hat.high", 2**31, "clamp context.y_hat"),
        ("g_s.blocks8.1.mid.high", -5, "clamp g_s.blocks8.1.mid"),
        ("inverse_gain", 0, "inverse_gain"),
        ("inverse_gain", 2**24, "inverse_gain"),
    ],
)
def test_weights_out_of_bounds_are_refused(name: str, value: int, match: str) -> None:
    tensors = small_tensors(0)
    changed = tensors[name].to(torch.int64)
    changed.view(-1)[-1] = value
    with pytest.raises(ModelIntegrityError, match=match):
        Decoder(small_config(), tensors | {name: changed}, CPU)


def networks_only() -> dict[str, torch.Tensor]:
    tensors = small_tensors(0)
    names = [name for name in tensors if name.split(".")[0] not in ("entropy", "canary")]
    return {name: tensors[name] for name in names}


@pytest.mark.spec("S-152")
def test_each_tensor_must_be_there() -> None:
    tensors = networks_only()
    Decoder(small_config(), tensors, CPU)
    kinds = {re.sub(r"\d", "", name): name for name in tensors}  # one of each will do
    for name in kinds.values():
        fewer = {k: v for k, v in tensors.items() if k != name}
        with pytest.raises(ModelIntegrityError, match=f"lacks tensor '{name}'"):
            Decoder(small_config(), fewer, CPU)


@pytest.mark.spec("S-152")
@pytest.mark.parametrize(
    "layer", ["h_s.enter", "h_s.block64.dw", "h_s.block64.out", "g_s.input", "inverse_gain"]
)
def test_each_tensor_must_have_its_shape(layer: str) -> None:
    tensors = networks_only()
    for name, right in tensors.items():
        if name.startswith(layer):
            wrong = [right[:-1], right[..., :-1], right[None], right[..., None], right[:0]]
            wrong += [right.flatten()[0], torch.cat([right, right])]
            for other in wrong:
                with pytest.raises(ModelIntegrityError, match="shape"):
                    Decoder(small_config(), tensors | {name: other}, CPU)


@pytest.mark.spec("S-152")
@pytest.mark.parametrize("name", ["h_s.enter.scale", "entropy.w.reach", "g_s.blocks8.2.w1.weight"])
def test_unknown_tensors_are_refused(name: str) -> None:
    tensors = small_tensors(0) | {name: torch.zeros(1)}
    with pytest.raises(ModelIntegrityError, match=rf"no part of the decoder uses: \['{name}'\]"):
        Decoder(small_config(), tensors, CPU)
