"""The entropy coder: its tables to the unit, its words to the bit, and what damage does to it."""

import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import constriction
import numpy as np
import pytest
import reference_decoder as reference
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from aec.codec import entropy
from aec.codec.entropy import ESCAPE_LIMIT, TABLE_SUM, Decoder, Encoder, Table, make_tables
from aec.codec.loading import load_weights
from aec.format.errors import FormatError, ModelIntegrityError

SPEC = (Path(__file__).parent.parent / "spec.md").read_text(encoding="utf-8")
Group = tuple[list[int], int]  # values and the number of their table


def frequencies(weights: list[float]) -> NDArray[np.int64]:
    """Frequencies in proportion to weights; the largest takes what rounding leaves."""
    f = np.maximum(1, np.floor(np.array(weights) / sum(weights) * TABLE_SUM)).astype(np.int64)
    f[f.argmax()] += TABLE_SUM - f.sum()
    return f


def some_frequencies() -> list[NDArray[np.int64]]:
    """Even, steep, random and extreme tables of 2 to 1802 symbols."""
    rng = np.random.default_rng(0)
    out = [frequencies([1] * n) for n in (2, 4, 6, 256, 1802)]
    out += [frequencies(np.exp(-np.abs(np.arange(-r, r + 2)) / s)) for r, s in ((20, 2), (400, 9))]
    out += [frequencies(rng.random(2 * r + 2) ** 9 + 1e-12) for r in range(12)]
    out += [frequencies([0] * i + [1] + [0] * (5 - i)) for i in range(6)]
    return [*out, np.array([1, TABLE_SUM - 1]), np.array([TABLE_SUM - 1, 1])]


FREQUENCIES = some_frequencies()
TABLES = make_tables(np.concatenate(FREQUENCIES), np.array([len(f) // 2 - 1 for f in FREQUENCIES]))


def assert_intervals(table: Table, f: NDArray[np.int64]) -> None:
    """The first and the last of the 2^24 units of each symbol decode to it."""
    ends = np.cumsum(f)
    for v, (first, last) in enumerate(zip(ends - f, ends - 1, strict=True)):
        for m in (first, last):
            coder = constriction.stream.stack.AnsCoder(np.array([m, 1], np.uint32))
            assert coder.decode(table.model) == v


@pytest.mark.spec("S-110")
def test_tables_have_exactly_their_frequencies() -> None:
    for table, f in zip(TABLES, FREQUENCIES, strict=True):
        assert_intervals(table, f)
        np.testing.assert_allclose(2.0 ** (24 - table.bits[:-1]), f[:-1], rtol=1e-5)


@pytest.mark.spec("S-110")
def test_the_uniform_table() -> None:
    model = Table(0, entropy._ESCAPE_MODEL, np.zeros(0, np.float32))
    assert_intervals(model, np.full(65536, 256))


@pytest.mark.spec("S-110", "S-154")
def test_tables_of_the_package_have_exactly_their_frequencies() -> None:
    weights = load_weights()
    for name, tables in (("y", weights.y_tables), ("z", list(chain(*weights.z_tables)))):
        at = 0
        for table, reach in zip(tables, weights.decoder[f"entropy.{name}.reach"], strict=True):
            size = 2 * int(reach) + 2
            f = weights.decoder[f"entropy.{name}.frequency"].numpy()[at : at + size]
            assert f.sum(dtype=np.int64) == TABLE_SUM
            assert_intervals(table, f)
            at += size


@pytest.mark.spec("S-154")
@pytest.mark.parametrize(
    ("f", "reach"),
    [
        ([TABLE_SUM, 0], [0]),
        ([TABLE_SUM + 1, -1], [0]),
        ([TABLE_SUM - 1, 2], [0]),
        ([TABLE_SUM - 2, 1], [0]),
        ([TABLE_SUM - 1], [0]),
        ([], [0]),
        ([TABLE_SUM - 1, 1, 1], [0]),
        ([TABLE_SUM - 1, 1], []),
        ([TABLE_SUM - 1, 1], [1]),
        ([TABLE_SUM - 1, 1], [-1]),
        ([TABLE_SUM - 1, 1] * 2, [0, -1, 0]),
        ([[TABLE_SUM - 1, 1]], [0]),
        ([TABLE_SUM - 1, 1], [[0]]),
    ],
)
def test_no_distribution_is_refused(f: list[int], reach: list[int]) -> None:
    with pytest.raises(ModelIntegrityError, match="entropy table"):
        make_tables(np.array(f, np.int64), np.array(reach, np.int64))


# The words, against coders in plain Python


def sums(number: int) -> list[int]:
    return [0, *np.cumsum(FREQUENCIES[number]).tolist()]


def encode(groups: list[Group]) -> bytes:
    coder = Encoder()
    for values, number in groups:
        coder.put(np.array(values, np.int32), TABLES[number])
    return coder.finish()


def plain_encode(groups: list[Group]) -> bytes:
    """The encoder that spec.md describes under 5.2."""
    symbols: list[tuple[int, int]] = []  # f and F of each
    for values, number in groups:
        reach, F = TABLES[number].reach, sums(number)
        coded = [v + reach if abs(v) <= reach else 2 * reach + 1 for v in values]
        symbols += [(F[v + 1] - F[v], F[v]) for v in coded]
        symbols += [(256, 256 * (v + 32768)) for v in values if abs(v) > reach]
    x, words = 0, []
    for f, before in reversed(symbols):
        if x >> 40 >= f:
            words.append(x % 2**32)
            x >>= 32
        x = x // f * 2**24 + before + x % f
    while x:
        words.append(x % 2**32)
        x >>= 32
    return np.array(words, "<u4").tobytes()


value = st.one_of(
    st.integers(-12, 12), st.integers(-ESCAPE_LIMIT, ESCAPE_LIMIT), st.just(ESCAPE_LIMIT)
)
some_groups = st.lists(
    st.tuples(st.lists(value, max_size=40), st.integers(0, len(TABLES) - 1)), max_size=8
)


@pytest.mark.spec("S-106", "S-111", "S-112", "S-114")
@given(some_groups)
def test_round_trip_and_plain_coders(groups: list[Group]) -> None:
    data = encode(groups)
    assert data == plain_encode(groups)
    ours, plain = Decoder(data), reference.Ans(data)
    for values, number in groups:
        got = ours.get(len(values), TABLES[number])
        assert got.dtype == np.int32 and got.tolist() == values
        assert plain.group(len(values), TABLES[number].reach, sums(number)) == values
    assert ours.at_start()
    assert (plain.x, plain.words) == (0, [])


@pytest.mark.spec("S-115")
def test_worked_example() -> None:
    pattern = (
        r"reach 1 and the frequencies ([\d, ]+)\s+codes the group ([-\d, ]+) in the words `(.*)`"
    )
    ((f, group, words),) = re.findall(pattern, SPEC)
    f, values = ([int(number) for number in text.split(",")] for text in (f, group))
    data = np.array([int(word, 16) for word in words.split()], "<u4").tobytes()
    (table,) = make_tables(np.array(f), np.array([1]))
    coder = Encoder()
    coder.put(np.array(values, np.int32), table)
    assert coder.finish() == data
    decoder, plain = Decoder(data), reference.Ans(data)
    assert decoder.get(len(values), table).tolist() == values and decoder.at_start()
    assert plain.group(len(values), 1, [0, *np.cumsum(f).tolist()]) == values and not plain.x


@pytest.mark.spec("S-106")
def test_an_escape_carries_any_16_bits() -> None:
    """A careless encoder may escape small values, and -32768 is there too."""
    values = [-32768, 32767, 0, 1, -1]
    coder = constriction.stream.stack.AnsCoder()
    uniform = constriction.stream.model.Uniform(65536)
    coder.encode_reverse(np.array(values, np.int32) + 32768, uniform)
    coder.encode_reverse(np.full(len(values), 2 * TABLES[2].reach + 1, np.int32), TABLES[2].model)
    decoder = Decoder(coder.get_compressed().astype("<u4").tobytes())
    assert decoder.get(len(values), TABLES[2]).tolist() == values
    assert decoder.at_start()


@pytest.mark.parametrize("excess", [1, 40000])
def test_an_encoder_refuses_more_than_16_bits(excess: int) -> None:
    for sign in (-1, 1):
        with pytest.raises(ValueError, match=f"{ESCAPE_LIMIT + excess} needs more than 16 bits"):
            encode([([0, sign * (ESCAPE_LIMIT + excess)], 0)])


def test_nothing_takes_no_bytes() -> None:
    assert encode([([], 0)]) == b""
    assert Decoder(b"").at_start()
    assert Decoder(b"").get(0, TABLES[0]).tolist() == []


def test_cost_is_the_information() -> None:
    rng = np.random.default_rng(3)
    number = 5  # reach 20
    p = FREQUENCIES[number][:-1] / FREQUENCIES[number][:-1].sum()
    values = rng.choice(np.arange(-20, 21), 20000, p=p)
    bits = float(TABLES[number].bits[values + 20].sum(dtype=np.float64))
    assert bits <= 8 * len(encode([(values.tolist(), number)])) <= bits * 1.0001 + 64


# Damage

GROUPS: list[Group] = [
    ([0, 1, -1, 0, 5, 300, 0, -20, 21], 5),
    ([3] * 30, 6),
    ([0, 1, -3, 2, 1000, 0, -1], 2),
    ([0] * 20, 12),
    ([-7, 4, 0, 2, -ESCAPE_LIMIT], 11),
]


def survives(data: bytes) -> bool:
    """Whether the coder takes the bytes for GROUPS with nothing to complain of."""
    decoder = Decoder(data)
    same = [decoder.get(len(v), TABLES[n]).tolist() == v for v, n in GROUPS]
    return all(same) and decoder.at_start()


@pytest.mark.spec("S-114")
def test_every_flipped_bit_is_noticed() -> None:
    data = encode(GROUPS)
    assert survives(data) and len(data) > 30
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not survives(bytes(flipped))


@pytest.mark.spec("S-111", "S-114")
def test_lost_and_added_words_are_noticed() -> None:
    data = encode(GROUPS)
    for length in range(0, len(data), 4):
        for part in (data[:length], data[len(data) - length :]):
            assert not survives(part)
    for more in (b"\0\0\0\0", b"\1\0\0\0"):
        assert not survives(more + data)


@pytest.mark.spec("S-114")
def test_symbols_left_over_are_noticed_though_all_others_are_right() -> None:
    decoder = Decoder(encode([*GROUPS, ([1], 5)]))
    assert all(decoder.get(len(v), TABLES[n]).tolist() == v for v, n in GROUPS)
    assert not decoder.at_start()


@pytest.mark.parametrize("length", [1, 2, 3, 5, 7, 9, 1001])
def test_odd_lengths_are_refused(length: int) -> None:
    with pytest.raises(FormatError, match=f"{length} bytes is not a whole number of words"):
        Decoder(b"\1" * length)


@pytest.mark.spec("S-113")
@pytest.mark.parametrize("words", [1, 2, 5])
def test_a_zero_at_the_end_is_refused(words: int) -> None:
    with pytest.raises(FormatError, match="zero word"):
        Decoder(b"\1" * 4 * (words - 1) + bytes(4))


@pytest.mark.spec("S-043")
@given(st.binary(max_size=60), st.integers(0, 500), st.integers(0, len(TABLES) - 1))
def test_any_bytes_decode_or_are_refused(data: bytes, count: int, number: int) -> None:
    try:
        decoder = Decoder(data)
    except FormatError:
        assert len(data) % 4 or not any(data[-4:])
        return
    values = decoder.get(count, TABLES[number])
    assert len(values) == count
    plain = reference.Ans(data)
    assert plain.group(count, TABLES[number].reach, sums(number)) == values.tolist()


# What constriction raises


def test_a_panic_of_the_coder_becomes_a_format_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FormatError, match="in a table") as caught:
        Decoder(b"").get(2**62, TABLES[0])  # more than the coder could allocate
    cause = caught.value.__cause__
    assert type(cause).__name__ == "PanicException" and not isinstance(cause, Exception)
    capfd.readouterr()  # the panic prints itself


def test_an_error_of_the_coder_becomes_a_format_error() -> None:
    with pytest.raises(FormatError, match="on a test") as caught:
        entropy._guard("on a test", lambda: TABLES[0].model.no_such_method())
    assert isinstance(caught.value.__cause__, AttributeError)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit])
def test_what_is_not_about_the_bytes_goes_through(error: type[BaseException]) -> None:
    def call() -> Callable[[], None]:
        raise error

    with pytest.raises(error):
        entropy._guard("here", call)
