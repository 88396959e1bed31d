"""Recognises common files by their first bytes, for a helpful word about a wrong input."""

from __future__ import annotations

__all__ = ["kind_of"]

_STARTS = (
    (b"\xff\xd8\xff", "a JPEG"),
    (b"\x89PNG\r\n\x1a\n", "a PNG"),
    (b"GIF87a", "a GIF"),
    (b"GIF89a", "a GIF"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (b"qoif", "a QOI"),
    (b"P4\n", "a PBM"),
    (b"P5\n", "a PGM"),
    (b"P6\n", "a PPM"),
    (b"BM", "a BMP"),
)
_BRANDS = {b"avif": "an AVIF", b"avis": "an AVIF", b"heic": "a HEIC", b"mif1": "a HEIF"}


def kind_of(data: bytes) -> str | None:
    """Returns what kind of picture the bytes look like, with an article, or None."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "a WebP"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    return next((kind for start, kind in _STARTS if data.startswith(start)), None)
