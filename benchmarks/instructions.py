"""How many instructions does a server execute in user space for a message?

Rows: benchmarks/servers.py; kinds are bytes x connections, or one of the part programs, whose rows are loops. Counted
by valgrind's callgrind, as the slope between two numbers of messages, so that starting, connecting and ending cost
nothing. The load generator is not slowed down, so every connection is ready in each turn of the server, which is the
best case of whatever handles ready connections together. On a busy machine the figures of 64 connections moved by 3 %
between runs, C's not at all. With one connection, the figures of nested loops depend on how often the loop turns, so
--compare passes no verdict on them.
What it does not show: the kernel, which is most of an echo's time, and caches: see echo for both.
"""

import pathlib
import shutil
import tempfile

from benchmarks import programs
from benchmarks.harness import BenchmarkFailed, Unavailable, build, drive, serving, size_and_count, split_kind
from benchmarks.program_servers import SERVERS
from benchmarks.records import Figure
from benchmarks.servers import COUNTING, LIMIT, ROWS
from benchmarks.session import Task

COUNTED = (
    LIMIT, "asyncio Protocol, warm heap", "uvloop Protocol", "rloop Protocol", "aiofastnet, uvloop",
    "poolio transports, asyncio", "poolio transports, uvloop", "poolio.EventLoop", "poolio.EventLoop, asyncio.Protocol",
    "asyncio Streams", "uvloop Streams", "poolio streams, asyncio", "poolio streams, EventLoop", *COUNTING,
)
NAMES = ("", *SERVERS)
KINDS = ("64x64", "64x1", "uvicorn13x8", "aiohttp13x8")
QUICK = None
ROUNDS = 1
SECONDS = 0.0
MESSAGES = (5000, 25000)
# One seed for both runs: what they import costs as much as the messages, and depends on it.
UNDER = ("env", "PYTHONHASHSEED=1", "valgrind", "--quiet", "--tool=callgrind", "--trace-children=yes")
REQUESTS = (1000, 5000)  # of a program, which does some twenty times as much for each
NOISE = 0.04


def total(path: pathlib.Path) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(("totals:", "summary:")):
            return int(line.split(":")[1])
    raise BenchmarkFailed(f"callgrind has written no total: {path}")


def load_of(kind: str) -> tuple[tuple[str, ...], str, str]:
    """The server, the row to be added; its load generator; what that sends."""
    name, size, _ = split_kind(kind, NAMES)
    if name:
        return ("program_servers", f"{name}{size}"), "ask", f"{SERVERS[name].asked}{size}"
    return ("servers",), "loadgen", str(size)


def counted(task: Task, messages: int) -> int:
    """Instructions of the whole life of a server that echoes so many messages."""
    _, _, connections = split_kind(task.kind, NAMES)
    serve, generator, asked = load_of(task.kind)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "callgrind.out"
        with serving(*serve, task.row, under=(*UNDER, f"--callgrind-out-file={path}")) as server:
            drive(server, build(generator), connections, asked, "count", messages)
        return total(path)


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    name, _, _ = split_kind(kind, NAMES)
    return programs.rows(kind) if name else {row: (ROWS | COUNTING)[row].needs for row in COUNTED}


def figures(kind: str) -> tuple[Figure, ...]:
    _, _, connections = split_kind(kind, NAMES)
    return (Figure("instructions a message", "", noise=NOISE if connections > 1 else 0.0),)


def title(kind: str) -> str:
    name, _, _ = split_kind(kind, NAMES)
    return programs.title(kind) if name else size_and_count(kind)


def prepare() -> None:
    if shutil.which("valgrind") is None:
        raise Unavailable("valgrind is not installed (on Debian: apt-get install valgrind)")
    build("loadgen")
    build("limit")
    build("ask")


def measured(task: Task) -> dict[str, float]:
    name, _, _ = split_kind(task.kind, NAMES)
    few, many = REQUESTS if name else MESSAGES
    return {"instructions a message": (counted(task, many) - counted(task, few)) / (many - few)}
