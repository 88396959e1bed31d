"""Reads and writes the bytes of an ``.aec`` file: header, chunks, checksums, limits, errors."""
