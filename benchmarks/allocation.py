"""What does an allocation cost, from 16 B to 1 MiB, beside bytearray, bytes and numpy.empty?

"dropped at once": the object is dropped before the next is made. "64 held": a ring of 64, the oldest dropped for each
new one. The lowest time of the loop around it, measured empty, is subtracted. The allocators take turns in each round,
so a change of the core's speed meets all of them; of the ns (CPU time) the lowest counts (a busy neighbour moves
medians by a factor of two). Nothing is written into the memory: what the holder does with it comes on top, and for a
fresh bytearray its first touch is part of zeroing it.
What it does not show: one price for large blocks that are held. malloc takes those from the system and gives them
back, and how often depends on the state of the heap: from 64 KiB on, the peers' figures of "64 held" differ by several
times between runs. Claims are made on "dropped at once".
"""

import functools
import math
import time
import timeit
from collections.abc import Callable
from typing import Any

import poolio
from benchmarks.harness import size_text, split_kind
from benchmarks.records import Figure
from benchmarks.session import Selection, Task

SIZES = (16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1 << 20)
HELD = 64
AIM_SECONDS = 0.006  # seconds that one timing is made to take
LEAST_NS = 0.1  # ns: the least that is reported, as nothing is free
STATEMENTS = {"dropped": "{call}", "held": "ring[i] = {call}; i = (i + 1) & 63"}
SETUP = f"ring = [None] * {HELD}; i = 0"
WORDS = {"dropped": "dropped at once", "held": f"{HELD} held"}
CALLS = {"alloc_unsafe": "f(n)", "alloc": "f(n)", "bytearray": "f(n)", "bytes": "f(n)", "numpy.empty": "f(n, t)"}
KINDS = tuple(f"{name}{size}" for name in STATEMENTS for size in SIZES)
QUICK = Selection(tuple(f"dropped{size}" for size in (64, 4096, 65536)), tuple(CALLS))
ROUNDS = 7
SECONDS = 0.0


@functools.cache
def names(row: str) -> dict[str, Any]:
    """What the row's call is made with."""
    if row == "numpy.empty":
        import numpy
        return {"f": numpy.empty, "t": numpy.dtype(numpy.uint8)}
    pool = poolio.Pool()
    return {"f": {"alloc_unsafe": pool.alloc_unsafe, "alloc": pool.alloc, "bytearray": bytearray, "bytes": bytes}[row]}


def nanoseconds(timer: timeit.Timer) -> Callable[[], float]:
    """A function that times one batch, by a timer of this thread's CPU time; the batch is sized once."""
    loops = max(1, int(AIM_SECONDS / max(1e-9, timer.timeit(100) / 100)))
    return lambda: timer.timeit(loops) / loops * 1e9


lowest_of_loops: dict[Callable[[], float], float] = {}


def less_the_loop(batch: Callable[[], float], empty: Callable[[], float]) -> float:
    """ns of one batch, less the lowest that its loop alone has ever taken: a loop that was disturbed would make the
    batch look cheaper than it is."""
    lowest_of_loops[empty] = min(lowest_of_loops.get(empty, math.inf), empty(), empty())
    return max(batch() - lowest_of_loops[empty], LEAST_NS)


@functools.cache
def timer(kind: str, row: str) -> Callable[[], float]:
    """An empty row is the loop alone."""
    name, size, _ = split_kind(kind, tuple(STATEMENTS))
    given = names(row) if row else {}
    call = CALLS[row] if row else "n"
    return nanoseconds(timeit.Timer(
        STATEMENTS[name].format(call=call), SETUP, time.thread_time, globals=given | {"n": size}))


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    split_kind(kind, tuple(STATEMENTS))
    return {row: ("numpy",) if row.startswith("numpy") else () for row in CALLS}


def figures(kind: str) -> tuple[Figure, ...]:
    noise = 0.1 if kind.startswith("dropped") else 0.0
    return (Figure("an allocation", "ns", ("bytearray",), noise, summary="lowest"),)


def title(kind: str) -> str:
    name, size, _ = split_kind(kind, tuple(STATEMENTS))
    return f"{WORDS[name]}, {size_text(size)}"


def prepare() -> None:
    """Nothing is needed."""


def measured(task: Task) -> dict[str, float]:
    return {"an allocation": less_the_loop(timer(task.kind, task.row), timer(task.kind, ""))}
