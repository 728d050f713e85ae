"""`python -m poolio`: runs an echo server or the benchmarks of this source checkout, or shows facts of this build."""

import argparse
import importlib
import importlib.util
import os
import pathlib
import platform
import sys

import poolio
from poolio.echo import main as echo
from poolio.memory.pool import DEFAULT_SLAB_SIZE
from poolio.memory.slab import BUILD_VARIANT, IDLE_SECONDS, KEEP_FREE_BYTES, MAX_SLAB_SIZE, MIN_SLAB_SIZE

CHECKOUT = pathlib.Path(__file__).parent.parent
NEEDED = ("jinja2", "rich")
VARIABLES = ("POOLIO_ZERO_FILL", "POOLIO_DEBUG")


def missing() -> str | None:
    """Why the benchmarks can't run here; None if they can."""
    if not (CHECKOUT / "benchmarks" / "cli.py").exists():
        return "the benchmarks come with the source checkout, not with the wheel: clone it and run `make bench`"
    if not sys.platform.startswith("linux"):
        return f"the benchmarks read /proc and compare with epoll: they run on Linux, not on {sys.platform}"
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        return f"the benchmarks need {', '.join(absent)}: pip install 'poolio[bench]'"
    return None


def bench(arguments: list[str]) -> int:
    reason = missing()
    if reason:
        print(f"poolio bench: {reason}", file=sys.stderr)
        return 2
    sys.path.insert(0, str(CHECKOUT))
    return int(importlib.import_module("benchmarks.cli").main(arguments))


def info() -> int:
    pool = poolio.default_pool()
    sections: dict[str, dict[str, object]] = {
        "build": {
            "poolio": f"{poolio.__version__}, {BUILD_VARIANT}",
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        },
        "environment": {name: os.environ.get(name, "(not set)") for name in VARIABLES},
        "limits, bytes": {
            "slab size": f"{DEFAULT_SLAB_SIZE:,} by default, {MIN_SLAB_SIZE:,} to {MAX_SLAB_SIZE:,}",
            "carved from a slab": f"up to {DEFAULT_SLAB_SIZE // 4:,}",
            "from a size class": f"up to {16 * DEFAULT_SLAB_SIZE:,}",
            "free memory kept": f"up to {KEEP_FREE_BYTES:,}, trimmed when not needed for {IDLE_SECONDS} s",
        },
        "default pool": {"zeroing": pool.zeroing, "max_bytes": pool.max_bytes},
        "statistics": {name: f"{value:,}" for name, value in pool.statistics()._asdict().items()},
    }
    for title, lines in sections.items():
        print(title)
        for name, value in lines.items():
            print(f"  {name:20} {value}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m poolio", description="Tools that come with poolio.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("bench", add_help=False, help="benchmarks beside asyncio, uvloop and C: tables, HTML, JSON")
    commands.add_parser("echo", add_help=False, help="an echo server on poolio's transports: --loop, --port, ...")
    commands.add_parser("info", help="build, limits and the default pool's statistics")
    if len(sys.argv) == 1:
        parser.print_help()
        return 0
    arguments, rest = parser.parse_known_args()
    if arguments.command == "bench":
        return bench(rest)
    if arguments.command == "echo":
        return echo(rest)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return info()


if __name__ == "__main__":
    sys.exit(main())
