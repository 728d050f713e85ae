"""Habits of asyncio's transports that others rely on: attributes, limits, sockets, connection_made() that raises."""

import asyncio
import errno
import gc
import os
import resource
import socket
import unittest.mock

import pytest
from kit.faults import reset_at_close
from kit.pairs import Recorder, connect_socket, linked, listed_in, on, received_by, turns
from kit.wires import OURS, eventually, net

import poolio

model_and_ours = on("asyncio", *OURS)


@model_and_ours
async def test_transports_take_attributes(loop_name):
    protocol, peer = await linked(poolio.Protocol if loop_name in OURS else Recorder)
    with peer:
        protocol.transport.note = 1
        assert protocol.transport.note == 1
        protocol.transport.abort()
        await turns(5)


@on(*OURS)
async def test_transports_without_attributes_have_no_dict_of_their_own(loop_name):
    """An empty one would be a tenth of what an idle connection costs."""
    def dicts_of(transport):
        return [id(each) for each in gc.get_referents(transport) if type(each) is dict]

    first, peer = await linked()
    second, other_peer = await linked()
    with peer, other_peer:
        assert dicts_of(first.transport) == dicts_of(second.transport)
        first.transport.note = 1
        assert dicts_of(first.transport) != dicts_of(second.transport)
        assert (vars(first.transport), vars(second.transport)) == ({"note": 1}, {})
        vars(second.transport)["word"] = 2
        third, third_peer = await linked()
        with third_peer:
            assert (second.transport.word, vars(third.transport)) == (2, {})
            assert not hasattr(first.transport, "word") and not hasattr(third.transport, "word")
            with pytest.raises(AttributeError, match="note"):
                del third.transport.note
            for protocol in (first, second, third):
                protocol.transport.abort()
                await protocol.ended


@model_and_ours
async def test_methods_of_transports_can_be_replaced(loop_name):
    protocol, peer = await linked()
    with peer:
        written = []
        protocol.transport.write = written.append
        protocol.transport.write(b"kept")
        del protocol.transport.write
        protocol.transport.write(b"sent")
        assert (written, await received_by(peer, 4)) == ([b"kept"], b"sent")
        protocol.transport.abort()
        await protocol.ended


@model_and_ours
async def test_water_marks_may_be_floats(loop_name):
    protocol, peer = await linked()
    with peer:
        protocol.transport.set_write_buffer_limits(high=1e6)
        assert protocol.transport.get_write_buffer_limits() == (250_000, 1_000_000)
        protocol.transport.abort()
        await protocol.ended


@pytest.mark.parametrize("ending", ("close", "reset"))
@pytest.mark.parametrize("family", (socket.AF_INET, socket.AF_UNIX), ids=("tcp", "unix"))
@model_and_ours
async def test_extra_info_first_asked_after_the_end_tells_of_a_closed_socket(family, ending, tmp_path):
    made = []
    if family == socket.AF_INET:
        server = await net().create_server(listed_in(made), "127.0.0.1", 0)
    else:
        server = await net().create_unix_server(listed_in(made), str(tmp_path / "socket"))
    peer = socket.socket(family)
    peer.connect(server.sockets[0].getsockname())
    names = peer.getpeername(), peer.getsockname()
    await eventually(lambda: made and "made" in made[0].calls)
    if ending == "reset" and family == socket.AF_INET:
        reset_at_close(peer)
    peer.close()
    await made[0].ended
    await turns()
    transport = made[0].transport
    sock = transport.get_extra_info("socket")
    assert (sock.fileno(), sock.family, sock.type) == (-1, family, socket.SOCK_STREAM)
    assert sock.proto == (socket.IPPROTO_TCP if family == socket.AF_INET else 0)
    assert transport.get_extra_info("socket", "default") is sock
    assert (transport.get_extra_info("sockname"), transport.get_extra_info("peername")) == names
    assert transport._sock is None
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("is_asked_before", (False, True))
@model_and_ours
async def test_extra_info_of_a_client_after_the_end_tells_of_a_closed_socket(is_asked_before):
    protocol, peer = await linked()
    with peer:
        names = peer.getpeername(), peer.getsockname()
        if is_asked_before:
            assert protocol.transport.get_extra_info("socket").fileno() >= 0
        protocol.transport.abort()
        await protocol.ended
        await turns()
        assert protocol.transport.get_extra_info("socket").fileno() == -1
        assert tuple(map(protocol.transport.get_extra_info, ("sockname", "peername"))) == names


@model_and_ours
async def test_extra_info_of_datagrams_after_the_end_tells_of_a_closed_socket():
    transport, _ = await net().create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    transport.close()
    await turns()
    assert transport.get_extra_info("socket").fileno() == -1
    assert transport.get_extra_info("sockname")[0] == "127.0.0.1"
    assert transport.get_extra_info("peername", "none") is None


@on(*OURS)
async def test_extra_info_after_the_end_without_descriptors_is_the_default():
    made = []
    server = await net().create_server(listed_in(made), "127.0.0.1", 0)
    socket.create_connection(server.sockets[0].getsockname()).close()
    await eventually(lambda: made)
    await made[0].ended
    await turns()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        assert made[0].transport.get_extra_info("socket", "default") == "default"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert made[0].transport.get_extra_info("socket").fileno() == -1
    server.close()
    await server.wait_closed()


@model_and_ours
async def test_accepted_sockets_name_their_protocol(loop_name):
    made = []
    server = await net().create_server(lambda: made.append(Recorder()) or made[-1], "127.0.0.1", 0)
    _, client = await net().create_connection(Recorder, *server.sockets[0].getsockname())
    while not made or "made" not in made[0].calls:
        await asyncio.sleep(0)
    assert made[0].transport.get_extra_info("socket").proto == socket.IPPROTO_TCP
    client.transport.abort()
    await made[0].ended
    server.close()
    await server.wait_closed()


# --- connection_made() that raises ------------------------------------------------------------------------------

class Raising(Recorder):
    def connection_made(self, transport):
        super().connection_made(transport)
        raise ZeroDivisionError


SOCKET = socket.socket


class ProxiedSocket(SOCKET):
    """What a library that sends all connections through a proxy puts in the place of socket.socket."""


def mocked_socket(*arguments, **options):
    return SOCKET(*arguments, **options)


@pytest.mark.parametrize("replacement", [ProxiedSocket, mocked_socket])
@model_and_ours
async def test_socket_class_was_replaced_connections_are_made_and_used(loop_name, replacement, monkeypatch):
    monkeypatch.setattr(socket, "socket", replacement)
    made = []
    server = await net().create_server(lambda: made.append(Recorder()) or made[-1], "127.0.0.1", 0)
    transport, client = await net().create_connection(Recorder, *server.sockets[0].getsockname())
    transport.write(b"hello")
    while not (made and made[0].received):
        await asyncio.sleep(0)
    peer = made[0].transport.get_extra_info("socket").getpeername()
    assert (bytes(made[0].received), peer) == (b"hello", transport.get_extra_info("sockname"))
    transport.abort()
    await asyncio.gather(client.ended, made[0].ended)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("replacement", [ProxiedSocket, mocked_socket])
@model_and_ours
async def test_socket_class_is_replaced_meanwhile_the_descriptor_is_closed(loop_name, replacement, monkeypatch):
    protocol, peer = await linked()
    number = protocol.transport.get_extra_info("socket").fileno()
    with peer:
        monkeypatch.setattr(socket, "socket", replacement)
        protocol.transport.abort()
        await protocol.ended
        await turns(3)
        with pytest.raises(OSError):
            os.fstat(number)


@model_and_ours
async def test_connection_made_of_asyncio_protocol_raises_it_is_reported_and_goes_on(loop_name):
    handled = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: handled.append(context["exception"]))
    protocol, peer = await linked(Raising)
    with peer:
        assert [type(exc) for exc in handled] == [ZeroDivisionError]
        peer.sendall(b"data")
        while protocol.received != b"data":
            await asyncio.sleep(0)
        protocol.transport.close()
        assert await protocol.ended is None


@on(*OURS)
async def test_connection_made_of_poolio_protocol_raises_the_connection_ends():
    class Ending(Raising, poolio.Protocol):
        pass

    handled = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: handled.append(context["exception"]))
    protocol, peer = await linked(Ending)
    with peer:
        assert type(await protocol.ended) is ZeroDivisionError
        assert await received_by(peer) == b""
    assert [type(exc) for exc in handled] == [ZeroDivisionError]


class Closing(asyncio.DatagramProtocol):
    """Closes its endpoint at the first error."""

    def __init__(self):
        self.errors = []
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def error_received(self, exc):
        self.errors.append(exc.errno)
        self.transport.close()

    def connection_lost(self, exc):
        self.ended.set_result(exc)


@pytest.mark.parametrize("is_connected", (False, True))
@model_and_ours
async def test_sendto_after_close_goes_on_until_the_end_unless_there_is_a_remote_address(is_connected):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        options = {"remote_addr": peer.getsockname()} if is_connected else {"local_addr": ("127.0.0.1", 0)}
        transport, protocol = await net().create_datagram_endpoint(Closing, **options)
        for data in (bytes(70_000), bytes(70_000), b"last"):
            transport.sendto(data, peer.getsockname())
        await protocol.ended
        assert protocol.errors == [errno.EMSGSIZE] * (1 if is_connected else 2)
        if is_connected:
            with pytest.raises(BlockingIOError):
                peer.recv(10)
        else:
            assert peer.recv(10) == b"last"


@on(*OURS)
async def test_transport_of_a_mocked_socket_is_made():
    """CPython's own tests do so."""
    sock, peer = socket.socketpair()
    sock.setblocking(False)
    with peer:
        mocked = unittest.mock.Mock(socket.socket, wraps=sock)
        mocked.fileno = sock.fileno
        transport, protocol = await connect_socket(Recorder, mocked)
        peer.sendall(b"received")
        await eventually(lambda: protocol.received == b"received")
        transport.abort()
        await protocol.ended
    sock.close()
