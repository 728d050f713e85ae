"""Callbacks and tasks that run the loop, as nest_asyncio lets them: what comes meanwhile is what comes on asyncio."""

import asyncio
import contextlib
import socket
import sys

import pytest
from kit.endpoints import Recorder as DatagramRecorder
from kit.endpoints import endpoint, plain
from kit.nested import NESTING_OURS, nesting, until
from kit.pairs import Recorder, linked, pair
from kit.wires import eventually, net

import poolio

# Since CPython 3.15 the callbacks of asyncio's transports run in the context of the connection, which asyncio can't
# enter a second time in a loop that a callback runs. poolio's transports can.
MODEL = ("asyncio",) if sys.version_info < (3, 15) else ()
model_and_ours = nesting(*MODEL, *NESTING_OURS)
own_loops = nesting(*NESTING_OURS)


def acting(method, act, base=Recorder):
    """A factory of protocols whose method does its work and calls act(protocol), the first time."""
    class Acting(base):
        has_acted = False

    def work(self, *arguments):
        result = getattr(base, method)(self, *arguments)
        if not self.has_acted:
            self.has_acted = True
            act(self)
        return result
    setattr(Acting, method, work)
    return Acting


async def end(protocol, peer):
    peer.close()
    protocol.transport.abort()
    await protocol.ended


@pytest.mark.parametrize("ending", ("close", "abort"))
@pytest.mark.parametrize("method", ("connection_made", "data_received", "eof_received"))
@model_and_ours
async def test_connection_ended_in_a_callback_is_lost_in_the_loop_that_it_runs(method, ending):
    def act(protocol):
        getattr(protocol.transport, ending)()
        until(lambda: "lost" in protocol.calls)
        seen.append(True)

    seen = []
    protocol, peer = await linked(acting(method, act))
    with peer:
        with contextlib.suppress(OSError):              # it has ended already
            peer.sendall(b"x")
            peer.shutdown(socket.SHUT_WR)
        await protocol.ended
    await eventually(lambda: seen)


@model_and_ours
async def test_other_connections_are_served_in_the_loop_that_a_callback_runs():
    class Echo(Recorder):
        def data_received(self, data):
            self.transport.write(data)

    def act(protocol):
        other_peer.sendall(b"ask")
        until(lambda: received(other_peer, 3) == b"ask")
        protocol.transport.write(b"done")

    other, other_peer = await linked(Echo)
    protocol, peer = await linked(acting("data_received", act))
    peer.sendall(b"x")
    await eventually(lambda: received(peer, 4) == b"done")
    await end(protocol, peer)
    await end(other, other_peer)


def received(peer, count):
    """What has come for a peer, once it is that much."""
    peer.setblocking(False)
    try:
        return peer.recv(count) if len(peer.recv(count, socket.MSG_PEEK)) == count else b""
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("times", (1, 2))
@model_and_ours
async def test_what_callbacks_of_that_loop_write_leaves_at_once(times):
    def act(protocol):
        for _ in range(times):
            protocol.transport.write(b"before ")
            asyncio.get_running_loop().call_soon(protocol.transport.write, b"nested ")
            asyncio.get_running_loop().call_soon(other.transport.write, b"other")
            until(lambda: received(other_peer, 5) == b"other")
            until(lambda: received(peer, 14) == b"before nested ")

    other, other_peer = await linked()
    protocol, peer = await linked(acting("data_received", act))
    peer.sendall(b"x")
    await eventually(lambda: protocol.received)
    await end(protocol, peer)
    await end(other, other_peer)


@model_and_ours
async def test_data_comes_in_the_loop_that_connection_made_runs():
    def act(protocol):
        protocol.transport.write(b"?")
        until(lambda: received(peer, 1) == b"?")
        peer.sendall(b"answer")
        until(lambda: protocol.received == b"answer")
        done.append(True)

    done = []
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    _, protocol = await net().create_unix_connection(acting("connection_made", act), sock=ours)
    await eventually(lambda: done)
    await end(protocol, peer)


class Framed(Recorder, poolio.FramedProtocol):
    def __init__(self):
        Recorder.__init__(self)
        poolio.FramedProtocol.__init__(self, poolio.FixedSize(1))

    def frames_received(self, frames):
        Recorder.data_received(self, b"".join(frames))

    connection_made = Recorder.connection_made
    data_received = poolio.FramedProtocol.data_received


class Pooled(Recorder, poolio.Protocol):
    connection_made = Recorder.connection_made


KINDS = {"bytes": (Recorder, "data_received"), "buffers": (Pooled, "data_received"),
         "frames": (Framed, "frames_received")}


@pytest.mark.parametrize("kind", KINDS)
@own_loops
async def test_more_data_of_the_same_connection_comes_in_that_loop(kind):
    """asyncio can't: its handle of the connection is in use."""
    def act(protocol):
        peer.sendall(b"y")
        until(lambda: protocol.received == b"xy")

    base, method = KINDS[kind]
    protocol, peer = await linked(acting(method, act, base))
    peer.sendall(b"x")
    await eventually(lambda: protocol.received == b"xy")
    peer.sendall(b"z")
    await eventually(lambda: protocol.received == b"xyz")
    await end(protocol, peer)


@own_loops
async def test_eof_received_runs_a_loop_it_is_called_once():
    def act(protocol):
        until(lambda: len(turns) > 10 or turns.append(None))

    turns = []
    protocol, peer = await linked(acting("eof_received", act))
    peer.close()
    assert await protocol.ended is None
    assert protocol.calls == ["made", "eof", "lost"]


@own_loops
async def test_datagrams_come_in_the_loop_that_a_callback_runs():
    def act(protocol):
        peer.sendto(b"y", address)
        until(lambda: len(protocol.received) == 2)
        protocol.transport.abort()
        until(lambda: "lost" in protocol.calls)

    async with endpoint(acting("datagram_received", act, DatagramRecorder)) as (_, protocol, address):
        with plain() as peer:
            peer.sendto(b"x", address)
            await protocol.ended
    assert [data for data, _ in protocol.received] == [b"x", b"y"]


@own_loops
async def test_task_that_the_reactor_has_woken_runs_a_loop():
    async with pair() as ((reader, writer), (served_reader, served_writer)):
        async def serve():
            for _ in range(3):
                data = await served_reader.read(10)
                served_writer.write(data)
                answer = asyncio.ensure_future(reader.read(10))
                until(answer.done)
                assert bytes(answer.result()) == bytes(data)

        task = asyncio.ensure_future(serve())
        for number in range(3):
            writer.write(b"%d" % number)
            await asyncio.sleep(0.01)
        await task
