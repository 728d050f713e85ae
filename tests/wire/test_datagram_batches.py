"""poolio.DatagramProtocol: datagrams come in batches of pooled Buffers, whole, in order and with their addresses."""

import asyncio
import errno
import gc
import socket

import pytest
from kit.echoes import BatchEcho
from kit.endpoints import (
    LONGEST,
    Batches,
    Recorder,
    batches_into,
    contents,
    datagrams,
    endpoint,
    every_kind,
    message,
    own_endpoints,
    plain,
)
from kit.pairs import on
from kit.wires import LOOPS, OURS, allow_descriptors, eventually, net

import poolio
from poolio.memory.slab import MIN_SLAB_SIZE

IN_A_PASS = 127 + 32  # a pass goes on while it has less than 128
MIXED = (0, 1, 7, 8, 63, 64, 65, 1471, 1472, 9000, LONGEST, 0, 4096, 16, 1200, 0)
others_transports = on(*(name for name in LOOPS if name not in OURS))


# --- batches ------------------------------------------------------------------------------------------------------

@own_endpoints
async def test_burst_arrives_in_few_calls_in_order(loop_name, pool):
    async with endpoint(batches_into(pool)) as (_, protocol, address):
        with plain() as peer:
            for number in range(200):
                peer.sendto(message(number, 100), address)
            received = await protocol.until(200)
            assert contents(received) == [message(n, 100) for n in range(200)]
            assert {sender for _, sender in received} == {peer.getsockname()}
            assert max(protocol.batches) <= IN_A_PASS
            assert len(protocol.batches) <= 10
            assert {type(data) for data, _ in received} == {poolio.Buffer}
            assert {data.pool for data, _ in received} == {pool}


@every_kind
@own_endpoints
async def test_mixed_sizes_arrive_whole(loop_name, kind, pool):
    async with endpoint(batches_into(pool), kind) as (_, protocol, address):
        with plain(kind) as peer:
            if kind == "unix":
                peer.setblocking(True)
                sending = asyncio.get_running_loop().run_in_executor
                await asyncio.gather(*(
                    sending(None, peer.sendto, message(size, size), address) for size in MIXED[:10]))
                assert sorted(contents(await protocol.until(10))) == sorted(message(size, size) for size in MIXED[:10])
                return
            for size in MIXED:
                peer.sendto(message(size, size), address)
            assert contents(await protocol.until(len(MIXED))) == [message(size, size) for size in MIXED]


@own_endpoints
async def test_plain_protocol_gets_bytes_of_mixed_sizes(loop_name):
    async with endpoint() as (_, protocol, address):
        with plain() as peer:
            for size in MIXED:
                peer.sendto(message(size, size), address)
            received = await protocol.until(len(MIXED))
            assert [data for data, _ in received] == [message(size, size) for size in MIXED]
            assert {type(data) for data, _ in received} == {bytes}


@own_endpoints
async def test_pool_unset_is_the_default_pool(loop_name):
    assert poolio.DatagramProtocol.pool is None
    async with endpoint(Batches) as (_, protocol, address):
        with plain() as peer:
            peer.sendto(b"abc", address)
            (data, _), = await protocol.until(1)
            assert (data, data.pool) == (b"abc", poolio.default_pool())


@own_endpoints
async def test_buffers_are_aligned_and_independent(loop_name, pool):
    sizes = [1, 0, 7, 8, 9, 64, 100, 1200, 3] * 5
    async with endpoint(batches_into(pool)) as (_, protocol, address):
        with plain() as peer:
            for number, size in enumerate(sizes):
                peer.sendto(message(number, size), address)
            buffers = [data for data, _ in await protocol.until(len(sizes))]
        assert [len(buf) for buf in buffers] == sizes
        assert [buf.offset % 8 for buf in buffers] == [0] * len(sizes)
        assert not any(buf.readonly for buf in buffers)
        for buf in buffers[::2]:
            buf.fill(0xAA)
        assert [bytes(buf) for buf in buffers[1::2]] == [message(n, size) for n, size in enumerate(sizes)][1::2]
        assert [bytes(buf) for buf in buffers[::2]] == [b"\xaa" * size for size in sizes[::2]]


@own_endpoints
async def test_kept_buffers_keep_their_bytes_while_more_arrives(loop_name, pool):
    async with endpoint(batches_into(pool)) as (_, protocol, address):
        with plain() as peer:
            kept = []
            for round_number in range(20):
                numbers = range(50 * round_number, 50 * round_number + 50)
                for number in numbers:
                    peer.sendto(message(number, number % 1400), address)
                await protocol.until(50)
                kept += [(n, data) for n, (data, _) in zip(numbers, protocol.received, strict=True) if n % 7 == 0]
                protocol.received.clear()
            assert len(kept) == 143
            assert [n for n, data in kept if data != message(n, n % 1400)] == []


@own_endpoints
async def test_smallest_slabs_receive_datagrams_larger_than_a_slab(loop_name, make_pool):
    pool = make_pool(slab_size=MIN_SLAB_SIZE)
    sizes = (MIN_SLAB_SIZE, MIN_SLAB_SIZE + 1, 100, LONGEST, 0, MIN_SLAB_SIZE - 1)
    async with endpoint(batches_into(pool)) as (_, protocol, address):
        with plain() as peer:
            for size in sizes:
                peer.sendto(message(size, size), address)
            assert contents(await protocol.until(len(sizes))) == [message(size, size) for size in sizes]


@own_endpoints
async def test_datagrams_one_after_another_dropped_stay_in_2_slabs(loop_name, pool):
    async with endpoint(batches_into(pool)) as (_, protocol, address):
        with plain() as peer:
            most = 0
            for number in range(1000):
                peer.sendto(message(number, 64), address)
                (data, _), = await protocol.until(1)
                assert data == message(number, 64)
                most = max(most, pool.statistics().reserved_bytes)
                del data
                protocol.received.clear()
            assert 0 < most <= 2 * poolio.memory.pool.DEFAULT_SLAB_SIZE


@own_endpoints
async def test_one_kept_of_each_burst_pins_little(loop_name, make_pool):
    """A short datagram that is kept holds its own bytes' slab, not room for the longest one."""
    pool = make_pool()
    async with endpoint(batches_into(pool)) as (_, protocol, address):
        with plain() as peer:
            kept = []
            for number in range(500):
                peer.sendto(message(number, 64), address)
                kept += await protocol.until(1)
                protocol.received.clear()
            assert contents(kept) == [message(n, 64) for n in range(500)]
            assert pool.statistics().reserved_bytes <= 2 * poolio.memory.pool.DEFAULT_SLAB_SIZE


@own_endpoints
async def test_everything_dropped_leaves_nothing_live(loop_name, pool):
    async with endpoint(batches_into(pool)) as (_, protocol, address):
        with plain() as peer:
            for size in MIXED:
                peer.sendto(message(size, size), address)
            await protocol.until(len(MIXED))
        assert pool.statistics().live_bytes > LONGEST
        protocol.received.clear()
        gc.collect()
        figures = pool.statistics()
        assert (figures.live_bytes, figures.live_buffers) == (0, 0)
        pool.check()


@own_endpoints
async def test_many_interleaved_senders_have_their_own_addresses(loop_name):
    """More senders than a table of addresses may hold, and two hosts at the same port."""
    allow_descriptors(3000)
    senders = []
    try:
        for _ in range(600):
            senders.append(plain())
            twin = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            senders.append(twin)
            twin.bind(("127.0.0.2", senders[-2].getsockname()[1]))
        names = [sender.getsockname() for sender in senders]
        async with endpoint(Batches) as (_, protocol, address):
            for round_number in range(2):
                for start in range(0, len(senders), 100):
                    for number in range(start, start + 100):
                        senders[number].sendto(b"%d" % number, address)
                    await protocol.until(len(senders) * round_number + start + 100)
            assert [(names[int(bytes(data))], int(bytes(data))) for data, _ in protocol.received] == [
                (sender, number % len(senders)) for number, (_, sender) in enumerate(protocol.received)]
            assert len({sender for _, sender in protocol.received}) == 1200
    finally:
        for sender in senders:
            sender.close()


@every_kind
@own_endpoints
async def test_addresses_in_batches_are_as_recvfrom_says(loop_name, kind):
    with plain(kind) as one, plain(kind) as other, plain(kind) as control:
        async with endpoint(Batches, kind) as (_, protocol, address):
            expected = []
            for peer in (one, other, one):
                peer.sendto(b"abc", address)
                peer.sendto(b"abc", control.getsockname())
                expected.append(control.recvfrom(10))
            received = await protocol.until(3)
            assert received == expected
            assert [type(sender) for _, sender in received] == [type(sender) for _, sender in expected]


@own_endpoints
async def test_close_inside_datagrams_received_no_more_batches(loop_name):
    class Closing(Batches):
        def datagrams_received(self, batch):
            super().datagrams_received(batch)
            self.transport.close()

    async with endpoint(Closing) as (_, protocol, address):
        with plain() as peer:
            for number in range(200):
                peer.sendto(message(number, 10), address)
        assert await protocol.ended is None
        assert len(protocol.batches) == 1
        assert len(protocol.received) <= IN_A_PASS


@own_endpoints
async def test_received_buffers_are_sent_on_without_a_copy(loop_name, make_pool):
    pool = make_pool()

    async with endpoint(batches_into(pool, BatchEcho)) as (transport, _, address):
        with plain() as peer:
            for number in range(100):
                peer.sendto(message(number, number), address)
            assert await datagrams(peer, 100) == [message(n, n) for n in range(100)]
            assert pool.statistics().copied_bytes == 0
            assert transport.statistics().sent == transport.statistics().received == 100


@own_endpoints
async def test_endpoints_and_streams_that_share_a_pool_keep_apart(loop_name, pool):
    """They receive into the same slab, one after another."""
    pieces = []

    class Stream(poolio.Protocol):
        def data_received(self, buf):
            pieces.append(buf)

    Stream.pool = pool
    server = await net().create_server(Stream, "127.0.0.1", 0)
    stream = socket.create_connection(server.sockets[0].getsockname())
    make = batches_into(pool)
    async with endpoint(make) as (_, one, address), endpoint(make, "unix") as (_, other, path):
        with stream, plain() as peer, plain("unix") as local:
            for number in range(100):
                stream.sendall(message(number, 500))
                peer.sendto(message(number, 7 * number), address)
                local.sendto(message(number, 900 - 9 * number), path)
                await asyncio.gather(one.until(number + 1), other.until(number + 1))
            await eventually(lambda: sum(map(len, pieces)) == 50_000)
        assert b"".join(pieces) == b"".join(message(n, 500) for n in range(100))
        assert contents(one.received) == [message(n, 7 * n) for n in range(100)]
        assert contents(other.received) == [message(n, 900 - 9 * n) for n in range(100)]
    server.close()
    await server.wait_closed()


@others_transports
async def test_other_transports_hand_over_pooled_buffers_one_by_one(loop_name, make_pool):
    pool = make_pool()
    async with endpoint(batches_into(pool)) as (transport, protocol, address):
        assert protocol.transport is transport
        with plain() as peer:
            for number in range(20):
                peer.sendto(message(number, 100), address)
            received = await protocol.until(20)
            assert contents(received) == [message(n, 100) for n in range(20)]
            assert {(type(data), data.pool, sender) for data, sender in received} == {
                (poolio.Buffer, pool, peer.getsockname())}
            assert protocol.batches == [1] * 20


@own_endpoints
async def test_statistics_count_both_ways(loop_name):
    async with endpoint(Batches) as (transport, protocol, address):
        assert isinstance(transport.statistics(), poolio.DatagramStatistics)
        assert set(transport.statistics()) == {0}
        with plain() as peer:
            for size in (10, 0, 1000):
                peer.sendto(bytes(size), address)
                transport.sendto(bytes(2 * size), peer.getsockname())
            await protocol.until(3)
            figures = transport.statistics()
            assert (figures.received, figures.received_bytes) == (3, 1010)
            assert (figures.sent, figures.sent_bytes) == (3, 2020)
            assert 1 <= figures.reads <= 3
            assert (figures.truncated, figures.unplaced, figures.kernel_drops) == (0, 0, 0)


@own_endpoints
async def test_statistics_after_the_end_are_what_they_were(loop_name):
    async with endpoint(Batches) as (transport, protocol, address):
        with plain() as peer:
            peer.sendto(b"abc", address)
            await protocol.until(1)
        before = transport.statistics()
    assert transport.statistics() == before


def send_unix(size, address):
    with plain("unix") as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * size)
        try:
            peer.sendto(message(size % 100, size), address)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            pytest.skip(f"net.core.wmem_max lets nobody send {size} bytes")


# --- unix sockets carry more than 64 KiB --------------------------------------------------------------------------

@pytest.mark.parametrize("factory", (Batches, Recorder))
@pytest.mark.parametrize("size", (100_000, 200_000, 500_000))
@own_endpoints
async def test_long_unix_datagrams_arrive_whole(loop_name, size, factory):
    async with endpoint(factory, "unix") as (_, protocol, address):
        with plain("unix") as peer:
            peer.sendto(b"before", address)
            send_unix(size, address)
            peer.sendto(b"after", address)
        assert contents(await protocol.until(3)) == [b"before", message(size % 100, size), b"after"]
        assert protocol.errors == []


@pytest.mark.parametrize("factory", (Batches, Recorder))
@own_endpoints
async def test_too_long_unix_datagram_is_reported_and_not_handed_out_shortened(loop_name, factory):
    async with endpoint(factory, "unix") as (transport, protocol, address):
        with plain("unix") as peer:
            peer.sendto(b"before", address)
            send_unix(600_000, address)
            peer.sendto(b"after", address)
        assert contents(await protocol.until(2)) == [b"before", b"after"]
        assert [exc.errno for exc in protocol.errors] == [errno.EMSGSIZE]
        assert transport.statistics().truncated == 1
        assert transport.statistics().received == 2
        assert not transport.is_closing()
