"""A call of a stream that is cancelled or times out: it has taken nothing, and the next call goes on."""

import asyncio
import random

import pytest
from kit.pairs import bounded, on_ends, pair, turns
from kit.readers import FOR_MORE, every_long_wait, every_wait, fed, feed_soon, unread
from kit.wires import BLOCK, eventually

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")


@every_wait
@pytest.mark.parametrize("order", ("before", "after", "without"))
@bounded
async def test_cancelled_call_has_taken_nothing(call, order):
    """Data comes before or after the cancel, in the same turn of the loop."""
    reader = poolio.StreamReader()
    if call in FOR_MORE.values():
        reader.feed_data(b"abc")
    expected = b"abc" if call in FOR_MORE.values() else b""
    task = asyncio.create_task(call(reader))
    await turns()
    if order == "before":
        reader.feed_data(b"def\n")
    task.cancel()
    if order == "after":
        reader.feed_data(b"def\n")
    with pytest.raises(asyncio.CancelledError):
        await task
    expected += b"def\n" if order != "without" else b""
    assert await unread(reader) == expected


@every_wait
@bounded
async def test_cancelled_before_it_has_begun_has_taken_nothing(call):
    reader = fed(poolio.StreamReader, b"abcdef\n")
    task = asyncio.create_task(call(reader))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await reader.readline() == b"abcdef\n"


@every_wait
@pytest.mark.parametrize("how", ("timeout", "wait_for"))
@bounded
async def test_timed_out_call_has_taken_nothing_and_the_next_one_works(call, how):
    reader = poolio.StreamReader()
    if call in FOR_MORE.values():
        reader.feed_data(b"abc")
    expected = b"abc" if call in FOR_MORE.values() else b""
    with pytest.raises(TimeoutError):
        if how == "timeout":
            async with asyncio.timeout(0.005):
                await call(reader)
        else:
            await asyncio.wait_for(call(reader), 0.005)
    feed_soon(reader, b"def\n")
    assert await reader.readuntil() == expected + b"def\n"


@every_long_wait
@bounded
async def test_cancelled_and_the_next_call_waits_again(call):
    reader = fed(poolio.StreamReader, b"abc")
    for _ in range(3):
        task = asyncio.create_task(call(reader))
        await turns()
        task.cancel()
        await turns()
        assert task.cancelled()
    task = asyncio.create_task(call(reader))
    await turns()
    assert not task.done()
    reader.feed_data(b"def\n")
    reader.feed_eof()
    assert (await task).startswith(b"abcdef")


@bounded
async def test_woken_and_another_one_takes_it_first_waits_on():
    reader = poolio.StreamReader()
    task = asyncio.create_task(reader.readexactly(4))
    await turns()
    reader.feed_data(b"abcd")           # wakes the task in the next turn
    assert await reader.read(2) == b"ab"
    await turns()
    assert not task.done()
    reader.feed_data(b"ef")
    assert await task == b"cdef"


@bounded
async def test_woken_and_cancelled_another_one_waits_meanwhile_undisturbed():
    reader = poolio.StreamReader()
    task = asyncio.create_task(reader.readexactly(4))
    await turns()
    reader.feed_data(b"abcd")
    task.cancel()
    assert await reader.readexactly(4) == b"abcd"
    second = asyncio.create_task(reader.readexactly(2))
    await turns()
    assert task.cancelled()
    reader.feed_data(b"ef")
    assert await second == b"ef"


@on_ends
async def test_cancelling_a_read_is_told_as_asyncio_tells_it(streams):
    """The same script, step by step: messages, counts of cancel() and uncancel(), what timeouts say."""
    told = []

    async def reads(reader):
        task = asyncio.current_task()
        try:
            await reader.readexactly(10)
        except asyncio.CancelledError as exc:
            told.append((exc.args, task.cancelling(), task.uncancel()))
        async with asyncio.timeout(5) as timeout:
            told.append((await reader.readexactly(2), timeout.expired(), task.cancelling()))
        try:
            async with asyncio.timeout(0.01) as timeout:
                await reader.readexactly(10)
        except TimeoutError:
            told.append((timeout.expired(), task.cancelling()))
        try:
            await asyncio.wait_for(reader.readuntil(b"!"), 0.01)
        except TimeoutError:
            told.append(task.cancelling())
        async with asyncio.timeout(None) as timeout:
            told.append(await reader.readexactly(3))
            timeout.reschedule(asyncio.get_running_loop().time() + 5)
            told.append(await reader.read(1))

    async with pair(streams) as ((_, writer), (reader, _)):
        task = asyncio.create_task(reads(reader))
        await turns()
        writer.write(b"abc")
        await asyncio.sleep(0.01)
        task.cancel("why")
        await eventually(lambda: len(told) >= 4)
        writer.write(b"de")
        await turns(10)
        writer.write(b"f")
        await task
    assert told == [(("why",), 1, 0), (b"ab", False, 0), (True, 0), 0, b"cde", b"f"]


@on_ends
async def test_cancel_swallowed_the_task_reads_on(streams):
    async def reads(reader):
        while True:
            try:
                return await reader.readexactly(3)
            except asyncio.CancelledError:
                asyncio.current_task().uncancel()

    async with pair(streams) as ((_, writer), (reader, _)):
        task = asyncio.create_task(reads(reader))
        for piece in (b"a", b"b", b"c"):
            await turns()
            writer.write(piece)
            task.cancel()
            await asyncio.sleep(0.002)
        assert await task == b"abc"


@on_ends
async def test_reads_cancelled_at_random_nothing_is_lost_or_doubled(streams):
    chance = random.Random(7)
    got = bytearray()

    async def reads(reader):
        while len(got) < 20_000:
            size = chance.randrange(1, 60)
            try:
                match chance.randrange(4):
                    case 0:
                        got.extend(await reader.read(size))
                    case 1:
                        got.extend(await reader.readexactly(min(size, 20_000 - len(got))))
                    case 2:
                        async with asyncio.timeout(chance.random() * 0.001):
                            got.extend(await reader.readexactly(min(size, 20_000 - len(got))))
                    case 3:
                        got.extend(await reader.readuntil(BLOCK[len(got) + size:len(got) + size + 1]))
            except (asyncio.CancelledError, TimeoutError):
                while asyncio.current_task().cancelling():
                    asyncio.current_task().uncancel()

    async with pair(streams) as ((_, writer), (reader, _)):
        task = asyncio.create_task(reads(reader))
        await turns()
        sent = 0
        while sent < 20_300:
            size = chance.randrange(1, 200)
            writer.write(BLOCK[sent:sent + size])
            sent += size
            for _ in range(chance.randrange(3)):
                if chance.random() < 0.5:
                    task.cancel()
                await asyncio.sleep(0)
        await task
        assert got[:20_000] == BLOCK[:20_000]
        assert BLOCK.startswith(got)
