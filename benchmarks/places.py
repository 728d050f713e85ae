"""Where do the benchmarks write? In a clone below benchmarks/results; elsewhere into a cache, and the current folder.

A wheel carries the benchmarks where nobody may write, or should: programs then go to a folder of XDG_CACHE_HOME
(~/.cache) that is named after their sources, so that no other version finds them, or to one that lives as long as this
process if that can't be written. Results go to the current folder.
"""

import functools
import hashlib
import os
import pathlib
import tempfile

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent
IN_CLONE = (ROOT / "pyproject.toml").exists()
VARIABLE = "POOLIO_BENCH_PROGRAMS"  # tells the servers, which are processes of their own, what programs() has found
DIGITS = 12  # of the digest in the folder's name
KEPT: list[tempfile.TemporaryDirectory[str]] = []  # until the process ends


def results() -> pathlib.Path:
    """The folder of report.json and report.html, unless options name others."""
    return HERE / "results" if IN_CLONE else pathlib.Path()


@functools.cache
def programs() -> pathlib.Path:
    """The folder of what is compiled and made for the benchmarks. It can be written to, and its programs can be run."""
    if VARIABLE in os.environ:
        return pathlib.Path(os.environ[VARIABLE])
    wanted = HERE / "results" if IN_CLONE else cache() / "poolio" / f"bench-{digest()}"
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            if not os.statvfs(wanted).f_flag & os.ST_NOEXEC:
                return wanted
    except OSError:
        pass
    KEPT.append(tempfile.TemporaryDirectory(prefix="poolio-bench-"))
    return pathlib.Path(KEPT[-1].name)


def cache() -> pathlib.Path:
    """As the XDG specification has it: a path that is not absolute is none."""
    given = pathlib.Path(os.environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else pathlib.Path(os.path.expanduser("~/.cache"))


def digest() -> str:
    """Of all that the programs are made of."""
    found = hashlib.sha256()
    for path in sorted([*HERE.glob("*.c"), *HERE.glob("*.h")]):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:DIGITS]


def why_not_writable(path: pathlib.Path) -> str | None:
    """None if a result can be written there, which is worth knowing before an hour of measuring."""
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if path.is_dir():
        return f"{path} is a folder"
    if not folder.is_dir():
        return f"{folder} is no folder"
    if not os.access(path if path.exists() else folder, os.W_OK):
        return f"{path} can't be written: permission denied"
    return None
