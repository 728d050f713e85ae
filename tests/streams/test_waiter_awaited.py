"""What a stream's calls return: how `await`, tasks and asyncio's own functions use it, and that it is awaited once."""

import asyncio
import gc
import sys
import warnings

import pytest
from kit.pairs import bounded, on, on_ends, pair, turns
from kit.readers import AT_ONCE, every_wait, fed, unread
from kit.wires import LOOPS

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")


@pytest.mark.parametrize("call", (
    *AT_ONCE.values(), lambda reader: reader.readexactly(3), lambda reader: reader.readuntil(b"c"),
    lambda reader: reader.readline(), lambda reader: anext(reader.frames(poolio.FixedSize(3))),
    lambda reader: anext(reader.lines()), lambda reader: anext(reader)))
@bounded
async def test_data_is_there_no_switch_of_tasks(call):
    reader = fed(poolio.StreamReader, b"abc\n")
    switched = []
    asyncio.get_running_loop().call_soon(switched.append, True)
    await call(reader)
    assert switched == []
    await turns()
    assert switched == [True]


@on_ends
async def test_second_task_that_waits_is_refused_and_the_first_goes_on(streams):
    async with pair(streams) as ((_, writer), (reader, _)):
        first = asyncio.create_task(reader.readexactly(4))
        await turns()
        with pytest.raises(RuntimeError, match="already waiting"):
            await reader.read(1)
        with pytest.raises(RuntimeError, match="already waiting"):
            await asyncio.wait_for(reader.readline(), 5)
        writer.write(b"abcd")
        assert await first == b"abcd"


@bounded
async def test_second_task_on_the_same_call_is_refused_and_the_first_goes_on():
    reader = poolio.StreamReader()
    call = reader.read(10)
    first, second = (asyncio.create_task(call) for _ in range(2))
    await turns()
    reader.feed_data(b"ab")
    assert await first == b"ab"
    with pytest.raises(RuntimeError):
        await second


@every_wait
@bounded
async def test_awaited_twice_raises(call):
    reader = fed(poolio.StreamReader, b"abcdef\n")
    reader.feed_eof()
    waiting = call(reader)
    await waiting
    if type(waiting).__name__ == "Frames":      # what `async for` goes over is awaited again for each frame
        return
    with pytest.raises(RuntimeError, match="already awaited"):
        await waiting


@bounded
async def test_awaited_twice_raises_also_after_other_calls():
    """A call that its caller has kept is not used again for another one."""
    reader = fed(poolio.StreamReader, b"abcdef")
    kept = reader.read(1)
    assert await kept == b"a"
    second, third = reader.read(1), reader.read(2)
    assert await third == b"bc"
    assert await second == b"d"
    for ended in (kept, second, third):
        with pytest.raises(RuntimeError, match="already awaited"):
            await ended
    assert await unread(reader) == b"ef"


@bounded
async def test_call_does_nothing_before_it_is_awaited():
    reader = poolio.StreamReader()
    call = reader.read(100)
    reader.feed_data(b"abc")
    assert await reader.read(1) == b"a"
    assert await call == b"bc"


@every_wait
@bounded
async def test_never_awaited_warns_when_the_reader_is_called_again(call):
    reader = poolio.StreamReader()
    if type(waiting := call(reader)).__name__ == "Frames":      # which may be made and not gone over
        return
    with pytest.warns(RuntimeWarning, match=r"StreamReader\..*was never awaited"):
        del waiting
        await reader.read(0)


@bounded
async def test_closed_before_it_was_awaited_does_not_warn():
    reader = fed(poolio.StreamReader, b"abc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call = reader.read(1)
        call.close()
        with pytest.raises(RuntimeError, match="already awaited"):
            await call
        del call
        gc.collect()
    assert await unread(reader) == b"abc"


@every_wait
@bounded
async def test_call_is_a_coroutine_for_asyncio(call):
    reader = fed(poolio.StreamReader, b"abcdef\n")
    reader.feed_eof()
    waiting = call(reader)
    assert asyncio.iscoroutine(waiting)
    task = asyncio.get_running_loop().create_task(waiting, name="reading")
    assert "reading" in repr(task)
    assert await asyncio.wait_for(task, 5)


@on(*LOOPS)
async def test_gather_wait_for_shield_and_task_group_take_a_call():
    async with pair() as ((client, client_writer), (reader, writer)):
        both = asyncio.gather(client.readexactly(2), reader.readexactly(2))
        await turns()
        writer.write(b"ab..")
        client_writer.write(b"cd..")
        assert await both == [b"ab", b"cd"]
        assert await asyncio.wait_for(reader.readexactly(1), 5) == b"."
        assert await asyncio.shield(reader.readexactly(1)) == b"."
        async with asyncio.TaskGroup() as group:
            task = group.create_task(client.read(2))
        assert task.result() == b".."
        done, _ = await asyncio.wait([asyncio.ensure_future(client.read(0))])
        assert [task.result() for task in done] == [b""]


@bounded
async def test_call_outside_of_a_task_is_stepped_by_hand():
    reader = poolio.StreamReader()
    call = reader.read(10)
    waiter = call.send(None)
    assert waiter._asyncio_future_blocking
    assert not waiter.done()
    reader.feed_data(b"abc")
    with pytest.raises(StopIteration) as caught:
        call.send(None)
    assert caught.value.value == b"abc"
    call = reader.read(10)
    call.send(None)
    with pytest.raises(ZeroDivisionError):
        call.throw(ZeroDivisionError())
    reader.feed_data(b"def")
    assert await reader.read(10) == b"def"


@bounded
async def test_types_of_calls_and_frames_are_not_made_by_hand():
    reader = poolio.StreamReader()
    call, frames = reader.read(0), reader.frames(poolio.Varint())
    await call
    for kind in (type(call), type(frames)):
        code = f"from poolio.streams.reader import {kind.__name__}; thing = {kind.__name__}(); thing.send(None)"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.DEVNULL)
        assert await process.wait() >= 0        # an exception, no crash
