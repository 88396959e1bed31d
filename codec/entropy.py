"""Entropy coding: frozen integer tables over constriction's ANS coder, grouped by table.

Coding all symbols of one table in one call is 5 to 50 times faster than a table per symbol. A
table with sum 2^24 reaches constriction as `float64(frequency - 1)` with `perfect=False`, which
its quantisation turns back into exactly these integers (tests prove it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import constriction
import numpy as np
from numpy.typing import NDArray

from ..format.errors import FormatError, ModelIntegrityError

TABLE_SUM = 2**24
ESCAPE_BITS = 16  # an escaped value is 16 uniform bits, two's complement
ESCAPE_LIMIT = 2 ** (ESCAPE_BITS - 1) - 1

Symbols = NDArray[np.int32]
_T = TypeVar("_T")

# constriction looks for numpy with its first array, and makes a panic of whatever interrupts that.
# Here, it is not taken for a damaged file.
constriction.stream.stack.AnsCoder(np.zeros(0, dtype=np.uint32))

_ESCAPE_MODEL = constriction.stream.model.Uniform(2**ESCAPE_BITS)


@dataclass(frozen=True)
class Table:
    """One probability table: values -reach..reach, then the escape symbol."""

    reach: int
    model: constriction.stream.model.Categorical
    bits: NDArray[np.float32]  # what each value costs, then the escape with its 16 bits


def make_tables(frequencies: NDArray[np.int64], reaches: NDArray[np.int64]) -> list[Table]:
    """Tables from their frequencies, one after the other, and the reach of each.

    Raises ModelIntegrityError unless every frequency is positive and every table sums to 2^24.
    """
    if frequencies.ndim != 1 or reaches.ndim != 1:
        raise ModelIntegrityError("entropy tables: not flat")
    tables: list[Table] = []
    at = 0
    for reach in reaches.tolist():
        size = 2 * reach + 2
        part = frequencies[at : at + size]
        at += size
        if reach < 0 or len(part) != size or part.min() < 1 or part.sum() != TABLE_SUM:
            raise ModelIntegrityError(f"entropy table {len(tables)} is not a distribution")
        weights = (part - 1).astype(np.float64)
        bits = (np.log2(TABLE_SUM) - np.log2(part)).astype(np.float32)
        bits[-1] += ESCAPE_BITS
        model = constriction.stream.model.Categorical(weights, perfect=False)
        tables.append(Table(reach, model, bits))
    if at != len(frequencies):
        raise ModelIntegrityError("entropy tables: frequencies left over")
    return tables


def _guard(what: str, call: Callable[[], _T]) -> _T:
    """Runs a constriction call; its failures, panics included, become FormatError."""
    try:
        return call()
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        # pyo3's PanicException is a BaseException that cannot be imported, only recognised
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise FormatError(f"entropy coder failed {what}: {error}") from error
        raise


class Encoder:
    """Collects groups of symbols in decoding order, and writes them backwards at the end."""

    def __init__(self) -> None:
        self._groups: list[tuple[Symbols, constriction.stream.model.Model]] = []

    def put(self, values: Symbols, table: Table) -> None:
        """Adds values that share one table; those beyond its reach are escaped.

        Raises ValueError for values that need more than 16 bits.
        """
        if not len(values):
            return
        escaped = np.abs(values) > table.reach
        symbols = np.where(escaped, 2 * table.reach + 1, values + table.reach)
        self._groups.append((symbols.astype(np.int32), table.model))
        if escaped.any():
            large = values[escaped]
            if np.abs(large).max() > ESCAPE_LIMIT:
                raise ValueError(f"a residual of {np.abs(large).max()} needs more than 16 bits")
            self._groups.append(((large + 2 ** (ESCAPE_BITS - 1)).astype(np.int32), _ESCAPE_MODEL))

    def finish(self) -> bytes:
        """The ANS words, little-endian."""
        coder = constriction.stream.stack.AnsCoder()
        for symbols, model in reversed(self._groups):
            coder.encode_reverse(symbols, model)
        return coder.get_compressed().astype("<u4").tobytes()


class Decoder:
    """Takes groups of symbols off the ANS words of one tile.

    Raises FormatError when the bytes are no ANS state or the coder fails.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) % 4:
            raise FormatError(f"ANS payload of {len(data)} bytes is not a whole number of words")
        words = np.frombuffer(data, dtype="<u4").astype(np.uint32)
        if len(words) and words[-1] == 0:
            raise FormatError("ANS payload ends in a zero word")
        self._coder = _guard("on the payload", lambda: constriction.stream.stack.AnsCoder(words))

    def get(self, count: int, table: Table) -> Symbols:
        """The next `count` values of one table."""
        if not count:
            return np.zeros(0, dtype=np.int32)
        symbols = _guard("in a table", lambda: self._coder.decode(table.model, count))
        values = symbols - table.reach
        escaped = symbols == 2 * table.reach + 1
        number = int(np.count_nonzero(escaped))
        if number:
            large = _guard("in an escape", lambda: self._coder.decode(_ESCAPE_MODEL, number))
            values[escaped] = large - 2 ** (ESCAPE_BITS - 1)
        return np.asarray(values, dtype=np.int32)

    def at_start(self) -> bool:
        """Whether the coder is back where its encoder began: a check that comes with ANS."""
        return bool(self._coder.is_empty())
