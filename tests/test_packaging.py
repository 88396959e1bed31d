"""Guards what setuptools does not check: packages missing from its list are dropped silently."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]
DATA = PROJECT["tool"]["setuptools"]["package-data"]


def packages_below(folder: Path, name: str) -> list[str]:
    """Names of the package in ``folder`` and of all packages inside it."""
    names = [name]
    for init in sorted(folder.glob("*/__init__.py")):
        names += packages_below(init.parent, f"{name}.{init.parent.name}")
    return names


def folder_of(package: str) -> Path:
    return ROOT.joinpath(*package.split(".")[1:])


def test_every_package_is_listed():
    assert sorted(packages_below(ROOT, "aec")) == sorted(PACKAGES)


def test_tests_are_no_package():
    # With tests/__init__.py each test would be part of a package named after the root folder, and
    # importing it would load a second copy of the library under that name.
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_root_holds_two_modules():
    # setuptools takes every .py file of the root into the wheel.
    assert sorted(path.name for path in ROOT.glob("*.py")) == ["__init__.py", "__main__.py"]


def test_type_checkers_see_every_root_entry():
    links = ROOT / ".typing" / "aec"
    tops = {package.split(".")[1] for package in PACKAGES if "." in package}
    assert {path.name for path in links.iterdir()} == {
        *tops,
        "__init__.py",
        "__main__.py",
        "py.typed",
    }
    for link in links.iterdir():
        assert link.resolve() == ROOT / link.name


ALLOWED = {
    # "Arrows point down": what the modules of a folder may import from the rest of the package.
    "format": {"format"},
    "codec": {"codec", "format"},
    "bench": {"bench", "codec", "format"},
    "cli": {"bench", "cli", "codec", "format"},
}


@pytest.mark.parametrize("top", ALLOWED)
def test_imports_point_down(top):
    for path in sorted((ROOT / top).rglob("*.py")):
        inner = path.relative_to(ROOT).parts[:-1]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, ast.Import):
                assert not [a.name for a in node.names if a.name.split(".")[0] == "aec"], path
            elif isinstance(node, ast.ImportFrom):
                assert node.level or node.module.split(".")[0] != "aec", path
                target = [*inner[: len(inner) - node.level + 1], *(node.module or "").split(".")]
                if node.level and target[0]:
                    assert target[0] in ALLOWED[top], f"{path}:{node.lineno}"
                if inner == ("codec",) and node.level:
                    assert target[:2] != ["codec", "training"], f"{path}:{node.lineno}"


def test_format_needs_the_standard_library_only():
    for path in (ROOT / "format").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names, path


def test_core_dependencies_of_the_bitstream_are_bounded():
    (constriction,) = (d for d in PROJECT["project"]["dependencies"] if "constriction" in d)
    assert constriction == "constriction>=0.5,<0.6"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy, as setuptools leaves folders behind in the tree that it builds."""
    copy, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for entry in ("pyproject.toml", "README.md", "LICENSE", *DATA["aec"]):
        shutil.copy(ROOT / entry, copy)
    for path in ROOT.glob("*.py"):
        shutil.copy(path, copy)
    for package in PACKAGES:
        if package.count(".") == 1:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(folder_of(package), copy / package.split(".")[1], ignore=ignored)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, str(out)], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_wheel_holds_the_packages_and_their_data_and_nothing_else(wheel):
    patterns = {package: ["*.py", *DATA.get(package, [])] for package in PACKAGES}
    expected = {
        "/".join(["aec", *path.relative_to(ROOT).parts])
        for package, names in patterns.items()
        for name in names
        for path in folder_of(package).glob(name)
    }
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == expected
    assert {"aec/py.typed", "aec/spec.md", "aec/format/header.py"} <= found


def test_wheel_metadata(wheel):
    version = re.search(
        r'^__version__ = "(.*)"$', (ROOT / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE
    )[1]
    info = f"aec_codec-{version}.dist-info"
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert f"\nName: aec-codec\nVersion: {version}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "aec = aec.cli.main:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert f"{info}/licenses/LICENSE" in wheel.namelist()


def test_ci_runs_the_command_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^pip install .*pytest.*$", readme, re.MULTILINE)
    script = ROOT / ".ci" / "run"
    assert f"\n{command} || exit 1\n" in script.read_text(encoding="utf-8")
    assert script.stat().st_mode & 0o111
