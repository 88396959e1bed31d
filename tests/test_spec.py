"""Holds spec.md against the code: tables, the worked example, and a test for every requirement."""

import ast
import re
from pathlib import Path

import pytest

from aec.format import errors, header
from aec.format.container import Tile, read_file, write_file
from aec.format.limits import DEFAULT_LIMITS

TESTS = Path(__file__).parent
SPEC = (TESTS.parent / "spec.md").read_text(encoding="utf-8")


def rows(*columns: str) -> list[dict[str, str]]:
    """The rows of the one table in spec.md that has exactly these columns."""
    title = re.escape("| " + " | ".join(columns) + " |")
    (body,) = re.findall(rf"^ *{title}\n *[|-]+\n((?: *\|.*\n)+)", SPEC, re.MULTILINE)
    cells = [re.split(r" \| ", line.strip()[2:-2]) for line in body.splitlines()]
    return [dict(zip(columns, row, strict=True)) for row in cells]


def cited() -> dict[str, str]:
    """Ids that tests cite with ``@pytest.mark.spec``, and a file that does."""
    found = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.spec":
                found.update({ast.literal_eval(arg): path.name for arg in node.args})
    return found


def test_every_requirement_is_cited_by_a_test():
    defined = re.findall(r"\[(S-[^\]]*)\]", SPEC)
    assert [id for id in defined if not re.fullmatch(r"S-\d{3}", id)] == []
    assert sorted(defined) == sorted(set(defined)), "an id is defined twice"
    assert sorted(set(defined) - set(cited())) == [], "no test cites these"


def test_tests_cite_requirements_that_exist():
    defined = re.findall(r"\[(S-\d{3})\]", SPEC)
    assert {id: name for id, name in cited().items() if id not in defined} == {}


@pytest.mark.spec("S-010", "S-016")
def test_header_table():
    table = rows("offset", "size", "name", "type", "range", "meaning")
    types = {1: "u8", 4: "u32"}
    assert [(r["offset"], r["size"], r["name"], r["type"], r["range"]) for r in table] == [
        (
            str(field.offset),
            str(field.size),
            field.name,
            types[field.size] if field.range else "bytes",
            "{} to {}".format(*field.range) if field.range else "-",
        )
        for field in header.FIELDS
    ]
    assert bytes.fromhex(table[0]["meaning"].strip("`")) == header.SIGNATURE


@pytest.mark.spec("S-013")
def test_flag_table():
    table = rows("bit", "name", "when set")
    assert {r["name"]: 1 << int(r["bit"]) for r in table} == {
        "gray": header.FLAG_GRAY,
        "alpha": header.FLAG_ALPHA,
    }


@pytest.mark.spec("S-044")
def test_limit_table():
    table = rows("bound", "default", "unit")
    assert {r["bound"]: float(r["default"]) for r in table} == {
        name: getattr(DEFAULT_LIMITS, name) for name in DEFAULT_LIMITS.__slots__
    }


@pytest.mark.spec("S-045")
def test_error_table():
    named = {r["class"] for r in rows("class", "when")}
    raised = {
        name
        for name in errors.__all__
        if issubclass(getattr(errors, name), (errors.FormatError, errors.LimitError))
    }
    assert named == raised


@pytest.mark.spec("S-001")
def test_worked_example():
    (dump,) = re.findall(r"```hex\n(.*?)```", SPEC, re.DOTALL)
    made = write_file(header.Header(768, 512, 40, bytes(8)), [Tile(0, 5, b"")])
    assert bytes.fromhex(dump) == made
    assert read_file(made).tiles == (Tile(0, 5, b""),)
