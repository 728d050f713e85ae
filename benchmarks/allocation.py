"""What does an allocation cost, from 16 B to 1 MiB, beside bytearray, bytes and numpy.empty?

"dropped at once": the object is dropped before the next is made. "64 held": a ring of 64, the oldest dropped for
each new one. The loop around it is measured empty and subtracted. Nothing is written into the memory: what the holder
does with it comes on top, and for a fresh bytearray its first touch is part of zeroing it.
"""

import argparse
import json
import pathlib
import sys
import timeit
from collections.abc import Callable

import rich.console
import rich.table
from harness import RESULTS

import poolio

SIZES = (16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1 << 20)
HELD = 64
REPEATS = 7
AIM_SECONDS = 0.006  # of one timing

DROPPED = "f(n)"
RING = "ring[i] = f(n); i = (i + 1) & 63"
EMPTY_RING = "ring[i] = n; i = (i + 1) & 63"


def makers() -> dict[str, Callable[[int], object]]:
    pool = poolio.Pool()
    found: dict[str, Callable[[int], object]] = {
        "alloc_unsafe": pool.alloc_unsafe, "alloc": pool.alloc, "bytearray": bytearray, "bytes": bytes,
    }
    try:
        import numpy
    except ImportError:
        return found
    found["numpy.empty"] = lambda size: numpy.empty(size, numpy.uint8)
    return found


def nanoseconds(timer: timeit.Timer) -> Callable[[], float]:
    """A function that times one batch; the batch is sized once."""
    loops = max(1, int(AIM_SECONDS / max(1e-9, timer.timeit(20) / 20)))
    return lambda: timer.timeit(loops) / loops * 1e9


def measure(maker: Callable[[int], object], size: int, statement: str, empty: str) -> tuple[float, float]:
    """(lowest, median) ns an operation, less the empty loop; the two interleaved."""
    setup = f"ring = [None] * {HELD}; i = 0"
    full = nanoseconds(timeit.Timer(statement, setup, globals={"f": maker, "n": size}))
    bare = nanoseconds(timeit.Timer(empty, setup, globals={"f": maker, "n": size}))
    pairs = [(full(), bare()) for _ in range(REPEATS)]
    overhead = min(low for _, low in pairs)
    figures = sorted(high - overhead for high, _ in pairs)
    return figures[0], figures[REPEATS // 2]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=pathlib.Path, default=RESULTS / "allocation.json")
    path = parser.parse_args(argv).json
    console = rich.console.Console(width=None if sys.stdout.isatty() else 120)
    results: dict[str, dict[str, dict[int, float]]] = {}
    for title, statement, empty in (("dropped at once", DROPPED, "n"), ("64 held", RING, EMPTY_RING)):
        table = rich.table.Table(title=f"ns an allocation, {title} (median of {REPEATS})")
        table.add_column("bytes", justify="right")
        functions = makers()
        results[title] = {name: {} for name in functions}
        for name in functions:
            table.add_column(name, justify="right")
        for size in SIZES:
            for name, maker in functions.items():
                results[title][name][size] = measure(maker, size, statement, empty)[1]
            table.add_row(f"{size:,}", *(f"{results[title][name][size]:,.0f}" for name in functions))
        console.print(table)
        unsafe, zeroed = results[title]["alloc_unsafe"], results[title]["bytearray"]
        factor = max(unsafe.values()) / min(unsafe.values())
        console.print(f"alloc_unsafe / bytearray: {unsafe[64] / zeroed[64]:.2f} at 64 B, "
                      f"{unsafe[65536] / zeroed[65536]:.3f} at 64 KiB; "
                      f"alloc_unsafe from 16 B to 1 MiB within a factor of {factor:.2f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
