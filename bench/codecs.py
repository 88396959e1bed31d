"""The codecs that are compared: each turns a picture and a setting into a whole file and back."""

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import AvifImagePlugin, Image, features

from .metrics import psnr

__all__ = [
    "CODECS",
    "DEFAULT_QUALITIES",
    "EFFORTS",
    "OTHERS",
    "Aec",
    "Avif",
    "BenchCodec",
    "Heic",
    "Jp2",
    "Jpeg",
    "Jxl",
    "MissingCodecError",
    "WebP",
    "make",
    "make_all",
]

DEFAULT_QUALITIES = (5.0, 20.0, 35.0, 50.0, 65.0, 80.0, 95.0)


class MissingCodecError(ImportError):
    """A codec that this machine lacks; says what to install."""


class BenchCodec(ABC):
    """A codec under test; must survive pickling, which takes it to other processes.

    Its identity names everything beside the setting that its files depend on; the description is
    for people.
    """

    name: str
    description: str
    identity: str
    settings: Sequence[float]
    step = 1.0
    """The least difference between two settings."""

    @abstractmethod
    def encode(self, picture: Image.Image, setting: float) -> bytes:
        """Returns the file of an RGB or L picture; raises AecError, OSError or ValueError for a
        picture that the format cannot hold.
        """

    def prepare(self, picture: Image.Image, setting: float) -> Callable[[], bytes]:
        """Returns a call of `encode`; a search for its options comes before, and is not timed."""
        return partial(self.encode, picture, setting)

    @abstractmethod
    def decode(self, data: bytes) -> Image.Image:
        """Returns the decoded picture, in memory to the last pixel."""


class Aec(BenchCodec):
    """This codec, through its public interface, with its weights kept in memory."""

    name = "aec"
    step = 0.5

    def __init__(
        self,
        settings: Iterable[float] = DEFAULT_QUALITIES,
        *,
        device: str = "auto",
        model: str | Path | None = None,
        effort: int = 1,
        name: str | None = None,
    ) -> None:
        """Loads the weights and runs them once; raises what `aec.Codec` raises."""
        from ..codec.api import Codec  # imports torch, which the other codecs do without

        self.name = name or self.name
        self.settings = tuple(settings)
        self.effort = effort
        self.codec = Codec(device=device, model=model)
        self.description = f"aec, model {self.codec.model_id}, {self.codec.device}, effort {effort}"
        self.identity = f"{self.description}, torch {version('torch')}, {_source()}"
        # The first call pays for threads and kernels that stay; no picture should.
        self.decode(self.encode(Image.new("RGB", (64, 64)), self.settings[0]))

    def encode(self, picture: Image.Image, setting: float) -> bytes:
        return self.codec.compress(picture, quality=setting, effort=self.effort)

    def decode(self, data: bytes) -> Image.Image:
        return self.codec.decompress(data)


def _source() -> str:
    """Names the code of this package, whose encoder may change from one day to the next."""
    source = hashlib.sha256()
    for folder in ("codec", "format"):
        for path in sorted((Path(__file__).parent.parent / folder).glob("*.py")):
            source.update(path.read_bytes())
    return f"source {source.hexdigest()}"


class _Pillow(BenchCodec):
    """A format of Pillow, or of a plugin for it, with fixed options beside its quality."""

    format: str
    feature = ""  # what Pillow calls the library in it
    package = ""  # the package of a plugin, and the module in it
    module = ""
    options: dict[str, object]

    def __init__(self) -> None:
        """Raises MissingCodecError when Pillow, or what is beside it, lacks the format."""
        versions = f"Pillow {features.version('pil')}"
        if self.feature:
            if not features.check(self.feature):
                raise MissingCodecError(f"this Pillow was built without {self.format}")
            versions += f", library {features.version(self.feature)}"
        if self.package:
            self._register()
            versions += f", {self.package} {version(self.package)}"
        options = ", ".join(f"{key}={value}" for key, value in self.options.items())
        self.description = self.identity = f"{self.name}, {versions}, {options}"

    def _register(self) -> None:
        try:
            import_module(self.module)
        except ImportError as error:
            raise MissingCodecError(
                f"{self.name} needs the package {self.package}: pip install 'aec-codec[bench]'"
            ) from error

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__ |= state
        if self.package:
            self._register()  # in the process that this object has come to

    def encode(self, picture: Image.Image, setting: float) -> bytes:
        return self._save(picture, quality=int(setting), **self.options)

    def _save(self, picture: Image.Image, **options: object) -> bytes:
        file = io.BytesIO()
        picture.save(file, self.format, **options)
        return file.getvalue()

    def decode(self, data: bytes) -> Image.Image:
        image = Image.open(io.BytesIO(data))
        image.load()
        return image


class Jpeg(_Pillow):
    """Optimised progressive JPEG, with the colours at half or at full resolution."""

    name = "jpeg"
    format, feature = "JPEG", "jpg"
    settings = tuple(range(5, 100, 5))

    def __init__(self, subsampling: str | None = None) -> None:
        """Without `subsampling` a file is the better one of two: 4:2:0 at the quality that was
        asked for, and of the 4:4:4 files that take no more bytes the one of highest quality.
        """
        self.subsampling = subsampling
        self.options = {"optimize": True, "progressive": True}
        super().__init__()
        self.description += f", {subsampling or '4:2:0 or 4:4:4, whichever has the higher PSNR'}"
        self.identity = self.description

    def encode(self, picture: Image.Image, setting: float) -> bytes:
        return self.prepare(picture, setting)()

    def prepare(self, picture: Image.Image, setting: float) -> Callable[[], bytes]:
        def save(subsampling: str, quality: int) -> Callable[[], bytes]:
            return partial(
                self._save, picture, quality=quality, subsampling=subsampling, **self.options
            )

        half = save(self.subsampling or "4:2:0", int(setting))
        if self.subsampling or picture.mode == "L":
            return half
        most = len(half())
        low, high = 0, int(setting)  # one more quality at full resolution takes more bytes
        while low < high:
            middle = (low + high + 1) // 2
            if len(save("4:4:4", middle)()) <= most:
                low = middle
            else:
                high = middle - 1
        full = save("4:4:4", low)
        if not low or self._error(picture, half()) <= self._error(picture, full()):
            return half
        return full

    def _error(self, picture: Image.Image, data: bytes) -> float:
        return -psnr(np.asarray(picture), np.asarray(self.decode(data)))


class WebP(_Pillow):
    name = "webp"
    format, feature = "WEBP", "webp"
    settings = tuple(range(5, 100, 5))

    def __init__(self) -> None:
        self.options = {"method": 6}
        super().__init__()


class Avif(_Pillow):
    """AVIF of libaom; speed 6 is what Pillow takes when nobody asks for another one."""

    name = "avif"
    format, feature = "AVIF", "avif"
    settings = (10, 25, 40, 55, 70, 80, 90)

    def __init__(
        self, threads: int | None = None, *, speed: int = 6, name: str | None = None
    ) -> None:
        """Codes with `threads` threads, by default with one per core."""
        self.name = name or self.name
        self.options = {"speed": speed, "subsampling": "4:4:4"}
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


class Jxl(_Pillow):
    """Lossy JPEG XL; effort 7 is what libjxl takes when nobody asks for another one."""

    name = "jxl"
    format, package, module = "JXL", "pillow-jxl-plugin", "pillow_jxl"
    settings = (5, 15, 30, 45, 60, 75, 85, 92)

    def __init__(
        self, threads: int | None = None, *, effort: int = 7, name: str | None = None
    ) -> None:
        """Encodes with `threads` threads; by default, and to decode always, with one per core."""
        self.name = name or self.name
        # A picture that was read from a JPEG file would else be that file, without loss.
        self.options = {"effort": effort, "lossless_jpeg": False}
        if threads:
            self.options["num_threads"] = threads
        super().__init__()


class Heic(_Pillow):
    """HEIC of x265 through libheif, at its preset for slow coding, which is the usual one there."""

    name = "heic"
    format, package, module = "HEIF", "pillow-heif", "pillow_heif"
    settings = (5, 15, 25, 35, 45, 55, 65, 75)

    def __init__(self) -> None:
        self.options = {"chroma": 444}
        super().__init__()

    def _register(self) -> None:
        super()._register()
        import_module(self.module).register_heif_opener()


class Jp2(_Pillow):
    """JPEG 2000 of OpenJPEG with the lossy wavelet; the setting is the compression ratio."""

    name = "jp2"
    format, feature = "JPEG2000", "jpg_2000"
    settings = (192, 96, 64, 48, 32, 24, 16, 12)

    def __init__(self) -> None:
        # Without the transform of colours, which Pillow leaves out, files take twice the bits.
        self.options = {"irreversible": True, "quality_mode": "rates", "mct": 1}
        super().__init__()

    def encode(self, picture: Image.Image, setting: float) -> bytes:
        return self._save(picture, quality_layers=[setting], **self.options)


_OTHERS: dict[str, Callable[[], BenchCodec]] = {
    "jpeg": Jpeg,
    "webp": WebP,
    "avif": Avif,
    "avif-slow": partial(Avif, speed=2, name="avif-slow"),
    "jxl": Jxl,
    "jxl-slow": partial(Jxl, effort=9, name="jxl-slow"),
    "heic": Heic,
    "jp2": Jp2,
}

EFFORTS = {"aec": 1, "aec-slow": 7}
"""The names of this codec, and the effort that each stands for."""

OTHERS = tuple(_OTHERS)

CODECS = (*EFFORTS, *OTHERS)
"""The names that `make` knows, in the order of the tables."""


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
    if name in EFFORTS:
        return Aec(qualities, device=device, model=model, effort=EFFORTS[name], name=name)
    if name not in _OTHERS:
        raise ValueError(f"codec {name!r} is none of {', '.join(CODECS)}")
    return _OTHERS[name]()


def make_all(
    names: Iterable[str] | None,
    qualities: Iterable[float] = DEFAULT_QUALITIES,
    *,
    device: str = "auto",
    model: str | Path | None = None,
) -> list[BenchCodec]:
    """Returns the named codecs, or without names aec at its usual effort and all others that this
    machine has; raises what `make` raises.
    """
    made = []
    for name in ("aec", *OTHERS) if names is None else names:
        try:
            made.append(make(name, qualities, device=device, model=model))
        except MissingCodecError:
            if names is not None or name == "aec":
                raise
    return made
