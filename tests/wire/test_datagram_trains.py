"""Trains: many datagrams that the kernel hands over in one, received and sent with send_segmented()."""

import pytest
from kit.endpoints import (
    LONGEST,
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

import poolio

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
