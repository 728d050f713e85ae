"""DatagramTransport: sendto() and sendmany(), what they refuse, and the errors that come back.

Where asyncio promises the same, asyncio's own transport runs the same test: then the test is right about asyncio.
"""

import array
import asyncio
import errno
import socket
import sys

import pytest
from kit.endpoints import (
    LONGEST,
    Batches,
    datagrams,
    endpoint,
    every_endpoint,
    every_kind,
    internet_kinds,
    message,
    next_datagram,
    own_endpoints,
    plain,
)
from kit.wires import eventually

import poolio


@pytest.mark.parametrize("data", ("text", 5, None, [b"abc"]))
@every_endpoint
async def test_sendto_what_is_no_bytes_raises(loop_name, data):
    with plain() as peer:
        async with endpoint(remote_addr=peer.getsockname()) as (transport, protocol, _):
            with pytest.raises(TypeError):
                transport.sendto(data)
            transport.sendto(b"next")
            assert await datagrams(peer, 1) == [b"next"]
            assert protocol.errors == []


@every_endpoint
async def test_sendto_takes_every_kind_of_bytes(loop_name):
    with plain() as peer:
        async with endpoint() as (transport, _, _):
            for data in (b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4], memoryview(array.array("H", [1, 2]))):
                transport.sendto(data, peer.getsockname())
                assert (await next_datagram(peer))[0] == bytes(data)


@every_kind
@every_endpoint
async def test_empty_datagrams_are_sent_and_received(loop_name, kind):
    if loop_name == "asyncio" and sys.version_info < (3, 13):
        pytest.skip("asyncio sends no empty datagram before Python 3.13")
    async with endpoint(kind=kind) as (_, protocol, address), endpoint(kind=kind) as (transport, _, own):
        for data in (b"", b"abc", b""):
            transport.sendto(data, address)
        assert await protocol.until(3) == [(b"", own), (b"abc", own), (b"", own)]


@every_endpoint
async def test_sent_at_once(loop_name):
    with plain() as peer:
        async with endpoint() as (transport, _, _):
            for number in range(20):
                transport.sendto(message(number, 50), peer.getsockname())
                assert peer.recv(100) == message(number, 50)
            assert transport.get_write_buffer_size() == 0


@internet_kinds
@every_endpoint
async def test_too_long_to_send_goes_to_error_received(loop_name, kind):
    """A fact about IPv4, whose datagrams are a header shorter than those of IPv6."""
    too_long = bytes(LONGEST + (1 if kind == "ipv4" else 21))
    with plain(kind) as peer:
        async with endpoint(kind=kind) as (transport, protocol, _):
            transport.sendto(too_long, peer.getsockname())
            transport.sendto(too_long[:LONGEST], peer.getsockname())
            await eventually(lambda: protocol.errors)
            assert [exc.errno for exc in protocol.errors] == [errno.EMSGSIZE]
            assert len((await next_datagram(peer))[0]) == LONGEST
            assert not transport.is_closing()


@every_endpoint
async def test_refused_on_connected_goes_to_error_received_and_stays_open(loop_name):
    with plain() as peer:
        address = peer.getsockname()
    async with endpoint(remote_addr=address) as (transport, protocol, own):
        transport.sendto(b"nobody is there")
        await eventually(lambda: protocol.errors)
        assert type(protocol.errors[0]) is ConnectionRefusedError
        assert not transport.is_closing()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(address)
            peer.sendto(b"somebody is", own)
            assert await protocol.until(1) == [(b"somebody is", address)]


@every_endpoint
async def test_unix_receiver_gone_goes_to_error_received(loop_name):
    with plain("unix") as peer:
        address = peer.getsockname()
    async with endpoint(kind="unix") as (transport, protocol, _):
        transport.sendto(b"abc", address)
        await eventually(lambda: protocol.errors)
        assert [type(exc) for exc in protocol.errors] == [ConnectionRefusedError]
        assert not transport.is_closing()


@own_endpoints
async def test_sendto_freezes_buffers(loop_name, make_pool):
    with plain() as peer:
        async with endpoint() as (transport, _, _):
            buf = make_pool().from_bytes(b"abc")
            transport.sendto(buf, peer.getsockname())
            assert buf.readonly
            with pytest.raises(TypeError):
                buf[0] = 1
            buf.release()
            assert (await next_datagram(peer))[0] == b"abc"


@internet_kinds
@own_endpoints
async def test_answer_with_a_buffer_is_frozen_sent_and_counted(loop_name, kind, make_pool):
    """To the very address that somebody has just written from."""
    with plain(kind) as peer:
        async with endpoint(Batches, kind) as (transport, protocol, address):
            peer.sendto(b"abc", address)
            [(_, sender)] = await protocol.until(1)
            buf = make_pool().from_bytes(b"defg")
            transport.sendto(buf, sender)
            assert buf.readonly
            assert (await next_datagram(peer))[0] == b"defg"
            figures = transport.statistics()
            assert (figures.sent, figures.sent_bytes) == (1, 4)
            protocol.received.clear()


@own_endpoints
async def test_answer_that_is_too_long_is_told(loop_name, make_pool):
    with plain() as peer:
        async with endpoint(Batches) as (transport, protocol, address):
            peer.sendto(b"abc", address)
            [(_, sender)] = await protocol.until(1)
            transport.sendto(make_pool().alloc(LONGEST + 1), sender)
            await eventually(lambda: protocol.errors)
            assert [exc.errno for exc in protocol.errors] == [errno.EMSGSIZE]
            assert transport.statistics().sent == 0
            protocol.received.clear()


@own_endpoints
async def test_sendto_released_buffer_raises(loop_name, make_pool):
    with plain() as peer:
        async with endpoint() as (transport, _, _):
            buf = make_pool().from_bytes(b"abc")
            buf.release()
            with pytest.raises(poolio.BufferReleased):
                transport.sendto(buf, peer.getsockname())
            assert transport.statistics().sent == 0


@every_kind
@own_endpoints
async def test_sendmany_keeps_the_order_over_receivers(loop_name, kind):
    with plain(kind) as one, plain(kind) as other:
        async with endpoint(kind=kind) as (transport, _, _):
            transport.sendmany(
                (message(number, number % 90), (one, other)[number % 2].getsockname()) for number in range(150))
            got = await asyncio.gather(datagrams(one, 75), datagrams(other, 75))
            assert got == [[message(n, n % 90) for n in range(start, 150, 2)] for start in (0, 1)]
            assert transport.statistics().sent == 150


@own_endpoints
async def test_sendmany_without_addresses_takes_the_remote_one(loop_name):
    with plain() as peer:
        async with endpoint(remote_addr=peer.getsockname()) as (transport, _, _):
            transport.sendmany([])
            transport.sendmany([(b"one", None), (bytearray(b"two"), peer.getsockname())])
            assert await datagrams(peer, 2) == [b"one", b"two"]


@pytest.mark.parametrize("bad", ("text", (b"abc",), (b"abc", 1, 2), ("text", None), (5, None), None))
@own_endpoints
async def test_sendmany_bad_item_raises_and_sends_nothing(loop_name, bad):
    with plain() as peer:
        async with endpoint(remote_addr=peer.getsockname()) as (transport, protocol, _):
            with pytest.raises(TypeError):
                transport.sendmany([(b"one", None), (b"two", None), bad])
            transport.sendto(b"first")
            assert await datagrams(peer, 1) == [b"first"]
            assert transport.statistics().sent == 1
            assert protocol.errors == []


@own_endpoints
async def test_sendmany_foreign_address_raises_and_sends_nothing(loop_name):
    with plain() as peer, plain() as stranger:
        async with endpoint(remote_addr=peer.getsockname()) as (transport, _, _):
            with pytest.raises(ValueError, match="address"):
                transport.sendmany([(b"one", None), (b"two", stranger.getsockname())])
        async with endpoint() as (unconnected, _, _):
            with pytest.raises(ValueError, match="address"):
                unconnected.sendmany([(b"one", peer.getsockname()), (b"two", None)])
            assert (transport.statistics().sent, unconnected.statistics().sent) == (0, 0)


@pytest.mark.parametrize("bad", ("address", "strided", "released"))
@own_endpoints
async def test_sendmany_item_that_cannot_be_read_raises_and_sends_nothing(loop_name, bad):
    """What only shows when the item is looked at closely is seen before the first one is sent, too."""
    with plain() as peer, memoryview(b"abcdef") as view:
        address = peer.getsockname()
        released = memoryview(b"abc")
        released.release()
        item = {"address": (b"abc", address[:1]), "strided": (view[::2], address), "released": (released, address)}[bad]
        async with endpoint() as (transport, protocol, _):
            with pytest.raises((TypeError, ValueError, BufferError)):
                transport.sendmany([(b"one", address), (b"two", address), item])
            assert transport.statistics().sent == 0
            assert protocol.errors == []


@own_endpoints
async def test_sendmany_iterable_that_raises_sends_nothing(loop_name):
    def items():
        yield b"one", None
        raise ZeroDivisionError

    with plain() as peer:
        async with endpoint(remote_addr=peer.getsockname()) as (transport, _, _):
            with pytest.raises(ZeroDivisionError):
                transport.sendmany(items())
            assert transport.statistics().sent == 0


@own_endpoints
async def test_sendmany_one_error_does_not_stop_the_others(loop_name):
    with plain() as peer:
        async with endpoint(remote_addr=peer.getsockname()) as (transport, protocol, _):
            transport.sendmany([(b"one", None), (bytes(LONGEST + 1), None), (b"two", None)])
            assert await datagrams(peer, 2) == [b"one", b"two"]
            await eventually(lambda: protocol.errors)
            assert [exc.errno for exc in protocol.errors] == [errno.EMSGSIZE]
