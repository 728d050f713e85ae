"""TLS on several loops: what the connections of one loop share, those of two loops, in whatever threads, do not."""

import asyncio
import os
import threading

from kit.echoes import Echo
from kit.pairs import own_transports
from kit.wires import CLIENT_TLS, LOOPS, OWN_TRANSPORTS, SERVER_TLS

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
