"""What a model costs apart from time: multiply-adds, parameters, bytes of its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..codec import graph
from ..codec.config import STEP_XOR, Y_STRIDE, Z_STRIDE, ModelConfig
from ..codec.encoder import Encoder
from ..codec.loading import DECODER_FILE, DEFAULT_MODEL, ENCODER_FILE, Weights, model_files

__all__ = ["Convolutions", "CountingOps", "file_bytes", "multiply_adds", "parameters"]


class CountingOps:
    """Reads the decoder's graph on shapes: counts the multiply-adds of every layer by its name."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.layers: Counter[str] = Counter()

    def layer(self, name: str, x: Tensor, quality: int = 0, *, depthwise: bool = False) -> Tensor:
        weight = self.tensors[f"{name}.weight"]  # (out, in), or (C, 3, 3)
        if x.shape[2] != weight.shape[0 if depthwise else 1]:
            raise ValueError(f"layer {name} of weights {tuple(weight.shape)} got {tuple(x.shape)}")
        self.layers[name] += x.shape[0] * x.shape[1] * weight.numel()
        return x.new_empty(x.shape[0], x.shape[1], weight.shape[0])

    def act(self, x: Tensor) -> Tensor:
        return x

    def clamp(self, name: str, x: Tensor) -> Tensor:
        return x


class Convolutions(TorchFunctionMode):
    """Counts the multiply-adds of the convolutions and matrix products that run while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in (torch.conv2d, torch.nn.functional.linear):
            self.count += out.numel() * args[1][0].numel()  # each output sums one row of weights
        elif func in (torch.addmm, torch.matmul, torch.mm, Tensor.matmul, Tensor.mm):
            self.count += out.numel() * args[-2].shape[-1]
        return out


def multiply_adds(weights: Weights) -> dict[str, float]:
    """Returns the multiply-adds per pixel of the encoder's transforms, of the entropy path, which
    both sides run, and of the synthesis, each for a picture of whole cells of 64 x 64 pixels.
    """
    cfg = weights.cfg
    pixels = Z_STRIDE**2
    with Convolutions() as encoder, torch.inference_mode():
        coder = Encoder(cfg, weights.encoder)
        coder.hyper_analysis(coder.analysis(torch.zeros(1, 3, Z_STRIDE, Z_STRIDE), 0), 0)
    return {
        "encoder transforms": encoder.count / pixels,
        "entropy path": entropy_layers(cfg, weights.decoder).total() / pixels,
        "synthesis": synthesis_layers(cfg, weights.decoder).total() / pixels,
    }


def entropy_layers(cfg: ModelConfig, tensors: Mapping[str, Tensor]) -> Counter[str]:
    """Returns the multiply-adds of each layer of h_s and of all context steps over one z cell."""
    ops = CountingOps(tensors)
    feature = graph.h_s(ops, torch.empty(1, 1, cfg.n_z, device="meta"), 0)
    y_hat = torch.empty(*feature.shape[:2], cfg.m, device="meta")
    for step in range(len(STEP_XOR)):
        graph.context(ops, cfg, step, feature, y_hat if step else None)
    return ops.layers


def synthesis_layers(cfg: ModelConfig, tensors: Mapping[str, Tensor]) -> Counter[str]:
    """Returns the multiply-adds of each layer of g_s over one z cell."""
    ops = CountingOps(tensors)
    side = Z_STRIDE // Y_STRIDE
    graph.g_s(ops, cfg, torch.empty(side, side, cfg.m, device="meta"), 0)
    return ops.layers


def parameters(weights: Weights) -> dict[str, int]:
    """Returns the numbers of weights and biases of each part; the decoder's biases that depend on
    the quality count once.
    """
    parts: Counter[str] = Counter()
    for name, tensor in weights.encoder.items():
        parts[f"encoder {name.split('.')[0]}"] += tensor.numel()
    for name, tensor in weights.decoder.items():
        kind = name.rpartition(".")[2]
        if kind in ("weight", "bias"):
            count = tensor.numel() if kind == "weight" else tensor.shape[-1]
            parts[f"decoder {name.split('.')[0]}"] += count
    return dict(parts)


def file_bytes(model: Path | None) -> dict[str, int]:
    """Returns the sizes in bytes of a model's files, by default the model in the package."""
    files = model_files(model or DEFAULT_MODEL)
    return {name: len(files[name]) for name in (DECODER_FILE, ENCODER_FILE)}
