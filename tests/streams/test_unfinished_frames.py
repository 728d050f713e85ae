"""Peers that stop in the middle of a frame: they hold little memory, and their frames go on later."""

import asyncio
import contextlib
import socket

import pytest
from kit.pairs import closed, pair, turns
from kit.wires import (
    BLOCK,
    OURS,
    allow_descriptors,
    eventually,
    net,
    run,
)

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")


def check_many_stop(loop_name, make_pool, connections, call):
    """Each sends a tenth of a frame and stops; between them others are served in full."""
    allow_descriptors(2 * connections + 200)
    pool = make_pool()
    waiting = set()

    async def stalls(reader, writer):
        waiting.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await call(reader)
        await closed(writer)

    async def main():
        loop = asyncio.get_running_loop()
        server = await net().create_server(
            lambda: poolio.StreamProtocol(stalls, pool=pool), "127.0.0.1", 0, backlog=2048)
        address = server.sockets[0].getsockname()
        async with pair(limit=1 << 20, pool=pool) as ((_, busy_writer), (busy_reader, _)):
            peers = []
            for number in range(connections):
                peer = socket.socket()
                peer.setblocking(False)
                await loop.sock_connect(peer, address)
                await loop.sock_sendall(peer, b"\0\0\x03\xe8" + BLOCK[:number % 200])
                peers.append(peer)
                if number % 10 == 0:
                    busy_writer.write(BLOCK[:100_000])
                    assert await busy_reader.readexactly(100_000) == BLOCK[:100_000]
            await eventually(lambda: len(waiting) == connections)
            for _ in range(5):
                busy_writer.write(BLOCK[:100_000])
                assert await busy_reader.readexactly(100_000) == BLOCK[:100_000]
            figures = pool.statistics()
            for peer in peers:
                peer.close()
            await asyncio.gather(*waiting)
            waiting.clear()
        server.close()
        await server.wait_closed()
        return figures

    async def measured():
        main.figures = await main()

    run(loop_name, measured, timeout=60)
    return main.figures


@pytest.mark.parametrize("call", (
    lambda reader: reader.readexactly(1004), lambda reader: anext(reader.frames(poolio.LengthPrefixed(4)))),
    ids=("readexactly", "frames"))
@pytest.mark.parametrize("loop_name", OURS)
def test_thousand_stop_in_the_middle_of_a_frame_slabs_stay_few(loop_name, call, make_pool):
    figures = check_many_stop(loop_name, make_pool, 1000, call)
    # 2 MB, and: the slab that is received into, the one before it, and the copies of what the busy stream puts together
    assert figures.reserved_bytes <= 2_000_000 + 4 * 262_144
    assert figures.live_bytes <= 1000 * 204 + 2 * 262_144
    assert figures.unpooled_bytes <= 1000 * 204


@pytest.mark.parametrize("loop_name", OURS[:1])
def test_stopped_in_the_middle_the_frame_goes_on_later(loop_name, make_pool):
    pool = make_pool()

    async def main():
        async with pair(pool=pool) as ((_, writer), (reader, _)):
            frames = reader.frames(poolio.LengthPrefixed(4))
            for start in range(0, 1004, 100):
                task = asyncio.create_task(anext(frames))
                await turns()
                writer.write((b"\0\0\x03\xe8" + BLOCK[:1000])[start:start + 100])
                await asyncio.sleep(0.002)
                if start < 1000:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
            assert await task == BLOCK[:1000]
            del task
    run(loop_name, main)
