"""relay(): bytes go from one stream to another until the end, with bounded memory, and errors are raised."""

import asyncio
import contextlib

import pytest
from kit.faults import reset_at_close
from kit.pairs import on, pair, turns
from kit.wires import (
    BLOCK,
    LOOPS,
    eventually,
)

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")


@contextlib.asynccontextmanager
async def relayed(pool, limit=65536):
    """Two pairs: what one client sends is to be relayed to the other one."""
    async with pair(limit=limit, pool=pool) as (one, inner), pair(limit=limit, pool=pool) as (outer, other):
        yield one, inner, outer, other


@on(*LOOPS)
async def test_relay_both_ways_until_both_ends(make_pool):
    pool = make_pool()
    async with relayed(pool) as ((reader, writer), inner, outer, (far_reader, far_writer)):
        relays = asyncio.gather(poolio.relay(inner[0], outer[1]), poolio.relay(outer[0], inner[1]))
        for size in (1, 1000, 400_000):
            writer.write(BLOCK[:size])
            assert await far_reader.readexactly(size) == BLOCK[:size]
            far_writer.write(BLOCK[size:2 * size])
            assert await reader.readexactly(size) == BLOCK[size:2 * size]
        writer.write(b"last")
        writer.write_eof()
        assert await far_reader.read() == b"last"
        far_writer.write(b"answer to it")
        far_writer.write_eof()
        assert await reader.read() == b"answer to it"
        assert await relays == [401_005, 401_013]


@on(*LOOPS)
async def test_relay_slow_target_pauses_the_source_and_memory_is_bounded(make_pool):
    pool = make_pool()
    async with relayed(pool) as ((_, writer), (reader, inner_writer), outer, (far_reader, far_writer)):
        far_writer.transport.pause_reading()
        task = asyncio.create_task(poolio.relay(reader, outer[1]))
        writer.write(BLOCK)
        writer.write_eof()
        await eventually(lambda: not inner_writer.transport.is_reading())
        await asyncio.sleep(0.02)
        # high water and one read in the queue, twice the limit and one read unread; each may lie in slabs of its own
        assert pool.statistics().reserved_bytes <= 8 * 262_144
        assert not task.done()
        far_writer.transport.resume_reading()
        assert await far_reader.read() == BLOCK
        assert await task == len(BLOCK)
        del task


@on(*LOOPS)
async def test_relay_target_is_lost_raises():
    async with relayed(None) as ((_, writer), inner, outer, (_, far_writer)):
        task = asyncio.create_task(poolio.relay(inner[0], outer[1]))
        await turns()
        far_writer.transport.abort()
        await asyncio.sleep(0.005)
        with pytest.raises(ConnectionError):
            while not task.done():
                writer.write(BLOCK[:100_000])
                await asyncio.sleep(0.002)
            await task


@on(*LOOPS)
async def test_relay_source_is_reset_raises_and_sends_no_end():
    async with relayed(None) as ((_, writer), inner, outer, (far_reader, _)):
        task = asyncio.create_task(poolio.relay(inner[0], outer[1]))
        writer.write(b"part")
        assert await far_reader.readexactly(4) == b"part"
        reset_at_close(writer.get_extra_info("socket"))
        writer.transport.abort()
        with pytest.raises(ConnectionResetError):
            await task
        assert not far_reader.at_eof()
