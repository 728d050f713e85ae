"""poolio.DatagramProtocol: batches of pooled Buffers, trains, and that every datagram is either received or counted."""

import asyncio
import errno
import gc
import os
import socket
import struct
import threading

import pytest
from kit.endpoints import (
    LONGEST,
    RECEIVE_BUFFER,
    Batches,
    Recorder,
    batches_into,
    contents,
    cut,
    datagrams,
    endpoint,
    every_kind,
    internet_kinds,
    message,
    own_endpoints,
    plain,
    trains,
)
from kit.pairs import on, turns
from kit.wires import BLOCK, LOOPS, OURS, allow_descriptors, eventually, net

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

    class Echo(Batches):
        def datagrams_received(self, batch):
            self.transport.sendmany(batch)

    async with endpoint(batches_into(pool, Echo)) as (transport, _, address):
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


# --- unix sockets carry more than 64 KiB --------------------------------------------------------------------------

def send_unix(size, address):
    with plain("unix") as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * size)
        try:
            peer.sendto(message(size % 100, size), address)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            pytest.skip(f"net.core.wmem_max lets nobody send {size} bytes")


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


# --- trains: many datagrams that the kernel hands over in one -----------------------------------------------------

@pytest.mark.parametrize("factory", (Batches, Recorder))
@pytest.mark.parametrize("size, length", ((1, 20), (7, 150), (64, 64 * 30 + 1), (1200, 1200 * 40 + 17), (1200, 1100)))
@own_endpoints
async def test_train_arrives_as_separate_datagrams(loop_name, size, length, factory):
    data = message(5, length)
    async with endpoint(factory) as (transport, protocol, address):
        with plain() as peer:
            peer.sendto(b"before", address)
            with trains(peer, size):
                peer.sendto(data, address)
            peer.sendto(b"after", address)
            expected = [b"before", *cut(data, size), b"after"]
            received = await protocol.until(len(expected))
            assert contents(received) == expected
            assert {sender for _, sender in received} == {peer.getsockname()}
            assert {type(item) for item, _ in received} == {poolio.Buffer if factory is Batches else bytes}
            figures = transport.statistics()
            assert (figures.received, figures.received_bytes) == (len(expected), length + 11)


@internet_kinds
@own_endpoints
async def test_train_is_one_allocation_of_slices(loop_name, kind, make_pool):
    pool = make_pool()
    async with endpoint(batches_into(pool), kind) as (_, protocol, address):
        with plain(kind) as peer, trains(peer, 1000):
            peer.sendto(message(0, 20_500), address)
        buffers = [data for data, _ in await protocol.until(21)]
        assert protocol.batches == [21]
        assert {buf.slab for buf in buffers} == {buffers[0].slab}
        assert [buf.offset - buffers[0].offset for buf in buffers] == list(range(0, 21_000, 1000))
        assert pool.statistics().live_allocations == 1
        buffers[3].fill(0xAA)
        assert (buffers[2], buffers[4]) == (message(0, 20_500)[2000:3000], message(0, 20_500)[4000:5000])


@own_endpoints
async def test_one_slice_of_a_train_kept_keeps_its_bytes(loop_name, pool):
    async with endpoint(batches_into(pool)) as (_, protocol, address):
        with plain() as peer, trains(peer, 700):
            peer.sendto(message(0, 7000), address)
            kept = (await protocol.until(10))[4][0]
            for number in range(1, 50):
                protocol.received.clear()
                peer.sendto(message(number, 7000), address)
                await protocol.until(10)
            assert kept == message(0, 7000)[2800:3500]


@own_endpoints
async def test_trains_of_two_senders_have_their_addresses(loop_name):
    async with endpoint(Batches) as (_, protocol, address):
        with plain() as one, plain() as other, trains(one, 100), trains(other, 50):
            for _ in range(3):
                one.sendto(message(1, 250), address)
                other.sendto(message(2, 150), address)
            expected = [(item, one.getsockname()) for item in cut(message(1, 250), 100)]
            expected += [(item, other.getsockname()) for item in cut(message(2, 150), 50)]
            assert await protocol.until(18) == expected * 3


@own_endpoints
async def test_longest_train_arrives_whole(loop_name, pool):
    async with endpoint(batches_into(pool)) as (_, protocol, address):
        with plain() as peer, trains(peer, 1100):
            for number in range(4):
                peer.sendto(message(number, 64 * 1000), address)
                expected = cut(message(number, 64 * 1000), 1100)
                assert contents(await protocol.until(len(expected))) == expected
                protocol.received.clear()


@own_endpoints
async def test_close_inside_a_train_ends_the_delivery(loop_name):
    class Closing(Recorder):
        def datagram_received(self, data, address):
            super().datagram_received(data, address)
            if len(self.received) == 3:
                self.transport.close()

    async with endpoint(Closing) as (_, protocol, address):
        with plain() as peer, trains(peer, 10):
            peer.sendto(message(0, 100), address)
        assert await protocol.ended is None
        assert contents(protocol.received) == cut(message(0, 30), 10)


# --- send_segmented -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size, length", (
    (1200, 10_000), (1200, 1200), (1200, 5), (1, 100), (100, 20_000), (1200, 100_000), (LONGEST, 100_000),
))
@every_kind
@own_endpoints
async def test_send_segmented_cuts_for_everybody(loop_name, kind, size, length):
    """More datagrams than fit into one train, and more bytes, are several."""
    data = message(3, length)
    with plain(kind) as peer:
        async with endpoint(kind=kind) as (transport, protocol, _):
            transport.send_segmented(data, size, peer.getsockname())
            assert await datagrams(peer, len(cut(data, size))) == cut(data, size)
            assert protocol.errors == []
            figures = transport.statistics()
            assert (figures.sent, figures.sent_bytes) == (len(cut(data, size)), length)


@every_kind
@own_endpoints
async def test_send_segmented_to_an_endpoint_comes_back_as_sent(loop_name, kind, make_pool):
    pool = make_pool()
    async with (
        endpoint(batches_into(pool), kind) as (_, receiver, address),
        endpoint(batches_into(pool), kind) as (transport, _, own),
    ):
        transport.sendto(b"before", address)
        transport.send_segmented(pool.from_bytes(message(1, 50_000)), 1300, address)
        transport.sendto(b"after", address)
        expected = [b"before", *cut(message(1, 50_000), 1300), b"after"]
        received = await receiver.until(len(expected))
        assert contents(received) == expected
        assert {sender for _, sender in received} == {own}


@own_endpoints
async def test_send_segmented_is_a_train_on_the_wire(loop_name):
    """The receiver's kernel hands over in one read what one call has sent."""
    async with (
        endpoint(Batches) as (receiving, receiver, address),
        endpoint(remote_addr=address) as (transport, _, _),
    ):
        transport.send_segmented(message(0, 60_000), 1200)
        await receiver.until(50)
        assert receiving.statistics().reads <= 2
        assert receiver.batches == [50]


@pytest.mark.parametrize("size", (0, -1, LONGEST + 1))
@own_endpoints
async def test_send_segmented_bad_size_raises(loop_name, size):
    with plain() as peer:
        async with endpoint() as (transport, _, _):
            with pytest.raises(ValueError, match=r"size|65507|65,507"):
                transport.send_segmented(b"abc", size, peer.getsockname())
            assert transport.statistics().sent == 0


@own_endpoints
async def test_send_segmented_what_is_no_bytes_raises(loop_name):
    with plain() as peer, plain() as stranger:
        async with endpoint(remote_addr=peer.getsockname()) as (transport, _, _):
            with pytest.raises(TypeError):
                transport.send_segmented("text", 2)
            with pytest.raises(TypeError):
                transport.send_segmented(b"abc", "2")
            with pytest.raises(ValueError, match="address"):
                transport.send_segmented(b"abc", 2, stranger.getsockname())
            assert transport.statistics().sent == 0


@own_endpoints
async def test_send_segmented_freezes_and_outlives_a_released_buffer(loop_name, make_pool):
    pool = make_pool(zeroing="on_release")
    with plain("unix") as peer:
        async with endpoint(kind="unix") as (transport, _, _):
            buf = pool.from_bytes(message(0, 10_000))
            changing = bytearray(message(1, 10_000))
            transport.send_segmented(buf, 300, peer.getsockname())
            transport.send_segmented(changing, 300, peer.getsockname())
            assert transport.get_write_buffer_size() > 0
            assert buf.readonly
            buf.release()
            changing[:] = bytes(10_000)
            expected = cut(message(0, 10_000), 300) + cut(message(1, 10_000), 300)
            assert await datagrams(peer, len(expected)) == expected


# --- what is lost is counted --------------------------------------------------------------------------------------

@own_endpoints
async def test_flood_while_paused_is_received_or_counted(loop_name):
    async with endpoint(Batches) as (transport, protocol, address):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        with plain() as peer:
            sent = 0
            for _ in range(3):
                transport.pause_reading()
                for _ in range(500):
                    peer.sendto(b"%d" % sent, address)
                    sent += 1
                drops = transport.statistics().kernel_drops
                transport.resume_reading()
                await protocol.until(sent - drops)
                await turns(10)
                figures = transport.statistics()
                assert drops > 0
                assert (figures.received, figures.kernel_drops) == (len(protocol.received), drops)
                assert len(protocol.received) + drops == sent
        numbers = [int(bytes(data)) for data, _ in protocol.received]
        assert numbers == sorted(set(numbers))


@own_endpoints
async def test_flood_drops_are_readable_at_once(loop_name):
    """The count comes from the socket, not with the next datagram that is received."""
    async with endpoint(Batches) as (transport, protocol, address):
        transport.pause_reading()
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        with plain() as peer:
            while not transport.statistics().kernel_drops:
                peer.sendto(bytes(1000), address)
            before = transport.statistics().kernel_drops
            for number in range(1, 11):
                peer.sendto(bytes(1000), address)
                assert transport.statistics().kernel_drops == before + number
            assert protocol.received == []
            transport.close()
            await protocol.ended
            assert transport.statistics().kernel_drops == before + 10


@own_endpoints
async def test_flood_of_trains_counts_trains(loop_name):
    async with endpoint(Batches) as (transport, protocol, address):
        transport.pause_reading()
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        with plain() as peer, trains(peer, 500):
            for number in range(50):
                peer.sendto(message(number, 5000), address)
        drops = transport.statistics().kernel_drops
        assert 0 < drops < 50
        transport.resume_reading()
        await protocol.until(10 * (50 - drops))
        await turns(10)
        assert len(protocol.received) == 10 * (50 - drops)
        assert transport.statistics().kernel_drops == drops


@own_endpoints
async def test_pool_at_its_limit_reading_waits_for_memory(loop_name, make_pool):
    pool = make_pool(slab_size=MIN_SLAB_SIZE, max_bytes=MIN_SLAB_SIZE * 4)
    async with endpoint(batches_into(pool)) as (transport, protocol, address):
        with plain() as peer:
            held = [pool.alloc_unsafe(1000) for _ in range(16)]
            assert pool.statistics().reserved_bytes == MIN_SLAB_SIZE * 4
            for number in range(50):
                peer.sendto(message(number, 100), address)
            await turns(20)
            assert protocol.received == []
            held.clear()
            lost = transport.statistics().unplaced
            received = contents(await protocol.until(50 - lost))
            assert received == [message(n, 100) for n in range(50)][lost:]
            assert protocol.errors == []
            assert not transport.is_closing()


@own_endpoints
async def test_pool_at_its_limit_what_was_kept_given_back_reads_on(loop_name, make_pool):
    """Everything is kept until the pool is full, then given back, over and over: nothing is lost uncounted."""
    pool = make_pool(slab_size=MIN_SLAB_SIZE, max_bytes=MIN_SLAB_SIZE * 8)
    async with endpoint(batches_into(pool)) as (transport, protocol, address):
        with plain() as peer:
            for number in range(100):
                peer.sendto(message(number, 1000), address)

            got = []

            def all_accounted():
                got.extend(contents(protocol.received))
                protocol.received.clear()
                figures = transport.statistics()
                return len(got) + figures.unplaced + figures.kernel_drops == 100

            await eventually(all_accounted)
            assert pool.statistics().reserved_bytes <= MIN_SLAB_SIZE * 8
            numbers = {message(n, 1000): n for n in range(100)}
            order = [numbers[data] for data in got]
            assert order == sorted(set(order))
            assert len(order) >= 50
            assert transport.statistics().received == len(got)


@own_endpoints
async def test_pool_at_its_limit_costs_no_turns(loop_name, make_pool):
    """An endpoint that waits for memory must not spin on its readable socket."""
    pool = make_pool(slab_size=MIN_SLAB_SIZE, max_bytes=MIN_SLAB_SIZE)
    async with endpoint(batches_into(pool)) as (_, protocol, address):
        with plain() as peer:
            held = [pool.alloc_unsafe(1000) for _ in range(4)]
            peer.sendto(b"abc", address)
            await turns(5)
            loop = asyncio.get_running_loop()
            before, until = time_used(), loop.time() + 0.2
            await eventually(lambda: loop.time() > until)
            assert time_used() - before < 0.1
            held.clear()
            assert contents(await protocol.until(1)) == [b"abc"]


def time_used():
    times = os.times()
    return times.user + times.system


# --- the content of everything ------------------------------------------------------------------------------------

HEADER = struct.Struct("!II")


def content(number):
    """Number, length, and bytes that only this number has."""
    size = 16 + number * 7919 % 1385
    start = number * 131 % (len(BLOCK) - 1500)
    return HEADER.pack(number, size) + BLOCK[start:start + size - HEADER.size]


def is_content(data):
    number, size = HEADER.unpack_from(data)
    return size == len(data) and data == content(number)


class Checking(Batches):
    """Looks at every datagram when it comes, and keeps none."""

    count, wrong, last = 0, 0, -1

    def datagrams_received(self, batch):
        for data, _ in batch:
            number = HEADER.unpack_from(data)[0]
            self.wrong += not is_content(data) or number <= self.last
            self.last = number
        self.count += len(batch)


class PlainChecking(Recorder):
    count, wrong, last = 0, 0, -1

    def datagram_received(self, data, address):
        number = HEADER.unpack_from(data)[0]
        self.wrong += not is_content(data) or number <= self.last
        self.last = number
        self.count += 1


@pytest.mark.parametrize("factory", (Checking, PlainChecking))
@own_endpoints
async def test_50_000_datagrams_are_each_whole_and_right_or_counted(loop_name, factory):
    total = 50_000

    def send(address):
        with plain() as peer:
            peer.setblocking(True)
            for number in range(total):
                peer.sendto(content(number), address)

    async with endpoint(factory) as (transport, protocol, address):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sender = threading.Thread(target=send, args=(address,))
        sender.start()
        try:
            await eventually(lambda: not sender.is_alive())
            await eventually(lambda: protocol.count + transport.statistics().kernel_drops >= total)
        finally:
            sender.join(10)
        figures = transport.statistics()
        assert protocol.wrong == 0
        assert protocol.count == figures.received
        assert protocol.count + figures.kernel_drops == total
        assert protocol.count > total // 10
        assert protocol.errors == []
