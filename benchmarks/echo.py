"""What does an echo server on pooled slices cost, beside what people use today?

Rows: benchmarks/servers.py, but for the zeroing modes, which the part zeroing has. The rows "counting" have a handler
that does something (counting.py), all others one that does nothing but the echo. Method: benchmarks/harness.py. The
client keeps one message outstanding on each connection and compares every byte that comes back; it never sleeps, so a
server is always asked for more. The figure is the server's CPU time a message; messages/s and the client's latency
depend on both sides.
What it does not show: parsing, slow peers, several cores, or a network other than loopback.
"""

from typing import Any

from benchmarks.harness import (
    ENOUGH_MESSAGES,
    WINDOW_MS,
    build,
    cpu_ns,
    drive_json,
    serving,
    size_and_count,
    split_kind,
)
from benchmarks.records import Figure
from benchmarks.servers import COUNTING, LIMIT, ROWS, is_about_zeroing
from benchmarks.session import Selection, Task

SIZES = (64, 1024, 16384, 65536, 1 << 20)
CONNECTIONS = (1, 64, 1000)
KINDS = tuple(f"{size}x{count}" for size in SIZES for count in CONNECTIONS)
QUICK = Selection(("64x64", "65536x64"), (
    LIMIT, "asyncio Protocol, warm heap", "uvloop Protocol", "rloop Protocol", "aiofastnet, uvloop",
    "poolio transports, asyncio", "poolio.EventLoop", "poolio.EventLoop, asyncio.Protocol",
))
SERVERS = tuple(row for row in ROWS if not is_about_zeroing(row)) + tuple(COUNTING)
ROUNDS = 3
SECONDS = 0.7
FIGURES = (
    Figure("server CPU a message", "us", (LIMIT, "asyncio, one bytearray a connection"), noise=0.05),
    Figure("messages", "/s"), Figure("p50", "us"), Figure("p99", "us"),
)


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    split_kind(kind)
    return {name: (ROWS | COUNTING)[name].needs for name in SERVERS}


def figures(kind: str) -> tuple[Figure, ...]:
    return FIGURES


def title(kind: str) -> str:
    return size_and_count(kind)


def prepare() -> None:
    build("loadgen")
    build("limit")


def measured(task: Task) -> dict[str, float]:
    _, size, connections = split_kind(task.kind)
    with serving("servers", task.row) as server:
        answer = drive_json(server, build("loadgen"), connections, size, task.seconds, server.process.pid, WINDOW_MS)
    return figures_of(answer, connections, task)


def cpu_a_message(answer: dict[str, Any], connections: int) -> float:
    """The server's CPU ns a message, in an answer of loadgen."""
    return cpu_ns(answer["windows"], max(ENOUGH_MESSAGES, connections))


def figures_of(answer: dict[str, Any], connections: int, task: Task) -> dict[str, float]:
    """The figures in an answer of loadgen."""
    task.notes["clock"] = answer["clock"]
    return {"server CPU a message": cpu_a_message(answer, connections) / 1e3,
            "messages": answer["messages"] / answer["seconds"], "p50": answer["p50_us"], "p99": answer["p99_us"]}
