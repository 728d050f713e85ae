"""How late are timers, other threads' calls and stop() while 64 connections echo at full rate?

For each loop: the load generator drives 64 connections of 64 bytes from the other core, and one process serves them and
measures itself: `-m benchmarks.latency ROW` prints its figures as JSON. Milliseconds, median and the worst of 20:
call_later(0.05) after it was due; call_soon_threadsafe() until its callback runs; loop.stop() from another thread until
run_forever() has returned. `--check` ends with status 1 if poolio.EventLoop is later than BOUNDS_MS allows.
What it does not show: a loop whose own callbacks take long; nothing can be on time then.
"""

import asyncio
import importlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

import poolio
from benchmarks.harness import BenchmarkFailed, build, output_of_module, size_text
from benchmarks.records import Figure, Run
from benchmarks.servers import PlainEcho, PooledEcho, pin_to_first_core
from benchmarks.session import Task

OWN = "poolio.EventLoop"
LOOPS = {
    "asyncio": ("asyncio", PlainEcho, None),
    "uvloop": ("uvloop", PlainEcho, None),
    "rloop": ("rloop", PlainEcho, None),
    "poolio transports, asyncio": ("asyncio", PooledEcho, poolio),
    OWN: ("poolio", PooledEcho, None),
}
CALLS = ("call_later(0.05)", "call_soon_threadsafe()", "stop()")
BOUNDS_MS = (20.0, 20.0, 50.0)
CONNECTIONS, SIZE, DELAY_SECONDS = 64, 64, 0.05
TIMES = 20
KINDS = (f"{SIZE}x{CONNECTIONS}",)
QUICK = None
ROUNDS = 1
SECONDS = 0.0
FIGURES = tuple(Figure(f"{call}{which}", "ms") for call in CALLS for which in ("", ", worst"))


def drive(loadgen: pathlib.Path, port: int, seconds: float) -> "subprocess.Popen[str]":
    command = [loadgen, port, CONNECTIONS, SIZE, seconds, os.getpid(), 20]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)


async def timers(loop: asyncio.AbstractEventLoop) -> list[float]:
    late = []
    for _ in range(TIMES):
        fired: asyncio.Future[float] = loop.create_future()

        def fire(fired: "asyncio.Future[float]" = fired) -> None:
            fired.set_result(loop.time())

        due = loop.time() + DELAY_SECONDS
        loop.call_at(due, fire)
        late.append(await fired - due)
    return late


async def threads(loop: asyncio.AbstractEventLoop) -> list[float]:
    late = []
    for _ in range(TIMES):
        heard = loop.create_future()

        def call(heard: "asyncio.Future[float]" = heard) -> None:
            called = time.perf_counter()
            loop.call_soon_threadsafe(lambda: heard.set_result(time.perf_counter() - called))

        threading.Timer(0.01, call).start()
        late.append(await heard)
    return late


def stops(loop: asyncio.AbstractEventLoop) -> list[float]:
    late = []
    for _ in range(TIMES):
        called: list[float] = []

        def stop(called: list[float] = called) -> None:
            called.append(time.perf_counter())
            loop.call_soon_threadsafe(loop.stop)

        threading.Timer(0.01, stop).start()
        loop.run_forever()
        late.append(time.perf_counter() - called[0])
    return late


def serve_and_measure(name: str) -> list[list[float]]:
    module, protocol, net = LOOPS[name]
    loadgen = build("loadgen")
    loop = importlib.import_module(module).new_event_loop()

    async def serve() -> asyncio.AbstractServer:
        server: asyncio.AbstractServer = await (net or loop).create_server(protocol, "127.0.0.1", 0)
        return server

    server = loop.run_until_complete(serve())
    port = server.sockets[0].getsockname()[1]
    client = drive(loadgen, port, 4.0)
    try:
        pin_to_first_core()  # the client has taken the last one of those that it was given
        loop.run_until_complete(asyncio.sleep(0.5))
        found = [loop.run_until_complete(timers(loop)), loop.run_until_complete(threads(loop)), stops(loop)]
        if client.poll() is not None:
            raise BenchmarkFailed(f"{name}: the load ended before the measurement, with status {client.returncode}")
    finally:
        client.kill()
        client.communicate()
    server.close()
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.close()
    return found


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of latency: {KINDS[0]}")
    return {name: (module,) for name, (module, _, _) in LOOPS.items()}


def figures(kind: str) -> tuple[Figure, ...]:
    return FIGURES


def title(kind: str) -> str:
    return f"{CONNECTIONS} connections echo {size_text(SIZE)}"


def prepare() -> None:
    build("loadgen")


def measured(task: Task) -> dict[str, float]:
    answer = json.loads(output_of_module("latency", task.row))
    late = [[1e3 * seconds for seconds in figures] for figures in answer]
    values = (value for figures in late for value in (statistics.median(figures), max(figures)))
    return dict(zip((figure.name for figure in FIGURES), values, strict=True))


def too_late(run: Run) -> list[str]:
    """What of poolio.EventLoop is beyond its bounds."""
    found = []
    for call, bound in zip(CALLS, BOUNDS_MS, strict=True):
        record = run.find("latency", title(KINDS[0]), OWN, f"{call}, worst")
        if record is None:
            found.append(f"{call}: not measured")
        elif record.value > bound:
            found.append(f"{call}: {record.value:.1f} ms, at most {bound} allowed")
    return found


if __name__ == "__main__":
    print(json.dumps(serve_and_measure(sys.argv[1])))
