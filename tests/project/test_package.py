"""What is published: sdist and wheel are made, and the wheel alone works in an empty environment."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
COPIED = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "Makefile",
          "poolio", "tests", "examples", "benchmarks")
REPOSITORY = "https://example.org/poolio"
TRY_IT = """
import pathlib, poolio
folder = pathlib.Path(poolio.__file__).parent
names = {path.name for path in folder.iterdir()}
assert {"py.typed", "__init__.pyi", "__init__.pxd", "memory", "wire"} <= names, names
with poolio.alloc(5) as buf:
    buf[:] = b"hello"
    assert buf == b"hello"
print(folder)
"""


CLIENT = ROOT / "tests" / "project" / "client"


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A clean copy of the sources (no build products), and what `python -m build` makes of it."""
    source = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("*.so", "__pycache__", "results")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source / name)
    with open(source / "pyproject.toml", "r+") as project:
        if not re.search(r"^\[project\.urls\]", project.read(), re.MULTILINE):
            project.write(f'\n[project.urls]\nSource = "{REPOSITORY}"\n')
    subprocess.run([sys.executable, "-m", "build", str(source)], check=True, capture_output=True, text=True)
    return source / "dist"


def test_sdist_holds_sources_and_no_products(dist):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"poolio/memory/slab.pyx", "poolio/memory/slab.pxd", "poolio/c/memory.h", "poolio/__init__.pyi",
            "tests/kit/wires.py", "benchmarks/echo.py", "benchmarks/report.html.jinja", "benchmarks/loadgen.c",
            "benchmarks/bench.h",
            "LICENSE"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc")) or re.fullmatch(r"poolio/.*\.c", name)]


def test_wheel_holds_stubs_declarations_and_no_sources(dist):
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as archive:
        names = set(archive.namelist())
    assert {"poolio/py.typed", "poolio/__init__.pyi", "poolio/__init__.pxd", "poolio/memory/buffer.pxd",
            "poolio/c/guard.pxd"} <= names
    assert not [name for name in names if name.endswith((".pyx", ".c")) and not name.startswith("poolio/bench/")]


def test_wheel_carries_the_benchmarks_and_nothing_else_beside_the_package(dist):
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as archive:
        names = set(archive.namelist())
    assert {"poolio/bench/benchmarks/cli.py", "poolio/bench/benchmarks/loadgen.c", "poolio/bench/benchmarks/bench.h",
            "poolio/bench/benchmarks/report.html.jinja", "poolio/bench/examples/redis_server.py",
            "poolio/bench/setup.py"} <= names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"poolio"}


def test_links_of_the_published_readme_lead_into_the_repository(dist):
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as archive:
        name, = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        about = archive.read(name).decode()
    linked = re.findall(r'\]\(([^)]*)\)|(?:src|srcset)="([^"]*)"', about.partition("\n\n")[2])
    linked = [target or picture for target, picture in linked]
    assert len(linked) > 20 and [target for target in linked if not re.match(r"https://|#", target)] == []


def test_wheel_alone_in_an_empty_environment_works(dist, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    wheel = next(dist.glob("*.whl"))
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel], check=True)
    listing = subprocess.run([python, "-m", "pip", "list", "--format=freeze"],
                             check=True, capture_output=True, text=True)
    installed = {line.partition("==")[0] for line in listing.stdout.split()}
    assert installed <= {"pip", "setuptools", "poolio"}
    result = subprocess.run([python, "-c", TRY_IT], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert str(tmp_path) in result.stdout


@pytest.mark.skipif(shutil.which("cc") is None, reason="the load generators are C programs")
def test_wheel_alone_measures_outside_a_clone(dist, tmp_path):
    """Other packages are those of the tests; they come behind the wheel's own."""
    venv.create(tmp_path / "venv", with_pip=True)
    python, home, here = tmp_path / "venv" / "bin" / "python", tmp_path / "home", tmp_path / "here"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", next(dist.glob("*.whl"))],
                   check=True)
    site, = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    here.mkdir()
    done = subprocess.run(
        [python, "-m", "poolio", "bench", "echo", "--kinds", "64x2", "--rows", "EventLoop, asyncio.Protocol",
         "--rounds", "1", "--seconds", "0.2"], cwd=here, capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "MPLCONFIGDIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert "C epoll, static buffer" in done.stdout and "failed" not in done.stdout
    assert sorted(path.name for path in here.iterdir()) == ["report.html", "report.json"]
    assert [path.name for path in home.glob(".cache/poolio/bench-*/l*")] != []
    assert "what came with the package" in (here / "report.json").read_text()


def test_extensions_of_somebody_else_build_against_the_wheel_and_run(dist, tmp_path):
    shutil.copytree(CLIENT, tmp_path / "client")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    wheel = next(dist.glob("*.whl"))
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel, "Cython>=3.1,<4", "setuptools>=77"], check=True)
    subprocess.run([python, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=tmp_path / "client", check=True)
    done = subprocess.run([python, "try_it.py"], cwd=tmp_path / "client", capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("client works\n", "")
    page = (ROOT / "docs" / "cython.md").read_text()
    for name, language, mark in (("pairs.pyx", "cython", "cdef class Pairs"), ("setup.py", "python", "# setup.py")):
        code, = [code for code in re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) if mark in code]
        (tmp_path / name).write_text(code)
    command, = re.findall(r"^python (setup.py .*)$", page, re.MULTILINE)
    subprocess.run([python, *command.split()], cwd=tmp_path, check=True)
    use, = re.findall(r"^python -c '(.*)'$", page, re.MULTILINE)
    done = subprocess.run([python, "-c", use], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[b'ab', b'cd']\n", "")
