"""How many instructions does a server execute in user space for a message?

Rows: benchmarks/servers.py; kinds are bytes x connections. Counted by valgrind's callgrind, as the slope between two
numbers of messages, so that starting, connecting and ending cost nothing. The load generator is not slowed down, so
every connection is ready in each turn of the server, which is the best case of whatever handles ready connections
together. On a busy machine the figures of 64 connections moved by 3 % between runs, C's not at all. With one
connection, the figures of nested loops depend on how often the loop turns, so --compare passes no verdict on them.
What it does not show: the kernel, which is most of an echo's time, and caches: see echo for both.
"""

import pathlib
import shutil
import tempfile

from benchmarks.harness import BenchmarkFailed, Unavailable, build, drive, serving, size_and_count, split_kind
from benchmarks.records import Figure
from benchmarks.servers import LIMIT, ROWS
from benchmarks.session import Task

COUNTED = (
    LIMIT, "asyncio Protocol, warm heap", "uvloop Protocol", "rloop Protocol", "aiofastnet, uvloop",
    "poolio transports, asyncio", "poolio transports, uvloop", "poolio.EventLoop", "poolio.EventLoop, asyncio.Protocol",
    "asyncio Streams", "uvloop Streams", "poolio streams, asyncio", "poolio streams, EventLoop",
)
KINDS = ("64x64", "64x1")
QUICK = None
ROUNDS = 1
SECONDS = 0.0
MESSAGES = (5000, 25000)
NOISE = 0.04


def total(path: pathlib.Path) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(("totals:", "summary:")):
            return int(line.split(":")[1])
    raise BenchmarkFailed(f"callgrind has written no total: {path}")


def counted(task: Task, messages: int) -> int:
    """Instructions of the whole life of a server that echoes so many messages."""
    _, size, connections = split_kind(task.kind)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "callgrind.out"
        under = ("valgrind", "--quiet", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={path}")
        with serving("servers", task.row, under=under) as server:
            drive(server, build("loadgen"), connections, size, "count", messages)
        return total(path)


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    split_kind(kind)
    return {name: ROWS[name].needs for name in COUNTED}


def figures(kind: str) -> tuple[Figure, ...]:
    _, _, connections = split_kind(kind)
    return (Figure("instructions a message", "", noise=NOISE if connections > 1 else 0.0),)


def title(kind: str) -> str:
    return size_and_count(kind)


def prepare() -> None:
    if shutil.which("valgrind") is None:
        raise Unavailable("valgrind is not installed (on Debian: apt-get install valgrind)")
    build("loadgen")
    build("limit")


def measured(task: Task) -> dict[str, float]:
    few, many = MESSAGES
    return {"instructions a message": (counted(task, many) - counted(task, few)) / (many - few)}
