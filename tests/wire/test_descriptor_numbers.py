"""Numbers of descriptors: a transport never uses one that is not its own, and a number that was closed is no trap."""

import asyncio
import contextlib
import os
import socket

import pytest
from kit.pairs import Recorder, on, turns
from kit.wires import OURS, eventually, net

import poolio

every_loop = on("asyncio", "uvloop", *OURS)
own_loop = on(*OURS[:1])


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.received = bytearray()

    def datagram_received(self, data, addr):
        self.received += data


async def by_protocol(sock):
    transport, protocol = await net().create_unix_connection(Recorder, sock=sock)
    return transport, transport.write, lambda: bytes(protocol.received)


async def by_stream(sock):
    transport, protocol = await net().create_unix_connection(poolio.StreamProtocol, sock=sock)
    protocol.writer.transport.pause_reading()
    return transport, protocol.writer.write, lambda: bytes(protocol.reader.chain.peek(len(protocol.reader.chain)))


async def by_datagrams(sock):
    transport, protocol = await net().create_datagram_endpoint(Datagrams, sock=sock)
    return transport, transport.sendto, lambda: bytes(protocol.received)


WAYS = {"protocol": (by_protocol, socket.SOCK_STREAM), "stream": (by_stream, socket.SOCK_STREAM),
        "datagrams": (by_datagrams, socket.SOCK_DGRAM)}


def nothing_came_to(sock):
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(100)


@pytest.mark.parametrize("way", WAYS)
@every_loop
async def test_socket_closed_by_its_owner_strangers_are_left_alone(way, loop_name):
    """Whoever gets the number of a socket that was closed while a transport has it is neither written to nor read."""
    if way == "stream" and loop_name in ("asyncio", "uvloop"):
        pytest.skip("poolio's streams are not asyncio's: the model is its transport")
    open_, kind = WAYS[way]
    ours, peer = socket.socketpair(socket.AF_UNIX, kind)
    ours.setblocking(False)
    with peer, contextlib.ExitStack() as strangers:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        transport, write, received = await open_(ours)
        transport.pause_reading() if hasattr(transport, "pause_reading") else None
        ours.close()
        ends = []
        for _ in range(3):
            pair = socket.socketpair(socket.AF_UNIX, kind)
            ends += map(strangers.enter_context, pair)
        for end in ends:
            end.send(b"stranger")
        write(b"secret")
        if way != "datagrams":
            with contextlib.suppress(OSError):
                transport.write_eof()
        with contextlib.suppress(Exception):
            transport.resume_reading()
        await turns(5)
        assert received() == b""
        for end in ends:
            assert end.recv(100) == b"stranger"
            nothing_came_to(end)
        transport.abort()
        await turns(5)


@pytest.mark.parametrize("way", WAYS)
@on(*OURS)
async def test_socket_closed_by_its_owner_the_transport_goes_on(way):
    open_, kind = WAYS[way]
    ours, peer = socket.socketpair(socket.AF_UNIX, kind)
    ours.setblocking(False)
    with peer:
        peer.settimeout(10)
        transport, write, received = await open_(ours)
        number = ours.fileno()
        ours.close()
        transport.resume_reading()
        peer.send(b"to it")
        await eventually(lambda: received() == b"to it")
        write(b"from it")
        assert peer.recv(100) == b"from it"
        assert os.fstat(number)
        transport.close()
        await turns(5)
        with pytest.raises(OSError):
            os.fstat(number)


@own_loop
async def test_descriptor_closed_while_watched_its_number_can_be_watched_again():
    loop = asyncio.get_running_loop()
    for _ in range(3):
        called = asyncio.Event()
        reading, writing = os.pipe()
        loop.add_reader(reading, called.set)
        os.close(reading)                               # nobody calls remove_reader()
        again, other = os.pipe()
        assert again == reading
        loop.add_reader(again, called.set)
        os.write(other, b"x")
        await asyncio.wait_for(called.wait(), 5)
        assert loop.remove_reader(again)
        for number in (writing, again, other):
            os.close(number)


@own_loop
async def test_descriptor_closed_while_watched_a_socket_at_its_number_connects(tmp_path):
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    loop.add_reader(reading, int)
    os.close(reading)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock:
        sock.setblocking(False)
        assert reading in (listener.fileno(), sock.fileno())
        loop.add_writer(reading, int)
        loop.remove_writer(reading)
        loop.remove_reader(reading)
        await asyncio.wait_for(loop.sock_connect(sock, listener.getsockname()), 5)
    os.close(writing)


@own_loop
async def test_descriptor_closed_while_watched_and_free_fails_once_only():
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    loop.add_reader(reading, int)
    os.close(reading)
    with pytest.raises(OSError):
        loop.add_writer(reading, int)
    again, other = os.pipe()
    assert again == reading
    loop.add_reader(again, int)
    assert loop.remove_reader(again)
    for number in (writing, again, other):
        os.close(number)
