"""What asks a Redis server by redis-py? -m benchmarks.redis_asking ROW PORT GETS CONNECTIONS SECONDS, measures itself.

ROW is a loop of peers.py. Each connection sends pipelines of GETS commands, one after the other, for keys with values
of their own, and compares what comes. It pins itself to the last allowed core, as the server has the first one, and
prints windows of (pipelines, ns of processor time) as JSON.
"""

import asyncio
import importlib
import json
import os
import sys
import time
from typing import Any

from benchmarks.harness import WINDOW_MS
from benchmarks.peers import factory

WARM_UP_SECONDS = 0.15


class Asker:
    def __init__(self, port: int, gets: int) -> None:
        redis: Any = importlib.import_module("redis.asyncio")
        self.client = redis.Redis(host="127.0.0.1", port=port, protocol=2)
        self.values = {b"key:%d" % number: b"value %d" % number for number in range(gets)}
        self.done = 0
        self.ends = False

    async def ask(self) -> None:
        """Until it `ends`: redis-py does not always pass a cancellation on."""
        expected = list(self.values.values())
        async with self.client.pipeline(transaction=False) as pipeline:
            while not self.ends:
                for key in self.values:
                    pipeline.get(key)
                found = await pipeline.execute()
                if found != expected:
                    raise RuntimeError(f"the server answered {found}, not {expected}")
                self.done += 1


async def windows(asker: Asker, seconds: float) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    await asyncio.sleep(WARM_UP_SECONDS)
    end = time.perf_counter() + seconds
    done, ns = asker.done, time.process_time_ns()
    while not found or time.perf_counter() < end:
        await asyncio.sleep(WINDOW_MS / 1e3)
        now = time.process_time_ns()
        found.append((asker.done - done, now - ns))
        done, ns = asker.done, now
    return found


async def measure(port: int, gets: int, connections: int, seconds: float) -> list[tuple[int, int]]:
    """ExceptionGroup if an answer is wrong."""
    asker = Asker(port, gets)
    async with asker.client:
        await asker.client.mset(asker.values)
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(asker.ask())
            found = await windows(asker, seconds)
            asker.ends = True
    return found


def main(row: str, port: str, gets: str, connections: str, seconds: str) -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    with asyncio.Runner(loop_factory=factory(row)) as runner:
        print(json.dumps(runner.run(measure(int(port), int(gets), int(connections), float(seconds)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
