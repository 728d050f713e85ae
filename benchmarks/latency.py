"""How late are timers, other threads' calls and stop() while 64 connections echo at full rate?

For each loop: the load generator drives 64 connections of 64 bytes from the other core, and this process serves them
and measures itself. Figures are milliseconds, median and the worst of all: call_later(0.05) after it was due;
call_soon_threadsafe() until its callback runs; loop.stop() from another thread until run_forever() has returned.
`--check` ends with status 1 if poolio.EventLoop is later than BOUNDS_MS allows.
What it does not show: a loop whose own callbacks take long; nothing can be on time then.
"""

import argparse
import asyncio
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

import rich.console
import rich.table
import uvloop
from harness import BenchmarkFailed, build
from servers import PlainEcho, PooledEcho, pin_to_first_core

import poolio

LOOPS = {
    "asyncio": (asyncio.new_event_loop, PlainEcho, None),
    "uvloop": (uvloop.new_event_loop, PlainEcho, None),
    "poolio transports, asyncio": (asyncio.new_event_loop, PooledEcho, poolio),
    "poolio.EventLoop": (poolio.new_event_loop, PooledEcho, None),
}
FIGURES = ("call_later(0.05)", "call_soon_threadsafe()", "stop()")
BOUNDS_MS = (20.0, 20.0, 50.0)
CONNECTIONS, SIZE, DELAY_SECONDS = 64, 64, 0.05
TIMES = 20


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


def measure(loadgen: pathlib.Path, name: str) -> list[list[float]]:
    factory, protocol, net = LOOPS[name]
    loop = factory()

    async def serve() -> asyncio.AbstractServer:
        server: asyncio.AbstractServer = await (net or loop).create_server(protocol, "127.0.0.1", 0)
        return server

    server = loop.run_until_complete(serve())
    port = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    client = drive(loadgen, port, 4.0)
    loop.run_until_complete(asyncio.sleep(0.5))
    found = [loop.run_until_complete(timers(loop)), loop.run_until_complete(threads(loop)), stops(loop)]
    if client.poll() is not None:
        raise BenchmarkFailed(f"{name}: the load ended before the measurement, with status {client.returncode}")
    client.kill()
    client.wait()
    server.close()
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.close()
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m poolio bench --latency", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="status 1 if poolio.EventLoop is later than its bounds")
    args = parser.parse_args(argv)
    loadgen = build("loadgen")
    pin_to_first_core()
    console = rich.console.Console(width=None if sys.stdout.isatty() else 120)
    table = rich.table.Table(title=f"milliseconds late while {CONNECTIONS} connections echo {SIZE} B at full rate")
    table.add_column("loop", no_wrap=True)
    for figure in FIGURES:
        table.add_column(figure, justify="right")
    too_late = []
    for name in LOOPS:
        found = [[1e3 * seconds for seconds in late] for late in measure(loadgen, name)]
        table.add_row(name, *(f"{statistics.median(late):.2f} (worst {max(late):.2f})" for late in found),
                      style="bold cyan" if name.startswith("poolio") else "")
        if name == "poolio.EventLoop":
            too_late = [f"{figure}: {max(late):.1f} ms, at most {bound} allowed"
                        for figure, late, bound in zip(FIGURES, found, BOUNDS_MS, strict=True) if max(late) > bound]
    console.print(table)
    if args.check and too_late:
        console.print("too late:", *too_late)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
