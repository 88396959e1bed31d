"""Integer layers carried in floats, against the same sums in 64-bit integers."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from aec.codec.integer import (
    ACTIVATION_MAX,
    FLOAT32_EXACT,
    FLOAT64_EXACT,
    IntLinear,
    clamp_channels,
    hard_swish,
    pixel_shuffle,
)
from aec.format.errors import ModelIntegrityError

Ints = NDArray[np.int64]


def to_torch(tensors: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {f"a.{part}": torch.as_tensor(value) for part, value in tensors.items()}


def random_layer(rng: np.random.Generator, bits: int, depthwise: bool) -> dict[str, Ints]:
    """A layer whose weights have `bits` bits, with clamps that some outputs reach."""
    outs, ins = rng.integers(1, 40, 2)
    shift = rng.integers(1, bits + 6, outs)
    high = rng.integers(0, 4000, outs)
    return {
        "weight": rng.integers(-(2**bits), 2**bits + 1, (outs, 3, 3) if depthwise else (outs, ins)),
        "bias": rng.integers(-(2**bits) * 50, 2**bits * 50, outs),
        "shift": shift,
        "low": high - rng.integers(0, 5000, outs),
        "high": high,
    }


def expected(layer: dict[str, Ints], x: Ints, depthwise: bool) -> Ints:
    weight, shift = layer["weight"], layer["shift"]
    if depthwise:
        rows, columns, _ = x.shape
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        sums = sum(
            padded[u : u + rows, v : v + columns] * weight[:, u, v]
            for u in range(3)
            for v in range(3)
        )
    else:
        sums = np.einsum("ijc,oc->ijo", x, weight)
    rounded = (sums + layer["bias"] + (1 << (shift - 1))) >> shift
    return np.clip(rounded, layer["low"], layer["high"])


@pytest.mark.spec("S-120", "S-121", "S-122")
@pytest.mark.parametrize("depthwise", [False, True], ids=["pointwise", "depthwise"])
@pytest.mark.parametrize(("bits", "dtype"), [(6, torch.float32), (15, torch.float64)])
def test_layer_equals_int64(bits: int, dtype: torch.dtype, depthwise: bool) -> None:
    rng = np.random.default_rng(bits)
    clamped = negative = 0
    for _ in range(40):
        layer = random_layer(rng, bits, depthwise)
        outs = len(layer["shift"])
        ins = outs if depthwise else layer["weight"].shape[1]
        amax = rng.integers(0, 2000, ins) * (8 if bits == 15 else 1)
        rows, columns = rng.integers(1, 7, 2)
        x = rng.integers(-amax, amax + 1, (rows, columns, ins))
        if rng.integers(2):  # the largest sums that the bound allows for
            signs = np.sign(layer["weight"].reshape(outs, -1)[rng.integers(outs)])
            x = amax * (signs[4] if depthwise else signs) * np.ones_like(x)
        made = IntLinear(to_torch(layer), "a", torch.from_numpy(amax), depthwise=depthwise)
        given = torch.from_numpy(x).float()
        out = made(given)
        assert out.dtype == torch.float32
        assert np.array_equal(given.numpy(), x), "a layer leaves its input as it is"
        wanted = expected(layer, x, depthwise)
        np.testing.assert_array_equal(out.numpy(), wanted)
        assert bool((made.amax >= out.abs().amax((0, 1))).all())
        if made.dtype == dtype:
            clamped += int((wanted == layer["high"]).sum())
            negative += int((wanted < 0).sum())
    assert clamped > 100 and negative > 100, "the cases do not try what they should"


@pytest.mark.spec("S-120")
@pytest.mark.parametrize("value", [-5, -4, -3, -2, -1, 0, 1, 2, 3, 4])
def test_halves_are_rounded_up_and_quotients_down(value: int) -> None:
    layer = {"weight": [[1]], "bias": [0], "shift": [2], "low": [-9], "high": [9]}
    out = IntLinear(to_torch(layer), "a", torch.tensor([9]))(torch.tensor([[[float(value)]]]))
    assert out.item() == (value + 2) // 4


@pytest.mark.spec("S-121")
def test_bias_of_a_quality() -> None:
    rng = np.random.default_rng(0)
    layer = random_layer(rng, 6, False)
    bias = rng.integers(-3000, 3000, (256, len(layer["shift"])))
    ins = layer["weight"].shape[1]
    made = IntLinear(to_torch(layer | {"bias": bias}), "a", torch.full((ins,), 100))
    x = rng.integers(-100, 101, (2, 3, ins))
    for q in (0, 1, 254, 255):
        out = made(torch.from_numpy(x).float(), q)
        np.testing.assert_array_equal(out, expected(layer | {"bias": bias[q]}, x, False))


# The bound


@pytest.mark.spec("S-141")
@pytest.mark.parametrize(
    ("bound", "dtype"),
    [
        (FLOAT32_EXACT, torch.float32),
        (FLOAT32_EXACT + 1, torch.float64),
        (FLOAT64_EXACT, torch.float64),
    ],
)
@pytest.mark.parametrize("depthwise", [False, True], ids=["pointwise", "depthwise"])
def test_type_follows_the_bound_to_the_unit(
    bound: int, dtype: torch.dtype, depthwise: bool
) -> None:
    amax = ACTIVATION_MAX if bound > 2**30 else 2**10
    shift = 31 if bound > 2**30 else 3
    weight = (bound - 2 ** (shift - 1)) // amax
    bias = bound - 2 ** (shift - 1) - weight * amax
    weights = np.zeros((2, 3, 3) if depthwise else (2, 2), np.int64)
    weights[1, 1] = [0, weight, 0] if depthwise else weight
    layer = {
        "weight": weights,
        "bias": np.array([0, bias]),
        "shift": np.array([shift, shift]),
        "low": np.array([-ACTIVATION_MAX] * 2),
        "high": np.array([ACTIVATION_MAX] * 2),
    }
    made = IntLinear(to_torch(layer), "a", torch.tensor([amax, amax]), depthwise=depthwise)
    assert made.dtype == dtype
    for x in (amax, amax - 1, -amax, 1 - amax):
        x = np.array([[[0, x]]])
        out = made(torch.from_numpy(x).float())
        np.testing.assert_array_equal(out, expected(layer, x, depthwise))


@pytest.mark.spec("S-141")
@pytest.mark.parametrize("part", ["weight", "bias", "shift", "input", None])
def test_a_layer_beyond_2_to_the_53_is_refused(part: str | None) -> None:
    layer = {
        "weight": np.array([[-(2**30), 2**30]]),
        "bias": np.zeros((256, 1), np.int64),
        "shift": np.array([39]),
        "low": np.array([0]),
        "high": np.array([1]),
    }
    layer["bias"][77] = -(2**52 - 2**38)  # one quality's bias counts for all
    amax = torch.tensor([2**21, 2**21])
    if part == "input":
        amax[0] += 1
    elif part == "shift":
        layer["shift"] += 1
    elif part is not None:
        at = (77, 0) if part == "bias" else (0, 0)
        layer[part][at] -= 1  # both are negative
    if part is None:
        assert IntLinear(to_torch(layer), "a", amax).dtype == torch.float64
        return
    with pytest.raises(ModelIntegrityError, match="layer a: sums reach 9007"):
        IntLinear(to_torch(layer), "a", amax)


def test_sums_that_float32_cannot_hold_are_right() -> None:
    layer = {"weight": [[8, 1]], "bias": [-(2**24)], "shift": [1], "low": [0], "high": [9]}
    x = torch.tensor([[[2.0**21, 1.0]]])
    assert float(x.flatten() @ torch.tensor([8.0, 1.0])) == 2**24, "float32 loses the 1"
    assert IntLinear(to_torch(layer), "a", torch.tensor([2**21, 1]))(x).item() == 1


@pytest.mark.spec("S-140")
@pytest.mark.parametrize(
    "changes",
    [
        {"shift": 0},
        {"shift": 41},
        {"shift": -1},
        {"low": 2, "high": 1},
        {"low": -ACTIVATION_MAX - 1},
        {"high": ACTIVATION_MAX + 1},
    ],
)
def test_shifts_and_clamps_out_of_range_are_refused(changes: dict[str, int]) -> None:
    layer = {
        "weight": torch.ones(3, 2),
        "bias": torch.zeros(3),
        "shift": torch.full((3,), 4),
        "low": torch.full((3,), -ACTIVATION_MAX),
        "high": torch.full((3,), ACTIVATION_MAX),
    }
    amax = torch.tensor([1, 1])
    IntLinear(to_torch(layer), "a", amax)
    for part, value in changes.items():
        layer[part][1] = value
    with pytest.raises(ModelIntegrityError, match="layer a: shift or clamp out of range"):
        IntLinear(to_torch(layer), "a", amax)


@pytest.mark.parametrize("depthwise", [False, True], ids=["pointwise", "depthwise"])
@pytest.mark.parametrize("part", ["weight", "bias", "shift", "low", "high"])
def test_shapes_that_do_not_fit_are_refused(part: str, depthwise: bool) -> None:
    layer = {
        "weight": torch.ones((4, 3, 3) if depthwise else (4, 2)),
        "bias": torch.zeros(4),
        "shift": torch.full((4,), 4),
        "low": torch.zeros(4),
        "high": torch.ones(4),
    }
    amax = torch.ones(4 if depthwise else 2, dtype=torch.int64)
    IntLinear(to_torch(layer), "a", amax, depthwise=depthwise)
    right = layer[part]
    wrong = [right[:3], right[None], right[..., None], right.flatten()[0], right[:0]]
    wrong += [torch.cat([right, right]), right[..., :1]]
    for tensor in wrong:
        with pytest.raises(ModelIntegrityError, match="layer a: shapes"):
            IntLinear(to_torch(layer | {part: tensor}), "a", amax, depthwise=depthwise)
    with pytest.raises(ModelIntegrityError, match="layer a: shapes"):
        IntLinear(to_torch(layer), "a", amax[:1], depthwise=depthwise)


# What stands between layers


@pytest.mark.spec("S-124")
def test_hard_swish_of_every_integer() -> None:
    near = range(-(2**17), 2**17 + 1)
    far = [sign * (ACTIVATION_MAX - i) for sign in (-1, 1) for i in range(5000)]
    values = [*near, *far]
    wanted = [(a * min(max(a + 2048, 0), 4096) + 2048) // 4096 for a in values]
    out = hard_swish(torch.tensor(values, dtype=torch.float32), 9)
    assert out.tolist() == wanted
    assert all(abs(w) <= abs(a) for w, a in zip(wanted, values, strict=True)), "bounds need this"
    assert min(wanted) == -256 and max(w - a for w, a in zip(wanted, values, strict=True)) > 0


@pytest.mark.parametrize("bits", range(10))
def test_hard_swish_at_other_scales(bits: int) -> None:
    one = 2**bits
    values = list(range(-9 * one - 5, 9 * one + 6))
    wanted = [(a * min(max(a + 4 * one, 0), 8 * one) + 4 * one) // (8 * one) for a in values]
    assert hard_swish(torch.tensor(values, dtype=torch.float32), bits).tolist() == wanted


@pytest.mark.spec("S-123")
@pytest.mark.parametrize("r", [2, 8, 16])
def test_pixel_shuffle(r: int) -> None:
    x = torch.arange(3 * 2 * 5 * r * r, dtype=torch.float32).reshape(3, 2, 5 * r * r)
    out = pixel_shuffle(x, r)
    assert out.shape == (3 * r, 2 * r, 5)
    for i, j, c in np.ndindex(*out.shape):
        assert out[i, j, c] == x[i // r, j // r, c * r * r + i % r * r + j % r]
    assert torch.equal(out, F.pixel_shuffle(x.permute(2, 0, 1), r).permute(1, 2, 0))


@pytest.mark.spec("S-125")
def test_clamp_of_channels() -> None:
    x = torch.tensor([[[-3.0, 3.0, 3.0], [1.0, -1.0, -1.0]]])
    out = clamp_channels(x, torch.tensor([2.0, 9.0, 0.0]))
    assert out.tolist() == [[[-2, 3, 0], [1, -1, 0]]]
