"""What a peer can make poolio keep, and how long it can keep others waiting: hostile peers on real sockets, counted."""

import asyncio
import contextlib
import gc
import random
import select
import socket
import ssl
import tracemalloc

import pytest
from kit.clocks import JumpingEventLoop
from kit.endpoints import Batches, endpoint, own_endpoints, plain
from kit.pairs import (
    PooledRecorder,
    collect_errors,
    linked,
    listed_in,
    needs_own_transports,
    on,
    on_pool,
    pair,
    received_by,
    sending,
    shrink_kernel_buffers,
    turns,
)
from kit.wires import BLOCK, CLIENT_TLS, OURS, SERVER_TLS, eventually, net

import poolio

SLAB = 65_536


# --- a pool at its limit: who is closed -------------------------------------------------------------------------


class BufferKeeper(PooledRecorder):
    """Keeps the Buffers that it was given, as an application may, until it is told to drop them."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def data_received(self, buf):
        self.kept.append(buf)


def fill(peer, data):
    """How much of this the kernel takes while nobody reads."""
    peer.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < len(data):
            sent += peer.send(data[sent:])
    return sent


@contextlib.asynccontextmanager
async def hog(wire, pool):
    """The reader of a connection whose peer sends 900 KB that nobody reads; it is paused at 600 KB."""
    if wire == "tcp":
        protocol, peer = await linked(lambda: poolio.StreamProtocol(limit=300_000, pool=pool))
        async with sending(peer, BLOCK[:900_000]):
            await eventually(lambda: len(protocol.reader.chain) > 600_000)
        yield protocol.reader
        peer.close()
        return
    made = []
    server = await poolio.start_server(
        lambda reader, writer: made.append((reader, writer)), "127.0.0.1", 0, limit=300_000, pool=pool, ssl=SERVER_TLS)
    _, writer = await poolio.open_connection(
        *server.sockets[0].getsockname(), ssl=CLIENT_TLS, server_hostname="localhost")
    writer.write(BLOCK[:900_000])
    await eventually(lambda: made and len(made[0][0].chain) > 600_000)
    yield made[0][0]
    writer.transport.abort()
    made[0][1].transport.abort()
    server.close()
    await server.wait_closed()


@needs_own_transports
@pytest.mark.parametrize("wire", ("tcp", "tls"))
def test_pool_at_its_limit_a_paused_hog_is_closed_and_no_innocent_one(wire, make_pool):
    pool = make_pool(slab_size=SLAB, max_bytes=1 << 20)

    async def main():
        collect_errors()
        async with hog(wire, pool) as reader:
            await turns(20)
            held = []
            with contextlib.suppress(poolio.PoolExhausted):
                while True:
                    held.append(pool.alloc_unsafe(SLAB))
            with contextlib.suppress(poolio.PoolExhausted):
                while True:
                    held.append(pool.alloc_unsafe(1024))
            innocent, peer = await linked(on_pool(pool, BufferKeeper))
            peer.sendall(BLOCK[:2 * SLAB])
            await eventually(lambda: "read=idle" in repr(innocent.transport))
            asyncio.get_running_loop().ahead += 6
            await eventually(lambda: reader.exception() is not None)
            assert isinstance(reader.exception(), poolio.PoolExhausted)
            await eventually(lambda: sum(map(len, innocent.kept)) == 2 * SLAB)
            assert not innocent.ended.done()
            assert len(reader.chain) == 0               # what nobody can read any more holds nothing
            innocent.transport.abort()
            await innocent.ended
            innocent.kept.clear()
            held.clear()
            peer.close()

    with asyncio.Runner(loop_factory=JumpingEventLoop) as runner:
        runner.run(asyncio.wait_for(main(), 60))


# --- what a peer does not read ------------------------------------------------------------------------------------

class Answering(poolio.FramedProtocol):
    """Answers each frame, and reads no faster than its peer does."""

    codec = poolio.LengthPrefixed(1)
    most = 0

    def frames_received(self, frames):
        for frame in frames:
            self.write_frame(frame)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


@contextlib.contextmanager
def traced():
    """A function that tells how many bytes more than now are allocated, by Python's allocators and as slabs."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield lambda: tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@on(*OURS)
async def test_small_answers_that_a_peer_does_not_read_cost_little_more_than_their_bytes():
    """Water marks count bytes. As pieces of their own, 85,000 answers of 2 bytes would cost 8 MB."""
    protocol, peer = await linked(Answering)
    shrink_kernel_buffers(protocol.transport, peer)
    data = b"\1x" * (1 << 20)
    with peer, traced() as growth:
        async with sending(peer, data):
            await eventually(lambda: not protocol.transport.is_reading())
        queued = protocol.transport.get_write_buffer_size()
        assert queued > 20_000
        protocol.transport.check()
        assert growth() < 3 * queued + (1 << 20)        # and slabs, and what a test has around it
        protocol.transport.abort()


@pytest.mark.parametrize("seed", range(2))
@on(*OURS[:1])
async def test_pieces_of_any_size_and_kind_that_had_to_wait_arrive_as_they_were(seed, make_pool):
    pool, dice = make_pool(slab_size=SLAB, zeroing="on_release"), random.Random(seed)
    protocol, peer = await linked(PooledRecorder)
    with peer:
        shrink_kernel_buffers(protocol.transport, peer)
        written = bytearray(BLOCK[:200_000])
        protocol.transport.write(bytes(written))
        for _ in range(3):
            for number in range(150):
                start = dice.randrange(1000)
                piece = BLOCK[start:start + dice.choice((1, 2, 3, 60, 512, 513, 3000, 9000))]
                written += piece
                kind = dice.choice((bytes, bytearray, memoryview, pool.from_bytes))
                protocol.transport.write(kind(piece))
                if number % 20 == 0:
                    protocol.transport.check()
            some = dice.randrange(len(written) // 2)
            assert await received_by(peer, some) == written[:some]
            del written[:some]
        assert await received_by(peer, len(written)) == written
        protocol.transport.abort()
        await protocol.ended


# --- tasks that give up -------------------------------------------------------------------------------------------

def futures():
    gc.collect()
    return sum(isinstance(thing, asyncio.Future) for thing in gc.get_objects())


@on("asyncio", *OURS)
async def test_drain_given_up_a_hundred_times_leaves_no_future():
    """A peer that does not read, and a server that waits for it in steps."""
    async with pair(waits=False) as (_, (_, writer)):
        writer.write(BLOCK)
        before = futures()
        for _ in range(100):
            waiting = asyncio.ensure_future(writer.drain())
            await turns(1)
            waiting.cancel()
            await asyncio.wait([waiting])
        del waiting
        assert futures() - before < 10
        writer.transport.abort()


# --- TLS ----------------------------------------------------------------------------------------------------------

@on(*OURS)
async def test_start_tls_with_an_unfinished_frame_in_the_clear_fails_the_handshake():
    """It would else be taken for the beginning of what comes encrypted."""
    class Lines(poolio.FramedProtocol):
        codec = poolio.Delimited(b"\r\n")

        def __init__(self):
            super().__init__()
            self.frames = []

        def frames_received(self, frames):
            self.frames += map(bytes, frames)

    protocol, peer = await linked(Lines)
    with peer:
        peer.sendall(b"STARTTLS\r\nevil")
        await eventually(lambda: protocol.frames)
        upgrading = asyncio.create_task(poolio.start_tls(protocol.transport, protocol, SERVER_TLS, server_side=True))
        await turns()
        peer.sendall(b"er\r\nQUIT\r\n")                  # enough for OpenSSL to see that it is no hello
        with pytest.raises(ssl.SSLError):
            await upgrading
        assert protocol.frames == [b"STARTTLS"] and len(protocol.chain) == 0


@on(*OURS)
async def test_tls_reader_that_never_reads_keeps_two_high_water_marks():
    """At the stream, what is decrypted; at the transport, of what is not no more than a read."""
    made = []
    server = await net().create_server(
        lambda: poolio.StreamProtocol(lambda reader, writer: made.append((reader, writer))), "127.0.0.1", 0,
        ssl=SERVER_TLS)
    _, client = await net().create_connection(
        poolio.StreamProtocol, *server.sockets[0].getsockname(), ssl=CLIENT_TLS, server_hostname="localhost")
    client.writer.write(BLOCK)
    await eventually(lambda: made)
    reader, writer = made[0]
    await eventually(lambda: not writer.transport.carrier.is_reading())
    assert len(reader.chain) <= 2 * 65_536 + 262_144
    assert writer.transport.get_read_buffer_size() <= 262_144
    writer.transport.abort()
    client.writer.transport.abort()
    server.close()
    await server.wait_closed()


@on(*OURS)
async def test_tls_handshakes_that_stop_in_the_middle_cost_16_kib_each():
    """As far as Python's allocators know; asyncio's own transports take 256 KiB for each."""
    made = []
    server = await poolio.create_server(
        listed_in(made, poolio.Protocol), "127.0.0.1", 0, ssl=SERVER_TLS)
    address = server.sockets[0].getsockname()
    peers = [socket.create_connection(address)]         # the first one makes what all share
    peers[0].sendall(b"\x16\x03\x01\x02\x00\x01")
    await eventually(lambda: made)
    await turns(20)
    with traced() as growth:
        for _ in range(50):
            peers.append(socket.create_connection(address))
            peers[-1].sendall(b"\x16\x03\x01\x02\x00\x01")      # of a hello of 512 bytes, six
            await turns(5)
        await eventually(lambda: len(made) == 51)
        await turns(20)
        assert growth() < 50 * 16_384 + (1 << 20)
    for peer in peers:
        peer.close()
    server.close()
    server.abort_clients()
    await turns(20)


# --- what is unread, and what is unfinished ----------------------------------------------------------------------

@on(*OURS)
async def test_stream_that_is_never_read_keeps_twice_its_limit_and_a_read(make_pool):
    pool = make_pool()
    protocol, peer = await linked(lambda: poolio.StreamProtocol(pool=pool))
    with peer:
        async with sending(peer, BLOCK):
            await eventually(lambda: not protocol.transport.is_reading())
        assert 2 * 65_536 < len(protocol.reader.chain) <= 2 * 65_536 + 262_144
        assert pool.statistics().reserved_bytes <= 4 * 262_144
        protocol.transport.abort()
        await turns()
        protocol.reader.chain.clear()


@pytest.mark.parametrize("between", (0, 1, 900))
def test_unfinished_frame_pins_at_most_nine_times_its_bytes(make_pool, between):
    """The worst that reads can be: each just large enough to stay in its slab, of which it is an eighth."""
    pool = make_pool(slab_size=SLAB)
    codec = poolio.LengthPrefixed(4)
    codec.feed(pool.from_bytes((1 << 20).to_bytes(4, "big")))
    for _ in range(60):
        quarters = [pool.alloc_unsafe(SLAB // 4) for _ in range(4)]
        codec.feed(quarters[0][:SLAB // 8])
        if between:
            codec.feed(quarters[1][:between])
        del quarters
    codec.chain.check()
    figures = pool.statistics()
    assert len(codec.chain) >= 60 * SLAB // 8
    assert figures.reserved_bytes + figures.unpooled_bytes <= 9 * len(codec.chain) + 2 * SLAB
    codec.chain.clear()


def test_messages_kept_one_byte_each_cost_their_object_once_detached(make_pool):
    """A peer drips messages of one byte that the application keeps: slices would keep all that came with them."""
    pool = make_pool(slab_size=SLAB)
    codec = poolio.LengthPrefixed(1)
    kept = []
    for _ in range(100):
        frames = codec.feed(pool.from_bytes(b"\1x" * 8000))
        kept.append(frames[0].detach())
        del frames
    figures = pool.statistics()
    assert figures.live_bytes == 100
    assert figures.reserved_bytes <= 2 * SLAB
    kept.clear()
    codec.chain.clear()


# --- turns --------------------------------------------------------------------------------------------------------

@on(*OURS)
async def test_flood_of_one_connection_leaves_others_a_read_for_each_of_its_own():
    order = []

    class Noting(PooledRecorder):
        def data_received(self, buf):
            order.append((self, len(buf)))

    async with contextlib.AsyncExitStack() as stack:
        protocols = []
        for data in (BLOCK[:1 << 20], *[b"small"] * 5):
            protocol, peer = await linked(Noting)
            stack.enter_context(peer)
            protocol.transport.pause_reading()
            assert fill(peer, data) >= min(len(data), 300_000)      # the flood is more than a read
            protocols.append(protocol)
        sockets = [protocol.transport.get_extra_info("socket") for protocol in protocols]
        await eventually(lambda: len(select.select(sockets, [], [], 0)[0]) == 6)
        for protocol in protocols:
            protocol.transport.resume_reading()
        await eventually(lambda: len({protocol for protocol, _ in order}) == 6)
        flood = protocols[0]
        first_small = [[one for one, _ in order].index(protocol) for protocol in protocols[1:]]
        reads_before = sum(one is flood for one, _ in order[:max(first_small)])
        assert reads_before <= 1
        assert max(size for _, size in order) <= 262_144
        for protocol in protocols:
            protocol.transport.abort()
            await protocol.ended


@own_endpoints
async def test_flood_of_datagrams_is_159_a_pass_at_most(loop_name):
    async with endpoint(Batches) as (transport, protocol, address):
        transport.pause_reading()
        with plain() as peer:
            for _ in range(250):
                peer.sendto(b"x", address)
            transport.resume_reading()
            await protocol.until(200)
        # up to 127 that were received, and a system call for 32 more
        assert max(protocol.batches) <= 127 + 32


# --- senders ------------------------------------------------------------------------------------------------------

@own_endpoints
async def test_spoofed_senders_make_nothing_grow(loop_name):
    """Each of 4,000 datagrams comes from an address that was never seen; the table of addresses has 1,024."""
    async with endpoint(Batches) as (_, protocol, address):
        async def wave(number):
            for i in range(2000):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                    peer.bind((f"127.{number}.{1 + i // 200}.{1 + i % 200}", 0))
                    peer.sendto(b"x", address)
                if i % 100 == 99:
                    await protocol.until(100)
                    protocol.received.clear()

        await wave(1)
        with traced() as growth:
            await wave(2)
            protocol.received.clear()
            gc.collect()
            # 1,024 tuples of the second wave, in the place of those of the first, which were not traced
            assert growth() < 1024 * 250 + (1 << 16)
