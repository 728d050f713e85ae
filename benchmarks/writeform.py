"""Up to which size does a copy to bytes cost less than a slice and a memoryview over it?

Protocol.write() must hand the loops' own transports one of the two (COPY_UP_TO in poolio/protocols/protocol.pyx). The
copy pins no slab; the view copies nothing. The two are timed in turn, the lowest of each counts.
"""

import itertools
import timeit

import poolio

SIZES = (64, 256, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16384)
LOOPS, REPEATS = 10_000, 15
FORMS = ("buf.tobytes()", "memoryview(buf[:])")


def lowest_ns(buf: poolio.Buffer) -> tuple[float, float]:
    timers = [timeit.Timer(form, globals={"buf": buf}) for form in FORMS]
    rounds = [[timer.timeit(LOOPS) / LOOPS * 1e9 for timer in timers] for _ in range(REPEATS)]
    copy, view = map(min, zip(*rounds, strict=True))
    return copy, view


def crossing(figures: dict[int, tuple[float, float]]) -> str:
    """Where the copy becomes the dearer form, on the straight line between two measured sizes."""
    for (low, before), (high, after) in itertools.pairwise(figures.items()):
        gain, loss = before[1] - before[0], after[0] - after[1]
        if gain >= 0 and loss > 0:
            return f"the copy costs less up to about {low + (high - low) * gain / (gain + loss):.0f} bytes"
    return f"no crossing between {min(figures)} and {max(figures)} bytes"


def main() -> None:
    figures = {}
    print("   bytes   copy ns   view ns")
    for size in SIZES:
        copy, view = figures[size] = lowest_ns(poolio.alloc(size).freeze())
        print(f"{size:8} {copy:9.0f} {view:9.0f}")
    print(crossing(figures))


if __name__ == "__main__":
    main()
