"""Exit codes: one for each kind of error, and one for many files."""

import re

import click
import pytest

from aec.cli.codes import EXIT_CODES, Failure, code_of, exit_code
from aec.format import errors

CODES = {
    errors.FormatError: 4,
    errors.TruncatedError: 4,
    errors.ChecksumError: 4,
    errors.UnsupportedVersionError: 4,
    errors.UnsupportedFeatureError: 4,
    errors.ImageError: 4,
    errors.LimitError: 5,
    errors.ModelError: 6,
    errors.ModelNotFoundError: 6,
    errors.ModelIntegrityError: 6,
    errors.BackendMismatchError: 7,
    errors.ResourceError: 8,
    MemoryError: 8,
    OSError: 1,
    PermissionError: 1,
    RuntimeError: 1,
    KeyboardInterrupt: 130,
    click.UsageError: 2,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_each_kind_of_error_has_its_code(kind: type[BaseException], code: int) -> None:
    assert code_of(kind("words")) == code
    assert str(code) in re.findall(r"\d+", EXIT_CODES)


def test_no_error_of_the_package_is_forgotten() -> None:
    own = {getattr(errors, name) for name in errors.__all__}
    assert own - {errors.AecError} <= set(CODES)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 4], 4),
        ([4, 4, 0], 4),
        ([4, 5], 1),
        ([1, 8], 1),
        ([3, 0], 3),
        ([3, 3], 3),
        ([3, 4], 4),
        ([3, 4, 7], 1),
    ],
)
def test_many_files_have_one_code(codes: list[int], expected: int) -> None:
    assert exit_code(codes) == expected


def test_a_failure_ends_the_program_with_its_code() -> None:
    failure = Failure(errors.ModelNotFoundError("no weights"))
    assert (failure.exit_code, failure.message) == (6, "no weights")
