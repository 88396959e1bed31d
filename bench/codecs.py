"""The codecs that are compared: each turns a picture and a setting into a whole file and back."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from PIL import AvifImagePlugin, Image, features

from ..format.errors import ResourceError

__all__ = ["CODECS", "DEFAULT_QUALITIES", "Aec", "Avif", "BenchCodec", "Jpeg", "WebP", "make"]

DEFAULT_QUALITIES = (5.0, 20.0, 35.0, 50.0, 65.0, 80.0, 95.0)


class BenchCodec(ABC):
    """A codec under test; must survive pickling, which takes it to other processes."""

    name: str
    description: str
    settings: Sequence[float]

    @abstractmethod
    def encode(self, picture: Image.Image, setting: float) -> bytes:
        """Returns the file of an RGB or L picture; raises AecError, OSError or ValueError for a
        picture that the format cannot hold.
        """

    @abstractmethod
    def decode(self, data: bytes) -> Image.Image:
        """Returns the decoded picture, in memory to the last pixel."""


class Aec(BenchCodec):
    """This codec, through its public interface, with its weights kept in memory."""

    name = "aec"

    def __init__(
        self,
        settings: Iterable[float] = DEFAULT_QUALITIES,
        *,
        device: str = "auto",
        model: str | Path | None = None,
    ) -> None:
        """Loads the weights and runs them once; raises what `aec.Codec` raises."""
        from ..codec.api import Codec  # imports torch, which the other codecs do without

        self.settings = tuple(settings)
        self.codec = Codec(device=device, model=model)
        self.description = f"aec, model {self.codec.model_id}, {self.codec.device}"
        # The first call pays for threads and kernels that stay; no picture should.
        self.decode(self.encode(Image.new("RGB", (64, 64)), self.settings[0]))

    def encode(self, picture: Image.Image, setting: float) -> bytes:
        return self.codec.compress(picture, quality=setting)

    def decode(self, data: bytes) -> Image.Image:
        return self.codec.decompress(data)


class _Pillow(BenchCodec):
    """A format of Pillow with fixed options beside its quality."""

    options: dict[str, object]

    def __init__(self) -> None:
        """Raises ResourceError when Pillow was built without the format."""
        feature = {"jpeg": "jpg"}.get(self.name, self.name)
        if not features.check(feature):
            raise ResourceError(f"this Pillow was built without {self.name}")
        options = ", ".join(f"{key}={value}" for key, value in self.options.items())
        versions = f"Pillow {features.version('pil')}, library {features.version(feature)}"
        self.description = f"{self.name}, {versions}, {options}"

    def encode(self, picture: Image.Image, setting: float) -> bytes:
        file = io.BytesIO()
        picture.save(file, self.name, quality=int(setting), **self.options)
        return file.getvalue()

    def decode(self, data: bytes) -> Image.Image:
        image = Image.open(io.BytesIO(data))
        image.load()
        return image


class Jpeg(_Pillow):
    name = "jpeg"
    settings = tuple(range(5, 100, 5))

    def __init__(self) -> None:
        self.options = {"optimize": True, "progressive": True}
        super().__init__()


class WebP(_Pillow):
    name = "webp"
    settings = tuple(range(5, 100, 5))

    def __init__(self) -> None:
        self.options = {"method": 6}
        super().__init__()


class Avif(_Pillow):
    name = "avif"
    settings = (10, 25, 40, 55, 70, 80, 90)

    def __init__(self, threads: int | None = None) -> None:
        """Codes with `threads` threads, by default with one per core."""
        self.options = {"speed": 4, "subsampling": "4:4:4"}
        self.threads = threads or 0  # which the plugin reads as no wish
        if self.threads:
            self.options["max_threads"] = self.threads
        super().__init__()

    def decode(self, data: bytes) -> Image.Image:
        before = AvifImagePlugin.DEFAULT_MAX_THREADS
        AvifImagePlugin.DEFAULT_MAX_THREADS = self.threads or before
        try:
            return super().decode(data)
        finally:
            AvifImagePlugin.DEFAULT_MAX_THREADS = before


CODECS = ("aec", "jpeg", "webp", "avif")
"""The names that `make` knows, in the order of the tables."""

_PILLOW: dict[str, Callable[[], BenchCodec]] = {"jpeg": Jpeg, "webp": WebP, "avif": Avif}


def make(
    name: str,
    qualities: Iterable[float] = DEFAULT_QUALITIES,
    *,
    device: str = "auto",
    model: str | Path | None = None,
) -> BenchCodec:
    """Returns a codec by its name; all further arguments are for aec. Raises ValueError for an
    unknown name, and what the codec itself raises when it cannot start.
    """
    if name == "aec":
        return Aec(qualities, device=device, model=model)
    if name not in _PILLOW:
        raise ValueError(f"codec {name!r} is none of {', '.join(CODECS)}")
    return _PILLOW[name]()
