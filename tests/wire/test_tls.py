"""start_tls() of loops and of poolio: what is unread begins the handshake; TLS in TLS."""

import asyncio
import contextlib
import ssl

import pytest
from kit.pairs import PooledRecorder, Recorder, collect_errors, linked, on, turns
from kit.tlsbyhand import TLSByHand
from kit.wires import CLIENT_TLS, LOOPS, OURS, SERVER_TLS, eventually, net

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")


class Frames(poolio.FramedProtocol):
    """A hello of TLS is the beginning of a frame of 0x16030100 bytes and more."""

    codec = poolio.LengthPrefixed(4, max_frame=1 << 30)

    def __init__(self):
        super().__init__()
        self.frames = []

    def frames_received(self, frames):
        self.frames += map(bytes, frames)


@contextlib.asynccontextmanager
async def linked_by_hand(factory):
    """A protocol, and the client of a TLS handshake on the other end of its connection."""
    protocol, peer = await linked(factory)
    reader, writer = await asyncio.open_connection(sock=peer)
    try:
        yield protocol, TLSByHand(reader, writer)
    finally:
        ended = protocol._transport if isinstance(protocol, asyncio.StreamReaderProtocol) else protocol.transport
        ended.abort()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize("already", (3, 4, 5, 200, 500))
@on(*LOOPS)
async def test_start_tls_of_frames_the_unfinished_one_is_the_beginning_of_the_handshake(already):
    async with linked_by_hand(Frames) as (protocol, peer):
        hello = peer.to_send()
        peer.writer.write(b"\0\0\0\5plain" + hello[:already])
        await eventually(lambda: protocol.frames and len(protocol.chain) == already)
        upgrading = asyncio.create_task(
            poolio.start_tls(protocol.transport, protocol, SERVER_TLS, server_side=True))
        await asyncio.sleep(0)
        peer.writer.write(hello[already:])
        await peer.handshake()
        peer.write(b"\0\0\0\6secret")
        protocol.connection_made(await upgrading)
        await eventually(lambda: len(protocol.frames) == 2)
        assert protocol.frames == [b"plain", b"secret"]
        protocol.write_frame(b"answer")
        assert await peer.read(10) == b"\0\0\0\6answer"


@pytest.mark.parametrize("options", ({"server_side": True}, {"server_hostname": "localhost"}), ids=str)
@on(*LOOPS)
async def test_start_tls_of_frames_bytes_in_the_clear_fail_the_handshake(options):
    collect_errors()
    async with linked_by_hand(Frames) as (protocol, peer):
        peer.writer.write(b"\0\0\0\5plain" + b"\0\0\0\6evil")
        await eventually(lambda: len(protocol.chain) == 8)
        context = SERVER_TLS if "server_side" in options else CLIENT_TLS
        with pytest.raises(ssl.SSLError):
            await poolio.start_tls(protocol.transport, protocol, context, **options)
        assert protocol.frames == [b"plain"] and len(protocol.chain) == 0


@on("poolio")
async def test_start_tls_of_the_loop_itself_takes_what_is_unread_in_a_stream():
    loop = asyncio.get_running_loop()
    async with linked_by_hand(poolio.StreamProtocol) as (protocol, peer):
        hello = peer.to_send()
        peer.writer.write(hello)
        await eventually(lambda: len(protocol.reader.chain) == len(hello))
        upgrading = loop.create_task(loop.start_tls(
            protocol.writer.transport, protocol, SERVER_TLS, server_side=True))
        await peer.handshake()
        peer.write(b"secret")
        secured = await upgrading
        assert await protocol.reader.readexactly(6) == b"secret"
        secured.abort()


@pytest.mark.parametrize("limit", (100, 1 << 16))
@on(*OURS)
async def test_start_tls_of_asyncios_streams_what_is_unread_is_the_beginning_of_the_handshake(limit):
    """CPython does so on servers since 3.14; here it is so on every version."""
    reader = asyncio.StreamReader(limit)
    async with linked_by_hand(lambda: asyncio.StreamReaderProtocol(reader)) as (protocol, peer):
        hello = peer.to_send()
        peer.writer.write(b"plain\n" + hello)
        assert await reader.readline() == b"plain\n"
        await eventually(lambda: len(reader._buffer) == len(hello))
        upgrading = asyncio.create_task(
            net().start_tls(reader._transport, protocol, SERVER_TLS, server_side=True))
        await peer.handshake()
        peer.write(b"secret")
        secured = await upgrading
        assert await reader.readexactly(6) == b"secret"
        secured.abort()


@pytest.mark.parametrize("options", ({"server_side": True}, {"server_hostname": "localhost"}), ids=str)
@on(*OURS)
async def test_start_tls_of_asyncios_streams_bytes_in_the_clear_fail_the_handshake(options):
    collect_errors()
    reader = asyncio.StreamReader()
    async with linked_by_hand(lambda: asyncio.StreamReaderProtocol(reader)) as (protocol, peer):
        peer.writer.write(b"injected")
        await eventually(lambda: reader._buffer)
        context = SERVER_TLS if "server_side" in options else CLIENT_TLS
        with pytest.raises(ssl.SSLError):
            await net().start_tls(reader._transport, protocol, context, **options)
        assert not reader._buffer


@pytest.mark.parametrize("context, options, error", (
    ("no context", {}, TypeError), (SERVER_TLS, {"ssl_handshake_timeout": 0}, ValueError),
), ids=("context", "timeout"))
@on(*OURS)
async def test_start_tls_wrong_options_the_connection_is_as_it_was(context, options, error):
    async with linked_by_hand(poolio.StreamProtocol) as (protocol, peer):
        peer.writer.write(b"plain")
        await eventually(lambda: len(protocol.reader.chain) == 5)
        with pytest.raises(error):
            await poolio.start_tls(protocol.writer.transport, protocol, context, server_side=True, **options)
        peer.writer.write(b" text")
        assert await protocol.reader.readexactly(10) == b"plain text"
        protocol.writer.close()


@pytest.mark.parametrize("factory", (Recorder, PooledRecorder))
@on(*LOOPS)
async def test_start_tls_of_other_protocols_what_came_was_delivered(factory):
    async with linked_by_hand(factory) as (protocol, peer):
        peer.writer.write(b"plain")
        await eventually(lambda: protocol.received == b"plain")
        upgrading = asyncio.create_task(
            poolio.start_tls(protocol.transport, protocol, SERVER_TLS, server_side=True))
        await turns()
        await peer.handshake()
        peer.write(b"secret")
        secured = await upgrading
        await eventually(lambda: protocol.received == b"plainsecret")
        secured.abort()


@on(*OURS)
async def test_start_tls_cancelled_the_connection_is_closed_and_nothing_is_read():
    async with linked_by_hand(poolio.StreamProtocol) as (protocol, peer):
        peer.writer.write(peer.to_send()[:100])
        await eventually(lambda: len(protocol.reader.chain) == 100)
        writer = protocol.writer
        upgrading = asyncio.create_task(writer.start_tls(CLIENT_TLS, server_hostname="localhost"))
        await asyncio.sleep(0)
        upgrading.cancel()
        await asyncio.wait([upgrading])
        assert upgrading.cancelled() and writer.is_closing()
        assert await asyncio.wait_for(protocol.reader.read(), 5) == b""
