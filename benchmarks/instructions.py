"""How many instructions does a server execute in user space for a message?

Rows: benchmarks/servers.py; kinds are bytes x connections, the same over TLS (tls64x64), or one of the part programs,
whose rows are loops. Counted by valgrind's callgrind, as the slope between two numbers of messages, so that starting,
connecting and ending cost nothing. The load generator is not slowed down, so every connection is ready in each turn of
the server, which is the best case of whatever handles ready connections together. On a busy machine the figures of 64
connections moved by 3 % between runs, C's not at all. With one connection, the figures of nested loops depend on how
often the loop turns, so --compare passes no verdict on them. Over TLS the first figure leaves out what OpenSSL
executes, and the C library for it (callgrind.py).
What it does not show: the kernel, which is most of an echo's time, and caches: see echo for both.
"""

import pathlib
import shutil
import tempfile

from benchmarks import callgrind, programs, tls
from benchmarks.harness import Unavailable, build, drive, serving, size_and_count, split_kind
from benchmarks.program_servers import SERVERS
from benchmarks.records import Figure
from benchmarks.servers import COUNTING, LIMIT, ROWS
from benchmarks.session import Task

COUNTED = (
    LIMIT, "asyncio Protocol, warm heap", "uvloop Protocol", "rloop Protocol", "aiofastnet, uvloop",
    "poolio transports, asyncio", "poolio transports, uvloop", "poolio.EventLoop", "poolio.EventLoop, asyncio.Protocol",
    "asyncio Streams", "uvloop Streams", "poolio streams, asyncio", "poolio streams, EventLoop", *COUNTING,
)
TLS = "tls"
NAMES = ("", TLS, *SERVERS)
KINDS = ("64x64", "64x1", "tls64x64", "tls64x1", "uvicorn13x8", "aiohttp13x8")
QUICK = None
ROUNDS = 1
SECONDS = 0.0
MESSAGES = (5000, 25000)
# One seed for both runs: what they import costs as much as the messages, and depends on it.
UNDER = ("env", "PYTHONHASHSEED=1", "valgrind", "--quiet", "--tool=callgrind", "--trace-children=yes")
REQUESTS = (1000, 5000)  # of a program, which does some twenty times as much for each
NOISE = 0.04
OUTSIDE = "instructions a message outside OpenSSL"


def load_of(kind: str, row: str) -> tuple[tuple[str, ...], pathlib.Path, str]:
    """The server of this row; its load generator; what that sends."""
    name, size, _ = split_kind(kind, NAMES)
    if name == TLS:
        return ("servers", row, str(tls.pem())), tls.loadgen(), str(size)
    if name:
        return ("program_servers", f"{name}{size}", row), build("ask"), f"{SERVERS[name].asked}{size}"
    return ("servers", row), build("loadgen"), str(size)


def counted(task: Task, messages: int) -> tuple[int, int]:
    """Instructions of the whole life of a server that echoes so many messages; and those of them in OpenSSL."""
    _, _, connections = split_kind(task.kind, NAMES)
    serve, generator, asked = load_of(task.kind, task.row)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "callgrind.out"
        with serving(*serve, under=(*UNDER, f"--callgrind-out-file={path}")) as server:
            drive(server, generator, connections, asked, "count", messages)
        return callgrind.total(path), callgrind.in_openssl(path)


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    name, _, _ = split_kind(kind, NAMES)
    if name == TLS:
        return {row: ROWS[row].needs for row in tls.SERVERS}
    return programs.rows(kind) if name else {row: (ROWS | COUNTING)[row].needs for row in COUNTED}


def figures(kind: str) -> tuple[Figure, ...]:
    name, _, connections = split_kind(kind, NAMES)
    noise = NOISE if connections > 1 else 0.0
    every = Figure("instructions a message", "", noise=noise)
    return (Figure(OUTSIDE, "", noise=noise), every) if name == TLS else (every,)


def title(kind: str) -> str:
    name, _, _ = split_kind(kind, NAMES)
    if name == TLS:
        return f"TLS, {size_and_count(kind)}"
    return programs.title(kind) if name else size_and_count(kind)


def prepare() -> None:
    if shutil.which("valgrind") is None:
        raise Unavailable("valgrind is not installed (on Debian: apt-get install valgrind)")
    build("loadgen")
    build("limit")
    build("ask")


def measured(task: Task) -> dict[str, float]:
    name, _, _ = split_kind(task.kind, NAMES)
    if name == TLS:
        tls.prepare()
    few, many = REQUESTS if name in SERVERS else MESSAGES
    (first, first_in_openssl), (last, last_in_openssl) = counted(task, few), counted(task, many)
    a_message = (last - first) / (many - few)
    found = {"instructions a message": a_message}
    if name == TLS:
        found[OUTSIDE] = a_message - (last_in_openssl - first_in_openssl) / (many - few)
    return found
