"""Tasks that wait for a stream, stepped by the reactor itself: their context, errors, children and loops."""

import asyncio
import contextvars
import sys

import pytest
from kit.pairs import on, on_ends, pair, turns, variable
from kit.wires import LOOPS, OURS, eventually, run

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")


@on_ends
async def test_woken_task_is_current_and_has_its_context(streams):
    seen = []

    async def reads(reader, name):
        variable.set(name)
        for _ in range(3):
            await reader.readexactly(1)
            seen.append((variable.get(), asyncio.current_task().get_name()))
            variable.set(variable.get() + "+")

    variable.set("outside")
    async with pair(streams) as ((client, client_writer), (reader, writer)):
        tasks = [asyncio.create_task(reads(client, "c"), name="client"),
                 asyncio.create_task(reads(reader, "s"), name="server")]
        for number in range(1, 4):
            client_writer.write(b"x")
            writer.write(b"x")
            await eventually(lambda number=number: len(seen) == 2 * number)
        await asyncio.gather(*tasks)
    assert variable.get() == "outside"
    assert sorted(seen) == [("c", "client"), ("c+", "client"), ("c++", "client"),
                            ("s", "server"), ("s+", "server"), ("s++", "server")]


@on_ends
async def test_tasks_that_share_a_context_see_what_the_other_sets(streams):
    context = contextvars.copy_context()
    seen = []

    async def reads(reader, name):
        while await reader.read(1):
            seen.append(variable.get())
            variable.set(name)

    async with pair(streams) as ((client, client_writer), (reader, writer)):
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(reads(client, "client"), context=context),
                 loop.create_task(reads(reader, "server"), context=context)]
        await turns()
        for number, sender in enumerate((client_writer, writer, client_writer, client_writer)):
            sender.write(b"x")
            await eventually(lambda number=number: len(seen) == number + 1)
        client_writer.close()
        writer.close()
        await asyncio.gather(*tasks)
    assert context[variable] == "server"
    assert seen == ["unset", "server", "client", "server"]


@on_ends
async def test_exception_in_a_woken_task_is_the_tasks(streams):
    async def fails(reader):
        await reader.read(1)
        raise ZeroDivisionError

    async with pair(streams) as ((_, writer), (reader, _)):
        task = asyncio.create_task(fails(reader))
        await turns()
        writer.write(b"ab")
        with pytest.raises(ZeroDivisionError):
            await task
        assert await reader.read(1) == b"b"


@on_ends
async def test_woken_task_ends_and_who_awaits_it_goes_on(streams):
    async def reads(reader):
        return await reader.readexactly(2)

    async with pair(streams) as ((_, writer), (reader, _)):
        done = []
        task = asyncio.create_task(reads(reader))
        task.add_done_callback(done.append)
        await turns()
        writer.write(b"a")
        await asyncio.sleep(0.01)
        writer.write(b"b")
        assert await asyncio.gather(task, asyncio.shield(task)) == [b"ab", b"ab"]
        assert done == [task]


@on_ends
async def test_woken_task_makes_awaits_and_cancels_others(streams):
    async def reads(reader):
        await reader.read(1)
        child = asyncio.create_task(asyncio.sleep(0, "child"))
        endless = asyncio.create_task(asyncio.sleep(100))
        first = await child
        endless.cancel()
        async with asyncio.timeout(5):
            second = await reader.read(1)
        await asyncio.wait([endless])
        return first, second, endless.cancelled()

    async with pair(streams) as ((_, writer), (reader, _)):
        task = asyncio.create_task(reads(reader))
        await turns()
        writer.write(b"a")
        await asyncio.sleep(0.01)
        writer.write(b"b")
        assert await task == ("child", b"b", True)


@on_ends
async def test_two_readers_answer_each_other(streams):
    """A woken task's writes go out when it waits again."""
    async def plays(reader, writer):
        for _ in range(100):
            writer.write(await reader.readexactly(3))
            await writer.drain()

    async with pair(streams) as ((client, client_writer), (reader, writer)):
        playing = [asyncio.create_task(plays(client, client_writer)), asyncio.create_task(plays(reader, writer))]
        writer.write(b"one")
        await asyncio.gather(*playing)
        assert await client.read(3) == b"one"


@pytest.mark.parametrize("kind", (KeyboardInterrupt, SystemExit))
@pytest.mark.parametrize("loop_name", OURS)
def test_keyboard_interrupt_and_system_exit_in_a_woken_task_pass_through(loop_name, kind):
    ended = []

    async def stops(reader):
        try:
            await reader.read(1)
            raise kind("stop")
        finally:
            ended.append(asyncio.current_task())

    async def main():
        async with pair() as ((_, writer), (reader, _)):
            task = asyncio.create_task(stops(reader))
            await turns()
            writer.write(b"x")
            await asyncio.wait([task, asyncio.create_task(asyncio.sleep(20))], return_when="FIRST_COMPLETED")

    with pytest.raises(kind, match="stop"):
        run(loop_name, main)
    assert isinstance(ended[0].exception(), kind)


@on(*OURS)
async def test_pure_python_tasks_are_woken_as_well():
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro, **options: asyncio.tasks._PyTask(coro, loop=loop, **options))

    async def reads(reader):
        variable.set("inside")
        current = asyncio.current_task()        # None since CPython 3.14, where only asyncio's C tasks are seen
        first = await reader.readexactly(2)
        assert asyncio.current_task() is current in (task, None)
        return first, await reader.readexactly(2), variable.get()

    async with pair() as ((_, writer), (reader, _)):
        task = asyncio.create_task(reads(reader))
        assert isinstance(task, asyncio.tasks._PyTask)
        await turns()
        for piece in (b"a", b"b", b"cd"):
            writer.write(piece)
            await asyncio.sleep(0.005)
        assert await task == (b"ab", b"cd", "inside")
        task = asyncio.create_task(reader.read(5))
        await turns()
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        writer.write(b"e")
        assert await asyncio.create_task(reader.read(5)) == b"e"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with CPython 3.12")
@on(*(name for name in LOOPS if "uvloop" not in name))
async def test_eager_tasks_wait_and_are_woken():
    """Not on uvloop: on CPython 3.13 it gives a task factory an argument that asyncio's eager one does not take."""
    loop = asyncio.get_running_loop()

    async def reads(reader):
        variable.set("inside")
        return await reader.read(2), variable.get(), asyncio.current_task()

    async with pair() as ((_, writer), (reader, _)):
        loop.set_task_factory(asyncio.eager_task_factory)
        waiting = asyncio.create_task(reads(reader))
        assert not waiting.done()
        writer.write(b"abcd")
        assert await waiting == (b"ab", "inside", waiting)
        ready = asyncio.create_task(reads(reader))
        assert ready.done()
        assert ready.result()[0] == b"cd"
        direct = asyncio.create_task(reader.read(2))
        writer.write(b"ef")
        assert await direct == b"ef"
        loop.set_task_factory(None)


@pytest.mark.skipif(not OURS, reason="the reactor needs epoll")
@on("poolio")
async def test_reactor_runs_within_a_task_the_other_task_waits_for_its_turn():
    """Somebody nests a pass of the loop's selector in a task: a task is current, so no other one is stepped."""
    seen = []

    async def reads(reader):
        seen.append(await reader.read(10))
        seen.append(asyncio.current_task())

    async with pair() as ((_, writer), (reader, _)):
        task = asyncio.create_task(reads(reader))
        await turns()
        writer.write(b"abc")
        asyncio.get_running_loop()._selector.select(0)
        assert seen == []
        await task
        assert seen == [b"abc", task]


@on(*OURS)
async def test_debug_mode_wakes_tasks_as_well():
    asyncio.get_running_loop().set_debug(True)
    async with pair() as ((_, writer), (reader, _)):
        task = asyncio.create_task(reader.readexactly(4))
        await turns()
        writer.write(b"ab")
        await asyncio.sleep(0.005)
        assert "Task pending" in repr(task)
        task.get_stack()
        writer.write(b"cd")
        assert await task == b"abcd"


@on(*OURS)
async def test_handler_dropped_while_it_waits_leaves_nothing(make_pool):
    pool = make_pool()
    async with pair(pool=pool) as ((_, writer), (reader, server_writer)):
        task = asyncio.create_task(reader.readexactly(1000))
        await turns()
        writer.write(b"abc")
        await asyncio.sleep(0.005)
        server_writer.close()
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await task
        assert caught.value.partial == b"abc"
