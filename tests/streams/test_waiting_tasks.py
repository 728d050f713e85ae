"""What stays of the tasks that have read a stream: nothing."""

import asyncio
import gc
import weakref

from kit.pairs import on, pair, turns
from kit.wires import LOOPS


@on(*LOOPS)
async def test_reader_keeps_no_task_that_has_read():
    """Since CPython 3.14 a future remembers who awaits it, and a reader uses its future again."""
    tasks = weakref.WeakSet()
    async with pair() as ((reader, _), (_, writer)):
        for _ in range(300):
            task = asyncio.ensure_future(reader.readexactly(1))
            tasks.add(task)
            await turns(1)                          # it waits
            writer.write(b"x")
            assert await task == b"x"
        del task
        gc.collect()
        assert len(tasks) <= 1
