"""What does a connection cost that is accepted, sends one message, gets it back, and ends?

Rows: of benchmarks/servers.py. Kinds: clientNxM, M connections at a time of N bytes each, closed by the client;
serverNxM, closed by the server, which calls close() behind the answer; pacedNxM, closed by the client, M of them in a
second, each when it is due. The client, visit.c, compares every answer and never sleeps. The figure is the server's CPU
time a connection, from accepting to closing, and the mean of a round, not the quantile of benchmarks/harness.py, whose
method it is otherwise: a server may do the closing in lumps, which the quantile leaves out. (rloop 0.5 leaves ended
connections open until the garbage collector comes by, a few hundred at a time.) With M at a time a server finds many
connections in one turn; those that are paced come alone.
What it does not show: what the kernel does for a connection in the client's system calls, which on loopback is most of
the handshake; TLS; or connections that are kept and used again: see echo.
"""

from typing import Any

from benchmarks.harness import (
    WINDOW_MS,
    BenchmarkFailed,
    build,
    drive_json,
    mean_cpu_ns,
    serving,
    size_text,
    split_kind,
)
from benchmarks.records import Figure
from benchmarks.servers import CLOSING, LIMIT, ROWS
from benchmarks.session import Selection, Task

NAMES = ("client", "server", "paced")
KINDS = ("client64x64", "client64x1", "server64x64", "paced64x2000")
STREAMS = ("asyncio Streams", "uvloop Streams", "poolio streams, asyncio", "poolio streams, EventLoop")
QUICK = Selection(("client64x64",), (*CLOSING, "rloop Protocol"))
ROUNDS = 5
SECONDS = 0.7
PACED_AT_ONCE = 256  # at most: a server that is slower than the pace is asked as fast as it answers
KEPT_UP = 0.97  # of the pace, at least: less is another load than the others'
FIGURE = "server CPU a connection"
FIGURES = (Figure(FIGURE, "us", (LIMIT, "uvloop Protocol"), noise=0.05), Figure("connections", "/s"))


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    name, _, _ = split_kind(kind, NAMES)
    served = tuple(CLOSING) if name == "server" else (*CLOSING, "rloop Protocol", *STREAMS)
    return {row: ROWS[row].needs for row in served}


def figures(kind: str) -> tuple[Figure, ...]:
    return FIGURES


def title(kind: str) -> str:
    name, size, count = split_kind(kind, NAMES)
    if name == "paced":
        return f"{size_text(size)}, {count:,} connections a second"
    return f"{size_text(size)} x {count:,} at a time, the {name} closes"


def prepare() -> None:
    build("visit")
    build("limit")


def server_of(kind: str, row: str) -> str:
    """The name of the row's server for this kind."""
    return CLOSING[row] if kind.startswith("server") else row


def visits_of(kind: str) -> tuple[str, int, int, int]:
    """What visit is told: who closes, the size, how many at a time, how many a second."""
    name, size, count = split_kind(kind, NAMES)
    return ("client", size, PACED_AT_ONCE, count) if name == "paced" else (name, size, count, 0)


def measured(task: Task) -> dict[str, float]:
    visits = visits_of(task.kind)
    with serving("servers", server_of(task.kind, task.row)) as server:
        answer = drive_json(server, build("visit"), *visits, task.seconds, server.process.pid, WINDOW_MS)
    task.notes["clock"] = answer["clock"]
    return figures_of(answer, visits[3])


def figures_of(answer: dict[str, Any], pace: int) -> dict[str, float]:
    """The figures in an answer of visit."""
    speed = answer["messages"] / answer["seconds"]
    if speed < KEPT_UP * pace:
        raise BenchmarkFailed(f"{speed:,.0f} connections came in a second, not {pace:,}: server or client was too slow")
    return {FIGURE: mean_cpu_ns(answer["windows"]) / 1e3, "connections": speed}
