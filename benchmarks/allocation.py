"""What does an allocation cost, from 16 B to 1 MiB, beside bytearray, bytes and numpy.empty?

"dropped at once": the object is dropped before the next is made. "64 held": a ring of 64, the oldest dropped for
each new one. The loop around it is measured empty and subtracted. The allocators take turns in each of the repeats, so
that a change of the core's speed meets all of them; the lowest counts (a busy neighbour moves medians by a factor of
two), medians are saved too. Nothing is written into the memory: what the holder does with it comes on top, and for a
fresh bytearray its first touch is part of zeroing it.

What it does not show: one price for large blocks that are held. malloc takes those from the system and gives them back,
and how often depends on the state of the heap: from 64 KiB on, the peers' figures of "64 held" differ by several times
between runs. Claims are made on "dropped at once".
"""

import argparse
import json
import pathlib
import statistics
import sys
import timeit
from collections.abc import Callable
from typing import Any

import rich.console
import rich.table
from harness import RESULTS

import poolio

SIZES = (16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1 << 20)
HELD = 64
REPEATS = 7
AIM_SECONDS = 0.006  # of one timing

EMPTY = "(empty loop)"
STATEMENTS = {"dropped at once": "{call}", "64 held": "ring[i] = {call}; i = (i + 1) & 63"}


def calls() -> dict[str, tuple[str, dict[str, Any]]]:
    """The expression to time and its names, for each allocator."""
    pool = poolio.Pool()
    found: dict[str, tuple[str, dict[str, Any]]] = {
        "alloc_unsafe": ("f(n)", {"f": pool.alloc_unsafe}), "alloc": ("f(n)", {"f": pool.alloc}),
        "bytearray": ("f(n)", {"f": bytearray}), "bytes": ("f(n)", {"f": bytes}),
    }
    try:
        import numpy
    except ImportError:
        return found
    return found | {"numpy.empty": ("f(n, t)", {"f": numpy.empty, "t": numpy.dtype(numpy.uint8)})}


def nanoseconds(timer: timeit.Timer) -> Callable[[], float]:
    """A function that times one batch; the batch is sized once."""
    loops = max(1, int(AIM_SECONDS / max(1e-9, timer.timeit(100) / 100)))
    return lambda: timer.timeit(loops) / loops * 1e9


def measure(size: int, statement: str) -> dict[str, dict[str, float]]:
    """The lowest and the median ns an operation of each allocator, less the empty loop."""
    setup = f"ring = [None] * {HELD}; i = 0"
    timers = {name: nanoseconds(timeit.Timer(statement.format(call=call), setup, globals=names | {"n": size}))
              for name, (call, names) in (calls() | {EMPTY: ("n", {})}).items()}
    rounds = [{name: time() for name, time in timers.items()} for _ in range(REPEATS)]
    overhead = min(taken[EMPTY] for taken in rounds)
    return {name: {"lowest": min(taken[name] for taken in rounds) - overhead,
                   "median": statistics.median(taken[name] for taken in rounds) - overhead}
            for name in timers if name != EMPTY}


def table_of(title: str, figures: dict[int, dict[str, dict[str, float]]]) -> rich.table.Table:
    table = rich.table.Table(title=f"ns an allocation, {title} (lowest of {REPEATS})")
    for heading in ("bytes", *figures[SIZES[0]]):
        table.add_column(heading, justify="right")
    for size, by_name in figures.items():
        table.add_row(f"{size:,}", *(f"{figure['lowest']:,.0f}" for figure in by_name.values()))
    return table


def ratios(figures: dict[int, dict[str, dict[str, float]]]) -> dict[str, float]:
    unsafe, zeroed = ({size: by_name[name]["lowest"] for size, by_name in figures.items()}
                      for name in ("alloc_unsafe", "bytearray"))
    return {"alloc_unsafe / bytearray, 64 B": unsafe[64] / zeroed[64],
            "alloc_unsafe / bytearray, 64 KiB": unsafe[65536] / zeroed[65536],
            "alloc_unsafe, dearest size / cheapest": max(unsafe.values()) / min(unsafe.values())}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=pathlib.Path, default=RESULTS / "allocation.json")
    path = parser.parse_args(argv).json
    console = rich.console.Console(width=None if sys.stdout.isatty() else 120)
    results = {}
    for title, statement in STATEMENTS.items():
        figures = {size: measure(size, statement) for size in SIZES}
        results[title] = {"ns": figures, "ratios": ratios(figures)}
        console.print(table_of(title, figures))
        console.print("; ".join(f"{name}: {value:.3f}" for name, value in ratios(figures).items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"python": sys.version, "results": results}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
