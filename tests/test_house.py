"""The house: public names agree, imports go downwards only, and the repository's top level stays small."""

import ast
import pathlib
import re
import shutil
import subprocess

import pytest

import poolio

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ROOT / "poolio"
GROUND = ("errors", "debug")
ORDER = (
    "slab", "allocation", "numbers", "search", "buffer", "pool", "chain", "readslab", "framing",
    "receiver", "writequeue", "reactor", "address", "endpoint", "transport", "listener", "inbox", "datagram",
    "selector", "protocol", "framed", "waiter", "reader", "writer",
)
DOOR = ("loop", "net", "datagrams", "streams", "binding", "worker", "supervisor", "echo")
TOP_LEVEL = {
    "pyproject.toml", "setup.py", "poolio", "tests", "benchmarks", "examples", "docs", "README.md", "LICENSE",
    "CHANGELOG.md", "Makefile", "SECURITY.md", "CONTRIBUTING.md", "MANIFEST.in",
}
IMPORT = re.compile(
    r"^\s*(?:from\s+poolio\.(\w+)\s+c?import\b|c?import\s+poolio\.(\w+)|from\s+poolio\s+c?import\s+(\w+))",
    re.MULTILINE,
)


def stub_names():
    tree = ast.parse((SOURCES / "__init__.pyi").read_text())
    names, listed = set(), None
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("poolio"):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            listed = ast.literal_eval(node.value)
    return names, listed


def imports_of(path):
    return {"".join(names) for names in IMPORT.findall(path.read_text())}


def test_all_is_sorted_and_every_name_exists():
    assert poolio.__all__ == sorted(poolio.__all__)
    assert [name for name in poolio.__all__ if not hasattr(poolio, name)] == []


def test_stub_names_are_those_of_all():
    names, listed = stub_names()
    assert listed == poolio.__all__
    assert names == set(poolio.__all__)


def test_modules_are_all_in_the_order():
    assert {path.stem for path in SOURCES.glob("*.pyx")} == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_downwards_only(module):
    below = {*GROUND, *ORDER[:ORDER.index(module)]}
    for path in SOURCES.glob(f"{module}.p*"):
        upwards = imports_of(path) - below - {module}
        assert path.suffix == ".pyi" or upwards == set(), f"{path.name} imports {upwards}"


@pytest.mark.parametrize("module", DOOR)
def test_imports_of_door_go_downwards_only(module):
    below = {*GROUND, *ORDER, *DOOR[:DOOR.index(module)]}
    assert imports_of(SOURCES / f"{module}.py") <= below


@pytest.mark.parametrize("module", GROUND)
def test_imports_of_ground_are_none(module):
    assert imports_of(SOURCES / f"{module}.py") == set()


def test_top_level_holds_nothing_else():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what belongs to the repository is not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    entries = {name.split("/")[0] for name in listed.stdout.split("\0") if name}
    assert {entry for entry in entries - TOP_LEVEL if not entry.startswith(".")} == set()
