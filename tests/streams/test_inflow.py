"""What lies unread in a stream: it comes as slices of received memory, and too much of it pauses the transport."""

import asyncio
import sys

import pytest
from kit.pairs import bounded, on, on_ends, pair, turns
from kit.readers import fed, unread
from kit.wires import BLOCK, LOOPS, OURS, eventually, run

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")


# --- slices ---------------------------------------------------------------------------------------------------

@bounded
async def test_results_are_slices_of_what_was_received(make_pool):
    pool = make_pool()
    received = pool.from_bytes(BLOCK[:100_000])
    reader = fed(poolio.StreamReader, received, pool=pool)
    at = received.offset
    for call, size in ((reader.read(10), 10), (reader.readexactly(7), 7), (reader.peek(5), 0),
                       (anext(reader.frames(poolio.FixedSize(100))), 100), (reader.read_at_least(3), 99_883)):
        result = await call
        assert isinstance(result, poolio.Buffer)
        assert (result.slab, result.offset) == (received.slab, at)
        at += size
    assert at == received.offset + 100_000
    assert pool.statistics().copied_bytes == 0


@on(*OURS)
async def test_received_while_waiting_is_returned_as_it_was_received(make_pool):
    pool = make_pool()
    async with pair(pool=pool) as ((_, writer), (reader, _)):
        task = asyncio.create_task(reader.read(100))
        await turns()
        writer.write(b"abcdef")
        whole = await task
        assert (whole, pool.statistics().copied_bytes) == (b"abcdef", 0)
        assert pool.statistics().live_allocations == 1
        del whole, task


@bounded
async def test_result_may_be_released_or_kept_while_the_rest_is_read(make_pool):
    pool = make_pool()
    reader = fed(poolio.StreamReader, BLOCK[:1000], pool=pool)
    kept = await reader.read(10)
    gone = await reader.read(10)
    gone.release()
    assert await reader.readexactly(980) == BLOCK[20:1000]
    assert kept == BLOCK[:10]


@bounded
async def test_pool_has_no_memory_for_a_copy_nothing_is_lost(make_pool):
    pool = make_pool(slab_size=4096, max_bytes=8192)
    reader = fed(poolio.StreamReader, pool.from_bytes(BLOCK[:3000]), pool.from_bytes(BLOCK[3000:6000]), pool=pool)
    with pytest.raises(poolio.PoolExhausted):
        await reader.readexactly(5000)
    assert await reader.readexactly(3000) == BLOCK[:3000]
    assert await reader.readexactly(3000) == BLOCK[3000:6000]


# --- backpressure -----------------------------------------------------------------------------------------------

@on_ends
async def test_more_than_twice_the_limit_unread_pauses_and_the_limit_lets_go_on(streams):
    async with pair(streams, limit=1000) as ((_, writer), (reader, server_writer)):
        transport = server_writer.transport
        writer.write(BLOCK[:2000])
        await asyncio.sleep(0.01)
        assert transport.is_reading()
        writer.write(BLOCK[2000:2001])
        await eventually(lambda: not transport.is_reading())
        assert await reader.readexactly(1000) == BLOCK[:1000]
        assert not transport.is_reading()
        assert await reader.readexactly(1) == BLOCK[1000:1001]
        assert transport.is_reading()
        writer.write(BLOCK[2001:5000])
        assert await reader.readexactly(3999) == BLOCK[1001:5000]


@pytest.mark.parametrize("streams, loop_name", [("poolio", name) for name in LOOPS])
@pytest.mark.parametrize("call", (
    lambda reader: reader.readexactly(300_000),
    lambda reader: reader.read_at_least(300_000),
    lambda reader: reader.peek(300_000),
    lambda reader: reader.readuntil(BLOCK[299_990:300_000], limit=300_000),
    lambda reader: anext(reader.frames(poolio.FixedSize(300_000))),
), ids=("readexactly", "read_at_least", "peek", "readuntil", "frames"))
def test_wanted_is_more_than_the_limit_no_deadlock(streams, loop_name, call):
    async def main():
        async with pair(streams, limit=1000) as ((_, writer), (reader, server_writer)):
            writer.write(BLOCK[:400_000])
            await eventually(lambda: not server_writer.transport.is_reading())
            assert (await call(reader))[:300_000] == BLOCK[:300_000]
            rest = asyncio.create_task(reader.read())
            writer.write_eof()
            assert BLOCK[:400_000].endswith(await rest)
    run(loop_name, main, timeout=30)


@on_ends
async def test_paused_and_lost_what_is_unread_can_be_read(streams):
    """The transport is gone, so nobody can resume it."""
    async with pair(streams, limit=1000) as ((_, writer), (reader, server_writer)):
        writer.write(BLOCK[:5000])
        await eventually(lambda: not server_writer.transport.is_reading())
        server_writer.transport.abort()
        await eventually(lambda: reader.exception() or reader.at_eof() or not server_writer.transport.is_reading())
        await server_writer.wait_closed()
        got = await reader.read()
        assert len(got) > 2000
        assert BLOCK.startswith(bytes(got))


@on(*OURS[:1])
async def test_limit_as_large_as_can_be_never_pauses():
    async with pair(limit=sys.maxsize) as ((_, writer), (reader, server_writer)):
        writer.write(b"abc")
        await asyncio.sleep(0.01)
        assert server_writer.transport.is_reading()
        assert await reader.read(3) == b"abc"


@bounded
async def test_transport_that_can_not_pause_is_not_asked_again():
    asked = []

    class Transport(asyncio.Transport):
        def pause_reading(self):
            asked.append("pause")
            raise NotImplementedError

    reader = poolio.StreamReader(limit=1)
    reader.set_transport(Transport())
    for _ in range(3):
        reader.feed_data(b"abc")
    assert asked == ["pause"]
    assert await unread(reader) == b"abcabcabc"


@on(*OURS)
async def test_peer_sends_byte_by_byte_a_large_frame_comes_whole(make_pool):
    pool = make_pool()
    async with pair(pool=pool) as ((_, writer), (reader, _)):
        task = asyncio.create_task(anext(reader.frames(poolio.LengthPrefixed(2))))
        for start in range(500):
            writer.write((b"\1\xf2" + BLOCK[:498])[start:start + 1])
            await asyncio.sleep(0)
        assert await task == BLOCK[:498]
        del task


@pytest.mark.parametrize("loop_name", OURS[:1])
def test_loop_is_closed_while_a_task_waits(loop_name, make_pool):
    pool = make_pool()

    async def main():
        async with pair(pool=pool) as ((_, writer), (reader, _)):
            main.task = asyncio.create_task(reader.readexactly(10))
            await turns()
            writer.write(b"abc")
            await asyncio.sleep(0.005)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(loop_name, main)
    assert main.task.done()
    del main.task
