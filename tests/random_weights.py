"""Weights of any size that keep the bounds of spec.md, for tests of what trained ones never do."""

import numpy as np
import reference_decoder as reference
from numpy.typing import NDArray

SMALL = {"M": 8, "N": 3, "F": 5, "C": 6, "A": 7, "B": 4, "context": 1, "blocks16": 1, "blocks8": 2}
#: The same under the names of a model's manifest.
SMALL_CONFIG = {
    "m": SMALL["M"],
    "n_z": SMALL["N"],
    "c_h": SMALL["F"],
    "c_ctx": SMALL["C"],
    "c16": SMALL["A"],
    "c8": SMALL["B"],
    "ctx_blocks": SMALL["context"],
    "g_s_blocks16": SMALL["blocks16"],
    "g_s_blocks8": SMALL["blocks8"],
}


def layer_shapes(sizes: dict[str, int]) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Shapes of weight and bias of each layer of the table at S-151."""
    M, N, F, C, A, B = (sizes[letter] for letter in "MNFCAB")
    layers: dict[str, tuple[int, int, bool]] = {"h_s.enter": (N, F, True)}
    blocks = {f"h_s.block{side}": F for side in (64, 32, 16)}
    layers |= {"h_s.up32": (F, 4 * F, False), "h_s.up16": (F, 4 * F, False)}
    for s in range(4):
        layers[f"context.enter.{s}"] = (F + M if s else F, C, False)
        layers |= {f"context.head.{s}.{g}": (C, M // 2, False) for g in range(4)}
    blocks |= {f"context.blocks.{b}": C for b in range(sizes["context"])}
    blocks |= {f"g_s.blocks16.{b}": A for b in range(sizes["blocks16"])}
    blocks |= {f"g_s.blocks8.{b}": B for b in range(sizes["blocks8"])}
    layers |= {"g_s.enter": (M, A, True), "g_s.up": (A, 4 * B, True)}
    layers |= {"g_s.leave": (B, 192, False), "g_s.shortcut": (M, 768, False)}
    blocks["g_s.small"] = A
    for name, width in blocks.items():
        layers |= {f"{name}.{part}": (width, width, False) for part in ("w1", "dw", "w2")}
        if name.startswith("g_s"):
            layers[f"{name}.w3"] = (width, 2 * width, False)
            layers[f"{name}.w4"] = (2 * width, width, False)
    layers |= {f"g_s.leave{s}": (A + M, 768 // s**2, False) for s in (2, 4, 8)}
    return {
        name: (
            (outs, 3, 3) if name.endswith(".dw") else (outs, ins),
            (256, outs) if each else (outs,),
        )
        for name, (ins, outs, each) in layers.items()
    }


def clamp_shapes(sizes: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of clamps at S-152."""
    clamps = dict.fromkeys(("context.y_hat", "g_s.input", "g_s.enter.input"), sizes["M"])
    for name, (weight, _) in layer_shapes(sizes).items():
        if name.endswith(".w2"):
            block = name.removesuffix(".w2")
            clamps |= {f"{block}.{p}": weight[0] for p in (["out", "mid"][: 1 + ("g_s" in name)])}
    return {f"{name}.high": (width,) for name, width in clamps.items()}


def random_tensors(rng: np.random.Generator, sizes: dict[str, int] = SMALL) -> dict[str, NDArray]:
    """Weights of these sizes with the types of S-152; some layers exceed 2^24, none 2^53."""
    tensors: dict[str, NDArray] = {}
    for name, (weight, bias) in layer_shapes(sizes).items():
        outs = weight[0]
        head = name.startswith("context.head")  # small numbers, for table indices of all kinds
        shift = rng.integers(12, 16, outs) if head else rng.integers(4, 11, outs)
        size = 16 if head else 2 ** rng.integers(4, 15)
        tensors[f"{name}.weight"] = rng.integers(-size, size, weight, dtype=np.int16)
        spread = 2.0**shift * (30 if head else 500)
        tensors[f"{name}.bias"] = (rng.uniform(-1, 1, bias) * spread).astype(np.int32)
        tensors[f"{name}.shift"] = shift.astype(np.int8)
        high = rng.integers(1, 2000, outs) * rng.choice([1, 100], outs)
        tensors[f"{name}.high"] = high.astype(np.int32)
        tensors[f"{name}.low"] = -(high * rng.choice([0, 1], outs)).astype(np.int32)
    for name, shape in clamp_shapes(sizes).items():
        tensors[name] = rng.integers(0, 60000, shape, dtype=np.int32)
    tensors["inverse_gain"] = rng.integers(1, 2**22, (256, sizes["M"]), dtype=np.int32)
    for name, count in (("y", 119), ("z", 4 * sizes["N"])):
        reach = rng.integers(0, 9, count)
        frequencies = []
        for r in reach:
            f = 1 + rng.integers(0, 2**24 // (2 * r + 4), 2 * r + 2)
            f[rng.integers(len(f))] += 2**24 - f.sum()
            frequencies.append(f)
        tensors[f"entropy.{name}.reach"] = reach.astype(np.int16)
        tensors[f"entropy.{name}.frequency"] = np.concatenate(frequencies).astype(np.int32)
    crcs = reference.canary({name: tensor.astype(np.int64) for name, tensor in tensors.items()})
    tensors["canary"] = np.array(crcs, np.uint32).astype(np.int32)
    return tensors
