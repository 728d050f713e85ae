"""Datagrams that come one by one: the endpoint asks for one at a time then, and whatever comes next arrives as ever."""

import pytest
from kit.endpoints import (
    LONGEST,
    Batches,
    Recorder,
    contents,
    cut,
    endpoint,
    every_kind,
    message,
    own_endpoints,
    plain,
    send_numbered,
    trains,
)

import poolio
from poolio.wire.datagram import BOUNDS

every_factory = pytest.mark.parametrize("factory", (Batches, Recorder))
# The next pass is the first that asks for one datagram, or the second, or one that asks for a batch, or the one behind.
every_pass = pytest.mark.parametrize("before", [BOUNDS[name] + more for name in ("ALONE", "LOOK") for more in (0, 1)])


async def come_alone(peer, address, protocol, count):
    """Let that many datagrams arrive, each when the one before has; forget them."""
    for number in range(count):
        peer.sendto(message(number, 10), address)
        await protocol.until(number + 1)
    assert contents(protocol.received) == [message(number, 10) for number in range(count)]
    assert {sender for _, sender in protocol.received} == {peer.getsockname() or None}
    protocol.received.clear()


@every_factory
@every_pass
@every_kind
@own_endpoints
async def test_burst_after_lone_datagrams_arrives_in_order(loop_name, kind, before, factory):
    async with endpoint(factory, kind) as (transport, protocol, address):
        with plain(kind) as peer:
            await come_alone(peer, address, protocol, before)
            expected = send_numbered(peer, address)
            assert contents(await protocol.until(10)) == expected
            assert transport.statistics().received == before + 10


@own_endpoints
async def test_burst_after_lone_datagrams_is_soon_read_in_batches(loop_name):
    async with endpoint(Batches) as (_, protocol, address):
        with plain() as peer:
            await come_alone(peer, address, protocol, 20)
            protocol.batches.clear()
            send_numbered(peer, address, 100)
            await protocol.until(100)
            assert len(protocol.batches) <= BOUNDS["LOOK"]


@every_factory
@own_endpoints
async def test_train_after_lone_datagrams_is_cut(loop_name, factory):
    async with endpoint(factory) as (_, protocol, address):
        with plain() as peer:
            await come_alone(peer, address, protocol, 5)
            with trains(peer, 100):
                peer.sendto(message(1, 950), address)
            assert contents(await protocol.until(10)) == cut(message(1, 950), 100)


@every_factory
@pytest.mark.parametrize("size", (0, 1, 3000, LONGEST))
@own_endpoints
async def test_datagram_of_any_size_after_lone_ones_arrives_whole(loop_name, size, factory):
    async with endpoint(factory) as (transport, protocol, address):
        with plain() as peer:
            await come_alone(peer, address, protocol, 5)
            peer.sendto(message(2, size), address)
            await protocol.until(1)
            peer.sendto(b"after", address)
            assert contents(await protocol.until(2)) == [message(2, size), b"after"]
            assert transport.statistics().received_bytes == 5 * 10 + size + 5


@own_endpoints
async def test_smallest_slabs_take_the_longest_datagram_after_lone_ones(loop_name, make_pool):
    class Small(Batches):
        pool = make_pool(slab_size=4096)

    async with endpoint(Small) as (_, protocol, address):
        with plain() as peer:
            await come_alone(peer, address, protocol, 5)
            peer.sendto(message(2, LONGEST), address)
            assert contents(await protocol.until(1)) == [message(2, LONGEST)]
        protocol.received.clear()


@every_factory
@own_endpoints
async def test_lone_datagrams_of_two_senders_have_their_addresses(loop_name, factory):
    async with endpoint(factory) as (_, protocol, address):
        with plain() as one, plain() as other:
            for number in range(12):
                (other if number % 3 else one).sendto(b"x", address)
                await protocol.until(number + 1)
            assert [sender for _, sender in protocol.received] == [
                (other if number % 3 else one).getsockname() for number in range(12)]


@own_endpoints
async def test_lone_datagrams_of_on_release_pool_leave_nothing(loop_name, make_pool):
    pool = make_pool(zeroing="on_release")

    class Wiping(Batches):
        pass

    Wiping.pool = pool
    async with endpoint(Wiping) as (_, protocol, address):
        with plain() as peer:
            await come_alone(peer, address, protocol, 12)
        assert pool.statistics().live_bytes == 0
        assert bytes(pool.alloc_unsafe(4096)) == bytes(4096)


@own_endpoints
async def test_lone_datagram_whose_callback_raises_is_reported_and_the_next_arrives(loop_name):
    class Raising(Batches):
        def datagrams_received(self, batch):
            super().datagrams_received(batch)
            if bytes(batch[0][0]) == b"bad":
                raise RuntimeError("handled")

    async with endpoint(Raising) as (transport, protocol, address):
        seen = []
        transport._loop.set_exception_handler(lambda loop, context: seen.append(str(context["exception"])))
        with plain() as peer:
            await come_alone(peer, address, protocol, 5)
            for number, data in enumerate((b"bad", b"good")):
                peer.sendto(data, address)
                await protocol.until(number + 1)
        assert seen == ["handled"]
        assert type(protocol.received[1][0]) is poolio.Buffer
