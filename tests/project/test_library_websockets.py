"""websockets on poolio.EventLoop, unchanged, against real peers: every byte is checked."""

import asyncio
import contextlib

from kit.libraries import LARGE, MESSAGE, assert_poolio, library, pieces_of, plain_and_tls, run
from kit.wires import CLIENT_TLS, SERVER_TLS

websockets = library("websockets", "websockets.asyncio.client", "websockets.asyncio.server", minversion="15")


@contextlib.asynccontextmanager
async def websockets_client(websockets, handler, tls):
    """Serve the handler; yields a connected client."""
    async with websockets.asyncio.server.serve(handler, "127.0.0.1", 0, ssl=SERVER_TLS if tls else None) as server:
        port = server.sockets[0].getsockname()[1]
        options = {"ssl": CLIENT_TLS, "server_hostname": "localhost"} if tls else {}
        address = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}"
        async with websockets.asyncio.client.connect(address, proxy=None, **options) as client:
            assert_poolio(client.transport)
            yield client


@plain_and_tls
def test_websockets_text_and_a_megabyte_come_back(websockets, tls):
    async def echo(connection):
        assert_poolio(connection.transport)
        async for message in connection:
            await connection.send(message)

    async def main():
        async with websockets_client(websockets, echo, tls) as client:
            for message in ("", "one", "ünïcode" * 10_000, b"", MESSAGE):
                await client.send(message)
                assert await client.recv() == message
            await client.send(pieces_of(MESSAGE))
            assert await client.recv() == MESSAGE
            await (await client.ping(b"there?"))

    run(main)


@plain_and_tls
def test_websockets_close_handshake_tells_both_ends(websockets, tls):
    async def main():
        seen = asyncio.get_running_loop().create_future()

        async def wait(connection):
            await connection.wait_closed()
            seen.set_result((connection.close_code, connection.close_reason))

        async with websockets_client(websockets, wait, tls) as client:
            await client.close(4001, "enough")
            assert (client.close_code, client.close_reason) == await seen == (4001, "enough")

    run(main)


@plain_and_tls
def test_websockets_client_gets_what_came_before_the_server_closed(websockets, tls):
    async def send_and_close(connection):
        for piece in pieces_of(LARGE):
            await connection.send(piece)

    async def main():
        async with websockets_client(websockets, send_and_close, tls) as client:
            assert b"".join([piece async for piece in client]) == LARGE
            assert client.close_code == 1000

    run(main)
