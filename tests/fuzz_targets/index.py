"""Fuzz target: the index of tiles and the reader of a part, which trusts as few bytes as it can."""

import io

from driver import drive, instrumented
from layout import reindexed, repaired
from samples import containers

errors, container, part = instrumented(
    "aec.format.errors", "aec.format.container", "aec.format.reader"
)
TILES = 20


def tiles(data: bytes, tolerant: bool, region: tuple[int, int, int, int] | None) -> bool:
    """Reads what can be read; true when nothing was wrong."""
    try:
        with part.PartReader(io.BytesIO(data), region=region, tolerant=tolerant) as reader:
            grid = reader.header.grid
            numbers = grid.touching(*region) if region else range(min(grid.count, TILES))
            sound = not (tolerant and reader.damage)
            for number in numbers[:TILES]:
                try:
                    assert reader.tile(number).number == number
                except errors.AecError:
                    sound = False
            return sound
    except errors.AecError:
        return False


def target(data: bytes) -> None:
    for variant in (data, repaired(data), repaired(reindexed(data))):
        try:
            container.read_file(variant)
            sound = True
        except errors.AecError:
            sound = False
        for tolerant in (False, True):
            for region in (None, (0, 0, 1, 1)):
                assert tiles(variant, tolerant, region) or not sound


if __name__ == "__main__":
    drive(target, containers())
