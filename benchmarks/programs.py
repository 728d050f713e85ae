"""What does a request cost in programs of other authors, if only the loop is another one?

Kinds: uvicornNxM and aiohttpNxM answer GET with N bytes, websocketsNxM and picowsNxM echo a message of N bytes, all of
them on M connections (program_servers.py); redisNxM sends pipelines of N GETs by redis-py on M (redis_asking.py). Rows:
the loops of peers.py, all else is the same. Servers are asked by ask.c, which keeps one question outstanding on each
connection and checks every answer; redis-py asks a server of redis_servers.py, and every value is compared. Method:
benchmarks/harness.py; the figure is the processor time of the program that is named, for a request or a pipeline.
What it does not show: what an application does itself, TLS, large bodies, or a network other than loopback.
"""

import json
from typing import Any

from benchmarks.harness import (
    ENOUGH_MESSAGES,
    WINDOW_MS,
    build,
    cpu_ns,
    drive_json,
    output_of_module,
    serving,
    size_text,
    split_kind,
)
from benchmarks.peers import BASE, LOOPS
from benchmarks.program_servers import SERVERS
from benchmarks.records import Figure
from benchmarks.session import Task

REDIS = "redis"
NEEDS = {name: server.needs for name, server in SERVERS.items()} | {REDIS: (REDIS,)}
REDIS_SERVER = "by hand, EventLoop"
KINDS = ("uvicorn13x8", "aiohttp13x8", "websockets64x8", "picows64x8", "redis16x8")
QUICK = None
ROUNDS = 5
SECONDS = 0.7
FIGURE = "processor time a request"


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    name, _, _ = split_kind(kind, tuple(NEEDS))
    return {row: (module, *NEEDS[name]) for row, module in LOOPS.items()}


def figures(kind: str) -> tuple[Figure, ...]:
    return (Figure(FIGURE, "us", (BASE, "uvloop"), noise=0.05),)


def title(kind: str) -> str:
    name, size, connections = split_kind(kind, tuple(NEEDS))
    what = f"redis-py, {size} GETs" if name == REDIS else f"{name}, {size_text(size)}"
    return f"{what} x {connections:,}"


def prepare() -> None:
    build("ask")


def measured(task: Task) -> dict[str, float]:
    name, _, connections = split_kind(task.kind, tuple(NEEDS))
    windows = windows_of_redis(task) if name == REDIS else windows_of_server(task)
    return {FIGURE: cpu_ns(windows, max(ENOUGH_MESSAGES, connections)) / 1e3}


def windows_of_server(task: Task) -> Any:
    name, size, connections = split_kind(task.kind, tuple(NEEDS))
    asked = f"{SERVERS[name].asked}{size}"
    with serving("program_servers", f"{name}{size}", task.row) as server:
        answer = drive_json(server, build("ask"), connections, asked, task.seconds, server.process.pid, WINDOW_MS)
    task.notes["clock"] = answer["clock"]
    return answer["windows"]


def windows_of_redis(task: Task) -> Any:
    _, size, connections = split_kind(task.kind, (REDIS,))
    with serving("redis_servers", REDIS_SERVER) as server:
        arguments = (task.row, server.port, size, connections, task.seconds)
        return json.loads(output_of_module("redis_asking", *map(str, arguments)))
