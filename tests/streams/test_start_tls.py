"""StreamWriter.start_tls(): the stream goes on encrypted, and no byte that came in the clear is taken after it."""

import asyncio
import contextlib
import ssl

import pytest
from kit.faults import reset_at_close
from kit.pairs import closed, collect_errors, on, pair, turns
from kit.wires import (
    BLOCK,
    CLIENT_TLS,
    LOOPS,
    OURS,
    SERVER_TLS,
    eventually,
)

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")


@on(*LOOPS)
async def test_start_tls_on_both_sides_goes_on_encrypted():
    errors = collect_errors()
    async with pair(limit=1 << 20) as ((client, client_writer), (reader, writer)):
        client_writer.write(b"in the clear\n")
        assert await reader.readline() == b"in the clear\n"
        assert writer.get_extra_info("sslcontext") is None
        await asyncio.gather(
            writer.start_tls(SERVER_TLS), client_writer.start_tls(CLIENT_TLS, server_hostname="localhost"))
        assert writer.get_extra_info("sslcontext") is SERVER_TLS
        assert client_writer.get_extra_info("sslcontext") is CLIENT_TLS
        for size in (10, 500_000):
            client_writer.write(BLOCK[:size])
            assert await reader.readexactly(size) == BLOCK[:size]
            writer.write(BLOCK[size:2 * size])
            await writer.drain()
            assert await client.readexactly(size) == BLOCK[size:2 * size]
        await closed(writer)
        assert await client.read() == b""
    assert errors == []


@on(*LOOPS)
async def test_start_tls_with_unread_bytes_is_refused_and_they_stay():
    async with pair() as ((_, client_writer), (reader, writer)):
        client_writer.write(b"sent before")
        await eventually(lambda: len(reader.chain))
        with pytest.raises(RuntimeError, match="11 bytes are unread"):
            await writer.start_tls(SERVER_TLS)
        assert await reader.readexactly(11) == b"sent before"


@on(*LOOPS)
async def test_start_tls_bytes_come_while_it_drains_is_refused():
    """Whoever sits between could else slip in a command in the clear that looks as if it had come encrypted."""
    async with pair(waits=False) as ((client, client_writer), (reader, writer)):
        writer.write(BLOCK)
        upgrading = asyncio.create_task(writer.start_tls(SERVER_TLS))
        await turns()
        client_writer.write(b"injected")
        await eventually(lambda: len(reader.chain))
        await client.readexactly(len(BLOCK))
        greeting = asyncio.create_task(client_writer.start_tls(CLIENT_TLS, server_hostname="localhost"))
        with pytest.raises(RuntimeError, match="8 bytes are unread"):
            await upgrading
        writer.transport.abort()
        greeting.cancel()
        await asyncio.wait([greeting])


@on("asyncio", *OURS)
async def test_start_tls_more_than_the_limit_comes_with_the_handshake_reading_goes_on():
    async with pair(limit=1000) as ((client, client_writer), (reader, writer)):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = CLIENT_TLS.wrap_bio(incoming, outgoing, server_hostname="localhost")
        upgrading = asyncio.create_task(writer.start_tls(SERVER_TLS))
        await turns()                                   # what comes from now on is not in the clear
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        client_writer.write(outgoing.read())
        while tls.version() is None:
            incoming.write(bytes(await client.read(65536)))
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
        tls.write(BLOCK[:5000])
        client_writer.write(outgoing.read())            # the end of the handshake and these bytes, at once
        await upgrading
        assert await reader.readexactly(5000) == BLOCK[:5000]
        tls.write(BLOCK[5000:6000])
        client_writer.write(outgoing.read())
        assert await reader.readexactly(1000) == BLOCK[5000:6000]


@on("asyncio", *OURS)
async def test_start_tls_handshake_fails_it_raises_and_both_are_closed():
    errors = collect_errors()
    async with pair(waits=False) as ((_, client_writer), (reader, writer)):
        upgrading = asyncio.create_task(writer.start_tls(SERVER_TLS))
        await turns()
        client_writer.write(b"this is no handshake at all\n" * 10)
        with pytest.raises(OSError):
            await upgrading
        assert writer.is_closing()
        with contextlib.suppress(OSError):
            await asyncio.wait_for(writer.wait_closed(), 2)
        with contextlib.suppress(OSError):
            assert await asyncio.wait_for(reader.read(), 2) == b""
    errors.clear()


@pytest.mark.parametrize("ending", ("close", "reset"))
@on(*LOOPS)
async def test_start_tls_peer_goes_during_the_handshake_it_raises_and_all_is_closed(ending):
    errors = collect_errors()
    async with pair(waits=False) as ((_, client_writer), (reader, writer)):
        upgrading = asyncio.create_task(writer.start_tls(SERVER_TLS))
        await turns()
        if ending == "reset":
            reset_at_close(client_writer.get_extra_info("socket"))
        client_writer.close()
        with pytest.raises(OSError):
            await asyncio.wait_for(upgrading, 5)
        with contextlib.suppress(OSError):
            await asyncio.wait_for(writer.wait_closed(), 5)
        with contextlib.suppress(OSError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
    errors.clear()


@on(*LOOPS)
async def test_start_tls_after_the_peers_end_is_refused():
    async with pair(waits=False) as ((_, client_writer), (reader, writer)):
        client_writer.write_eof()
        assert await reader.read() == b""
        with pytest.raises(ConnectionResetError, match="before start_tls"):
            await asyncio.wait_for(writer.start_tls(SERVER_TLS), 5)
        await asyncio.wait_for(writer.wait_closed(), 5)
