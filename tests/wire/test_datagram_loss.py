"""Every datagram is either received, whole and right, or counted as lost."""

import asyncio
import os
import socket
import struct
import threading

import pytest
from kit.endpoints import (
    RECEIVE_BUFFER,
    Batches,
    Recorder,
    batches_into,
    contents,
    endpoint,
    message,
    own_endpoints,
    plain,
    trains,
)
from kit.pairs import turns
from kit.wires import BLOCK, eventually

from poolio.memory.slab import MIN_SLAB_SIZE

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


# --- the content of everything ------------------------------------------------------------------------------------

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
