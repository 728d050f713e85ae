"""What does it cost to receive bulk data through streams, beside what people use today?

Rows: benchmarks/receivers.py. Driven by benchmarks/blasting.py, one connection unless said otherwise. The figure is
the server's CPU time for N bytes (bulkN). Of each read the first byte is compared with the one that belongs there, at
the end the number of bytes and the last of them. The heap is warm in every row but C's, which has none. "Holding": the
server's variable still holds what it has read while it waits for more.
What it does not show: rloop (its servers do not see the end of a connection: receivers.py), replies (echo has them,
with streams too), slow peers, or a network other than loopback.
"""

from benchmarks.blasting import cpu_ns_a_message, prepare, rows_of
from benchmarks.harness import size_and_count
from benchmarks.receivers import LIMIT
from benchmarks.records import Figure
from benchmarks.session import Selection, Task

__all__ = ["prepare"]

KINDS = ("bulk65536", "bulk65536x64")
QUICK = Selection(("bulk65536x64",), (
    LIMIT, "asyncio Streams", "uvloop Streams", "poolio streams, asyncio", "poolio streams, EventLoop"))
ROUNDS = 5
SECONDS = 0.7
FIGURES = (Figure("server CPU a message", "ns", (LIMIT, "asyncio Streams"), noise=0.05),)


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    return rows_of(kind, ("bulk",))


def figures(kind: str) -> tuple[Figure, ...]:
    return FIGURES


def title(kind: str) -> str:
    return size_and_count(kind)


def measured(task: Task) -> dict[str, float]:
    return {"server CPU a message": cpu_ns_a_message(task)}
