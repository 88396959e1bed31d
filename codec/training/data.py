"""Training pictures: folders and tar shards, held in memory as uint8, cut into random crops."""

from __future__ import annotations

import io
import multiprocessing
import tarfile
import warnings
import zlib
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch.utils.data import DataLoader, Dataset

from ..config import Z_STRIDE

SUFFIXES = {".avif", ".png", ".jpg", ".jpeg", ".webp"}
HELD_OUT_ONE_IN = 64  # by a hash of the name, so that a picture never changes sides
#: What is kept of a picture along a side, or a folder of photographs would not fit the memory.
KEPT_SIDE = 2048
SCALED = 0.5  # the share of crops that are made smaller
#: Shares of crops whose colours are made weaker or stronger by up to SATURATION, and whose colour
#: channels change places, for a wider range of colours than the training pictures have.
COLOURED, SWAPPED = 0.25, 0.1
SATURATION = 2.2
LUMA = (0.299, 0.587, 0.114)  # of BT.601, as in JPEG
GRAIN = (0.5, 2.5)  # its standard deviation, in grey levels
MEASURED_SIDE = 512  # what validation and calibration take of it, or they would take hours
#: What Pillow raises for files that it cannot or will not decode.
BROKEN = (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError)

Picture = NDArray[np.uint8]  # (H, W, 3)


def _members(source: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the pictures of a folder (recursively), a tar shard or one file."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix == ".tar" or path.suffix.lower() in SUFFIXES:
                yield from _members(path)
    elif source.suffix == ".tar":
        try:
            with tarfile.open(source) as tar:
                for member in tar:
                    if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES:
                        data = tar.extractfile(member)
                        if data is not None:
                            yield member.name, data.read()
        except tarfile.TarError as error:
            raise ValueError(f"{source} is no tar file that can be read: {error}") from error
    else:
        yield source.name, source.read_bytes()


def load_pictures(
    sources: list[Path], *, min_side: int, part: int = 0, parts: int = 1, limit: int = 0
) -> tuple[list[Picture], list[Picture]]:
    """Decodes part `part` of `parts` of the training pictures, and all held-out ones.

    With `limit`, stops after that many training pictures.

    Of large pictures only the middle is kept; those smaller than `min_side` and broken ones are
    left out, with warnings.
    Raises ValueError when nothing is left to train on.
    """
    training: list[Picture] = []
    held_out: list[Picture] = []
    seen = small = 0
    for source in sources:
        for name, data in _members(source):
            if limit and len(training) == limit:
                return training, held_out
            hold = zlib.crc32(Path(name).name.encode()) % HELD_OUT_ONE_IN == 0
            seen += not hold
            if not hold and seen % parts != part:
                continue
            try:
                with Image.open(io.BytesIO(data)) as image:
                    picture = _middle(np.asarray(image.convert("RGB")), KEPT_SIDE)
            except BROKEN as error:
                warnings.warn(f"{name}: left out, {error}", stacklevel=2)
                continue
            if min(picture.shape[:2]) < min_side:
                small += 1
                continue
            (held_out if hold else training).append(picture)
    if not training:
        where = ", ".join(map(str, sources))
        raise ValueError(
            f"nothing to train on in {where}: {_lack(seen, small, held_out, min_side)}"
        )
    if small:
        warnings.warn(f"left out: {_too_small(small, min_side)}", stacklevel=2)
    return training, held_out


def _pictures(count: int) -> str:
    return f"{count} picture{'s' * (count != 1)}"


def _too_small(count: int, min_side: int) -> str:
    smaller = "; a smaller crop takes smaller ones" if min_side > Z_STRIDE else ""
    return f"{_pictures(count)} with less than {min_side} px along a side{smaller}"


def _lack(seen: int, small: int, held_out: list[Picture], min_side: int) -> str:
    """Why there is no picture, and what to do."""
    if small:
        return f"{_too_small(small, min_side)}, or give larger ones"
    if held_out and not seen:
        return f"{_pictures(len(held_out))}, held out for validation; give more"
    if not seen:
        kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        return f"no pictures; give a folder or a tar with files of the types {kinds}"
    return "no picture can be read, or there are fewer than processes; give others"


def _recoloured(piece: Picture, random: np.random.Generator) -> Picture:
    """The crop, now and then in other colours."""
    if random.random() < COLOURED:
        strength = SATURATION ** random.uniform(-1, 1)
        values = piece.astype(np.float32)
        gray = values.mean(2, keepdims=True)
        piece = (gray + strength * (values - gray) + 0.5).clip(0, 255).astype(np.uint8)
    if random.random() < SWAPPED:
        piece = piece[:, :, random.permutation(3)]
    return piece


def _halved(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """A plane (H, W) without what half its resolution cannot hold."""
    image = Image.fromarray(plane)
    width, height = image.size
    small = image.resize(((width + 1) // 2, (height + 1) // 2), Image.Resampling.BOX)
    return np.asarray(small.resize(image.size, Image.Resampling.BILINEAR))


def _grain(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    """Noise (H, W) of variance 1, between white and somewhat smooth."""
    height, width = shape
    noise = random.standard_normal((height + 2, width + 2), dtype=np.float32)
    beside = random.random() / 4  # what each neighbour gives
    centre = 1 - 2 * beside
    noise = centre * noise[1:-1] + beside * (noise[:-2] + noise[2:])
    noise = centre * noise[:, 1:-1] + beside * (noise[:, :-2] + noise[:, 2:])
    return noise / (centre**2 + 2 * beside**2)


def as_taken(piece: Picture, share: float, random: np.random.Generator) -> Picture:
    """A picture (H, W, 3) as a camera would have given it: with a chance of `share`
    with grain, and with as much of one with colour of half the resolution, as in most JPEG files.
    """
    halved, grainy = random.random(2) < share
    if not (halved or grainy):
        return piece
    values = piece.astype(np.float32)
    y = values @ np.array(LUMA, np.float32)
    red, blue = values[:, :, 0] - y, values[:, :, 2] - y
    if halved:
        red, blue = _halved(red), _halved(blue)
    if grainy:
        sigma = np.float32(np.exp(random.uniform(*np.log(GRAIN))))
        y = y + sigma * _grain(y.shape, random)
        red, blue = (c + sigma / 2 * _grain(y.shape, random) for c in (red, blue))
    red, blue = red + y, blue + y
    green = (y - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return (np.stack([red, green, blue], 2) + 0.5).clip(0, 255).astype(np.uint8)


class CropSampler:
    """Random crops with flips and, now and then, a downscale or other colours.

    A share of the crops is of generated graphics instead of photographs. These are never scaled,
    or no pattern of single pixels would be seen. `camera` is the share of photographs that are
    given grain, and that of those whose colour is halved in resolution: what pictures had before
    they were made smaller and cleaned.

    The crops of a step depend on the seed and the step alone, so that a resumed run sees what an
    uninterrupted one would have seen.
    """

    def __init__(
        self,
        pictures: list[Picture],
        *,
        crop: int,
        seed: int,
        graphics: Sequence[Picture] = (),
        share: float = 0.0,
        camera: float = 0.0,
    ) -> None:
        if share and not graphics:
            raise ValueError(f"a share of {share} of the crops is of graphics, but there are none")
        self.pictures = pictures
        self.graphics = graphics
        self.share = share
        self.camera = camera
        self.crop = crop
        self.seed = seed
        area = np.array([p.shape[0] * p.shape[1] for p in pictures], dtype=np.float64)
        self.weights = area / area.sum()

    def _crop(self, picture: Picture, random: np.random.Generator, *, scaled: bool) -> Picture:
        height, width = picture.shape[:2]
        side = self.crop
        largest = min(height, width)
        if scaled and largest > side and random.random() < SCALED:
            # a little downscaling widens the range of textures and hides old coding noise
            side = int(random.integers(side + 1, min(largest, 2 * side) + 1))
        top = int(random.integers(0, height - side + 1))
        left = int(random.integers(0, width - side + 1))
        piece = picture[top : top + side, left : left + side]
        if side != self.crop:
            size = (self.crop, self.crop)
            piece = np.asarray(Image.fromarray(piece).resize(size, Image.Resampling.BICUBIC))
        if scaled:
            piece = _recoloured(piece, random)
            if self.camera:  # without it no number is drawn, and crops are what they always were
                piece = as_taken(piece, self.camera, random)
        if random.random() < 0.5:
            piece = piece[:, ::-1]
        if random.random() < 0.5:
            piece = piece[::-1]
        if random.random() < 0.5:
            piece = piece.transpose(1, 0, 2)
        return piece

    def batch(self, size: int, step: int) -> Picture:
        """`size` crops, of photographs chosen by area or of any graphics, (size, 3, crop, crop)."""
        random = np.random.default_rng([self.seed, step])
        chosen = random.choice(len(self.pictures), size=size, p=self.weights)
        # without graphics no number is drawn for them, so that the crops are what they always were
        generated = random.random(size) < self.share if self.share else np.zeros(size, bool)
        crops = []
        for photograph, is_graphic in zip(chosen, generated, strict=True):
            if is_graphic:
                picture = self.graphics[int(random.integers(len(self.graphics)))]
            else:
                picture = self.pictures[photograph]
            crops.append(self._crop(picture, random, scaled=not is_graphic).transpose(2, 0, 1))
        return np.ascontiguousarray(np.stack(crops))


class _Steps(Dataset[torch.Tensor]):
    """The batch of every step, for a loader."""

    def __init__(self, sampler: CropSampler, size: int) -> None:
        self.sampler, self.size = sampler, size

    def __getitem__(self, step: int) -> torch.Tensor:
        return torch.from_numpy(self.sampler.batch(self.size, step))


def batches(
    sampler: CropSampler, size: int, *, start: int, workers: int, pinned: bool = False
) -> Iterator[torch.Tensor]:
    """The sampler's batches of step `start` and all that follow, (size, 3, crop, crop) uint8.

    `workers` processes cut them ahead of time, none in this one; the crops are the same. `pinned`
    puts them where a GPU fetches them faster.
    """
    # forked workers share the pictures; started otherwise, each would be sent all of them
    fork = workers and "fork" in multiprocessing.get_all_start_methods()
    return iter(
        DataLoader(
            _Steps(sampler, size),
            batch_size=None,
            sampler=count(start),
            num_workers=workers,
            multiprocessing_context="fork" if fork else None,
            pin_memory=pinned,
        )
    )


def whole_cells(picture: Picture) -> torch.Tensor:
    """A part (3, H, W) of a picture whose sides are multiples of 64: all of it, but for edges,
    unless the picture is large.
    """
    picture = _middle(picture, MEASURED_SIDE)
    height, width = (side // Z_STRIDE * Z_STRIDE for side in picture.shape[:2])
    return torch.from_numpy(picture[:height, :width].copy()).permute(2, 0, 1)


def _middle(picture: Picture, side: int) -> Picture:
    """The middle of a picture that is larger than `side`, which does not keep the rest alive."""
    top, left = (max(0, (size - side) // 2) for size in picture.shape[:2])
    return picture[top : top + side, left : left + side].copy()
