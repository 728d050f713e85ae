"""What does a Redis command cost a server written in Python, with a codec and by hand?

Rows: benchmarks/redis_servers.py. Driven by redis-benchmark with 50 connections; setN is SET with N commands sent in
one go, and so on. The figure is the server's CPU time a command. At the end what the commands have written is read back
and compared.
What it does not show: large values, many keys, other mixes of commands, or a network other than loopback.
"""

import re
import shutil
import socket
import subprocess
from collections.abc import Callable

from benchmarks.harness import BenchmarkFailed, Server, Unavailable, serving, split_kind, thread_times
from benchmarks.records import Figure
from benchmarks.redis_servers import ROWS
from benchmarks.session import Selection, Task

NAMES = ("get", "set", "incr", "lpush", "mset")
KINDS = tuple(f"{name}{depth}" for depth in (16, 1) for name in NAMES)
QUICK = Selection(("get16", "set16", "mset16"), ("by hand, EventLoop", "the example, EventLoop"))
ROUNDS = 5
SECONDS = 0.7
BASE = "by hand, EventLoop"
CONNECTIONS = 50
COMMANDS_A_SECOND = {16: 150_000, 1: 40_000}  # about, to choose how many are sent
DEADLINE_SECONDS = 120
VALUE = rb"\$3\r\n(...)\r\n"
# what is asked at the end, and what the answer has to be after so many commands: a pattern
CHECKS: dict[str, tuple[tuple[bytes, ...], Callable[[int], bytes]]] = {
    "set": ((b"GET", b"key:__rand_int__"), lambda count: VALUE),
    "get": ((b"GET", b"key:__rand_int__"), lambda count: VALUE),
    "mset": ((b"GET", b"key:__rand_int__"), lambda count: VALUE),
    "incr": ((b"GET", b"counter:__rand_int__"), lambda count: rb"\$%d\r\n%d\r\n" % (len(str(count)), count)),
    "lpush": ((b"LRANGE", b"mylist", b"0", b"-1"),
              lambda count: rb"\*%d\r\n%b(\$3\r\n\1\r\n){%d}" % (count, VALUE, count - 1)),
}


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    split_kind(kind, NAMES)
    return {row: (loop,) for row, (loop, _) in ROWS.items()}


def figures(kind: str) -> tuple[Figure, ...]:
    return (Figure("server CPU a command", "ns", (BASE,), noise=0.05),)


def title(kind: str) -> str:
    name, depth, _ = split_kind(kind, NAMES)
    what = f"{name.upper()} of ten keys" if name == "mset" else name.upper()
    return f"{what}, {depth} at once"


def prepare() -> None:
    if shutil.which("redis-benchmark") is None:
        raise Unavailable("redis-benchmark is not installed (Debian: apt-get install redis-tools)")


def measured(task: Task) -> dict[str, float]:
    name, depth, _ = split_kind(task.kind, NAMES)
    count = round(task.seconds * COMMANDS_A_SECOND.get(depth, 100_000) / depth) * depth
    with serving("redis_servers", task.row) as server:
        if name == "get":
            ask(server, (b"SET", b"key:__rand_int__", b"xxx"), rb"\+OK\r\n")
        before, _ = thread_times(server.process.pid)
        drive(server, name, depth, count)
        after, _ = thread_times(server.process.pid)
        command, answer = CHECKS[name]
        ask(server, command, answer(count))
    return {"server CPU a command": (after - before) / count}


def drive(server: Server, name: str, depth: int, count: int) -> None:
    command = ("redis-benchmark", "-p", server.port, "-c", CONNECTIONS, "-P", depth, "-n", count, "-t", name, "-q")
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    except subprocess.TimeoutExpired:
        raise BenchmarkFailed(f"{server.name} took more than {DEADLINE_SECONDS} seconds: {server.said()}") from None
    if done.returncode or "requests per second" not in done.stdout:
        raise BenchmarkFailed(f"{server.name}: {done.stdout}{done.stderr}the server said: {server.said()}")


def ask(server: Server, command: tuple[bytes, ...], expected: bytes) -> None:
    """BenchmarkFailed if the server's answer to this command does not match."""
    parts = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in command)
    got = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS) as client:
        client.sendall(b"*%d\r\n%b" % (len(command), parts))
        client.shutdown(socket.SHUT_WR)
        while data := client.recv(1 << 20):
            got += data
    if not re.fullmatch(expected, got):
        raise BenchmarkFailed(f"{server.name} answers {b' '.join(command)!r} with {got[:80]!r}, not {expected[:80]!r}")
