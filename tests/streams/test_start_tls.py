"""StreamWriter.start_tls(): the stream goes on encrypted, and no byte that came in the clear is taken after it."""

import asyncio
import contextlib
import ssl

import pytest
from kit.faults import reset_at_close
from kit.pairs import closed, collect_errors, on, pair, turns
from kit.tlsbyhand import TLSByHand
from kit.wires import (
    BLOCK,
    CLIENT_TLS,
    LOOPS,
    OURS,
    SERVER_TLS,
    eventually,
)

import poolio

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


@on("asyncio", *OURS)
async def test_start_tls_more_than_the_limit_comes_with_the_handshake_reading_goes_on():
    async with pair(limit=1000) as ((client, client_writer), (reader, writer)):
        peer = TLSByHand(client, client_writer)
        upgrading = asyncio.create_task(writer.start_tls(SERVER_TLS))
        await turns()                                   # what comes from now on is not in the clear
        await peer.handshake()
        peer.write(BLOCK[:5000])                        # the end of the handshake and these bytes, at once
        await upgrading
        assert await reader.readexactly(5000) == BLOCK[:5000]
        peer.write(BLOCK[5000:6000])
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


# --- what came before TLS -----------------------------------------------------------------------------------------

LINE = b"PROXY TCP4 192.0.2.1 192.0.2.2 1024 443\r\n"


async def greet(first):
    """A line in the clear and the hello of TLS come in two pieces, the first of so many bytes; then a message.

    What has come of the hello is unread when TLS starts, and the rest comes afterwards.
    """
    async with pair(waits=False) as ((client, client_writer), (reader, writer)):
        peer = TLSByHand(client, client_writer)
        sent = LINE + peer.to_send()
        client_writer.write(sent[:first])
        await eventually(lambda: len(reader.chain) == min(first, len(sent)))
        if first < len(LINE):
            client_writer.write(sent[first:])
            await eventually(lambda: len(reader.chain) == len(sent))
        assert await reader.readline() == LINE
        upgrading = asyncio.create_task(writer.start_tls(SERVER_TLS))
        await turns()
        if first >= len(LINE):
            client_writer.write(sent[first:])
        await peer.handshake()
        peer.write(b"ping")
        await upgrading
        writer.write(await reader.readexactly(4))
        assert await peer.read(4) == b"ping"
        writer.transport.abort()


@pytest.mark.parametrize("nth", range(4))
@on("poolio")
async def test_start_tls_line_and_hello_in_every_split_goes_on_encrypted(nth):
    end = len(LINE) + len(TLSByHand(None, None).to_send())
    for first in range(1 + nth, min(end, 600) + 1, 4):
        await greet(first)


@on(*LOOPS)
async def test_start_tls_line_and_hello_in_some_splits_goes_on_encrypted():
    for first in (1, *range(len(LINE) - 1, len(LINE) + 8), *range(100, 700, 60)):
        await greet(first)


async def start_tls_on_injected(reader, writer, other, size, options):
    """`other` is the peer's writer, through which somebody speaks who sits between."""
    other.write(b"injected" * (size // 8))
    await eventually(lambda: len(reader.chain) == size)
    with pytest.raises(ssl.SSLError):
        await writer.start_tls(**options)
    assert writer.is_closing()
    with contextlib.suppress(OSError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert len(reader.chain) == 0
    other.transport.abort()


@pytest.mark.parametrize("size", (8, 200_000))
@on(*LOOPS)
async def test_start_tls_server_was_sent_bytes_in_the_clear_it_raises_and_they_are_not_read(size):
    """They could be a command that looks as if it had come encrypted."""
    errors = collect_errors()
    async with pair(waits=False, limit=1 << 20) as ((_, client_writer), (reader, writer)):
        await start_tls_on_injected(reader, writer, client_writer, size, {"sslcontext": SERVER_TLS})
    errors.clear()


@pytest.mark.parametrize("size", (8, 200_000))
@on(*LOOPS)
async def test_start_tls_client_was_sent_bytes_in_the_clear_it_raises_and_they_are_not_read(size):
    """They could be an answer that looks as if it had come encrypted."""
    errors = collect_errors()
    with contextlib.suppress(ssl.SSLError):             # wait_closed() raises it again
        async with pair(waits=False, limit=1 << 20) as ((client, client_writer), (_, writer)):
            await start_tls_on_injected(
                client, client_writer, writer, size, {"sslcontext": CLIENT_TLS, "server_hostname": "localhost"})
    errors.clear()


@on("asyncio", "uvloop", *OURS)
async def test_start_tls_bytes_come_while_it_drains_they_fail_the_handshake():
    errors = collect_errors()
    async with pair(waits=False) as ((client, client_writer), (_, writer)):
        writer.write(BLOCK)
        upgrading = asyncio.create_task(writer.start_tls(SERVER_TLS))
        await turns()
        client_writer.write(b"injected")
        await client.readexactly(len(BLOCK))
        with pytest.raises(ssl.SSLError):
            await upgrading
        client_writer.transport.abort()
    errors.clear()


@on(*LOOPS)
async def test_start_tls_refused_before_it_began_unread_bytes_stay():
    async with pair() as ((_, client_writer), (reader, writer)):
        client_writer.write(b"sent ")
        await eventually(lambda: len(reader.chain) == 5)
        with pytest.raises(TypeError):
            await writer.start_tls("no context")
        client_writer.write(b"before")
        assert await reader.readexactly(11) == b"sent before"


@on(*LOOPS)
async def test_start_tls_while_a_task_waits_for_more_than_came_it_reads_what_comes_encrypted():
    async with pair(waits=False) as ((client, client_writer), (reader, writer)):
        peer = TLSByHand(client, client_writer)
        hello = peer.to_send()
        client_writer.write(hello)
        reading = asyncio.create_task(reader.readexactly(len(hello) + 1000))
        await eventually(lambda: len(reader.chain) == len(hello))
        upgrading = asyncio.create_task(writer.start_tls(SERVER_TLS))
        await peer.handshake()
        peer.write(BLOCK[:600])
        await upgrading
        peer.write(BLOCK[600:len(hello) + 1000])
        assert await reading == BLOCK[:len(hello) + 1000]
        writer.transport.abort()


@on(*LOOPS)
async def test_start_tls_within_a_frame_that_is_dropped_is_refused():
    """Its rest would else be taken from what comes encrypted."""
    async with pair() as ((_, client_writer), (reader, writer)):
        codec = poolio.LengthPrefixed(4, max_frame=10, too_large="discard")
        reading = asyncio.create_task(anext(reader.frames(codec)))
        client_writer.write(b"\0\0\0\x20" + bytes(10))
        await eventually(lambda: codec.discarded == 1)
        with pytest.raises(RuntimeError, match="frame"):
            await writer.start_tls(SERVER_TLS)
        reading.cancel()


@on("asyncio", *OURS)
async def test_start_tls_with_twice_the_limit_unread_reading_goes_on():
    async with pair(limit=100, waits=False) as ((client, client_writer), (reader, writer)):
        peer = TLSByHand(client, client_writer)
        hello = peer.to_send()
        client_writer.write(hello)
        await eventually(lambda: len(reader.chain) == len(hello) and not writer.transport.is_reading())
        upgrading = asyncio.create_task(writer.start_tls(SERVER_TLS))
        await peer.handshake()
        peer.write(BLOCK[:1000])
        await upgrading
        assert await reader.readexactly(1000) == BLOCK[:1000]
        writer.transport.abort()


@on(*LOOPS)
async def test_start_tls_hello_is_there_and_the_peer_has_ended_is_refused():
    async with pair(waits=False) as ((client, client_writer), (reader, writer)):
        client_writer.write(TLSByHand(client, client_writer).to_send())
        client_writer.write_eof()
        await eventually(lambda: "at its end" in repr(reader))
        with pytest.raises(ConnectionResetError, match="before start_tls"):
            await asyncio.wait_for(writer.start_tls(SERVER_TLS), 5)
        await asyncio.wait_for(writer.wait_closed(), 5)
