"""Whether files decode to the same pixels under every setting that makes float kernels differ.

    python -m aec.bench.exact FOLDER HOST

is the worker: it decodes the .aec files of a folder inside a host program of the named kind, and
prints the SHA-256 of each picture as JSON. `run` starts it once for each of SETTINGS.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["SETTINGS", "Setting", "Verdict", "run"]


class Setting(NamedTuple):
    """One way to run the decoder: environment variables and a kind of host program."""

    name: str
    environment: dict[str, str]
    host: str = "plain"
    device: str = "cpu"


SETTINGS = (
    Setting("1 thread", {"OMP_NUM_THREADS": "1"}),
    Setting("2 threads", {"OMP_NUM_THREADS": "2"}),
    Setting("oneDNN SSE41", {"ONEDNN_MAX_CPU_ISA": "SSE41"}),
    Setting("oneDNN AVX2", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    Setting("oneDNN AVX512_CORE", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}),
    Setting("ATen without SIMD", {"ATEN_CPU_CAPABILITY": "default"}),
    Setting("oneDNN off", {}, "mkldnn-off"),
    Setting("host in bf16 autocast", {}, "autocast"),
    Setting("host with matmul precision medium", {}, "medium"),
    Setting("host with default type float64", {}, "float64"),
)


class Verdict(NamedTuple):
    """What one setting gave: whether every picture had the first setting's pixels, and seconds."""

    name: str
    same: bool
    seconds: float


def _worker(folder: Path, host: str, device: str) -> dict[str, str]:
    import torch

    from ..codec.api import Codec

    codec = Codec(device=device, model=os.environ.get("AEC_BENCH_MODEL") or None)
    if host == "medium":
        torch.set_float32_matmul_precision("medium")
    if host == "float64":
        torch.set_default_dtype(torch.float64)
    context: Any = nullcontext()
    if host == "autocast":
        context = torch.autocast(codec.device.type, dtype=torch.bfloat16)
    if host == "mkldnn-off":
        context = torch.backends.mkldnn.flags(enabled=False)
    with context:
        pictures = ((p, codec.decompress(p.read_bytes())) for p in sorted(folder.glob("*.aec")))
        return {p.name: hashlib.sha256(picture.tobytes()).hexdigest() for p, picture in pictures}


def run(
    folder: Path, model: Path | None, devices: Sequence[str], say: Callable[[Verdict], None]
) -> bool:
    """Decodes the .aec files of `folder` under all settings, on the CPU and on further devices.

    Returns whether all pixels agreed. Raises RuntimeError when a worker fails.
    """
    settings = [*SETTINGS, *(Setting(f"device {d}", {}, device=d) for d in devices)]
    first: dict[str, str] | None = None
    agreed = True
    for setting in settings:
        start = time.perf_counter()
        result = subprocess.run(
            [sys.executable, "-m", __name__, str(folder), setting.host, setting.device],
            env={**os.environ, "AEC_BENCH_MODEL": str(model or ""), **setting.environment},
            capture_output=True,
            text=True,
        )
        if result.returncode:
            raise RuntimeError(f"{setting.name}: {result.stderr.strip()}")
        hashes = json.loads(result.stdout)
        first = hashes if first is None else first
        agreed &= hashes == first
        say(Verdict(setting.name, hashes == first, time.perf_counter() - start))
    return agreed


if __name__ == "__main__":
    print(json.dumps(_worker(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
