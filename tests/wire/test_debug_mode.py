"""Debug mode: what the reactor calls and takes longer than the slow_callback_duration of the loop is logged by name."""

import asyncio
import logging
import socket
import time

import pytest
from kit.pairs import Recorder, linked, on, pair, turns
from kit.wires import CLIENT_TLS, OURS, SERVER_TLS, eventually, net

import poolio

SLOW = 0.15             # the limit, in seconds; what is slow here takes a little longer
MUCH = bytes(20 << 20)  # more than the kernel takes at once
ours = on(*OURS)


@pytest.fixture(autouse=True)
def only_warnings(caplog):
    caplog.set_level(logging.WARNING, "asyncio")


def be_slow():
    time.sleep(SLOW + 0.01)


def set_debug(enabled=True):
    asyncio.get_running_loop().slow_callback_duration = SLOW
    asyncio.get_running_loop().set_debug(enabled)


def told(caplog):
    """What was logged of poolio's calls: the words before "took"."""
    lines = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    return [line[len("Executing "):line.index(" took 0.")] for line in lines if "Handle" not in line]


def slow(*methods, base=Recorder):
    """A subclass whose methods of these names take long."""
    def making(name):
        def method(self, *arguments):
            be_slow()
            return getattr(super(Slow, self), name, lambda *_: None)(*arguments)
        return method

    class Slow(base):
        def __repr__(self):
            return "<Slow>"

    for name in methods:
        setattr(Slow, name, making(name))
    return Slow


@pytest.mark.parametrize("method", ("data_received", "eof_received"))
@ours
async def test_slow_callback_of_a_connection_is_named(method, caplog):
    protocol, peer = await linked(slow(method))
    set_debug()
    with peer:
        peer.sendall(b"x")
        peer.shutdown(socket.SHUT_WR)
        await protocol.ended
    (line,) = told(caplog)
    assert line.startswith("<Slow> on <poolio.StreamTransport ")


@ours
async def test_slow_connection_made_of_an_accepted_connection_is_named(caplog):
    set_debug()
    made = []
    server = await net().create_server(
        lambda: made.append(slow("connection_made")()) or made[-1], "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()):
        await eventually(lambda: made and made[0].calls)
    await made[0].ended
    server.close()
    await server.wait_closed()
    assert [line.partition(" fd=")[0] for line in told(caplog)] == ["<Slow> on <poolio.StreamTransport"]


@ours
async def test_slow_factory_of_a_server_names_the_listener(caplog):
    set_debug()
    made = []
    server = await net().create_server(
        lambda: be_slow() or made.append(Recorder()) or made[-1], "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()):
        await eventually(lambda: made)
    await made[0].ended
    server.close()
    await server.wait_closed()
    assert any("Listener._make_protocol" in record.getMessage() for record in caplog.records)    # it has a handle


@ours
async def test_slow_water_mark_in_a_fast_callback_is_named_once(caplog):
    class Filling(slow("pause_writing")):
        def data_received(self, data):
            self.transport.set_write_buffer_limits(0)
            self.transport.write(MUCH)

    protocol, peer = await linked(Filling)
    set_debug()
    with peer:
        peer.sendall(b"x")
        await eventually(lambda: told(caplog))
        protocol.transport.abort()
        await protocol.ended
    (line,) = told(caplog)
    assert line.startswith("<Slow> on <poolio.StreamTransport ")


@ours
async def test_slow_task_of_a_stream_is_named(caplog):
    async def slow_reader():
        await reader.readexactly(1)
        be_slow()

    async with pair() as ((_, writer), (reader, _)):
        task = asyncio.create_task(slow_reader(), name="reading")
        await turns()
        set_debug()
        writer.write(b"x")
        await task
        set_debug(False)
    (line,) = told(caplog)
    assert line.startswith("<Task finished name='reading'") and " on <poolio.StreamTransport " in line


class Batches(poolio.DatagramProtocol):
    def datagrams_received(self, batch):
        self.count = len(batch)


class OneByOne(asyncio.DatagramProtocol):
    def datagram_received(self, data, address):
        self.count = 1


@pytest.mark.parametrize("base, method", ((Batches, "datagrams_received"), (OneByOne, "datagram_received")))
@ours
async def test_slow_callback_for_datagrams_is_named(base, method, caplog):
    transport, protocol = await net().create_datagram_endpoint(
        slow(method, base=base), local_addr=("127.0.0.1", 0))
    set_debug()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"x", transport.get_extra_info("sockname"))
        await eventually(lambda: hasattr(protocol, "count"))
    transport.close()
    await turns()
    (line,) = told(caplog)
    assert line.startswith("<Slow> on <poolio.DatagramTransport ")


@ours
async def test_slow_callback_behind_tls_names_the_protocol_that_the_data_is_for(caplog):
    made = []
    server = await net().create_server(
        lambda: made.append(slow("data_received")()) or made[-1], "127.0.0.1", 0, ssl=SERVER_TLS)
    transport, client = await net().create_connection(
        Recorder, *server.sockets[0].getsockname(), ssl=CLIENT_TLS, server_hostname="localhost")
    await eventually(lambda: made and made[0].calls)
    set_debug()
    transport.write(b"x")
    await eventually(lambda: made[0].received)
    transport.close()
    await client.ended
    server.close()
    await server.wait_closed()
    assert "<Slow> on <poolio.StreamTransport" in [line.partition(" fd=")[0] for line in told(caplog)]


@ours
async def test_debug_mode_is_switched_it_holds_from_then_on(caplog):
    protocol, peer = await linked(slow("data_received"))
    counts = []
    with peer:
        for enabled in (False, True, True, False):
            set_debug(enabled)
            protocol.received.clear()
            peer.sendall(b"x")
            await eventually(lambda: protocol.received)
            counts.append(len(told(caplog)))
        protocol.transport.abort()
        await protocol.ended
    assert counts == [0, 1, 2, 2]


@ours
async def test_fast_callbacks_are_not_named(caplog):
    protocol, peer = await linked()
    asyncio.get_running_loop().set_debug(True)
    asyncio.get_running_loop().slow_callback_duration = 100
    with peer:
        peer.sendall(b"x")
        await eventually(lambda: protocol.received)
        protocol.transport.abort()
        await protocol.ended
    assert told(caplog) == []
