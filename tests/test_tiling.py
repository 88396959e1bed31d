"""Tiles, regions and the pieces that synthesis works in: the same pixels whichever way."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import aec
from aec.codec import coding, encoding, engine, tiling
from aec.codec.engine import Work
from aec.codec.exact import exact_arithmetic
from aec.codec.rects import Rect, picture_cells, tile_cells
from aec.codec.tiling import cut, tile_log2
from aec.format.container import Container, read_file, write_file
from aec.format.errors import LimitError
from aec.format.limits import DEFAULT_LIMITS, Limits

Pixels = NDArray[np.uint8]
HALO = 10  # cells, of the shipped weights
MARGIN = 16 * HALO + 8  # pixels: what a tile's neighbours do not reach


@pytest.fixture(scope="module")
def codec() -> aec.Codec:
    return aec.Codec(device="cpu")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    with Image.open(Path(__file__).parent / "images" / "astronaut.png") as image:
        return image.convert("RGB").crop((40, 0, 40 + 310, 270))


def with_alpha(picture: Image.Image) -> Image.Image:
    """Alpha that is a ramp in one corner, and 255 in most tiles."""
    alpha = np.full((picture.height, picture.width), 255, np.uint8)
    alpha[100:170, 30:140] = np.arange(110)
    whole = picture.copy()
    whole.putalpha(Image.fromarray(alpha))
    return whole


def in_mode(photo: Image.Image, mode: str) -> Image.Image:
    picture = photo.convert("L" if mode in ("L", "LA") else "RGB")
    return with_alpha(picture) if mode.endswith("A") else picture


def same(a: Image.Image, b: Image.Image) -> bool:
    return a.mode == b.mode and np.array_equal(np.asarray(a), np.asarray(b))


def y_of_picture(codec: aec.Codec, container: Container) -> torch.Tensor:
    """The y of all tiles, put together as the specification says."""
    grid, quality = container.header.grid, container.header.quality
    parts = codec.parts()
    whole = picture_cells(grid)
    y = torch.full((whole.height, whole.width, parts.decoder.cfg.m), torch.nan)
    for tile in container.tiles:
        left, top, width, height = grid.rect(tile.number)
        side = parts.decoder_side(tile.payload, quality)
        part, _ = coding.walk(parts.decoder, side, quality, height, width)
        y[top // 16 :, left // 16 :][: part.shape[0], : part.shape[1]] = part
    return y


@pytest.mark.spec("S-260", "S-261")
@pytest.mark.parametrize("side", [0, 64, 128, 256])
def test_pixels_are_those_of_the_y_of_the_whole_picture(
    codec: aec.Codec, photo: Image.Image, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the pieces, down to ones that are smaller than their halo."""
    data = codec.compress(photo, quality=60, tile=side)
    container = read_file(data)
    assert len(container.tiles) == (1 if side == 0 else -(-310 // side) * -(-270 // side))
    with exact_arithmetic():
        y = y_of_picture(codec, container)
        whole = codec.parts().decoder.synthesis(y, container.header.quality)
    expected = Image.fromarray(whole[: photo.height, : photo.width].numpy())
    for cells in (1 << 14, 700, 1):
        monkeypatch.setattr(engine, "PIECE_CELLS", cells)
        assert same(codec.decompress(data), expected)


@pytest.mark.spec("S-261")
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
@pytest.mark.parametrize("side", [0, 64, 128])
def test_a_region_is_the_same_part_of_the_whole(
    codec: aec.Codec, photo: Image.Image, mode: str, side: int
) -> None:
    picture = in_mode(photo, mode)
    data = codec.compress(picture, quality=40, tile=side)
    whole = codec.decompress(data)
    assert whole.mode == mode
    if mode.endswith("A"):
        assert same(whole.getchannel("A"), picture.getchannel("A"))
    random = np.random.default_rng(side)
    boxes = [(0, 0, 310, 270), (309, 269, 1, 1), (63, 64, 2, 130), (0, 128, 310, 1)]
    for _ in range(8):
        left, top = random.integers(310), random.integers(270)
        width, height = 1 + random.integers(310 - left), 1 + random.integers(270 - top)
        boxes.append((int(left), int(top), int(width), int(height)))
    for left, top, width, height in boxes:
        part = codec.decompress(data, region=(left, top, width, height))
        assert same(part, whole.crop((left, top, left + width, top + height)))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_a_region_of_a_smaller_picture(
    codec: aec.Codec, photo: Image.Image, mode: str, scale: int
) -> None:
    picture = in_mode(photo, mode)
    tiled, whole = (codec.compress(picture, quality=40, tile=side) for side in (64, 0))
    for data in (tiled, whole):
        small = codec.decompress(data, scale=scale)
        assert small.size == (-(-310 // scale), -(-270 // scale)) and small.mode == mode
        for left, top, width, height in [(64, 128, 100, 77), (8, 16, 302, 254), (304, 264, 6, 6)]:
            part = codec.decompress(data, region=(left, top, width, height), scale=scale)
            right, bottom = -(-(left + width) // scale), -(-(top + height) // scale)
            assert same(part, small.crop((left // scale, top // scale, right, bottom)))


@pytest.mark.spec("S-252")
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_alpha_of_a_smaller_picture_is_the_mean(codec: aec.Codec, scale: int) -> None:
    random = np.random.default_rng(scale)
    pixels = random.integers(0, 256, (75, 133, 2), dtype=np.uint8)
    small = np.asarray(codec.decompress(codec.compress(pixels, tile=64), scale=scale))[..., 1]
    for i in range(small.shape[0]):
        for j in range(small.shape[1]):
            square = pixels[i * scale :, j * scale :, 1][:scale, :scale].astype(int)
            assert small[i, j] == (2 * square.sum() + square.size) // (2 * square.size)


@pytest.mark.parametrize(
    ("region", "scale"),
    [
        ((1, 0, 9, 9), 2),
        ((0, 4, 9, 9), 8),
        ((0, 0, 311, 1), 1),
        ((0, 0, 0, 1), 1),
        ((0, 0, 9, 9), 3),
    ],
)
def test_regions_and_scales_that_do_not_fit(
    codec: aec.Codec, photo: Image.Image, region: tuple[int, int, int, int], scale: int
) -> None:
    data = codec.compress(photo, quality=5)
    with pytest.raises(ValueError, match=r"region|scale"):
        codec.decompress(data, region=region, scale=scale)


class Counting(io.BytesIO):
    """A file that counts what is read."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def test_a_region_reads_only_the_tiles_it_needs(codec: aec.Codec, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (768, 768), dtype=np.uint8)
    data = codec.compress(noise, quality=30, tile=64)
    file = Counting(data)
    part = codec.decompress(file, region=(352, 352, 16, 16))
    assert same(part, codec.decompress(data).crop((352, 352, 368, 368)))
    # 6 x 6 of 12 x 12 tiles, and little else
    assert file.taken < 0.28 * len(data)
    path = tmp_path / "noise.aec"
    path.write_bytes(data)
    assert same(codec.decompress(path, region=(352, 352, 16, 16)), part)
    assert same(codec.decompress(path), codec.decompress(data))


@pytest.mark.spec("S-227", "S-230")
def test_a_picture_over_the_limits_is_decoded_region_by_region(
    codec: aec.Codec, photo: Image.Image, tmp_path: Path
) -> None:
    """30,000 pixels a side, made of the tiles of four smaller pictures."""
    side, whole, last = 30_000, 1024, 30_000 % 1024
    kinds = {}
    for width in (whole, last):
        for height in (whole, last):
            picture = photo.convert("L").resize((width, height))
            coded = codec.compress(picture, quality=5, tile=1024)
            kinds[width, height] = coded, read_file(coded)
    header = replace(kinds[whole, whole][1].header, width=side, height=side)
    tiles = []
    for number in range(header.grid.count):
        _, _, width, height = header.grid.rect(number)
        (tile,) = kinds[width, height][1].tiles
        tiles.append(replace(tile, number=number))
    path = tmp_path / "huge.aec"
    path.write_bytes(write_file(header, tiles))
    with pytest.raises(LimitError, match="max_pixels"):
        codec.decompress(path)
    clear = whole - 2 * MARGIN
    inner = MARGIN, MARGIN, MARGIN + clear, MARGIN + clear
    alone = codec.decompress(kinds[whole, whole][0]).crop(inner)
    region = 7 * whole + MARGIN, 20 * whole + MARGIN, clear, clear
    assert same(codec.decompress(path, region=region), alone)
    alone = codec.decompress(kinds[last, last][0]).crop((MARGIN, MARGIN, last, last))
    rest = last - MARGIN
    corner = side - rest, side - rest, rest, rest
    assert same(codec.decompress(path, region=corner), alone)
    assert codec.decompress(path, region=(0, 0, 9000, 700), scale=8).size == (1125, 88)


def test_the_y_of_a_tile_is_that_of_the_whole_picture(
    codec: aec.Codec, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Analysis sees beyond a tile's border: only rounding of sums differs."""
    seen: list[torch.Tensor] = []
    side = coding.EncoderSide

    def recorded(y: torch.Tensor, *rest: object) -> coding.EncoderSide:
        seen.append(y)
        return side(y, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(coding, "EncoderSide", recorded)
    monkeypatch.setattr(encoding, "SMALL_AREA", 0)  # or there would be files of other qualities
    codec.compress(photo, quality=60, tile=0)
    data = codec.compress(photo, quality=60, tile=64)
    whole, *tiles = seen
    grid = read_file(data).header.grid
    for number, y in enumerate(tiles):
        cells = tile_cells(grid, number)
        rows, columns = cells.beside(picture_cells(grid))
        assert torch.allclose(y, whole[rows, columns], atol=2e-3)


def test_large_pictures_have_tiles_by_default(codec: aec.Codec) -> None:
    assert tile_log2(None, 2048, 1024) == 0 and tile_log2(None, 2048, 1025) == 10
    assert [tile_log2(side, 9, 9) for side in (0, 64, 4096)] == [0, 6, 12]
    for side in (-1, 1, 63, 100, 8192):
        with pytest.raises(ValueError, match="tile must be 0"):
            codec.compress(np.zeros((9, 9), np.uint8), tile=side)


@pytest.mark.spec("S-226")
def test_one_tile_may_not_be_too_large(codec: aec.Codec) -> None:
    """Said before the work, not after it."""
    limits = Limits(max_tile_pixels=100 * 100, max_seconds=1e-9)
    with pytest.raises(LimitError, match="max_tile_pixels"):
        codec.compress(np.zeros((100, 101), np.uint8), tile=0, limits=limits)
    with pytest.raises(LimitError, match="max_seconds"):
        codec.compress(np.zeros((100, 101), np.uint8), tile=64, limits=limits)


def test_metadata_goes_with_a_region(codec: aec.Codec) -> None:
    data = codec.compress(np.zeros((99, 99), np.uint8), tile=64, xmp=b"<x/>", exif=b"II*\0")
    info = codec.decompress(data, region=(70, 70, 5, 5)).info
    assert info["xmp"] == b"<x/>" and info["exif"].endswith(b"II*\0")


@pytest.mark.spec("S-044")
def test_work_stops_at_its_time_limit(codec: aec.Codec, photo: Image.Image) -> None:
    data = codec.compress(photo, quality=5, tile=64)
    short = Limits(max_seconds=1e-9)
    with pytest.raises(LimitError, match="max_seconds"):
        codec.compress(photo, limits=short)
    for call in (codec.decompress, codec.recover, codec.verify):
        with pytest.raises(LimitError, match="max_seconds"):
            call(data, limits=short)


class Short:
    """A decoder with memory for no more than `cells` at a time."""

    def __init__(self, codec: aec.Codec, cells: int) -> None:
        self._decoder, self._cells = codec.parts().decoder, cells

    def __getattr__(self, name: str) -> object:
        return getattr(self._decoder, name)

    def synthesis(self, y: torch.Tensor, *rest: int) -> torch.Tensor:
        if y.shape[0] * y.shape[1] > self._cells:
            raise torch.OutOfMemoryError("no more")
        return self._decoder.synthesis(y, *rest)

    def features(self, z: torch.Tensor, quality: int) -> torch.Tensor:
        if self._cells == 0:
            raise torch.OutOfMemoryError("none at all")
        return self._decoder.features(z, quality)


@pytest.mark.parametrize(("cells", "says"), [(680, "smaller pieces"), (9, "smaller"), (0, "CPU")])
def test_a_device_short_of_memory(
    cells: int, says: str, codec: aec.Codec, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces get smaller, then the CPU does the work, and one warning says so."""
    monkeypatch.setattr(engine, "FEWEST_CELLS", 100)
    data = codec.compress(photo.resize((640, 270)), quality=5, tile=64)
    expected = codec.decompress(data)
    parts = codec.parts()

    fields = {name: getattr(parts, name) for name in parts.__slots__}
    poor = engine.Parts(**fields | {"decoder": Short(codec, cells)})
    moved: list[int] = []

    def elsewhere() -> engine.Parts:
        moved.append(1)
        return parts

    monkeypatch.setattr(codec, "_work", lambda limits: Work(poor, elsewhere, limits))
    with pytest.warns(UserWarning, match=says) as caught:
        assert same(codec.decompress(data), expected)
    assert len(caught) == 1 and len(moved) == (cells < 100)


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(0, 9),
    st.sampled_from([1, 500, 5000, 1 << 14]),
)
def test_pieces_make_up_the_whole(width: int, height: int, halo: int, most: int) -> None:
    seen = np.zeros((height, width), int)
    for piece in cut(Rect(3, 7, 3 + width, 7 + height), halo, most):
        seen[piece.beside(Rect(3, 7, 0, 0))] += 1
        larger = max(most, (16 + 2 * halo) ** 2)
        assert (piece.width + 2 * halo) * (piece.height + 2 * halo) <= larger
    assert (seen == 1).all()


def test_analysis_overlap_covers_what_the_networks_see(codec: aec.Codec) -> None:
    cfg = codec.parts().decoder.cfg
    # six blocks at 1/8 reach 48 pixels, six at 1/16 reach 96
    assert (cfg.g_a_blocks8, cfg.g_a_blocks16) == (6, 6) and tiling.overlap(cfg) * 16 == 144
    assert codec.parts().decoder.halo() == HALO
    assert DEFAULT_LIMITS.max_seconds > 0
