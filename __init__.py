"""A learned lossy image codec: one set of weights for every quality, the same pixels everywhere.

Names are loaded on first use (PEP 562), so that ``import aec``, ``aec --help`` and ``aec info``
start without torch, numpy or Pillow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .codec.api import Codec, Recovered
    from .codec.functions import compress, compress_to, decompress, recover
    from .format.container import open_info
    from .format.errors import (
        AecError,
        FormatError,
        ImageError,
        LimitError,
        ModelError,
        ResourceError,
    )
    from .format.limits import Limits

__version__ = "0.1.0"

__all__ = [
    "AecError",
    "Codec",
    "FormatError",
    "ImageError",
    "LimitError",
    "Limits",
    "ModelError",
    "Recovered",
    "ResourceError",
    "__version__",
    "compress",
    "compress_to",
    "decompress",
    "open_info",
    "recover",
]

_HOMES = {
    "AecError": ".format.errors",
    "Codec": ".codec.api",
    "FormatError": ".format.errors",
    "ImageError": ".format.errors",
    "LimitError": ".format.errors",
    "Limits": ".format.limits",
    "ModelError": ".format.errors",
    "Recovered": ".codec.api",
    "ResourceError": ".format.errors",
    "compress": ".codec.functions",
    "compress_to": ".codec.functions",
    "decompress": ".codec.functions",
    "open_info": ".format.container",
    "recover": ".codec.functions",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value  # the next look-up finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
