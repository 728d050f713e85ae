"""A peer that resets, ends or stalls, and our own abort, at every step of a connection's life, on real sockets.

What holds whatever happens: connection_made() and connection_lost() once, with the right exception; what was received
before the fault is delivered; the pool is empty and no descriptor is left.
"""

import asyncio
import contextlib
import socket

import pytest
from kit.faults import (
    BROKEN,
    FRAME,
    MESSAGE,
    WHOLE,
    Watch,
    every_combination,
    factory_of,
    half_close,
    peer_reads,
    reset,
)
from kit.pairs import linked, on, pair, received_by, turns
from kit.wires import BLOCK, OURS, eventually, net, run

import poolio

FAULTS = ("reset", "abort", "half_close", "stall")
every_fault = pytest.mark.parametrize("fault", FAULTS)


class Connection:
    """One side's protocol, the other's plain socket, and what has been done to them."""

    def __init__(self, factory):
        self.factory = factory
        self.server = None

    @property
    def protocol(self):
        return self.factory.made[-1]

    @property
    def transport(self):
        return self.protocol.transport

    async def stand(self, message=MESSAGE):
        """It stands, and the message has arrived."""
        _, self.peer = await linked(self.factory)
        self.peer.sendall(message)
        await self.arrived(message)

    async def arrived(self, message):
        await eventually(lambda: self.protocol.received == self.protocol.expected(message))

    async def suffer(self, fault):
        if fault == "reset":
            reset(self.peer)
        elif fault == "half_close":
            half_close(self.peer)
        elif fault == "abort":
            self.transport.abort()
        else:
            calls = list(self.protocol.calls)
            await turns(20)
            assert self.protocol.calls == calls, "nothing happens by itself"
            self.transport.abort()

    async def is_over(self, watch, expected, errors=()):
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()
        await self.protocol.ended
        self.peer.close()
        await watch.over(self.factory.made, errors)
        assert isinstance(self.protocol.exc, expected) if expected is not None else self.protocol.exc is None


def outcome(fault):
    """The exception of connection_lost(). A peer that ends in mid-frame is wrong, and is no error here."""
    return BROKEN if fault == "reset" else None


def fault_test(step):
    """Make a test of each fault for each combination; the step brings the connection there and on to its end."""
    @every_combination
    @every_fault
    def test(kind, loop_name, fault, make_pool):
        pool = make_pool(slab_size=65_536)

        async def main():
            watch = Watch()
            await step(Connection(factory_of(kind, pool)), watch, kind, fault)
        run(loop_name, main, timeout=30)
    test.__doc__ = step.__doc__
    return test


@fault_test
async def test_fault_in_the_accept_queue(connection, watch, kind, fault):
    """What the peer has sent before is delivered first; our own abort comes in connection_made()."""
    listener = socket.create_server(("127.0.0.1", 0))
    connection.server = await net().create_server(connection.factory, sock=listener, start_serving=False)
    connection.peer = socket.create_connection(listener.getsockname())
    connection.peer.sendall(MESSAGE)
    if fault in ("reset", "half_close"):
        await connection.suffer(fault)
    await connection.server.start_serving()
    await eventually(lambda: connection.factory.made and connection.protocol.calls)
    if fault in ("abort", "stall"):
        await connection.arrived(MESSAGE)
        await connection.suffer(fault)
    await connection.is_over(watch, outcome(fault))
    assert connection.protocol.received == connection.protocol.expected(MESSAGE)


@fault_test
async def test_fault_before_connection_made(connection, watch, kind, fault):
    """The socket is connected, and the transport is made when the fault has happened already."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        connection.peer, _ = listener.accept()
    connection.peer.sendall(MESSAGE)
    if fault in ("reset", "half_close"):
        await connection.suffer(fault)
    await net().create_connection(connection.factory, sock=ours)
    assert connection.protocol.calls[0] == "made"
    if fault in ("abort", "stall"):
        await connection.arrived(MESSAGE)
        await connection.suffer(fault)
    await connection.is_over(watch, outcome(fault))
    assert connection.protocol.received == connection.protocol.expected(MESSAGE)


@fault_test
async def test_fault_in_the_middle_of_a_message(connection, watch, kind, fault):
    await connection.stand()
    await connection.suffer(fault)
    await connection.is_over(watch, outcome(fault))
    assert connection.protocol.received == connection.protocol.expected(MESSAGE)
    assert ("eof" in connection.protocol.calls) == (fault == "half_close")


@fault_test
async def test_fault_while_a_full_socket_is_written_to(connection, watch, kind, fault):
    """A peer that has only ended its own direction gets everything, also if it has ended in mid-frame."""
    await connection.stand()
    connection.transport.write(BLOCK)
    assert connection.transport.get_write_buffer_size() > 0
    await connection.suffer(fault)
    if fault == "half_close":
        assert await peer_reads(connection.peer) == BLOCK
    await connection.is_over(watch, outcome(fault))
    assert connection.protocol.calls[:2] == ["made", "pause"]


@fault_test
async def test_fault_while_reading_is_paused(connection, watch, kind, fault):
    """It is heard of when reading goes on, after what had come before it."""
    await connection.stand()
    connection.transport.pause_reading()
    rest = WHOLE[500:] + WHOLE[:10]
    connection.peer.sendall(rest)
    if fault in ("reset", "half_close"):
        await connection.suffer(fault)
        await turns(20)
        assert connection.protocol.calls == ["made"]
    connection.transport.resume_reading()
    await connection.arrived(MESSAGE + rest)
    if fault in ("abort", "stall"):
        await connection.suffer(fault)
    await connection.is_over(watch, outcome(fault))


@fault_test
async def test_fault_after_the_peers_end(connection, watch, kind, fault):
    """The peer has ended its direction, ours is open: a reset is heard of by the next write."""
    await connection.stand(WHOLE)
    connection.protocol.half_open = True
    half_close(connection.peer)
    await eventually(lambda: connection.protocol.calls == ["made", "eof"])
    if fault == "half_close":
        connection.transport.write(FRAME)
        connection.transport.close()
        assert await peer_reads(connection.peer) == FRAME
    else:
        await connection.suffer(fault)
        while fault == "reset" and not connection.protocol.ended.done():
            connection.transport.write(FRAME)
            await turns()
    await connection.is_over(watch, outcome(fault))


@fault_test
async def test_fault_while_closing_with_a_queue(connection, watch, kind, fault):
    await connection.stand()
    connection.transport.write(BLOCK)
    connection.transport.close()
    await turns(5)
    assert connection.protocol.calls == ["made", "pause"]
    await connection.suffer(fault)
    if fault == "half_close":
        assert await peer_reads(connection.peer) == BLOCK
    await connection.is_over(watch, outcome(fault))


@every_combination
def test_reset_while_paused_and_writing_is_told_by_the_write(kind, loop_name, make_pool):
    """Nothing is read then, which could tell of it."""
    pool = make_pool(slab_size=65_536)

    async def main():
        watch = Watch()
        connection = Connection(factory_of(kind, pool))
        await connection.stand()
        connection.transport.pause_reading()
        connection.transport.write(BLOCK)
        await connection.suffer("reset")
        await connection.is_over(watch, BROKEN)
    run(loop_name, main, timeout=30)


# --- streams --------------------------------------------------------------------------------------------------

def lost_error(fault):
    return BROKEN if fault == "reset" else ()


@every_fault
@on(*OURS)
async def test_stream_fault_while_a_task_reads(fault, make_pool):
    """What had come can be read afterwards; a reset is an error from then on."""
    watch = Watch()
    async with plain_pair(make_pool()) as (reader, writer, peer):
        peer.sendall(MESSAGE)
        frames = reader.frames(poolio.LengthPrefixed(4))
        assert await anext(frames) == FRAME
        reading = asyncio.ensure_future(anext(frames))
        await turns()
        if fault == "reset":
            reset(peer)
            with pytest.raises(BROKEN):
                await reading
            with pytest.raises(BROKEN):
                await writer.wait_closed()
        else:
            if fault == "half_close":
                half_close(peer)
            else:
                await turns(20)
                assert not reading.done()
                writer.transport.abort()
            with pytest.raises(asyncio.IncompleteReadError) as caught:
                await reading
            assert caught.value.partial == WHOLE[:500]
    assert watch.errors() == []


@every_fault
@on(*OURS)
async def test_stream_fault_while_a_task_drains(fault, make_pool):
    watch = Watch()
    async with plain_pair(make_pool()) as (_, writer, peer):
        writer.write(BLOCK)
        draining = asyncio.ensure_future(writer.drain())
        await turns(20)
        assert not draining.done()
        if fault == "reset":
            reset(peer)
            with pytest.raises(BROKEN):
                await draining
        elif fault == "half_close":
            half_close(peer)
            await turns(20)
            assert not draining.done()                 # reading only has ended
            writer.close()
            assert await peer_reads(peer) == BLOCK
            await draining
        else:
            writer.transport.abort()
            await draining
            with pytest.raises(ConnectionResetError, match="Connection lost"):
                await writer.drain()
    assert watch.errors() == []


@contextlib.asynccontextmanager
async def plain_pair(pool):
    """(reader, writer) and the plain socket of the peer."""
    def factory():
        return poolio.StreamProtocol(pool=pool)
    protocol, peer = await linked(factory)
    writer = protocol.take_writer()
    with peer:
        yield protocol.reader, writer, peer
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@on(*OURS)
async def test_stream_server_some_peers_reset_the_others_are_served(make_pool):
    """Three of ten peers reset: before they have sent, in a message, or with answers that they have not read."""
    watch = Watch()
    ended = []

    async def serve(reader, writer):
        try:
            async for frame in reader.frames(poolio.LengthPrefixed(4)):
                writer.write_frame(poolio.LengthPrefixed(4), frame)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError) as exc:
            ended.append(type(exc))
        finally:
            writer.close()

    server = await poolio.start_server(serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    loop = asyncio.get_running_loop()
    peers = []
    for number in range(30):
        peer = socket.create_connection(address)
        peers.append(peer)
        peer.setblocking(False)
        await loop.sock_sendall(peer, (b"", MESSAGE, WHOLE * 3)[number % 3])
    for number, peer in enumerate(peers):
        if number % 10 < 3:
            reset(peer)
    for number, peer in enumerate(peers):
        if number % 10 >= 3:
            await loop.sock_sendall(peer, (WHOLE, WHOLE[500:], b"")[number % 3])
            half_close(peer)
            got = bytearray()
            while data := await loop.sock_recv(peer, 1 << 16):
                got += data
            assert got == WHOLE * (1, 2, 3)[number % 3]
            peer.close()
    server.close()
    await server.wait_closed()
    assert watch.errors() == []
    assert set(ended) <= {ConnectionResetError, BrokenPipeError}
    assert len(ended) >= 3


# --- slow peers -----------------------------------------------------------------------------------------------

@every_combination
def test_peer_sends_one_byte_at_a_time(kind, loop_name, make_pool):
    """No slab is kept for each, and what waits for more is small."""
    pool = make_pool(slab_size=65_536)
    message = (len(FRAME[:300]).to_bytes(4, "big") + FRAME[:300]) * 3

    async def main():
        watch = Watch()
        factory = factory_of(kind, pool)
        protocol, peer = await linked(factory)
        with peer:
            for byte in message:
                peer.send(bytes([byte]))
                await asyncio.sleep(0)
                assert pool.statistics().reserved_bytes <= 3 * 65_536
            await eventually(lambda: len(protocol.received) >= (900 if kind == "framed" else len(message)))
            assert protocol.received == (FRAME[:300] * 3 if kind == "framed" else message)
        await watch.over(factory.made)
    run(loop_name, main)


@on(*OURS)
async def test_stream_peer_sends_one_byte_at_a_time(make_pool):
    pool = make_pool(slab_size=65_536)
    async with plain_pair(pool) as (reader, _, peer):
        reading = asyncio.ensure_future(reader.readexactly(len(WHOLE)))
        for byte in WHOLE:
            peer.send(bytes([byte]))
            await asyncio.sleep(0)
            assert pool.statistics().reserved_bytes <= 3 * 65_536
        found = await reading
        assert found == WHOLE
        found.release()


@every_combination
def test_peer_never_reads_memory_is_bounded(kind, loop_name, make_pool):
    """A protocol that heeds pause_writing() queues its high water and what it wrote last; resumed it goes on."""
    pool = make_pool(slab_size=65_536)

    async def main():
        watch = Watch()
        factory = factory_of(kind, pool)
        protocol, peer = await linked(factory)
        with peer:
            sent = 0
            while "pause" not in protocol.calls and sent < 50_000_000:
                piece = pool.from_bytes(BLOCK[sent % 4096:sent % 4096 + 1000])
                protocol.transport.write(piece)
                piece.release()
                sent += 1000
            _, high = protocol.transport.get_write_buffer_limits()
            assert high < protocol.transport.get_write_buffer_size() <= high + 1000
            assert pool.statistics().live_bytes <= high + 1000
            protocol.transport.close()
            assert len(await peer_reads(peer)) == sent
        assert protocol.calls == ["made", "pause", "resume", "lost"]
        await watch.over(factory.made)
    run(loop_name, main)


@on(*OURS)
async def test_stream_peer_never_reads_drain_waits(make_pool):
    pool = make_pool(slab_size=65_536)
    async with plain_pair(pool) as (_, writer, peer):
        sent = 0

        async def write_on():
            nonlocal sent
            while sent < 20_000_000:
                writer.write(pool.from_bytes(BLOCK[:10_000]))
                sent += 10_000
                await writer.drain()

        writing = asyncio.ensure_future(write_on())
        await eventually(lambda: writer.transport.get_write_buffer_size() > 65_536)
        await turns(20)
        waits_at = sent
        await turns(20)
        assert sent == waits_at
        assert writer.transport.get_write_buffer_size() <= 65_536 + 10_000
        assert pool.statistics().live_bytes <= 65_536 + 20_000
        assert await received_by(peer, waits_at) == (BLOCK[:10_000] * (waits_at // 10_000))
        await eventually(lambda: sent > waits_at)
        writing.cancel()
        writer.transport.abort()


@on(*OURS)
async def test_stream_handler_never_reads_the_peer_waits(make_pool):
    """The other way round: twice the limit is what a stream keeps for who does not read."""
    pool = make_pool(slab_size=65_536)
    async with pair(limit=10_000, pool=pool) as ((_, client), (reader, _)):
        writing = asyncio.ensure_future(write_all(client, BLOCK))
        await eventually(lambda: client.transport.get_write_buffer_size() > 0)
        await turns(50)
        assert len(reader.chain) <= 20_000 + 65_536         # and one read
        got = await reader.readexactly(len(BLOCK))
        assert got == BLOCK
        got.release()
        await writing


async def write_all(writer, data):
    writer.write(data)
    await writer.drain()
