"""Fuzz target: the strict reader and `open_info`, on the bytes and on them with right checksums."""

from driver import drive, instrumented
from layout import repaired
from samples import containers

errors, container = instrumented("aec.format.errors", "aec.format.container")


def outcome(read: object, data: bytes) -> str:
    try:
        read(data)  # type: ignore[operator]
    except errors.AecError as error:
        return repr(error)
    return "accepted"


def target(data: bytes) -> None:
    for variant in (data, repaired(data)):
        found = outcome(container.read_file, variant)
        assert found == outcome(container.open_info, variant), found


if __name__ == "__main__":
    drive(target, containers())
