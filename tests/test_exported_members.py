"""Checks the names that ``aec`` offers, and that importing it costs next to nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import aec

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_all_is_sorted_and_short():
    assert aec.__all__ == sorted(set(aec.__all__))
    assert len(aec.__all__) <= 15


@pytest.mark.parametrize("name", aec.__all__)
def test_every_name_can_be_loaded(name):
    assert getattr(aec, name) is not None
    assert name in dir(aec)


def test_error_classes_are_those_of_the_format_package():
    from aec.format import errors

    for name in aec.__all__:
        if name.endswith("Error"):
            assert getattr(aec, name) is getattr(errors, name)


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'aec' has no attribute 'nothing'"):
        _ = aec.nothing


def test_readme_lists_the_same_names():
    table = re.search(r"\| name \| what it is \|\n\|[-|]+\|\n((?:\|.*\n)+)", README)[1]
    first_column = " ".join(row.split("|")[1] for row in table.splitlines())
    assert sorted(["__version__", *re.findall(r"`(\w+)`", first_column)]) == aec.__all__


@pytest.mark.parametrize(
    "code",
    [
        "import aec",
        "import aec; dir(aec), aec.Limits(), aec.AecError",
        "import aec, aec.format.container as c, aec.format.header as h; "
        "aec.open_info(c.write_file(h.Header(1, 1, 0, bytes(8)), [c.Tile(0, 0, b'')]))",
    ],
)
def test_importing_loads_no_heavy_package(code, tmp_path):
    heavy = "{'PIL', 'click', 'constriction', 'numpy', 'safetensors', 'torch'}"
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            f"import sys; {code}; print({heavy} & {{*sys.modules}})",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")
