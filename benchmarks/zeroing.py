"""How much throughput does memory that is not zeroed give, beside memory that is?

Rows: benchmarks/servers.py. NxM: an echo of N bytes over M connections, as in the part echo. The rows on one loop do
the same work and differ in their memory: poolio's in the three zeroing modes (never, where the name says none), a fresh
bytearray of 256 KiB for each read, which Python zeroes, one bytearray of 64 KiB for each connection, and the bytes that
an asyncio.Protocol gets, which are not zeroed either. answersNxM: each answer is written into memory of exactly its
size first, from alloc_unsafe(), alloc() or bytearray(), the last two of which zero it. Every byte that comes back is
compared. There are two kinds of throughput. "Of one core" is a second divided by the server's CPU time a message, the
quantile over short windows of benchmarks/harness.py: what a core would serve that has nothing else to do. "Messages"
and "volume" are counted by the clock on the wall, while the load generator works on the other core and never sleeps;
they are the server's only where "server busy" is about 100 %, and on shared cores they repeat worse.
What it does not show: what a server does with the bytes besides, which makes every difference smaller, and memory that
is zeroed because it was mapped anew: each row's heap is warm.
"""

from typing import Any

from benchmarks.echo import cpu_a_message
from benchmarks.harness import WINDOW_MS, build, drive_json, serving, size_text, split_kind
from benchmarks.records import Figure
from benchmarks.servers import ANSWERS, LIMIT, ROWS
from benchmarks.session import Selection, Task

FRESH = "asyncio, fresh bytearray a read"
SERVERS = (
    LIMIT, "poolio.EventLoop", "poolio.EventLoop, on_alloc", "poolio.EventLoop, on_release",
    "poolio.EventLoop, fresh bytearray a read", "poolio never, asyncio", "poolio on_alloc, asyncio",
    "poolio on_release, asyncio", "asyncio Protocol, warm heap", "asyncio, one bytearray a connection", FRESH,
    "uvloop Protocol",
)
NAMES = ("", "answers")
SIZES = (64, 1024, 16384, 65536, 1 << 20)
KINDS = (*(f"{size}x64" for size in SIZES), *(f"answers{size}x64" for size in SIZES))
QUICK = Selection(("64x64", "65536x64", "answers65536x64"), (
    LIMIT, "poolio.EventLoop", "poolio.EventLoop, on_alloc", "poolio.EventLoop, on_release",
    "poolio.EventLoop, fresh bytearray a read", "asyncio Protocol, warm heap", FRESH, "uvloop Protocol",
    "alloc_unsafe, EventLoop", "alloc, EventLoop", "bytearray, EventLoop"))
ROUNDS = 5
SECONDS = 0.7
CPU, MESSAGES, VOLUME = "server CPU a message", "messages of one core", "MiB of one core"
BASES = {"": (LIMIT, FRESH), "answers": (LIMIT, "bytearray, EventLoop")}


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    name, _, _ = split_kind(kind, NAMES)
    if name == "answers":
        return {LIMIT: (), **{row: ANSWERS[row].needs for row in ANSWERS}}
    return {row: ROWS[row].needs for row in SERVERS}


def figures(kind: str) -> tuple[Figure, ...]:
    return (
        Figure(CPU, "us", BASES[split_kind(kind, NAMES)[0]], noise=0.05), Figure(MESSAGES, "/s"),
        Figure(VOLUME, "MiB/s"), Figure("messages", "/s"), Figure("volume", "MiB/s"), Figure("server busy", "%"))


def title(kind: str) -> str:
    name, size, count = split_kind(kind, NAMES)
    return f"{'answers of ' if name else ''}{size_text(size)} x {count:,}"


def prepare() -> None:
    build("loadgen")
    build("limit")


def measured(task: Task) -> dict[str, float]:
    _, size, connections = split_kind(task.kind, NAMES)
    with serving("servers", task.row) as server:
        answer = drive_json(server, build("loadgen"), connections, size, task.seconds, server.process.pid, WINDOW_MS)
    task.notes["clock"] = answer["clock"]
    return throughput(answer, size, connections)


def throughput(answer: dict[str, Any], size: int, connections: int) -> dict[str, float]:
    """The figures in an answer of loadgen."""
    cpu = cpu_a_message(answer, connections)
    of_a_core, in_all = 1e9 / cpu, answer["messages"] / answer["seconds"]
    worked = sum(ns for _, ns in answer["windows"]) / 1e9
    return {CPU: cpu / 1e3, MESSAGES: of_a_core, VOLUME: of_a_core * size / (1 << 20), "messages": in_all,
            "volume": in_all * size / (1 << 20), "server busy": 100 * worked / answer["seconds"]}
