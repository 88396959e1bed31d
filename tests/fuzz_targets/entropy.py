"""Fuzz target: the entropy decoder on any bytes, and the tables of a model on any numbers.

The first byte chooses; of the rest, the decoder takes the words, a few tables and group lengths,
the tables their reaches and frequencies, made to sum up to 2^24 in half of the cases.
"""

import random

import numpy as np
from driver import drive, instrumented

errors, entropy = instrumented("aec.format.errors", "aec.codec.entropy")
SUM = 2**24
SYMBOLS = 5000


def some_tables() -> list:
    """Tables of all kinds that a model may have, those with one likely symbol included."""
    rng = np.random.default_rng(1)
    frequencies, reaches = [], [0, 1, 2, 8, 100, 1000]
    for number, reach in enumerate(reaches):
        size = 2 * reach + 2
        part = np.ones(size, np.int64) if number % 2 else rng.integers(1, SUM // size // 2, size)
        part[rng.integers(size)] += SUM - part.sum()
        frequencies.append(part)
    return entropy.make_tables(np.concatenate(frequencies), np.array(reaches))


TABLES = some_tables()


def decode(data: bytes) -> None:
    try:
        decoder = entropy.Decoder(data[8:])
        for at in range(8):
            table = TABLES[(data + bytes(8))[at] % len(TABLES)]
            count = (data + bytes(8))[at] * SYMBOLS // 255
            values = decoder.get(count, table)
            assert len(values) == count
            assert not count or (values.min() >= -(2**15) and values.max() < 2**15)
        decoder.at_start()
    except errors.FormatError:
        pass


def parse(data: bytes) -> None:
    count = data[0] % 8
    reaches = np.frombuffer(data[1:9], np.int8).astype(np.int64)[:count]
    rest = data[9 : 9 + (len(data) - 9) // 4 * 4] if len(data) >= 13 else b""
    frequencies = np.frombuffer(rest, "<i4").astype(np.int64)
    if len(data) % 2:  # close to valid, which chance alone never is
        sizes = [2 * int(reach) + 2 for reach in reaches if reach >= 0]
        parts = []
        for size in sizes:
            part = np.resize(np.abs(frequencies) % (SUM // size) if len(rest) else 1, size) + 1
            part[-1] += SUM - part.sum()
            parts.append(part)
        frequencies = np.concatenate(parts) if parts else frequencies
    try:
        tables = entropy.make_tables(frequencies, reaches)
    except errors.ModelIntegrityError:
        return
    assert len(tables) == len(reaches)
    for table in tables:
        assert np.isfinite(table.bits).all()
        coder = entropy.Encoder()
        values = np.arange(-table.reach - 1, table.reach + 2, dtype=np.int32)
        coder.put(values, table)
        decoder = entropy.Decoder(coder.finish())
        assert (decoder.get(len(values), table) == values).all() and decoder.at_start()


def target(data: bytes) -> None:
    if not data:
        return
    (decode, parse)[data[0] % 2](data[1:] or b"\0")


def seeds() -> list[bytes]:
    rng = random.Random(1)
    return [bytes([n % 2]) + rng.randbytes(8 + 4 * n) + b"\1" for n in range(1, 80, 3)]


if __name__ == "__main__":
    drive(target, seeds())
