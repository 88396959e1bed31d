"""Pictures in tiles: which pixels and cells belong together, and pixels from the cells of tiles.

The symbols of a tile are coded on their own, but the pixels come from the y of the whole picture,
so no tile shows its border. Synthesis sees a cell's neighbours as far as its halo; fed with the
cells around a piece it gives the piece's pixels exactly, and so it needs no more than a band of y
at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..format.container import Tile
from ..format.header import FLAG_ALPHA, FLAG_GRAY, Header
from ..format.tiles import Grid
from . import coding
from .alpha import filled, pack_alpha
from .config import Y_STRIDE, ModelConfig
from .distortion import Distortion
from .encoder import padded
from .engine import Parts, Work
from .pictures import PixelSource
from .rects import Rect, cell_pixels, cut, picture_cells, tile_cells, tile_rect
from .refine import Refiner

#: Up to here a picture is one tile.
ONE_TILE_PIXELS = 1 << 21
#: The tiles of larger ones: 1024 pixels a side. Smaller ones cost more bits, since no context
#: reaches over their borders.
TILE_LOG2 = 10


def tile_log2(side: int | None, width: int, height: int) -> int:
    """The header's field for tiles of `side` pixels, 0 for one tile, None for what suits.

    Raises ValueError for sides that no file can name.
    """
    if side is None:
        return TILE_LOG2 if width * height > ONE_TILE_PIXELS else 0
    if side == 0:
        return 0
    if side not in [1 << n for n in range(6, 13)]:
        raise ValueError(f"tile must be 0 for one tile, or 64, 128, 256 ... 4096, got {side}")
    return side.bit_length() - 1


def overlap(cfg: ModelConfig) -> int:
    """Cells of y around a tile on whose pixels its y depends."""
    return cfg.g_a_blocks16 + -(-cfg.g_a_blocks8 // 2)


def encode_tile(
    work: Work,
    header: Header,
    source: PixelSource,
    number: int,
    thrift: float = 1.0,
    rounds: int = 0,
    tick: Callable[[], None] = lambda: None,
) -> Tile:
    """One tile of a picture: the symbols of its own y and z, after some rounds of search, and its
    plane of alpha. The work begins with a call of `tick`, and so does each round.
    """
    rect = tile_rect(header.grid, number)
    cells = tile_cells(header.grid, number)
    around = cells.grown(overlap(work.parts.decoder.cfg), picture_cells(header.grid))
    mine = cells.beside(around)
    seen = around.times(Y_STRIDE).clipped(Rect(0, 0, header.width, header.height))
    pixels = source.crop(*seen)
    alpha: bytes | None = None
    if header.flags & FLAG_ALPHA:
        plane = np.ascontiguousarray(pixels[:, :, -1])
        colours = pixels[:, :, 0] if header.flags & FLAG_GRAY else pixels[:, :, :-1]
        pixels = filled(np.ascontiguousarray(colours), plane).reshape(*plane.shape, -1)
        own = np.ascontiguousarray(plane[rect.beside(seen)])
        if header.tile_log2 == 0 or own.min() < 255:  # the index says where a tile is opaque
            alpha = pack_alpha(own)
    if header.flags & FLAG_GRAY:
        pixels = np.repeat(pixels, 3, axis=2)

    def encode(parts: Parts) -> tuple[int, bytes]:
        x = padded(pixels, parts.device, (around.height, around.width))
        y_around = parts.encoder.analysis(x, header.quality)
        y = y_around[mine]
        z = parts.encoder.hyper_analysis(y, header.quality)
        if not rounds:
            tick()
            counts = Distortion(x * 255).along(parts.decoder.energies)[0][mine]
            side = parts.encoder_side(y, z, header.quality, counts, thrift)
        else:
            refiner = Refiner(parts, y_around, mine, pixels, header.quality, thrift)
            y = refiner.run(z, (rect.height, rect.width), rounds, tick)
            # symbols for it exist already, and errors of no thrift at all bring them back
            side = parts.encoder_side(y, z, header.quality, refiner.counts, thrift=0.0)
        _, crc = coding.walk(parts.decoder, side, header.quality, rect.height, rect.width)
        return crc, side.coder.finish()

    return Tile(number, *work.run(encode), alpha)


@dataclass
class Synthesis:
    """Turns the y of tiles into pixels of a picture, a row of tiles at a time.

    `tile_y` gives y_hat (H/16, W/16, M) of a tile by number, padding included.
    """

    work: Work
    grid: Grid
    quality: int
    scale: int
    tile_y: Callable[[int], Tensor]

    def pieces(self, wanted: Rect) -> Iterator[tuple[Rect, NDArray[np.uint8]]]:
        """Rectangles of cells that make up `wanted`, each with its pixels (H, W, 3), where a cell
        has 16 / scale rows and columns of them.
        """
        decoder = self.work.parts.decoder
        halo = decoder.halo(self.scale)
        needed = wanted.grown(halo, picture_cells(self.grid))
        numbers = self.grid.touching(*cell_pixels(needed, self.grid))
        top, done = needed.top, wanted.top
        held: Tensor | None = None  # the rows of y from `top` on that are still needed
        for row in _rows(numbers, self.grid):
            bottom = tile_cells(self.grid, row[0]).clipped(needed).bottom
            have = Rect(needed.left, top, needed.right, bottom)
            size = have.height, have.width, decoder.cfg.m
            y = torch.empty(size, device=self.work.parts.device)
            if held is not None:
                y[: held.shape[0]] = held
            for number in row:
                cells = tile_cells(self.grid, number)
                seen = needed.clipped(cells)
                y[seen.beside(have)] = self.tile_y(number)[seen.beside(cells)]
            # below the last rows of a band come cells that they depend on
            ready = wanted.bottom if bottom == needed.bottom else min(bottom - halo, wanted.bottom)
            if ready > done:
                part = Rect(wanted.left, done, wanted.right, ready)
                yield from self._synthesised(y, have, part, halo)
                done = ready
            first = max(done - halo, top)
            held, top = y[first - top :].clone(), first
            del y  # or there would be two bands while the next one is made

    def _synthesised(
        self, y: Tensor, have: Rect, part: Rect, halo: int
    ) -> Iterator[tuple[Rect, NDArray[np.uint8]]]:
        waiting = cut(part, halo, self.work.piece_cells)
        while waiting:
            piece = waiting.pop()
            padded = piece.grown(halo, have)
            cells = y[padded.beside(have)]

            def compute(parts: Parts, cells: Tensor = cells) -> NDArray[np.uint8]:
                pixels = parts.decoder.synthesis(cells.to(parts.device), self.quality, self.scale)
                return pixels.cpu().numpy()

            pixels = self.work.run_piece(compute)
            if pixels is None:  # too large for the device
                waiting += cut(piece, halo, self.work.piece_cells)
                continue
            per_cell = Y_STRIDE // self.scale
            yield piece, pixels[piece.times(per_cell).beside(padded.times(per_cell))]


def _rows(numbers: list[int], grid: Grid) -> Iterator[list[int]]:
    row: list[int] = []
    for number in numbers:
        if row and number // grid.columns != row[0] // grid.columns:
            yield row
            row = []
        row.append(number)
    yield row
