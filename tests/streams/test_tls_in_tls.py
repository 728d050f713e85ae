"""StreamWriter.start_tls() on a connection that is encrypted already, as behind a proxy that speaks TLS."""

import asyncio
import contextlib
import inspect
import ssl

import pytest
from kit.pairs import closed, collect_errors, on, turns
from kit.tlsbyhand import TLSByHand
from kit.wires import BLOCK, CLIENT_TLS, LOOPS, OURS, SERVER_TLS, eventually, net

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")

# On CPython 3.11 and the first of 3.12 asyncio's own TLS in TLS raises TypeError where it should close the connection.
CLOSES = "exc" in inspect.signature(asyncio.sslproto.SSLProtocol._abort).parameters
THAT_END = [name for name in LOOPS if name != "asyncio" or CLOSES]


@contextlib.asynccontextmanager
async def encrypted():
    """((reader, writer) of the client, (reader, writer) of the server) of a connection over TLS."""
    accepted = asyncio.get_running_loop().create_future()

    def connected(reader, writer):
        accepted.set_result((reader, writer))

    server = await net().create_server(
        lambda: poolio.StreamProtocol(connected, limit=1 << 20), "127.0.0.1", 0, ssl=SERVER_TLS)
    _, protocol = await net().create_connection(
        lambda: poolio.StreamProtocol(limit=1 << 20), *server.sockets[0].getsockname(), ssl=CLIENT_TLS,
        server_hostname="localhost")
    client = protocol.reader, protocol.take_writer()
    served = await accepted
    server.close()
    try:
        yield client, served
    finally:
        for _, writer in (client, served):
            with contextlib.suppress(OSError):
                await asyncio.wait_for(closed(writer), 5)
        await server.wait_closed()


def inner(writer):
    return writer.start_tls(CLIENT_TLS, server_hostname="localhost")


@on(*LOOPS)
async def test_tls_in_tls_bytes_go_both_ways():
    errors = collect_errors()
    async with encrypted() as ((client, client_writer), (reader, writer)):
        client_writer.write(b"CONNECT\n")
        upgrading = asyncio.create_task(inner(client_writer))       # line and hello come in one record, or two
        assert await reader.readline() == b"CONNECT\n"
        await asyncio.gather(upgrading, writer.start_tls(SERVER_TLS))
        for size in (10, 500_000):
            client_writer.write(BLOCK[:size])
            assert await reader.readexactly(size) == BLOCK[:size]
            writer.write(BLOCK[size:2 * size])
            await writer.drain()
            assert await client.readexactly(size) == BLOCK[size:2 * size]
        await closed(writer)
        assert await client.read() == b""
    assert errors == []


@on(*THAT_END)
async def test_tls_in_tls_inner_handshake_fails_it_raises_and_all_is_closed():
    errors = collect_errors()
    async with encrypted() as ((client, client_writer), (reader, writer)):
        client_writer.write(b"this is no handshake at all\n")
        await eventually(lambda: len(reader.chain))
        with pytest.raises(ssl.SSLError):
            await writer.start_tls(SERVER_TLS)
        assert writer.is_closing()
        with contextlib.suppress(OSError):
            await asyncio.wait_for(writer.wait_closed(), 5)
        with contextlib.suppress(OSError):
            await asyncio.wait_for(client.read(), 5)
    assert {type(each["exception"]) for each in errors} <= {ssl.SSLError}


@pytest.mark.parametrize("ending", ("close", "abort"))
@on(*THAT_END)
async def test_tls_in_tls_peer_goes_during_the_inner_handshake_it_raises_and_all_is_closed(ending):
    errors = collect_errors()
    async with encrypted() as ((_, client_writer), (_, writer)):
        upgrading = asyncio.create_task(writer.start_tls(SERVER_TLS))
        await turns()
        client_writer.close() if ending == "close" else client_writer.transport.abort()
        with pytest.raises(OSError):
            await upgrading
        with contextlib.suppress(OSError):
            await asyncio.wait_for(writer.wait_closed(), 5)
    errors.clear()


@on(*OURS)
async def test_tls_in_tls_refused_before_it_began_the_connection_goes_on_over_tls():
    errors = collect_errors()
    async with encrypted() as ((_, client_writer), (reader, writer)):
        with pytest.raises(TypeError):
            await writer.start_tls("no context")
        client_writer.write(b"encrypted once")
        assert await reader.readexactly(14) == b"encrypted once"
        assert writer.protocol.is_over_tls
    assert errors == []


@on(*OURS)
async def test_tls_in_tls_in_tls_bytes_go_both_ways():
    async with encrypted() as ((client, client_writer), (reader, writer)):
        for _ in range(2):
            await asyncio.gather(inner(client_writer), writer.start_tls(SERVER_TLS))
        client_writer.write(BLOCK[:100_000])
        assert await reader.readexactly(100_000) == BLOCK[:100_000]
        writer.write(BLOCK[:100_000])
        assert await client.readexactly(100_000) == BLOCK[:100_000]
        assert client_writer.get_extra_info("peername") == writer.get_extra_info("sockname")


@pytest.mark.parametrize("first", (1, 5, 100, 500))
@on(*LOOPS)
async def test_tls_in_tls_hello_comes_in_two_records_goes_on_encrypted(first):
    async with encrypted() as ((client, client_writer), (reader, writer)):
        peer = TLSByHand(client, client_writer)
        hello = peer.to_send()
        client_writer.write(hello[:first])
        await eventually(lambda: len(reader.chain) == first)
        upgrading = asyncio.create_task(writer.start_tls(SERVER_TLS))
        await turns()
        client_writer.write(hello[first:])
        await peer.handshake()
        peer.write(b"ping")
        await upgrading
        writer.write(await reader.readexactly(4))
        assert await peer.read(4) == b"ping"


@on(*OURS)
async def test_tls_in_tls_after_close_is_a_connection_reset():
    async with encrypted() as ((_, client_writer), _):
        client_writer.close()
        client_writer.close()
        with pytest.raises(ConnectionResetError):
            await inner(client_writer)
