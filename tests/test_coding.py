"""The walk of a tile: order of symbols, what is coded at all, and both sides side by side."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import random_weights
import reference_decoder as reference
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import aec
from aec.codec import coding
from aec.codec.coding import DecoderSide, by_table, cells, put_step, walk
from aec.codec.config import ModelConfig
from aec.codec.decoder import Z_MAX, Decoder
from aec.codec.entropy import Encoder, make_tables
from aec.codec.exact import exact_arithmetic
from aec.codec.loading import DECODER_FILE, DEFAULT_MODEL
from aec.codec.trellis import traced
from aec.format.container import Tile, read_file, write_file
from aec.format.errors import BackendMismatchError

Ints = NDArray[np.int64]
Symbols = NDArray[np.int32]

SIZES = [(1, 1), (16, 17), (17, 33), (64, 64), (65, 100), (130, 20)]


class Small:
    """A decoder of random weights, with its tables and the reference's view of both."""

    def __init__(self, seed: int) -> None:
        tensors = random_weights.random_tensors(np.random.default_rng(seed))
        self.tensors = {name: tensor.astype(np.int64) for name, tensor in tensors.items()}
        cfg = ModelConfig(**random_weights.SMALL_CONFIG)
        in_torch = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
        self.decoder = Decoder(cfg, in_torch, torch.device("cpu"))
        self.y_tables, z_tables = (
            make_tables(
                self.tensors[f"entropy.{name}.frequency"], self.tensors[f"entropy.{name}.reach"]
            )
            for name in "yz"
        )
        self.z_tables = [z_tables[at : at + cfg.n_z] for at in range(0, 4 * cfg.n_z, cfg.n_z)]


@pytest.fixture(scope="module")
def small() -> Small:
    return Small(1)


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    with exact_arithmetic():
        yield


class RandomSide:
    """Draws symbols of all sizes where the walk asks for some, and keeps all that it saw."""

    def __init__(self, small: Small, seed: int, quality: int) -> None:
        self.small = small
        self.z_tables = small.z_tables[quality // 64]
        self.rng = np.random.default_rng(seed)
        self.coder = Encoder()
        self.z_drawn: Symbols = np.zeros(0, np.int32)
        self.residuals: list[Symbols] = []
        self.indices: list[NDArray[np.uint8]] = []

    def draw(self, shape: tuple[int, ...], limit: int) -> Symbols:
        values = self.rng.integers(-3, 4, shape)
        large = self.rng.random(shape) < 0.05
        return np.where(large, self.rng.integers(-limit, limit + 1, shape), values).astype(np.int32)

    def z(self, shape: tuple[int, int, int]) -> Symbols:
        self.z_drawn = self.draw(shape, Z_MAX)
        for plane, table in zip(self.z_drawn, self.z_tables, strict=True):
            self.coder.put(plane.ravel(), table)
        return self.z_drawn

    def residual(self, step: int, mu: Tensor, index: Tensor) -> tuple[Symbols, Tensor]:
        self.indices.append(index.numpy())
        values = self.draw(tuple(index.shape), 32767) * (self.indices[-1] > 0)
        self.residuals.append(values.astype(np.int32))
        flat = self.residuals[-1].ravel()
        put_step(self.coder, flat, self.indices[-1].ravel(), self.small.y_tables)
        values = traced(self.residuals[-1], self.indices[-1])[1]
        return self.residuals[-1], torch.from_numpy(values)


@pytest.mark.spec("S-100", "S-101", "S-103", "S-105", "S-106", "S-107", "S-108", "S-116")
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("quality", [3, 63, 64, 130, 255])
def test_all_sides_agree(small: Small, height: int, width: int, quality: int) -> None:
    given = RandomSide(small, height, quality)
    y_hat, crc = walk(small.decoder, given, quality, height, width)
    payload = given.coder.finish()

    taken = DecoderSide(payload, small.y_tables, small.z_tables[quality // 64])
    again, crc_again = walk(small.decoder, taken, quality, height, width)
    assert torch.equal(again, y_hat) and crc_again == crc and taken.coder.at_start()

    network, ans = reference.Network(small.tensors, quality), reference.Ans(payload)
    y, z, residuals = reference.symbols_to_y(network, ans, height, width)
    assert (ans.x, ans.words) == (0, [])
    np.testing.assert_array_equal(z, given.z_drawn)
    np.testing.assert_array_equal(residuals, given.residuals)
    np.testing.assert_array_equal(y, y_hat)
    assert reference.symbol_crc(z, residuals) == crc


@pytest.mark.spec("S-104")
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_only_cells_with_pixels_are_coded(small: Small, height: int, width: int) -> None:
    side = RandomSide(small, 0, 7)
    walk(small.decoder, side, 7, height, width)
    rows, columns = cells(height, 16), cells(width, 16)
    coded = uncoded = 0
    for index, residual in zip(side.indices, side.residuals, strict=True):
        for p, (plane, values) in enumerate(zip(index, residual, strict=True)):
            a, b = divmod(p, 2)
            y_rows, y_columns = 2 * np.arange(len(plane)) + a, 2 * np.arange(plane.shape[1]) + b
            outside = (y_rows >= rows)[:, None] | (y_columns >= columns)[None]
            assert not plane[outside].any() and not values[outside].any()
            coded += int(np.count_nonzero(plane))
            uncoded += int(outside.sum())
    padded = 16 * cells(height, 64) * cells(width, 64)
    assert uncoded == 4 * (padded - rows * columns)
    assert coded > rows * columns * random_weights.SMALL["M"] / 8, "most channels have some"


@pytest.mark.spec("S-105")
def test_groups_are_in_the_order_of_tables_and_positions(small: Small) -> None:
    index = np.random.default_rng(0).integers(0, 64, 1000).astype(np.uint8)
    index[index == 9] = 0
    groups = list(by_table(index, small.y_tables))
    wanted = {t: np.flatnonzero(index == t) for t in range(1, 64) if t in index}
    assert 9 not in wanted and len(wanted) > 50
    assert [small.y_tables.index(table) + 1 for table, _ in groups] == list(wanted)
    for (_, positions), expected in zip(groups, wanted.values(), strict=True):
        np.testing.assert_array_equal(positions, expected)


def test_nothing_to_code_makes_no_group(small: Small) -> None:
    assert list(by_table(np.zeros(5, np.uint8), small.y_tables)) == []


@pytest.mark.spec("S-102", "S-116")
def test_z_beyond_its_range_is_clamped(small: Small) -> None:
    """Only an escape brings such values, and no network was proved for them."""

    class Wild(RandomSide):
        def z(self, shape: tuple[int, int, int]) -> Symbols:
            wild = self.draw(shape, 32767)
            wild.flat[:3] = -32768 + 1, 128, -128
            for plane, table in zip(wild, self.z_tables, strict=True):
                self.coder.put(plane.ravel(), table)
            self.z_drawn = wild.clip(-127, 127)
            return self.z_drawn

    given = Wild(small, 5, 9)
    y_hat, crc = walk(small.decoder, given, 9, 200, 70)
    payload = given.coder.finish()
    taken = DecoderSide(payload, small.y_tables, small.z_tables[0])
    again, crc_again = walk(small.decoder, taken, 9, 200, 70)
    assert torch.equal(again, y_hat) and crc_again == crc and taken.coder.at_start()
    network, ans = reference.Network(small.tensors, 9), reference.Ans(payload)
    y, z, residuals = reference.symbols_to_y(network, ans, 200, 70)
    np.testing.assert_array_equal(y, y_hat)
    assert reference.symbol_crc(z, residuals) == crc


@pytest.mark.spec("S-116")
def test_symbol_crc_covers_every_symbol(small: Small) -> None:
    class Fixed(RandomSide):
        """Repeats what another side drew, but for one symbol."""

        def __init__(self, other: RandomSide, part: int) -> None:
            super().__init__(small, 0, 40)
            self.other, self.part = other, part

        def z(self, shape: tuple[int, int, int]) -> Symbols:
            z = self.other.z_drawn.copy()
            z.flat[-1] += self.part == 4
            return z

        def residual(self, step: int, mu: Tensor, index: Tensor) -> tuple[Symbols, Tensor]:
            symbols = self.other.residuals[step].copy()
            symbols.flat[-1] += self.part == step
            return symbols, torch.from_numpy(traced(symbols, index.numpy())[1])

    first = RandomSide(small, 11, 40)
    _, crc = walk(small.decoder, first, 40, 64, 64)
    assert walk(small.decoder, Fixed(first, 9), 40, 64, 64)[1] == crc
    crcs = {walk(small.decoder, Fixed(first, part), 40, 64, 64)[1] for part in range(5)}
    assert len(crcs | {crc}) == 6


def test_cells() -> None:
    assert [cells(size, 16) for size in (1, 15, 16, 17, 32)] == [1, 1, 1, 2, 2]


# With the package's weights


def photo(height: int, width: int) -> NDArray[np.uint8]:
    with Image.open(Path(__file__).parent / "images" / "astronaut.png") as image:
        return np.array(image.convert("RGB").crop((200, 40, 200 + width, 40 + height)))


@pytest.mark.spec("S-171")
@pytest.mark.parametrize(("height", "width"), [(30, 81), (64, 64)])
@pytest.mark.parametrize("quality", [0, 50, 100])
def test_the_encoder_knows_what_the_decoder_will_see(
    codec: aec.Codec, monkeypatch: pytest.MonkeyPatch, height: int, width: int, quality: int
) -> None:
    walks: list[tuple[Tensor, int]] = []

    def recorded(*args: Any) -> tuple[Tensor, int]:
        walks.append(walk(*args))
        return walks[-1]

    monkeypatch.setattr(coding, "walk", recorded)
    data = codec.compress(photo(height, width), quality=quality)
    codec.decompress(data)
    *encoders, (decoder_y, decoder_crc) = walks  # one for each quality that was tried
    encoder_y = {crc: y for y, crc in encoders}[decoder_crc]
    assert torch.equal(encoder_y, decoder_y)
    tensors = reference.read_tensors((DEFAULT_MODEL / DECODER_FILE).read_bytes())
    header, (tile,) = reference.read_file(data)
    assert tile.symbol_crc == decoder_crc
    network = reference.Network(tensors, header.quality)
    y, _, residuals = reference.symbols_to_y(network, reference.Ans(tile.words), height, width)
    np.testing.assert_array_equal(y, encoder_y)
    assert quality == 0 or any(r.any() for r in residuals), "the case codes nothing"


@pytest.mark.spec("S-040", "S-114", "S-173")
def test_symbols_that_do_not_fit_their_checks_give_no_pixels(codec: aec.Codec) -> None:
    container = read_file(codec.compress(photo(40, 40), quality=60))
    (tile,) = container.tiles
    wrong = tile.symbol_crc ^ 1
    data = write_file(container.header, [Tile(0, wrong, tile.payload)])
    with pytest.raises(BackendMismatchError, match=f"{tile.symbol_crc:08x}, not {wrong:08x}"):
        codec.decompress(data)


@pytest.mark.spec("S-114")
def test_symbols_left_over_give_no_pixels(
    codec: aec.Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All symbols are right and so is their CRC, but the file holds one more."""
    finish = Encoder.finish

    def one_more(coder: Encoder) -> bytes:
        coder.put(np.array([1], np.int32), codec._weights.y_tables[20])
        return finish(coder)

    sound = codec.compress(photo(40, 40), quality=60)
    monkeypatch.setattr(Encoder, "finish", one_more)
    data = codec.compress(photo(40, 40), quality=60)
    assert read_file(data).tiles[0].symbol_crc == read_file(sound).tiles[0].symbol_crc
    with pytest.raises(BackendMismatchError, match="its bytes are intact"):
        codec.decompress(data)


def test_symbol_crc_of_signed_16_bit_numbers() -> None:
    """What the reference takes the checksum of, written out."""
    z, residual = np.array([[[-1]]]), np.array([[[[2]], [[-32768]]]])
    assert reference.symbol_crc(z, [residual]) == zlib.crc32(b"\xff\xff\x02\x00\x00\x80")
