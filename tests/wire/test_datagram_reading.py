"""DatagramTransport: pausing, and what a callback may do in the middle of a batch.

Where asyncio promises the same, asyncio's own transport runs the same test: then the test is right about asyncio.
"""

import pytest
from kit.echoes import DatagramEcho
from kit.endpoints import (
    Batches,
    Recorder,
    batches_into,
    contents,
    datagrams,
    endpoint,
    every_endpoint,
    own_endpoints,
    plain,
    send_numbered,
)
from kit.pairs import turns

import poolio


class Acting(Recorder):
    """Calls act(protocol) once, inside the third datagram."""

    def act(self):
        raise NotImplementedError

    def datagram_received(self, data, address):
        super().datagram_received(data, address)
        if len(self.received) == 3:
            self.act()


@every_endpoint
async def test_paused_reading_delivers_nothing_until_resumed(loop_name):
    async with endpoint() as (transport, protocol, address):
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        with plain() as peer:
            expected = send_numbered(peer, address)
        await turns(10)
        assert protocol.received == []
        transport.resume_reading()
        transport.resume_reading()
        assert transport.is_reading()
        assert contents(await protocol.until(10)) == expected


@every_endpoint
async def test_pause_inside_datagram_received_keeps_the_rest_for_later(loop_name):
    async with endpoint(Acting) as (transport, protocol, address):
        protocol.act = transport.pause_reading
        with plain() as peer:
            expected = send_numbered(peer, address)
        await protocol.until(3)
        await turns(10)
        assert len(protocol.received) == 3
        transport.resume_reading()
        assert contents(await protocol.until(10)) == expected


@pytest.mark.parametrize("next_protocol", (None, Recorder, Batches))
@own_endpoints
async def test_pause_again_keeps_what_was_left_of_the_first_pause(loop_name, next_protocol):
    async with endpoint(Acting) as (transport, protocol, address):
        protocol.act = transport.pause_reading
        with plain() as peer:
            expected = send_numbered(peer, address)
        before = contents(await protocol.until(3))
        if next_protocol is not None:
            protocol = next_protocol()
            protocol.connection_made(transport)
            transport.set_protocol(protocol)
            before, expected = [], expected[3:]
        transport.resume_reading()
        transport.pause_reading()
        await turns(10)
        assert contents(protocol.received) == before
        transport.resume_reading()
        assert contents(await protocol.until(len(expected))) == expected


@pytest.mark.parametrize("ending", ("close", "abort"))
@every_endpoint
async def test_end_inside_datagram_received_ends_the_delivery(loop_name, ending):
    async with endpoint(Acting) as (transport, protocol, address):
        protocol.act = getattr(transport, ending)
        with plain() as peer:
            expected = send_numbered(peer, address)
        assert await protocol.ended is None
        assert contents(protocol.received) == expected[:3]
        assert protocol.calls == ["made", "lost"]


@every_endpoint
async def test_set_protocol_inside_datagram_received_the_rest_goes_to_it(loop_name):
    async with endpoint(Acting) as (transport, protocol, address):
        second = Recorder()
        protocol.act = lambda: transport.set_protocol(second)
        with plain() as peer:
            expected = send_numbered(peer, address)
        assert contents(await second.until(7)) == expected[3:]
        assert contents(protocol.received) == expected[:3]
        assert transport.get_protocol() is second


@own_endpoints
async def test_set_protocol_switches_between_kinds(loop_name, make_pool):
    async with endpoint() as (transport, protocol, address):
        with plain() as peer:
            for receiver in (protocol, batches_into(make_pool())(), Recorder()):
                transport.set_protocol(receiver)
                peer.sendto(b"abc", address)
                (data, sender), = await receiver.until(1)
                assert (data, sender) == (b"abc", peer.getsockname())
                assert type(data) is (poolio.Buffer if isinstance(receiver, Batches) else bytes)


@every_endpoint
async def test_reply_inside_datagram_received_is_sent(loop_name):
    async with endpoint(DatagramEcho) as (_, _, address):
        with plain() as peer:
            expected = send_numbered(peer, address, 50)
            assert await datagrams(peer, 50) == expected
