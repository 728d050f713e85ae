"""DatagramTransport: what asyncio.DatagramTransport promises, and what is queued when. Where asyncio keeps the promise
too, asyncio's own transport runs the same test, so the test is right about asyncio.
"""

import array
import asyncio
import contextlib
import contextvars
import errno
import gc
import logging
import os
import socket
import sys
import warnings

import pytest
from kit.endpoints import (
    HOSTS,
    LONGEST,
    Batches,
    Recorder,
    batches_into,
    contents,
    datagrams,
    endpoint,
    every_endpoint,
    every_kind,
    fill,
    internet_kinds,
    message,
    next_datagram,
    own_endpoints,
    plain,
)
from kit.pairs import collect_errors, turns
from kit.wires import OURS, eventually, net, run

import poolio

variable = contextvars.ContextVar("variable", default="unset")


def open_descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


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


# --- sending ----------------------------------------------------------------------------------------------------

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


# --- reading, and what callbacks may do in the middle of a batch --------------------------------------------------

def send_numbered(sender, address, count=10):
    for number in range(count):
        sender.sendto(b"%d" % number, address)
    return [b"%d" % number for number in range(count)]


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
    class Echo(Recorder):
        def datagram_received(self, data, address):
            self.transport.sendto(data, address)

    async with endpoint(Echo) as (_, _, address):
        with plain() as peer:
            expected = send_numbered(peer, address, 50)
            assert await datagrams(peer, 50) == expected


# --- failing callbacks --------------------------------------------------------------------------------------------

@every_endpoint
async def test_datagram_received_that_raises_is_reported_and_the_others_are_delivered(loop_name):
    class Failing(Recorder):
        def datagram_received(self, data, address):
            super().datagram_received(data, address)
            if data in (b"2", b"5"):
                raise ZeroDivisionError(data)

    handled = collect_errors()
    async with endpoint(Failing) as (transport, protocol, address):
        with plain() as peer:
            expected = send_numbered(peer, address)
        assert contents(await protocol.until(10)) == expected
        assert [context["exception"].args for context in handled] == [(b"2",), (b"5",)]
        assert not transport.is_closing()


@own_endpoints
async def test_datagrams_received_that_raises_is_reported_and_the_endpoint_stays(loop_name):
    class Failing(Batches):
        def datagrams_received(self, batch):
            super().datagrams_received(batch)
            raise ZeroDivisionError

    handled = collect_errors()
    async with endpoint(Failing) as (transport, protocol, address):
        with plain() as peer:
            for count in (1, 2):
                peer.sendto(b"abc", address)
                assert contents(await protocol.until(count)) == [b"abc"] * count
        assert [type(context["exception"]) for context in handled] == [ZeroDivisionError] * 2
        assert not transport.is_closing()


@own_endpoints
async def test_error_received_that_raises_is_reported_and_the_endpoint_stays(loop_name):
    class Failing(Recorder):
        def error_received(self, exc):
            raise ZeroDivisionError

    handled = collect_errors()
    with plain() as peer:
        async with endpoint(Failing, remote_addr=peer.getsockname()) as (transport, _, _):
            transport.sendto(bytes(LONGEST + 1))
            await eventually(lambda: handled)
            assert [type(context["exception"]) for context in handled] == [ZeroDivisionError]
            transport.sendto(b"abc")
            assert await datagrams(peer, 1) == [b"abc"]


@pytest.mark.parametrize("method", ("pause_writing", "resume_writing"))
@every_endpoint
async def test_flow_control_callback_that_raises_is_reported(loop_name, method):
    if loop_name == "asyncio" and sys.version_info >= (3, 13) and method == "resume_writing":
        pytest.skip("asyncio's count of what is queued does not come back to 0 on Python 3.13")

    def fail():
        raise ZeroDivisionError

    handled = collect_errors()
    with plain("unix") as peer:
        async with endpoint(sock=plain("unix", peer)) as (transport, protocol, _):
            setattr(protocol, method, fail)
            transport.set_write_buffer_limits(high=0)
            count = fill(transport)
            assert len(await datagrams(peer, count)) == count
            await eventually(lambda: handled)
            assert [type(context["exception"]) for context in handled] == [ZeroDivisionError]
            assert not transport.is_closing()


@pytest.mark.parametrize("loop_name", ("asyncio", *OURS))
@pytest.mark.parametrize("kind", (KeyboardInterrupt, SystemExit))
def test_keyboard_interrupt_and_system_exit_pass_through(loop_name, kind):
    class Stopping(Recorder):
        def datagram_received(self, data, address):
            raise kind

    async def main():
        async with endpoint(Stopping) as (_, protocol, address):
            with plain() as peer:
                peer.sendto(b"abc", address)
            await protocol.ended

    with pytest.raises(kind):
        run(loop_name, main, timeout=10)


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
    before = open_descriptors()
    for _ in range(20):
        async with endpoint(local_addr=(HOSTS["ipv4"], 0)) as (transport, _, _):
            transport.get_extra_info("socket")
    await turns()
    assert open_descriptors() == before


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
