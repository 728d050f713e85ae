"""Are these wheels fit to be published? `make wheel` asks; says what is wrong and ends with 1.

    wheel.py SDIST FOLDER [VERSION...]     builds a wheel of it for each interpreter that is here (interpreters.py), or
                                           for each VERSION; tries them, and puts them into FOLDER
    wheel.py WHEEL                         tries one, for this interpreter

A wheel is looked into, installed into an empty environment, and used there with no compiler to be found and no clone:
smoke.py, and the extension of somebody else in client, which is built against it beforehand.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCES = ROOT / "poolio"
sys.path.insert(0, str(HERE))

import interpreters  # noqa: E402
import release  # noqa: E402

VERSION = release.version_of(ROOT)
TO_BUILD_WITH = ("Cython>=3.1,<4", "setuptools>=77")
QUIET = ("--quiet", "--disable-pip-version-check")
CARRIED = "bench/"          # what lies at the top of the repository; setup.py says what of it


def look_into(wheel):
    """Everything of the package that is not compiled, an extension for each .pyx, the benchmarks, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if not name.endswith("/")]
    names = {name.removeprefix("poolio/") for name in files if name.startswith("poolio/")}
    others = {name.partition("/")[0] for name in files if not name.startswith("poolio/")}
    carried = {name for name in names if name.startswith(CARRIED)}
    names -= carried
    suffixes = (".py", ".pyi", ".pxd")
    wanted = {str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*") if path.suffix in suffixes}
    wanted |= {"py.typed", "README.md"}
    compiled = {str(path.relative_to(SOURCES).with_suffix("")) for path in SOURCES.rglob("*.pyx")}
    there = {name.partition(".")[0] for name in names if name.endswith(".so")}
    unwanted = {name for name in names - wanted if not name.endswith(".so")}
    unwanted |= {name for name in carried if not (ROOT / name.removeprefix(CARRIED)).exists()}
    problems = [f"{what}: {', '.join(sorted(which))}" for what, which in (
        ("not in it", wanted - names), ("not compiled", compiled - there),
        ("does not belong", unwanted | there - compiled),
        ("beside the package", others - {f"poolio-{VERSION}.dist-info"}),
    ) if which]
    if f"{CARRIED}benchmarks/cli.py" not in carried:
        problems.append("without the benchmarks")
    if not re.search(rf"^poolio-{re.escape(VERSION)}-cp\d+-cp\d+-.*(many|musl)linux", wheel.name):
        problems.append(f"neither manylinux nor musllinux, or not of version {VERSION}")
    return problems


def environment(interpreter, folder, *packages):
    """The interpreter of a new one, in which these are installed."""
    subprocess.run([interpreter, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    if packages:
        subprocess.run([python, "-m", "pip", "install", *QUIET, *packages], check=True)
    return python


def build_client(folder, python, site):
    """As its author would: his Cython and compiler, poolio as it was installed."""
    shutil.copytree(HERE / "client", folder)
    subprocess.run([python, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=folder, check=True,
                   env={**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"})


def use(wheel, builder, folder):
    python = environment(builder, folder / "alone")
    alone = {"PATH": str(python.parent)}
    subprocess.run([python, "-m", "pip", "install", *QUIET, "--no-index", wheel], check=True, env=alone)
    printed = subprocess.run([python, "-I", HERE / "smoke.py"], cwd=folder, env=alone, check=True,
                             stdout=subprocess.PIPE, text=True).stdout.strip()
    if not pathlib.Path(printed).is_relative_to(folder):
        return [f"imported from {printed}, not from where it was installed"]
    subprocess.run([python, "-m", "poolio", "info"], cwd=folder, env=alone, check=True, stdout=subprocess.DEVNULL)
    build_client(folder / "client", builder, pathlib.Path(printed).parent)
    said = subprocess.run([python, "try_it.py"], cwd=folder / "client", env=alone, check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()
    return [] if said == "client works" else [f"the client says {said!r}"]


def try_it(wheel, builder, folder):
    """The builder has what the client needs to be built."""
    problems = look_into(wheel) or use(wheel, builder, folder)
    for problem in problems:
        print(f"{wheel.name}: {problem}", file=sys.stderr)
    if not problems:
        print(f"{wheel.name}: installed alone, it works", flush=True)
    return not problems


def build(sdist, builder, folder):
    """Auditwheel, which is this environment's, gives it the oldest platform that this machine's C library allows."""
    subprocess.run([builder, "-m", "pip", "wheel", *QUIET, "--no-deps", "--no-build-isolation", "--wheel-dir",
                    folder / "built", sdist], check=True)
    built, = (folder / "built").glob("*.whl")
    subprocess.run(["auditwheel", "repair", "--plat", "auto", "--wheel-dir", folder / "repaired", built], check=True,
                   stdout=subprocess.DEVNULL)
    repaired, = (folder / "repaired").glob("*.whl")
    return repaired


def build_and_try(sdist, target, version, interpreter):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name).resolve()
        builder = environment(interpreter, folder / "builder", *TO_BUILD_WITH)
        wheel = build(sdist, builder, folder)
        if not try_it(wheel, builder, folder):
            return False
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(wheel, target)
    return True


def for_each(sdist, target, versions):
    found = interpreters.find(versions)
    absent = [version for version, interpreter in found.items() if interpreter is None]
    fit = [version for version, interpreter in found.items()
           if interpreter and build_and_try(sdist, target, version, interpreter)]
    print(f"wheels for Python {', '.join(fit) or '(none)'}; not on this machine: {', '.join(absent) or '(none)'}")
    return 0 if fit and len(fit) + len(absent) == len(found) and not (versions and absent) else 1


def main(what, target=None, *versions):
    if target is not None:
        return for_each(pathlib.Path(what).resolve(), pathlib.Path(target), versions)
    with tempfile.TemporaryDirectory() as folder:
        wheel = pathlib.Path(what).resolve()
        return 0 if try_it(wheel, pathlib.Path(sys.executable), pathlib.Path(folder).resolve()) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
