"""Owns `python -m poolio bench`: where the benchmarks are, and whether they can run here.

They are no part of the package: in a clone they lie beside it. A wheel carries them in the folder `poolio/bench`, where
they lie as at the top of a clone; setup.py puts them there.
"""

import importlib
import importlib.util
import pathlib
import sys

PACKAGE = pathlib.Path(__file__).parent.parent
PLACES = (PACKAGE / "bench", PACKAGE.parent)
NEEDED = ("jinja2", "rich")


def home() -> pathlib.Path | None:
    """The folder in which `benchmarks` lies; None if there is none."""
    return next((place for place in PLACES if (place / "benchmarks" / "cli.py").exists()), None)


def missing() -> str | None:
    """Why the benchmarks can't run here; None if they can."""
    if home() is None:
        return "the benchmarks are not there: neither this installation nor a clone holds them"
    if not sys.platform.startswith("linux"):
        return f"the benchmarks read /proc and compare with epoll: they run on Linux, not on {sys.platform}"
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        return f"the benchmarks need {', '.join(absent)}: pip install 'poolio[bench]'"
    return None


def main(arguments: list[str]) -> int:
    reason = missing()
    if reason:
        print(f"poolio bench: {reason}", file=sys.stderr)
        return 2
    sys.path.insert(0, str(home()))     # before all else: others have a package of that name, too
    return int(importlib.import_module("benchmarks.cli").main(arguments))
