"""Measured points on the disk, so that no run measures again what an earlier one has."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .codecs import BenchCodec
from .metrics import METRICS

__all__ = ["Cache", "default_folder", "key_of"]

FORMAT = 1  # of the entries


def default_folder() -> Path:
    """Returns where entries are when nobody says: aec/bench in the user's folder for caches."""
    name = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    return Path(os.environ.get(name) or Path.home() / ".cache") / "aec" / "bench"


def key_of(codec: BenchCodec, picture: str, setting: float, metrics: Sequence[str]) -> str:
    """Returns the name of a point: a hash of all that it depends on but for the machine's speed,
    `picture` being what `picture_id` gives.
    """
    versions = [f"{key} {METRICS[key].version}" for key in metrics]
    facts = [FORMAT, codec.identity, picture, float(setting), versions]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@dataclass(frozen=True)
class Cache:
    """Keeps small JSON objects under keys in a folder, which many processes may share."""

    folder: Path

    def get(self, key: str) -> dict[str, Any] | None:
        """Returns what was put under a key, if it is there and whole."""
        try:
            found = json.loads(self._path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def put(self, key: str, content: dict[str, Any]) -> None:
        """Keeps an object if it can; a full disk costs a run no more than the next one's time."""
        path = self._path(key)
        temporary = path.with_name(f"{key}.{secrets.token_hex(4)}")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_text(json.dumps(content), encoding="utf-8")
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
