"""DatagramTransport: what it is, how it is made, how it ends, and the context its callbacks run in.

Where asyncio promises the same, asyncio's own transport runs the same test: then the test is right about asyncio.
"""

import asyncio
import contextlib
import errno
import gc
import logging
import socket
import warnings

import pytest
from kit.endpoints import (
    HOSTS,
    Recorder,
    batches_into,
    endpoint,
    every_endpoint,
    next_datagram,
    own_endpoints,
    plain,
)
from kit.faults import descriptors
from kit.pairs import turns, variable
from kit.wires import OURS, net, run

import poolio

# --- what it is, and how it is made -----------------------------------------------------------------------------

@own_endpoints
async def test_isinstance_asyncio_datagram_transport(loop_name):
    async with endpoint() as (transport, protocol, _):
        assert isinstance(transport, asyncio.DatagramTransport)
        assert type(transport) is poolio.wire.datagram.DatagramTransport
        assert protocol.transport is transport
        assert transport.get_protocol() is protocol


@own_endpoints
async def test_made_by_itself_raises(loop_name):
    with pytest.raises(TypeError, match="create_datagram_endpoint"):
        poolio.wire.datagram.DatagramTransport()


@every_endpoint
async def test_connection_made_comes_before_the_first_datagram(loop_name):
    order = []

    class Ordered(Recorder):
        def connection_made(self, transport):
            order.append("made")
            super().connection_made(transport)

        def datagram_received(self, data, address):
            order.append(data)
            super().datagram_received(data, address)

    with plain() as sender, contextlib.ExitStack() as stack:
        receiver = stack.enter_context(plain())
        sender.sendto(b"early", receiver.getsockname())
        async with endpoint(Ordered, sock=receiver) as (_, protocol, _):
            assert order[0] == "made"
            await protocol.until(1)
            assert order == ["made", b"early"]


@pytest.mark.filterwarnings("ignore:.*was never awaited")
@every_endpoint
async def test_arguments_that_contradict_raise(loop_name):
    make = net().create_datagram_endpoint
    with socket.socket() as stream, plain() as sock:
        for error, options in (
            (ValueError, {}),
            (ValueError, {"sock": stream}),
            (ValueError, {"sock": sock, "local_addr": (HOSTS["ipv4"], 0)}),
            (ValueError, {"sock": sock, "allow_broadcast": True}),
            (ValueError, {"local_addr": (HOSTS["ipv4"], 0), "remote_addr": ("::1", 9)}),
            (TypeError, {"local_addr": HOSTS["ipv4"]}),
            (TypeError, {"remote_addr": (HOSTS["ipv4"], 9, 0, 0, 0)}),
            (TypeError, {"local_addr": ("path", 0), "family": socket.AF_UNIX}),
        ):
            with pytest.raises(error):
                await make(Recorder, **options)


@every_endpoint
async def test_address_in_use_raises(loop_name):
    with plain() as sock:
        with pytest.raises(OSError) as raised:
            await net().create_datagram_endpoint(Recorder, sock.getsockname())
        assert raised.value.errno == errno.EADDRINUSE


@every_endpoint
async def test_reuse_port_lets_two_share_it(loop_name):
    async with (
        endpoint(local_addr=(HOSTS["ipv4"], 0), reuse_port=True) as (_, _, address),
        endpoint(local_addr=address, reuse_port=True) as (transport, _, second),
    ):
        assert second == address
        assert transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


@every_endpoint
async def test_family_alone_makes_an_unbound_socket(loop_name):
    with plain() as peer:
        async with endpoint(family=socket.AF_INET) as (transport, _, _):
            transport.sendto(b"abc", peer.getsockname())
            assert (await next_datagram(peer))[0] == b"abc"


@every_endpoint
async def test_debug_mode_works_the_same(loop_name):
    asyncio.get_running_loop().set_debug(True)
    async with (
        endpoint(local_addr=(HOSTS["ipv4"], 0)) as (_, receiver, address),
        endpoint(remote_addr=address) as (transport, sender, own),
    ):
        transport.sendto(b"abc")
        assert await receiver.until(1) == [(b"abc", own)]
        transport.close()
        assert await sender.ended is None


# --- the end ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("ending", ("close", "abort"))
@every_endpoint
async def test_connection_lost_is_called_once_and_not_inside(loop_name, ending):
    async with endpoint() as (transport, protocol, _):
        assert not transport.is_closing()
        getattr(transport, ending)()
        assert transport.is_closing()
        assert protocol.calls == ["made"]
        transport.close()
        transport.abort()
        assert await protocol.ended is None
        transport.close()
        transport.abort()
        await turns()
        assert protocol.calls == ["made", "lost"]
        assert not transport.is_reading()


@every_endpoint
async def test_nothing_is_delivered_after_close(loop_name):
    async with endpoint() as (transport, protocol, address):
        with plain() as peer:
            peer.sendto(b"abc", address)
            transport.close()
            assert await protocol.ended is None
        await turns()
        assert protocol.received == []


@every_endpoint
async def test_closed_endpoint_gives_its_address_back(loop_name):
    async with endpoint() as (transport, protocol, address):
        transport.close()
        await protocol.ended
        await turns()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(address)
            assert again.getsockname() == address


@own_endpoints
async def test_sendto_after_the_end_is_ignored_with_a_warning_after_some(loop_name, caplog):
    with plain() as peer:
        async with endpoint() as (transport, protocol, _):
            transport.close()
            await protocol.ended
            with caplog.at_level(logging.WARNING):
                for count in range(10):
                    transport.sendto(b"abc", peer.getsockname())
                    assert count >= 3 or not caplog.records
            assert caplog.records
            transport.sendmany([(b"abc", peer.getsockname())])
            transport.send_segmented(b"abcdef", 2, peer.getsockname())
            assert protocol.errors == []
            with pytest.raises(BlockingIOError):
                peer.recv(10)


@every_endpoint
async def test_dropped_while_open_warns_and_closes(loop_name):
    async with endpoint(kind="unix") as (_, protocol, _):
        pass
    transport, protocol = await net().create_datagram_endpoint(Recorder, sock=plain("unix"))
    await turns()
    address = transport.get_extra_info("sockname")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        transport.pause_reading()
        del transport, protocol
        gc.collect()
    assert [str(warning.message) for warning in caught if "unclosed transport" in str(warning.message)]
    with plain("unix") as peer, pytest.raises(ConnectionRefusedError):
        peer.sendto(b"abc", address)


@pytest.mark.parametrize("loop_name", OURS)
def test_loop_closed_with_endpoints_open_closes_them(loop_name, make_pool):
    pool, addresses = make_pool(), []

    async def main():
        for _ in range(3):
            transport, _ = await net().create_datagram_endpoint(batches_into(pool), sock=plain("unix"))
            addresses.append(transport.get_extra_info("sockname"))
        await turns()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        run(loop_name, main)
        gc.collect()
    for address in addresses:
        with plain("unix") as peer, pytest.raises(ConnectionRefusedError):
            peer.sendto(b"abc", address)


@own_endpoints
async def test_descriptors_are_given_back(loop_name):
    async with endpoint(local_addr=(HOSTS["ipv4"], 0)):
        pass
    gc.collect()
    before = descriptors()
    for _ in range(20):
        async with endpoint(local_addr=(HOSTS["ipv4"], 0)) as (transport, _, _):
            transport.get_extra_info("socket")
    await turns()
    gc.collect()
    assert descriptors() == before


# --- contexts -----------------------------------------------------------------------------------------------------

@every_endpoint
async def test_callbacks_run_in_the_context_of_the_creation(loop_name):
    seen = []

    class Looking(Recorder):
        def connection_made(self, transport):
            seen.append(variable.get())
            super().connection_made(transport)

        def datagram_received(self, data, address):
            seen.append(variable.get())
            super().datagram_received(data, address)

    variable.set("creation")
    async with endpoint(Looking) as (_, protocol, address):
        variable.set("later")
        with plain() as peer:
            peer.sendto(b"abc", address)
            await protocol.until(1)
    assert seen == ["creation", "creation"]


@own_endpoints
async def test_connection_lost_runs_in_the_context_of_the_creation(loop_name):
    seen = []

    class Looking(Recorder):
        def connection_lost(self, exc):
            seen.append(variable.get())
            super().connection_lost(exc)

    variable.set("creation")
    async with endpoint(Looking):
        variable.set("later")
    assert seen == ["creation"]
    assert variable.get() == "later"
