"""Habits of asyncio's transports that others rely on: attributes, limits, sockets, connection_made() that raises."""

import asyncio
import gc
import os
import socket

import pytest
from kit.pairs import Recorder, linked, on, received_by, turns
from kit.wires import OURS, net

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
async def test_transport_without_attributes_of_its_own_has_no_dict(loop_name):
    """An empty one would be a fifth of what an idle connection costs."""
    protocol, peer = await linked()
    with peer:
        assert {} not in gc.get_referents(protocol.transport)
        protocol.transport.note = 1
        assert {"note": 1} in gc.get_referents(protocol.transport)
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
