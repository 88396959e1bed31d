"""Every exception that aec raises on purpose, in one tree.

::

    AecError(Exception)                    all of them
    ├── FormatError(ValueError)            the bytes are not a valid .aec file
    │   ├── TruncatedError                 the bytes end too early
    │   ├── ChecksumError                  a CRC-32 does not match: the file is damaged
    │   ├── UnsupportedVersionError        a format version that this reader does not know
    │   └── UnsupportedFeatureError        a flag or critical chunk that it does not know
    ├── LimitError                         valid so far, but larger than ``Limits`` allows
    ├── ImageError(ValueError)             a picture that cannot be coded, and what to do
    ├── ModelError                         the weights
    │   ├── ModelNotFoundError             no weights with the model id that the file names
    │   ├── ModelIntegrityError            the weights are damaged or not well formed
    │   └── BackendMismatchError           this machine does not compute the network exactly
    └── ResourceError(MemoryError)         not enough memory for the work

``OSError`` and ``KeyboardInterrupt`` are never wrapped: they reach the caller as they are. A
message about the bytes of a file names the offset, the value found and the value expected. Each
class can be made of one message alone, so that all survive pickling between worker processes.
"""

from __future__ import annotations

__all__ = [
    "AecError",
    "BackendMismatchError",
    "ChecksumError",
    "FormatError",
    "ImageError",
    "LimitError",
    "ModelError",
    "ModelIntegrityError",
    "ModelNotFoundError",
    "ResourceError",
    "TruncatedError",
    "UnsupportedFeatureError",
    "UnsupportedVersionError",
]


class AecError(Exception):
    """Is the base of every exception that aec raises on purpose."""


class FormatError(AecError, ValueError):
    """Says that the bytes are not a valid ``.aec`` file."""


class TruncatedError(FormatError):
    """Says that the bytes end before the end chunk does, and where it is known how many tiles come
    whole before that (``tiles_ok`` of ``tiles_total``) and where the bytes end (``offset``).
    """

    def __init__(
        self,
        message: str,
        *,
        tiles_ok: int | None = None,
        tiles_total: int | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(message)
        self.tiles_ok = tiles_ok
        self.tiles_total = tiles_total
        self.offset = offset


class ChecksumError(FormatError):
    """Says that a stored CRC-32 differs from the computed one: the file is damaged."""


class UnsupportedVersionError(FormatError):
    """Says that the file has a format version that this reader does not know."""


class UnsupportedFeatureError(FormatError):
    """Says that the file needs a feature that this reader does not know."""


class LimitError(AecError):
    """Says that a file or picture is larger than the ``Limits`` in force allow."""


class ImageError(AecError, ValueError):
    """Says that a picture cannot be coded, and what to do about it."""


class ModelError(AecError):
    """Is the base of the errors about decoder weights."""


class ModelNotFoundError(ModelError):
    """Says that no weights with the wanted name or model id are installed."""


class ModelIntegrityError(ModelError):
    """Says that a weights file is damaged or not well formed."""


class BackendMismatchError(ModelError):
    """Says that this machine did not reproduce the exact results that the file requires."""


class ResourceError(AecError, MemoryError):
    """Says that there is not enough memory, on the host or on the device, for the work."""
