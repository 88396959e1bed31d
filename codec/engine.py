"""The networks on their devices, and what watches over them while one call uses them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ..format.errors import AecError, BackendMismatchError, LimitError, ResourceError
from ..format.limits import Limits
from . import coding
from .choice import RateTable, error_cost
from .config import QUALITY_LEVELS, z_band
from .decoder import GAIN_BITS, Decoder
from .encoder import Encoder
from .entropy import Table
from .exact import canary, exact_arithmetic
from .loading import Weights

T = TypeVar("T")

#: Cells of y, halo included, that the synthesis takes at once. Twice as many are no faster, half as
#: many 7 % slower.
PIECE_CELLS = 1 << 13
#: With less than this, mostly halo would be computed.
FEWEST_CELLS = 1 << 10
#: What an error counts at least: thrift 0 makes it infinitely dear, and 0 / 0 is no price.
LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class Parts:
    """The networks and tables of one model on one device."""

    device: torch.device
    decoder: Decoder
    encoder: Encoder
    rates: RateTable
    y_tables: list[Table]
    z_tables: list[list[Table]]  # by band of qualities

    def encoder_side(
        self, y: Tensor, z: Tensor, quality: int, counts: Tensor, thrift: float = 1.0
    ) -> coding.EncoderSide:
        """What chooses the symbols of y (H/16, W/16, M) and z (N, H/64, W/64). Errors of y count as
        `counts` (of its shape) says, see `Distortion.along`, and for less with more `thrift`.
        """
        gain = self.decoder.inverse_gain[quality] * 2.0**-GAIN_BITS
        q = torch.tensor(quality / (QUALITY_LEVELS - 1), device=gain.device)
        cost = error_cost(gain, q) * counts.clamp(min=LEAST) / thrift
        z_tables = self.z_tables[z_band(quality)]
        return coding.EncoderSide(y, z, cost, self.y_tables, z_tables, self.rates)

    def decoder_side(self, payload: bytes, quality: int) -> coding.DecoderSide:
        """What takes the symbols of a tile's payload; raises FormatError when there is no coder."""
        return coding.DecoderSide(payload, self.y_tables, self.z_tables[z_band(quality)])


def load_parts(weights: Weights, device: torch.device) -> Parts:
    """The networks on `device`; raises BackendMismatchError when it does not compute exactly."""
    with torch.device("cpu"):  # whatever torch's default device is, and its default type
        decoder = Decoder(weights.cfg, weights.decoder, device)
        with exact_arithmetic():
            exact = canary(decoder) == weights.canary
        if not exact:
            raise BackendMismatchError(
                "this machine's arithmetic does not give the symbols that the model was made "
                "with; please report the output of `python -m torch.utils.collect_env`"
            )
        encoder = Encoder(weights.cfg, weights.encoder).to(device, torch.float32)
    rates = RateTable(weights.y_tables, device)
    return Parts(device, decoder, encoder, rates, weights.y_tables, weights.z_tables)


class Work:
    """The networks during one call: stops it at its time limit, and goes on with smaller pieces and
    then on the CPU when a GPU's memory ends.
    """

    def __init__(self, parts: Parts, elsewhere: Callable[[], Parts] | None, limits: Limits) -> None:
        """`elsewhere` loads the networks that go on when the memory of those in `parts` ends."""
        self.parts = parts
        self._elsewhere = elsewhere
        self._limits = limits
        self._start = time.monotonic()
        self.piece_cells = PIECE_CELLS
        self._warned = False

    def check_time(self) -> None:
        """Raises LimitError when the call has taken too long."""
        seconds = time.monotonic() - self._start
        if seconds > self._limits.max_seconds:
            raise LimitError(
                f"{seconds:.1f} s of work are over the limit max_seconds={self._limits.max_seconds}"
            )

    def run(self, job: Callable[[Parts], T]) -> T:
        """The result of `job`, computed on the CPU where the device has too little memory."""
        self.check_time()
        try:
            return job(self.parts)
        except torch.OutOfMemoryError:
            if not self._move():
                raise
        # outside the handler: its traceback holds what the failed attempt had allocated
        return job(self.parts)

    def run_piece(self, job: Callable[[Parts], T]) -> T | None:
        """The same for a piece that can be cut: None, and `piece_cells` halved, when it is too
        large.
        """
        self.check_time()
        try:
            return job(self.parts)
        except torch.OutOfMemoryError:
            if self.piece_cells // 2 >= FEWEST_CELLS:
                self._warn(f"{self.parts.device} is short of memory; smaller pieces are used")
                self.piece_cells //= 2
            elif not self._move():
                raise
        return None

    def _move(self) -> bool:
        """Whether there was another device to go on with."""
        if self._elsewhere is None:
            return False
        self._warn(f"{self.parts.device} is out of memory; the CPU is used instead")
        self.parts, self._elsewhere = self._elsewhere(), None
        return True

    def _warn(self, message: str) -> None:
        if not self._warned:
            warnings.warn(message, stacklevel=2)
        self._warned = True


@contextmanager
def resources() -> Iterator[None]:
    """Turns the ways in which torch and numpy say that memory ended into ResourceError."""
    try:
        yield
    except AecError:
        raise
    except MemoryError as error:
        raise ResourceError(f"out of memory: {error}") from error
    except RuntimeError as error:
        # the CPU allocator has no exception type of its own
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise ResourceError(f"out of memory: {error}") from error
        raise


def pick_device(name: str) -> torch.device:
    """The device of a name; raises ValueError for another name, ResourceError where it is not."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device {name!r} is none of auto, cpu, cuda, cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r} is none of auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ResourceError(
            f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices"
        )
    return device
