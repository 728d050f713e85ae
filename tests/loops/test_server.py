"""Server: as CPython 3.13 has it, on every loop and version."""

import asyncio
import socket

import pytest
from kit.pairs import Recorder, listed_in, own_transports, received_by
from kit.wires import BLOCK, eventually, run

import poolio


@pytest.fixture
def made():
    return []


def address_of(server):
    return server.sockets[0].getsockname()[:2]


@own_transports
def test_wait_closed_waits_for_the_connections(loop_name, made):
    async def main():
        server = await poolio.create_server(listed_in(made), "127.0.0.1", 0)
        transport, protocol = await poolio.create_connection(Recorder, *address_of(server))
        await eventually(lambda: made and made[0].calls)
        server.close()
        server.close()
        waiting = asyncio.ensure_future(server.wait_closed())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        transport.close()
        await waiting
        assert made[0].calls[-1] == "lost"
        await protocol.ended
    run(loop_name, main)


@own_transports
@pytest.mark.parametrize("method, gets_all", (("close_clients", True), ("abort_clients", False)))
def test_server_ends_its_clients(loop_name, made, method, gets_all):
    async def main():
        server = await poolio.create_server(listed_in(made), "127.0.0.1", 0)
        peers = [socket.create_connection(address_of(server)) for _ in range(3)]
        await eventually(lambda: len(made) == 3 and all(protocol.calls for protocol in made))
        for peer in peers:
            peer.settimeout(20)
        for protocol in made:
            protocol.transport.write(BLOCK)
        server.close()
        getattr(server, method)()
        for peer in peers:
            with peer:
                got = await received_by(peer)
            assert got == BLOCK if gets_all else len(got) < len(BLOCK)
        await server.wait_closed()
        assert all(protocol.calls[-1] == "lost" for protocol in made)
    run(loop_name, main)


@own_transports
def test_serve_forever_ends_when_cancelled(loop_name, made):
    async def main():
        async with await poolio.create_server(listed_in(made), "127.0.0.1", 0) as server:
            serving = asyncio.ensure_future(server.serve_forever())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="already"):
                await server.serve_forever()
            _, protocol = await poolio.create_connection(Recorder, *address_of(server))
            await eventually(lambda: made and made[0].calls)
            serving.cancel()                    # also ends the connections: it would wait for them for ever
            with pytest.raises(asyncio.CancelledError):
                await serving
            await protocol.ended
            assert not server.is_serving()
            with pytest.raises(RuntimeError, match="is closed"):
                await server.serve_forever()
    run(loop_name, main)
