"""What do the loop's own operations cost: a callback, a step of a task, a timer, an answer of another thread?

For each row and round one process, on one core and without a client: `-m benchmarks.loop KIND ROW SECONDS`. It repeats
an operation in batches, looks at the processor time after each, that of other threads included, and prints both as
JSON. The figure is the 20 % quantile of the batches. What an operation gives is checked. chain: a callback that queues
the next one; sleep: `await asyncio.sleep(0)`; tasks: one is made, run and gathered, a thousand at a time; timers:
call_later() and cancel(), a hundred in each turn of the loop; queues: a number to another task and back, over two
asyncio.Queues; executor: `await run_in_executor()`, one at a time.
What it does not show: sockets, which each turn of the loop also looks after in a program: see programs.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

from benchmarks.harness import BenchmarkFailed, cpu_ns, output_of_module
from benchmarks.peers import BASE, LOOPS, USUAL, factory
from benchmarks.records import Figure
from benchmarks.servers import pin_to_first_core
from benchmarks.session import Selection, Task

GATHERED = 1000  # tasks at a time
TIMERS_A_TURN = 100
NEVER_SECONDS = 3600


async def chain(count: int) -> int:
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if done < count:
            loop.call_soon(step)
        else:
            ended.set_result(None)

    loop.call_soon(step)
    await ended
    return done


async def sleep(count: int) -> int:
    done = 0
    while done < count:
        await asyncio.sleep(0)
        done += 1
    return done


async def same(number: int) -> int:
    return number


async def tasks(count: int) -> int:
    done = 0
    while done < count:
        found = await asyncio.gather(*map(same, range(done, done + GATHERED)))
        done += found == list(range(done, done + GATHERED)) and GATHERED
    return done


async def timers(count: int) -> int:
    """None of them may run, so what has run is subtracted."""
    loop = asyncio.get_running_loop()
    ran: list[int] = []
    for done in range(count):
        loop.call_later(NEVER_SECONDS, ran.append, done).cancel()
        if done % TIMERS_A_TURN == 0:
            await asyncio.sleep(0)
    return count - len(ran)


async def queues(count: int) -> int:
    there: asyncio.Queue[int] = asyncio.Queue()
    back: asyncio.Queue[int] = asyncio.Queue()

    async def other() -> None:
        while True:
            await back.put(await there.get())

    task = asyncio.create_task(other())
    done = 0
    for number in range(count):
        await there.put(number)
        done += await back.get() == number
    task.cancel()
    await asyncio.wait([task])
    return done


async def executor(count: int) -> int:
    loop = asyncio.get_running_loop()
    done = 0
    for number in range(count):
        done += await loop.run_in_executor(None, int, number) == number
    return done


# the operation, its title, and how many are a batch: some milliseconds
OPERATIONS: dict[str, tuple[Callable[[int], Awaitable[int]], str, int]] = {
    "chain": (chain, "call_soon(), each from the one before", 5000),
    "sleep": (sleep, "await sleep(0)", 5000),
    "tasks": (tasks, "a task, made, run and gathered", 2 * GATHERED),
    "timers": (timers, "call_later() and cancel()", 5000),
    "queues": (queues, "a round trip over two queues", 1000),
    "executor": (executor, "run_in_executor()", 200),
}
KINDS = tuple(OPERATIONS)
QUICK = Selection(("chain", "tasks", "timers"), USUAL)
ROUNDS = 5
SECONDS = 0.7
FIGURE = "processor time an operation"


async def measure(kind: str, seconds: float) -> list[tuple[int, int]]:
    """Batches of (operations, ns), after one that warms up."""
    operation, _, count = OPERATIONS[kind]
    batches: list[tuple[int, int]] = []
    await operation(count)
    end = time.perf_counter() + seconds
    while not batches or time.perf_counter() < end:
        before = time.process_time_ns()
        done = await operation(count)
        batches.append((done, time.process_time_ns() - before))
        if done != count:
            raise RuntimeError(f"{kind}: {done} of {count} operations were right")
    return batches


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of loop: {', '.join(KINDS)}")
    return {row: (module,) for row, module in LOOPS.items()}


def figures(kind: str) -> tuple[Figure, ...]:
    return (Figure(FIGURE, "ns", (BASE, "uvloop"), noise=0.05),)


def title(kind: str) -> str:
    return OPERATIONS[kind][1]


def prepare() -> None:
    """Nothing is needed."""


def measured(task: Task) -> dict[str, float]:
    printed = output_of_module("loop", task.kind, task.row, str(task.seconds))
    try:
        batches = json.loads(printed)
    except json.JSONDecodeError:
        raise BenchmarkFailed(f"{task.row} has printed {printed!r}") from None
    return {FIGURE: cpu_ns(batches, enough=1)}


def main(kind: str, row: str, seconds: str) -> None:
    pin_to_first_core()
    with asyncio.Runner(loop_factory=factory(row)) as runner:
        print(json.dumps(runner.run(measure(kind, float(seconds)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
