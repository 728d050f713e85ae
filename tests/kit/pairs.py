"""Owns two connected ends: pair() of streams, linked() for a protocol and the plain socket of its peer. Owns the
protocols that record what they are told, and the decorators that run an async test on the loops of wires.

What asyncio promises too runs over ENDS: asyncio's own streams run the same test, so the test is right about asyncio.
It knows nothing of datagrams (endpoints) and of faults (faults). Called by the tests of streams, wire,
loops, protocols, faults and security.
"""

import asyncio
import contextlib
import contextvars
import inspect
import socket

import pytest

import poolio
from kit.wires import LOOPS, OURS, net, run

LIMIT = 65536
# (whose streams, which loop): poolio's on every loop's own transports and on poolio's
ENDS = [("asyncio", name) for name in ("asyncio", "uvloop", "poolio") if name in LOOPS]
ENDS += [("poolio", name) for name in LOOPS]
# For tests of the context that a callback runs in.
variable = contextvars.ContextVar("variable", default="unset")
# Each loop with poolio's own transports; those loops and asyncio's; and for tests that are not run over loops.
own_transports = pytest.mark.parametrize("loop_name", OURS)
every_transport = pytest.mark.parametrize("loop_name", ("asyncio", *OURS))
needs_own_transports = pytest.mark.skipif(not OURS, reason="poolio's own transports need epoll")


def on(*loop_names):
    """Run an async test on a fresh loop of each of these names; fail instead of hanging."""
    def decorate(test):
        parameters = dict(inspect.signature(test).parameters)

        def wrapped(loop_name, **arguments):
            if "loop_name" in parameters:
                arguments["loop_name"] = loop_name
            run(loop_name, lambda: test(**arguments), timeout=10)

        first = inspect.Parameter("loop_name", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        wrapped.__name__, wrapped.__doc__ = test.__name__, test.__doc__
        wrapped.__module__ = test.__module__
        wrapped.__signature__ = inspect.Signature([*{"loop_name": first, **parameters}.values()])
        return pytest.mark.parametrize("loop_name", loop_names)(wrapped)
    return decorate


def bounded(test):
    """Like on(), on asyncio's loop alone: for tests in which no transport takes part."""
    parameters = inspect.signature(test)

    def wrapped(**arguments):
        run("asyncio", lambda: test(**arguments), timeout=10)

    wrapped.__name__, wrapped.__doc__, wrapped.__module__ = test.__name__, test.__doc__, test.__module__
    wrapped.__signature__ = parameters
    return wrapped


def on_ends(test):
    """Run an async test that takes `streams`, which it hands to pair(), over ENDS."""
    one_loop = on()(test)
    del one_loop.pytestmark
    return pytest.mark.parametrize("streams, loop_name", ENDS)(one_loop)


@contextlib.asynccontextmanager
async def pair(streams="poolio", *, limit=LIMIT, pool=None, waits=True):
    """((reader, writer) of the client, (reader, writer) of the server); both are closed at the end.

    waits  if False, the end of the server's writer is not waited for: its connection is another protocol's by then
    """
    accepted = asyncio.get_running_loop().create_future()

    def connected(reader, writer):
        accepted.set_result((reader, writer))

    if streams == "asyncio":
        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=limit)
        client = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=limit)
    else:
        server = await net().create_server(
            lambda: poolio.StreamProtocol(connected, limit=limit, pool=pool), "127.0.0.1", 0)
        _, protocol = await net().create_connection(
            lambda: poolio.StreamProtocol(limit=limit, pool=pool), *server.sockets[0].getsockname())
        client = protocol.reader, protocol.take_writer()
    served = await accepted
    server.close()
    try:
        yield client, served
    finally:
        client[1].close()
        served[1].close()
        await closed(client[1])
        if waits:
            await closed(served[1])
        await server.wait_closed()


async def closed(writer):
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


class Recording:
    """Keeps what a protocol is told: `calls`, the bytes in `received`; `ended` is done at connection_lost()."""

    def __init__(self):
        self.calls = []
        self.received = bytearray()
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data):
        self.received += data

    def eof_received(self):
        self.calls.append("eof")

    def pause_writing(self):
        self.calls.append("pause")

    def resume_writing(self):
        self.calls.append("resume")

    def connection_lost(self, exc):
        self.calls.append("lost")
        self.ended.set_result(exc)


class Recorder(Recording, asyncio.Protocol):
    """What asyncio.Protocol is told: it receives bytes."""


class PooledRecorder(Recorder, poolio.Protocol):
    def connection_made(self, transport):
        Recorder.connection_made(self, transport)


class RoomRecorder(Recording, asyncio.BufferedProtocol):
    """What a BufferedProtocol is told, which brings a room of its own for each read."""

    room_bytes = 1000

    def get_buffer(self, sizehint):
        self.room = bytearray(self.room_bytes)
        return self.room

    def buffer_updated(self, count):
        self.data_received(self.room[:count])


def on_pool(pool, factory=PooledRecorder):
    """Makes protocols that use this pool."""
    def make():
        protocol = factory()
        protocol.pool = pool
        return protocol
    return make


def listed_in(made, factory=Recorder):
    """Makes protocols and appends each to the list `made`."""
    def make():
        made.append(factory())
        return made[-1]
    return make


async def linked(factory=Recorder, **options):
    """A protocol on a transport, and the plain socket of its peer."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=8)
    with listener:
        loop = asyncio.get_running_loop()
        accepting = loop.run_in_executor(None, listener.accept)
        _, protocol = await net().create_connection(factory, *listener.getsockname()[:2], **options)
        peer, _ = await accepting
    peer.settimeout(20)
    return protocol, peer


async def received_by(peer, size=None):
    """`size` bytes, or all until the end."""
    def read():
        got = bytearray()
        while size is None or len(got) < size:
            data = peer.recv(1 << 16 if size is None else size - len(got))
            if not data:
                break
            got += data
        return bytes(got)
    return await asyncio.get_running_loop().run_in_executor(None, read)


async def connect_socket(factory, sock):
    """A transport on a connected socket of any kind."""
    protocol = factory()
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    transport = poolio.wire.stream.open_transport(poolio.wire.reactor.reactor_of(loop), sock, protocol, ready)
    await ready
    return transport, protocol


async def turns(count=3):
    """Let everything run that can run."""
    for _ in range(count):
        await asyncio.sleep(0)


def collect_errors():
    """The list of what the exception handler is given from now on."""
    handled = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: handled.append(context))
    return handled


@contextlib.asynccontextmanager
async def sending(peer, data):
    """While the block runs, the peer sends this, as fast as it is read; at the end of the block it gives up."""
    peer.setblocking(False)
    task = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(peer, data))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def shrink_kernel_buffers(transport, peer):
    """So that what the peer does not read is soon refused by the kernel."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
