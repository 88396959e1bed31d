"""One file, one picture: whatever the processor, the threads and the wishes of the host program."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_decoder as reference
import torch
from numpy.typing import NDArray
from PIL import Image

import aec
from aec.codec import api, engine, exact
from aec.codec.decoder import Decoder
from aec.codec.exact import exact_arithmetic
from aec.codec.integer import IntLinear
from aec.codec.loading import DECODER_FILE, DEFAULT_MODEL
from aec.format.errors import BackendMismatchError


@pytest.fixture(scope="module")
def pictures() -> list[NDArray[np.uint8]]:
    """Colour and gray, of sizes that threads divide among them and that end inside a cell."""
    with Image.open(Path(__file__).parent / "images" / "astronaut.png") as image:
        pixels = np.array(image.convert("RGB"))
    return [pixels[20:150, 180:370], pixels[200:261, 100:170, 1]]


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


@pytest.fixture(scope="module")
def files(codec: aec.Codec, pictures: list[NDArray[np.uint8]]) -> list[bytes]:
    return [codec.compress(p, quality=q) for p, q in zip(pictures, (85, 30), strict=True)]


@pytest.fixture(scope="module")
def digests(files: list[bytes]) -> list[str]:
    """SHA-256 of the pixels that 64-bit integers give."""
    tensors = reference.read_tensors((DEFAULT_MODEL / DECODER_FILE).read_bytes())
    return [hashlib.sha256(reference.decode(data, tensors).tobytes()).hexdigest() for data in files]


# Runs in a process of its own, as some settings are read only once.
CHILD = """
import base64, contextlib, hashlib, json, sys
import numpy as np
import torch

@contextlib.contextmanager
def put(get, set, value):
    before = get()
    set(value)
    yield
    assert get() == value, (get(), value)
    set(before)

plain = contextlib.nullcontext
SETTINGS = {
    "plain": plain,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "medium": lambda: put(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "float64": lambda: put(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "no mkldnn": lambda: put(
        lambda: torch.backends.mkldnn.enabled, torch.backends.mkldnn.set_flags, False
    ),
}

import aec
files, picture = json.load(sys.stdin)
files = [base64.b64decode(data) for data in files]
picture = np.array(picture, np.uint8)
with SETTINGS["float64"](), SETTINGS["medium"](), SETTINGS["autocast"]():
    codec = aec.Codec(device="cpu")
out = {"digests": {}, "made": []}
for threads, names in ((1, list(SETTINGS)), (2, ["plain", "no mkldnn"])):
    torch.set_num_threads(threads)
    for name in names:
        with SETTINGS[name]():
            pixels = [np.asarray(codec.decompress(data)) for data in files]
            out["made"].append(base64.b64encode(codec.compress(picture)).decode())
            assert torch.is_autocast_enabled("cpu") == (name == "autocast")
            assert torch.backends.mkldnn.enabled == (name != "no mkldnn")
            assert not torch.is_inference_mode_enabled()
        assert torch.get_num_threads() == threads
        out["digests"][f"{name}, {threads} threads"] = [
            hashlib.sha256(p.tobytes()).hexdigest() for p in pixels
        ]
json.dump(out, sys.stdout)
"""


@pytest.mark.spec("S-170", "S-171")
@pytest.mark.parametrize(
    "isa",
    [
        {},
        {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
        {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
        {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    ],
    ids=lambda isa: " ".join(isa.values()) or "native",
)
def test_one_picture_on_every_processor_under_every_setting(
    isa: dict[str, str],
    codec: aec.Codec,
    pictures: list[NDArray[np.uint8]],
    files: list[bytes],
    digests: list[str],
) -> None:
    small = pictures[0][:50, :70]
    given = [[base64.b64encode(data).decode() for data in files], small.tolist()]
    unset = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", *isa)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD],
        input=json.dumps(given),
        env=unset | isa,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    assert len(out["digests"]) == len(out["made"]) == 7
    for setting, found in out["digests"].items():
        assert found == digests, setting
    for data in map(base64.b64decode, out["made"]):
        # encoders may differ in their choice of symbols, but what they wrote decodes here
        assert codec.decompress(data).size == (70, 50)


# The settings of the host


def settings() -> dict[str, Any]:
    """Everything that `exact_arithmetic` touches."""
    found: dict[str, Any] = {
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "autocast on cuda": torch.is_autocast_enabled("cuda"),
        "nnpack": torch.backends.nnpack.is_available() and torch._C._get_nnpack_enabled(),
    }
    return found | {number: get() for number, (get, _, _) in enumerate(exact._modes())}


EXACT = {"inference": True, "autocast": False, "autocast on cuda": False, "nnpack": False}


def host_choices() -> list[exact.Mode]:
    """Ways in which a program asks for less precise arithmetic."""
    get, set = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    choices: list[exact.Mode] = [(get, set, wish) for wish in ("highest", "high", "medium")]
    less = {"ieee": "tf32", "highest": "high", False: True}
    return choices + [(get, set, less[value]) for get, set, value in exact._modes()]


@pytest.mark.parametrize("number", range(len(host_choices())))
@pytest.mark.parametrize("fails", [False, True])
def test_settings_of_the_host_are_set_aside_and_restored(number: int, fails: bool) -> None:
    get, set, value = host_choices()[number]
    before = get()
    set(value)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outside = settings()
            try:
                with exact_arithmetic():
                    inside = settings()
                    if fails:
                        raise ArithmeticError
            except ArithmeticError:
                assert fails
            assert settings() == outside
            assert get() == value
        assert outside["autocast"] and inside.items() >= EXACT.items()
        assert [inside[i] for i in range(len(exact._modes()))] == [m[2] for m in exact._modes()]
    finally:
        set(before)


def test_threads_that_overlap_do_not_disturb_each_other() -> None:
    """The first to leave must not bring the host's modes back under the feet of the other."""
    get, set, wish = host_choices()[-1]
    exact_value = exact._modes()[-1][2]
    before = get()
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with exact_arithmetic():
            entered.set()
            leave.wait(60)

    set(wish)
    try:
        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(60)
        with exact_arithmetic():
            leave.set()
            thread.join(60)
            assert not thread.is_alive()
            assert get() == exact_value
        assert get() == wish
    finally:
        set(before)


# Arithmetic that is not exact


def rounded(layer: IntLinear, x: torch.Tensor, quality: int = 0) -> torch.Tensor:
    """As TF32 would: operands with 11 significant bits."""
    mantissa, exponent = torch.frexp(x.float())
    return exact_call(layer, torch.ldexp(torch.round(mantissa * 2**8) / 2**8, exponent), quality)


exact_call = IntLinear.__call__


def test_a_machine_that_rounds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IntLinear, "__call__", rounded)
    with pytest.raises(BackendMismatchError, match="machine's arithmetic"):
        aec.Codec(device="cpu")


@pytest.mark.spec("S-040", "S-173")
def test_rounding_that_begins_later_gives_no_pixels(
    codec: aec.Codec, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IntLinear, "__call__", rounded)
    with pytest.raises(BackendMismatchError, match="its symbols have CRC"):
        codec.decompress(files[0])


def test_a_device_that_is_not_exact_gives_way_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch, files: list[bytes], digests: list[str]
) -> None:
    """Stands in for a GPU that fails: its canary is wrong, that of the CPU is right."""
    devices: list[str] = []

    def make(cfg: Any, tensors: Any, device: torch.device) -> Decoder:
        devices.append(device.type)
        return Decoder(cfg, tensors, torch.device("cpu"))

    def check(decoder: Decoder) -> tuple[int, int]:
        return (0, 0) if devices[-1] == "cuda" else exact.canary(decoder)

    monkeypatch.setattr(api, "pick_device", lambda name: torch.device(name))
    monkeypatch.setattr(engine, "Decoder", make)
    monkeypatch.setattr(engine, "canary", check)
    with pytest.warns(UserWarning, match="^cuda is not exact; the CPU is used instead$"):
        codec = aec.Codec(device="cuda")
    assert devices == ["cuda", "cpu"] and codec.device == torch.device("cpu")
    pixels = np.asarray(codec.decompress(files[1]))
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == digests[1]
