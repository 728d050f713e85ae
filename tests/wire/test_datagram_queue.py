"""DatagramTransport: a unix socket whose receiver does not read says EAGAIN: what is queued, and what becomes of it."""

import array
import contextlib

import pytest
from kit.endpoints import (
    datagrams,
    endpoint,
    every_endpoint,
    fill,
    message,
    next_datagram,
    own_endpoints,
    plain,
)
from kit.pairs import turns
from kit.wires import eventually


@pytest.mark.parametrize("connected", (True, False))
@every_endpoint
async def test_queued_arrives_in_order_once_read(loop_name, connected):
    with plain("unix") as peer:
        async with endpoint(sock=plain("unix", peer if connected else None)) as (transport, protocol, _):
            address = None if connected else peer.getsockname()
            count = fill(transport, address=address)
            for number in range(count, count + 100):
                transport.sendto(message(number, 100), address)
            assert await datagrams(peer, count + 100) == [message(n, 100) for n in range(count + 100)]
            assert protocol.errors == []


@every_endpoint
async def test_queued_behind_another_sender_arrives(loop_name):
    """The room is made by reading what somebody else has sent, of which this sender's socket hears nothing."""
    with plain("unix") as peer, plain("unix") as other:
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"other", peer.getsockname())
        async with endpoint(kind="unix") as (transport, _, _):
            transport.sendto(b"mine", peer.getsockname())
            assert transport.get_write_buffer_size() > 0
            await turns()
            while (data := (await next_datagram(peer))[0]) == b"other":
                pass
            assert data == b"mine"


@own_endpoints
async def test_write_buffer_size_is_payload_and_8_each(loop_name):
    with plain("unix") as peer:
        async with endpoint(sock=plain("unix", peer)) as (transport, _, _):
            count = fill(transport, 100)
            assert transport.get_write_buffer_size() == 108
            transport.sendto(b"")
            assert transport.get_write_buffer_size() == 116
            transport.sendmany([(memoryview(array.array("H", [1, 2])), None), (bytearray(30), None)])
            assert transport.get_write_buffer_size() == 116 + 12 + 38
            transport.send_segmented(bytes(250), 100)
            assert transport.get_write_buffer_size() == 116 + 12 + 38 + 250 + 3 * 8
            assert transport.statistics().sent == count - 1
            lengths = [len(data) for data in await datagrams(peer, count + 6)]
            assert lengths[count:] == [0, 4, 30, 100, 100, 50]
            await eventually(lambda: transport.get_write_buffer_size() == 0)
            assert transport.statistics().sent == count + 6


@own_endpoints
async def test_pause_above_high_resume_at_low(loop_name):
    with plain("unix") as peer:
        async with endpoint(sock=plain("unix", peer)) as (transport, protocol, _):
            transport.set_write_buffer_limits(high=324, low=216)
            assert transport.get_write_buffer_limits() == (216, 324)
            count = fill(transport, 100)
            transport.sendto(bytes(100))
            transport.sendto(bytes(100))
            assert transport.get_write_buffer_size() == 324
            assert protocol.calls == ["made"]
            transport.sendto(b"")
            assert protocol.calls == ["made", "pause"]
            transport.sendto(bytes(100))
            sizes = []
            protocol.resume_writing = lambda: sizes.append(transport.get_write_buffer_size())
            await datagrams(peer, count + 4)
            await eventually(lambda: sizes)
            assert len(sizes) == 1
            assert sizes[0] <= 216


@every_endpoint
async def test_write_buffer_limits_are_asyncios(loop_name):
    async with endpoint() as (transport, _, _):
        assert transport.get_write_buffer_limits() == (16384, 65536)
        transport.set_write_buffer_limits(high=1000)
        assert transport.get_write_buffer_limits() == (250, 1000)
        transport.set_write_buffer_limits(low=1000)
        assert transport.get_write_buffer_limits() == (1000, 4000)
        transport.set_write_buffer_limits(high=0)
        assert transport.get_write_buffer_limits() == (0, 0)
        with pytest.raises(ValueError, match="low"):
            transport.set_write_buffer_limits(high=1, low=2)


@every_endpoint
async def test_limit_zero_pauses_at_the_first_queued(loop_name):
    with plain("unix") as peer:
        async with endpoint(sock=plain("unix", peer)) as (transport, protocol, _):
            transport.set_write_buffer_limits(high=0)
            fill(transport)
            assert protocol.calls == ["made", "pause"]


@every_endpoint
async def test_mutable_data_changed_after_sendto_arrives_as_it_was(loop_name):
    with plain("unix") as peer:
        async with endpoint(sock=plain("unix", peer)) as (transport, _, _):
            count = fill(transport)
            changing = bytearray(b"before")
            transport.sendto(changing)
            transport.sendto(memoryview(changing)[1:4])
            changing[:] = b"after!"
            changing += b"and it can still grow"
            assert (await datagrams(peer, count + 2))[count:] == [b"before", b"efo"]


@own_endpoints
async def test_buffers_released_after_sendto_arrive(loop_name, make_pool):
    pool = make_pool(slab_size=4096, zeroing="on_release")
    with plain("unix") as peer:
        async with endpoint(sock=plain("unix", peer)) as (transport, _, _):
            count = fill(transport)
            for number in range(50):
                transport.sendto(pool.from_bytes(message(number, 1000)))
            buf = pool.from_bytes(b"x" + message(50, 1000) + b"x")
            transport.sendmany([(buf[1:1001], None)])
            buf.release()
            for _ in range(60):
                pool.from_bytes(b"\xaa" * 1000)
            assert (await datagrams(peer, count + 51))[count:] == [message(n, 1000) for n in range(51)]
            await eventually(lambda: transport.get_write_buffer_size() == 0)
            assert pool.statistics().live_bytes == 0


@own_endpoints
async def test_error_of_a_queued_datagram_goes_to_error_received_and_the_next_are_sent(loop_name):
    with plain("unix") as peer, plain("unix") as other:
        async with endpoint(kind="unix") as (transport, protocol, _):
            fill(transport, address=peer.getsockname())
            transport.sendto(b"still", peer.getsockname())
            transport.sendto(b"for another", other.getsockname())
            peer.close()
            assert await next_datagram(other) == (b"for another", transport.get_extra_info("sockname"))
            assert [type(exc) for exc in protocol.errors] == [ConnectionRefusedError] * 2
            assert transport.get_write_buffer_size() == 0
            assert not transport.is_closing()


@pytest.mark.parametrize("ending", ("close", "abort"))
@own_endpoints
async def test_end_inside_error_received_of_a_queued_datagram_is_one_end(loop_name, ending):
    with plain("unix") as peer:
        async with endpoint(kind="unix") as (transport, protocol, _):
            protocol.error_received = lambda exc: getattr(transport, ending)()
            address = peer.getsockname()
            fill(transport, address=address)
            transport.sendmany([(message(number, 100), address) for number in range(50)])
            peer.close()
            assert await protocol.ended is None
            await turns()
            assert protocol.calls == ["made", "lost"]


@own_endpoints
async def test_abort_inside_pause_writing_sends_no_more(loop_name):
    with plain("unix") as peer:
        async with endpoint(sock=plain("unix", peer)) as (transport, protocol, _):
            transport.set_write_buffer_limits(high=0)
            protocol.pause_writing = transport.abort
            transport.sendmany([(message(number, 100), None) for number in range(2000)])
            assert transport.get_write_buffer_size() == 0
            assert await protocol.ended is None
            sent = transport.statistics().sent
            assert 0 < sent < 2000
            assert await datagrams(peer, sent) == [message(n, 100) for n in range(sent)]
            with pytest.raises(BlockingIOError):
                peer.recv(100)


@every_endpoint
async def test_close_sends_the_queue_first(loop_name):
    with plain("unix") as peer:
        async with endpoint(sock=plain("unix", peer)) as (transport, protocol, _):
            count = fill(transport)
            for number in range(count, count + 20):
                transport.sendto(message(number, 100))
            transport.close()
            assert transport.is_closing()
            await turns()
            assert protocol.calls == ["made"]
            assert await datagrams(peer, count + 20) == [message(n, 100) for n in range(count + 20)]
            assert await protocol.ended is None


@every_endpoint
async def test_abort_drops_the_queue(loop_name):
    with plain("unix") as peer:
        async with endpoint(sock=plain("unix", peer)) as (transport, protocol, _):
            count = fill(transport)
            transport.sendto(b"dropped")
            transport.abort()
            assert protocol.calls == ["made"]
            assert await protocol.ended is None
            assert await datagrams(peer, count - 1) == [message(n, 100) for n in range(count - 1)]
            with pytest.raises(BlockingIOError):
                peer.recv(100)


@every_endpoint
async def test_abort_while_close_waits_for_the_queue_ends_it(loop_name):
    with plain("unix") as peer:
        async with endpoint(sock=plain("unix", peer)) as (transport, protocol, _):
            fill(transport)
            transport.close()
            transport.abort()
            assert await protocol.ended is None
            assert protocol.calls == ["made", "lost"]
