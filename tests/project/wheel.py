"""Is this wheel fit to be published? `make wheel` asks; it says what is wrong and ends with 1.

It is looked into, installed into an empty environment, and used there with no compiler to be found and no checkout:
smoke.py, and the extension of somebody else in client, which is built against it beforehand.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCES = ROOT / "poolio"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def look_into(wheel):
    """Everything of the package that is not compiled, an extension for each .pyx, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if not name.endswith("/")]
    names = {name.removeprefix("poolio/") for name in files if name.startswith("poolio/")}
    others = {name.partition("/")[0] for name in files if not name.startswith("poolio/")}
    suffixes = (".py", ".pyi", ".pxd")
    wanted = {str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*") if path.suffix in suffixes}
    wanted |= {"py.typed", "README.md"}
    compiled = {str(path.relative_to(SOURCES).with_suffix("")) for path in SOURCES.rglob("*.pyx")}
    there = {name.partition(".")[0] for name in names if name.endswith(".so")}
    unwanted = {name for name in names - wanted if not name.endswith(".so")}
    problems = [f"{what}: {', '.join(sorted(which))}" for what, which in (
        ("not in it", wanted - names), ("not compiled", compiled - there),
        ("does not belong", unwanted | there - compiled),
        ("beside the package", others - {f"poolio-{VERSION}.dist-info"}),
    ) if which]
    if not re.search(rf"^poolio-{re.escape(VERSION)}-cp\d+-cp\d+-.*(many|musl)linux", wheel.name):
        problems.append(f"neither manylinux nor musllinux, or not of version {VERSION}")
    return problems


def build_client(folder, site):
    """As its author would: his Cython and compiler, poolio as it was installed."""
    shutil.copytree(HERE / "client", folder)
    subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=folder, check=True,
                   env={**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"})


def use(wheel, folder):
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    alone = {"PATH": str(python.parent)}
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", wheel],
                   check=True, env=alone)
    printed = subprocess.run([python, "-I", HERE / "smoke.py"], cwd=folder, env=alone, check=True,
                             stdout=subprocess.PIPE, text=True).stdout.strip()
    if not pathlib.Path(printed).is_relative_to(folder):
        return [f"imported from {printed}, not from where it was installed"]
    build_client(folder / "client", pathlib.Path(printed).parent)
    said = subprocess.run([python, "try_it.py"], cwd=folder / "client", env=alone, check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()
    return [] if said == "client works" else [f"the client says {said!r}"]


def main(wheel):
    with tempfile.TemporaryDirectory() as folder:
        problems = look_into(wheel) or use(wheel, pathlib.Path(folder).resolve())
    for problem in problems:
        print(f"{wheel.name}: {problem}", file=sys.stderr)
    if problems:
        return 1
    print(f"{wheel.name}: installed alone, it works")
    return 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
