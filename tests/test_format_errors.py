import inspect
import pickle
import re

import pytest

from aec.format import errors

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_survives_pickling(cls):
    error = cls("offset 3 is 1, expected 2")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert copy.args == error.args
    assert issubclass(cls, errors.AecError)


@pytest.mark.spec("S-234")
def test_what_a_cut_file_has_left_survives_pickling():
    error = errors.TruncatedError("short", tiles_ok=3, tiles_total=4, offset=99)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.tiles_ok, copy.tiles_total, copy.offset) == (3, 4, 99)
    plain = errors.TruncatedError("short")
    assert (plain.tiles_ok, plain.tiles_total, plain.offset) == (None, None, None)


def test_the_drawn_tree_is_the_real_one():
    """Each line of the tree in the docstring: depth gives the parent, parentheses a second base."""
    drawn = {}
    parents = {}
    for line in inspect.getdoc(errors).splitlines():
        match = re.match(r"^    ([ │├└─]*)(\w+)(?:\((\w+)\))?  ", line)
        if match:
            depth = len(match[1]) // 4
            parents[depth] = match[2]
            bases = [parents[depth - 1]] if depth else []
            drawn[match[2]] = bases + ([match[3]] if match[3] else [])
    real = {cls.__name__: [base.__name__ for base in cls.__bases__] for cls in CLASSES}
    assert drawn == real
