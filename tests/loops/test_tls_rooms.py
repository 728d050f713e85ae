"""TLS on several loops: connections of one loop share a room, and those of two loops, in whatever threads, do not."""

import asyncio
import os
import threading

import pytest
from kit.echoes import Echo
from kit.pairs import own_transports
from kit.wires import CLIENT_TLS, LOOPS, OURS, OWN_TRANSPORTS, SERVER_TLS

import poolio

BLOCK = os.urandom(300_000)


def made_on(loop, is_ours):
    """A server that echoes, and a client of it, both over TLS."""
    async def make():
        connect = poolio if is_ours else loop
        server = await connect.create_server(Echo, "127.0.0.1", 0, ssl=SERVER_TLS)
        reader, writer = await poolio.open_connection(
            *server.sockets[0].getsockname(), ssl=CLIENT_TLS, server_hostname="localhost")
        return server, reader, writer
    return loop.run_until_complete(make())


async def echo(server, reader, writer):
    for _ in range(20):
        writer.write(BLOCK)
        assert await asyncio.wait_for(reader.readexactly(len(BLOCK)), 20) == BLOCK
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


@own_transports
def test_two_loops_made_in_one_thread_run_in_two(loop_name):
    loops = [LOOPS[loop_name]() for _ in range(2)]
    made = [made_on(loop, loop_name in OWN_TRANSPORTS) for loop in loops]
    failed = []

    def run(loop, parts):
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(echo(*parts))
        except BaseException as exc:
            failed.append(exc)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(loops, made, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for loop in loops:
        loop.close()
    assert failed == []


@pytest.mark.skipif(not OURS, reason="needs poolio's own transports")
def test_connections_of_a_loop_share_one_room():
    async def main():
        parts = [await poolio.create_server(Echo, "127.0.0.1", 0, ssl=SERVER_TLS)]
        address = parts[0].sockets[0].getsockname()
        writers = [(await poolio.open_connection(*address, ssl=CLIENT_TLS, server_hostname="localhost"))[1]
                   for _ in range(3)]
        rooms = {id(writer.transport._ssl_protocol._ssl_buffer) for writer in writers}
        assert len(rooms) == 1
        for writer in writers:
            writer.close()
            await writer.wait_closed()
        parts[0].close()
        await parts[0].wait_closed()

    poolio.run(main())
