"""Curves that others published for the 24 pictures of Kodak: figures with their source, beside what
is measured here and never mixed with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["DRAWN", "check_same_pictures", "is_kodak", "published", "published_names"]

FOLDER = Path(__file__).parent / "anchors"

DRAWN = ("vtm", "bpg", "mbt2018-mean", "elic", "mlic++", "hpcm-large")
"""The curves that a report shows."""

KODAK = "de752c7fc0b3dd05212352dbf1609db23286965632c2871b1a2246c26128b6cc"
"""What `is_kodak` finds for the 24 pictures of Kodak."""


def published_names() -> list[str]:
    """Returns the names of all published curves, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def published(name: str) -> dict[str, Any]:
    """Returns a published result in the shape of CompressAI's, with its title and source; raises
    ValueError for an unknown name.
    """
    if name not in published_names():
        raise ValueError(f"{name!r} is none of the published curves {', '.join(published_names())}")
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content


def is_kodak(ids: Iterable[str]) -> bool:
    """Says whether pictures, by what `picture_id` gives for them, are the 24 of Kodak."""
    return hashlib.sha256("".join(sorted(ids)).encode()).hexdigest() == KODAK


def check_same_pictures(results: Iterable[Mapping[str, Any]]) -> None:
    """Raises ValueError when results say of themselves that they are of different pictures."""
    first: tuple[str, set[str]] | None = None
    for result in results:
        if result.get("pictures") == "kodak":
            stems = {f"kodim{number:02}" for number in range(1, 25)}
        else:
            stems = {Path(row["image"]).stem for row in result.get("images", [])}
        if not stems:  # a result of CompressAI does not say
            continue
        if first is not None and stems != first[1]:
            raise ValueError(f"{first[0]} and {result['name']} are of different pictures")
        first = first or (str(result["name"]), stems)
