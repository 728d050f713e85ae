"""The house: folders are floors, C is declared once, public names agree, and the repository's top level stays small.

A floor imports from itself and from the floors above it in FLOORS, and nothing else; what stands beside the folders is
either ground, which every floor may import, or the door, which imports what it likes.
"""

import ast
import pathlib
import re
import shutil
import subprocess

import pytest

import poolio

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "poolio"
FLOORS = ("c", "memory", "framing", "wire", "protocols", "streams", "loops", "workers", "commands")
GROUND = ("errors", "debug")
DOOR = ("__init__", "__main__")
TOP_LEVEL = {
    "pyproject.toml", "setup.py", "poolio", "tests", "benchmarks", "examples", "docs", "README.md", "LICENSE",
    "CHANGELOG.md", "Makefile", "SECURITY.md", "CONTRIBUTING.md", "MANIFEST.in",
}
SOURCES = sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".pyx", ".pxd", ".pyi"))
IMPORT = re.compile(
    r"^\s*(?:from\s+poolio((?:\.\w+)*)\s+c?import\s+(\(.*?\)|[^\n]*)|c?import\s+poolio((?:\.\w+)*))", re.M | re.S)
MOST_LINES = 560        # of a file
MOST_ENTRIES = 24       # beside the folders


def room_of(path):
    """The floor that a file stands on, or its own name if it stands beside them."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imports_of(source):
    """The rooms that a module's text imports or cimports from: floors, and files beside them."""
    rooms = set()
    for module, names, alone in IMPORT.findall(source):
        if module or alone:
            rooms.add((module or alone).split(".")[1])
        else:
            rooms |= {name.split()[0] for name in names.strip("()\n ").split(",") if name.strip()}
    return rooms


def is_allowed(room, imported):
    if room in DOOR or imported in GROUND:
        return True
    if room in GROUND:
        return False
    return imported in FLOORS[:FLOORS.index(room) + 1]


def stub_names():
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    names, listed = set(), None
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("poolio"):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            listed = ast.literal_eval(node.value)
    return names, listed


def tracked():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what belongs to the repository is not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name]


def test_all_is_sorted_and_every_name_exists():
    assert poolio.__all__ == sorted(poolio.__all__, key=lambda name: (not name.isupper(), name))
    assert [name for name in poolio.__all__ if not hasattr(poolio, name)] == []


def test_stub_names_are_those_of_all():
    names, listed = stub_names()
    assert listed == poolio.__all__
    assert names == set(poolio.__all__)


def test_rooms_are_all_known():
    assert {room_of(path) for path in SOURCES} == {*FLOORS, *GROUND, *DOOR}


@pytest.mark.parametrize("text, rooms", (
    ("from poolio.wire.reactor cimport Reactor\n", {"wire"}),
    ("    from poolio.memory.slab import (\n    Slab,\n)\n", {"memory"}),
    ("import poolio.loops.connect\n", {"loops"}),
    ("from poolio import debug, errors\n", {"debug", "errors"}),
    ("from asyncio import streams\n", set()),
))
def test_imports_are_found(text, rooms):
    assert imports_of(text) == rooms


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_come_from_floors_above_only(path):
    room = room_of(path)
    assert [name for name in sorted(imports_of(path.read_text())) if not is_allowed(room, name)] == []


@pytest.mark.parametrize("room, imported, allowed", (
    ("wire", "memory", True), ("wire", "wire", True), ("memory", "wire", False), ("streams", "loops", False),
    ("memory", "errors", True), ("errors", "memory", False), ("commands", "workers", True),
    ("workers", "commands", False),
))
def test_rule_of_the_floors(room, imported, allowed):
    assert is_allowed(room, imported) is allowed


def test_c_is_declared_on_its_floor_alone():
    declaring = {path.relative_to(PACKAGE).parts[0] for path in SOURCES
                 if path.suffix in (".pyx", ".pxd") and re.search(r"^cdef extern", path.read_text(), re.M)}
    assert declaring == {"c"}


def test_each_header_has_one_pxd_and_no_function_is_declared_twice():
    named = [name for path in PACKAGE.glob("c/*.pxd")
             for name in re.findall(r'^cdef extern from "poolio/c/(\w+\.h)"', path.read_text(), re.M)]
    assert sorted([*named, "net_none.h"]) == sorted(path.name for path in PACKAGE.glob("c/*.h"))
    functions = [name for path in PACKAGE.glob("c/*.pxd")
                 for name in re.findall(r"^    [\w *]*?\b(\w+)(?: \"\w+\" )?\(", path.read_text(), re.M)]
    assert len(functions) > 80
    assert sorted(name for name in set(functions) if functions.count(name) > 1) == []


def test_no_module_is_too_long():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_package_folder_fits_a_screen():
    assert len([name for name in tracked() if re.fullmatch(r"poolio/[^/]+", name)]) <= MOST_ENTRIES


def test_top_level_holds_nothing_else():
    entries = {name.split("/")[0] for name in tracked()}
    assert {entry for entry in entries - TOP_LEVEL if not entry.startswith(".")} == set()
