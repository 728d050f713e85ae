"""What does a small message cost to receive, cut from a stream of them, beside what people use today?

Rows: benchmarks/receivers.py; those "counting" do something with each message (counting.py). Driven by
benchmarks/blasting.py, one connection unless said otherwise. The figure is the server's CPU time a message: N bytes
behind a length of 4 (prefixedN), or lines of N bytes (linesN). At the end the number of messages, the sum of their
first bytes and the last of them are compared. The heap is warm in every row but C's, which has none.
What it does not show: rloop (its servers do not see the end of a connection: receivers.py), messages of mixed sizes,
replies, slow peers, or a network other than loopback.
"""

from benchmarks.blasting import cpu_ns_a_message, prepare, rows_of
from benchmarks.harness import size_text, split_kind
from benchmarks.receivers import LIMIT
from benchmarks.records import Figure
from benchmarks.session import Selection, Task

__all__ = ["prepare"]

KINDS = ("prefixed16", "prefixed128", "lines40")
QUICK = Selection(("prefixed128", "lines40"), (
    LIMIT, "by hand, asyncio", "readexactly twice, asyncio", "poolio FramedProtocol, EventLoop",
    "poolio frames(), EventLoop", "split by hand, asyncio", "readline, asyncio",
    "poolio FramedProtocol lines, EventLoop", "poolio lines(), EventLoop"))
ROUNDS = 5
SECONDS = 0.7
BASES = {"prefixed": (LIMIT, "by hand, asyncio", "readexactly twice, asyncio", "by hand, asyncio, counting"),
         "lines": (LIMIT, "split by hand, asyncio", "readline, asyncio", "split by hand, asyncio, counting")}


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    return rows_of(kind, tuple(BASES))


def figures(kind: str) -> tuple[Figure, ...]:
    return (Figure("server CPU a message", "ns", BASES[split_kind(kind, tuple(BASES))[0]], noise=0.05),)


def title(kind: str) -> str:
    name, size, connections = split_kind(kind, tuple(BASES))
    what = f"{size_text(size)} behind a length" if name == "prefixed" else f"lines of {size_text(size)}"
    return f"{what} x {connections}"


def measured(task: Task) -> dict[str, float]:
    return {"server CPU a message": cpu_ns_a_message(task)}
