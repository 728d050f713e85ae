"""`python -m poolio bench`: runs the benchmarks of the source checkout that this package lies in."""

import argparse
import importlib.util
import pathlib
import runpy
import sys

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"
NEEDED = ("rich", "matplotlib", "uvloop")


def missing() -> str | None:
    """Why the benchmarks can't run here; None if they can."""
    if not (BENCHMARKS / "throughput.py").exists():
        return "the benchmarks come with the source checkout, not with the wheel: clone it and run `make bench`"
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        return f"the benchmarks need {', '.join(absent)}: pip install 'poolio[bench]'"
    return None


def bench(arguments: list[str]) -> int:
    reason = missing()
    if reason:
        print(f"poolio bench: {reason}", file=sys.stderr)
        return 2
    sys.path.insert(0, str(BENCHMARKS))
    if "--allocation" in arguments:
        return run("allocation.py", [argument for argument in arguments if argument != "--allocation"])
    status = run("throughput.py", arguments)
    return status or run("allocation.py", [])


def run(script: str, arguments: list[str]) -> int:
    main = runpy.run_path(str(BENCHMARKS / script))["main"]
    return int(main(arguments))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m poolio", description="Tools that come with poolio.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("bench", add_help=False, help="throughput and allocation; --allocation: that one only")
    if len(sys.argv) == 1:
        parser.print_help()
        return 0
    _, rest = parser.parse_known_args()
    return bench(rest)


if __name__ == "__main__":
    sys.exit(main())
