"""Callbacks that raise, and callbacks that close what they are called by: each of them, in the middle of a batch.

What holds: the loop's exception handler hears of it, that connection ends, and no other one does. KeyboardInterrupt and
SystemExit leave the loop, as on asyncio; run again, it goes on with what the batch still had.
"""

import asyncio
import contextlib
import gc
import socket
import warnings

import pytest
from kit.faults import FRAME, KINDS, WHOLE, Watch, descriptors, factory_of, half_close, peer_reads, read_to_the_end
from kit.pairs import RoomRecorder, linked, on, own_transports, pair, turns
from kit.wires import BLOCK, LOOPS, OURS, OWN_TRANSPORTS, _own_transports, eventually, net, run

import poolio


class OddOne(BaseException):
    """Neither an Exception nor one of the two that leave the loop."""


# (the kind of protocol, the callback): each way in which a transport calls its protocol
CALLBACKS = (
    ("bytes", "data_received"), ("pooled", "data_received"), ("framed", "frames_received"), ("framed", "data_received"),
    ("room", "get_buffer"), ("room", "buffer_updated"), ("bytes", "eof_received"), ("pooled", "eof_received"),
    ("framed", "eof_received"), ("pooled", "connection_lost"), ("pooled", "connection_made"),
)
every_callback = pytest.mark.parametrize("kind, method", CALLBACKS, ids=map("-".join, CALLBACKS))


def acting(kind, method, action):
    """A factory of protocols whose method does its work, and then, on the one that is `chosen`, the action."""
    base = RoomRecorder if kind == "room" else KINDS[kind]
    work = getattr(base, method)

    def act(self, *arguments):
        result = work(self, *arguments)
        if self.chosen:
            action(self)
        return result

    cls = type("Acting", (base,), {method: act, "chosen": False})
    made = []

    def make():
        made.append(cls())
        return made[-1]
    return make, made


async def in_one_batch(factory, made, method, chosen=1):
    """Three connections, all of which have something to read in the same pass; the second one is the chosen one."""
    peers = []
    for number in range(3):
        if method == "connection_made":
            listener = socket.create_server(("127.0.0.1", 0))
            peer = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
            listener.close()

            def make(number=number):
                protocol = factory()
                protocol.chosen = number == chosen
                return protocol
            await net().create_connection(make, sock=ours)
        else:
            _, peer = await linked(factory)
            made[-1].chosen = number == chosen
        peers.append(peer)
    for peer in peers:
        with contextlib.suppress(ConnectionError):
            peer.sendall(WHOLE)
            if method in ("eof_received", "connection_lost"):
                half_close(peer)
    return peers


@pytest.mark.parametrize("kind_of_error", (ZeroDivisionError, OddOne, asyncio.CancelledError, MemoryError, OSError))
@every_callback
@own_transports
def test_callback_raises_that_connection_only_ends(loop_name, kind, method, kind_of_error):
    async def main():
        watch = Watch()

        def action(self):
            raise kind_of_error("in a callback")

        factory, made = acting(kind, method, action)
        peers = await in_one_batch(factory, made, method)
        chosen = made[1]
        exc = await chosen.ended
        if method == "connection_lost":
            assert exc is None
        else:
            assert type(exc) is kind_of_error
        for protocol in (made[0], made[2]):
            await eventually(lambda: len(protocol.received) >= len(FRAME))        # noqa: B023
            if method in ("eof_received", "connection_lost"):
                assert await protocol.ended is None
            else:
                assert protocol.calls == ["made"]
                protocol.transport.write(b"alive")
        for number in (0, 2):
            assert await peer_says(peers[number]) == (
                b"" if method in ("eof_received", "connection_lost") else b"alive")
        for peer in peers:
            peer.close()
        # OSError is what connections end with anyway: asyncio reports it in debug mode only
        silent = kind_of_error is OSError and method != "connection_lost"
        # a cancelled callback of the loop is no error to asyncio's loops; uvloop's is the same Handle
        await watch.over(made, () if silent else watch.errors()[:1])
        if not silent and not (method == "connection_lost" and kind_of_error is asyncio.CancelledError):
            assert watch.errors() == [kind_of_error]
    run(loop_name, main, timeout=30)


async def peer_says(peer):
    return await asyncio.get_running_loop().run_in_executor(None, peer.recv, 5)


@pytest.mark.parametrize("kind_of_error", (ZeroDivisionError, OddOne))
@pytest.mark.parametrize("method", ("factory", "connection_made"))
@on(*OURS)
async def test_accepting_callback_raises_the_others_of_the_burst_are_served(loop_name, method, kind_of_error):
    watch = Watch()
    made = []

    class Second(KINDS["pooled"]):
        def __init__(self):
            super().__init__()
            made.append(self)
            if method == "factory" and len(made) == 2:
                raise kind_of_error

        def connection_made(self, transport):
            super().connection_made(transport)
            if method == "connection_made" and self is made[1]:
                raise kind_of_error

        def data_received(self, buf):
            self.write(buf)

    listener = socket.create_server(("127.0.0.1", 0))
    peers = [socket.create_connection(listener.getsockname()) for _ in range(4)]
    server = await net().create_server(Second, sock=listener)
    answers = []
    for peer in peers:
        peer.settimeout(20)
        with contextlib.suppress(ConnectionError):
            peer.sendall(b"?")
        try:
            answers.append(await peer_says(peer))
        except ConnectionError:
            answers.append(b"")
        peer.close()
    assert answers == [b"?", b"", b"?", b"?"]
    server.close()
    await server.wait_closed()
    await watch.over([protocol for protocol in made if protocol.calls], [kind_of_error])


@pytest.mark.parametrize("kind_of_error", (KeyboardInterrupt, SystemExit))
@pytest.mark.parametrize("kind, method", CALLBACKS[:-1], ids=map("-".join, CALLBACKS[:-1]))
@pytest.mark.parametrize("loop_name", [name for name in OURS if name != "poolio-on-uvloop"])
def test_interrupt_in_a_callback_leaves_the_loop_which_can_go_on(loop_name, kind, method, kind_of_error):
    """uvloop itself can't: what stopped it stops its next run, too."""
    raised = []

    def action(self):
        self.chosen = False
        raised.append(self)
        raise kind_of_error

    factory, made = acting(kind, method, action)

    async def until_it_raises():
        peers.extend(await in_one_batch(factory, made, method))
        await eventually(lambda: False)

    async def go_on():
        for protocol in (made[0], made[2]):
            await eventually(lambda: len(protocol.received) >= len(FRAME))        # noqa: B023
        for protocol in made:
            if protocol.calls[-1] != "lost":
                protocol.transport.abort()
        for protocol in made:
            await protocol.ended
        for peer in peers:
            peer.close()

    peers = []
    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        with pytest.raises(kind_of_error):
            runner.run(on_its_transports(loop_name, until_it_raises))
        assert raised == made[1:2]
        runner.run(on_its_transports(loop_name, go_on))
    assert [protocol.calls.count("lost") for protocol in made] == [1, 1, 1]


async def on_its_transports(loop_name, main):
    _own_transports.set(loop_name in OWN_TRANSPORTS)
    await asyncio.wait_for(main(), 30)


# --- ending from within ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("ending", ("close", "abort"))
@every_callback
@own_transports
def test_connection_ended_in_its_callback_no_other_is(loop_name, kind, method, ending):
    """What was written before in the same callback arrives."""
    async def main():
        watch = Watch()

        def action(self):
            self.transport.write(b"last")
            getattr(self.transport, ending)()
            getattr(self.transport, ending)()

        factory, made = acting(kind, method, action)
        peers = await in_one_batch(factory, made, method)
        assert await made[1].ended is None
        if method != "connection_lost":
            assert await peer_reads(peers[1]) == b"last"
        for protocol in (made[0], made[2]):
            await eventually(lambda: len(protocol.received) >= len(FRAME))        # noqa: B023
            if protocol.calls[-1] != "lost":
                protocol.transport.close()
        for peer in peers:
            peer.close()
        await watch.over(made)
    run(loop_name, main, timeout=30)


@pytest.mark.parametrize("ending", ("close", "abort"))
@pytest.mark.parametrize("method", ("pause_writing", "resume_writing"))
@own_transports
def test_connection_ended_in_a_flow_control_callback(loop_name, method, ending):
    async def main():
        watch = Watch()

        def action(self):
            getattr(self.transport, ending)()

        factory, made = acting("pooled", method, action)
        protocol, peer = await linked(factory)
        protocol.chosen = True
        with peer:
            protocol.transport.write(BLOCK)
            got = await peer_reads(peer)
            assert got == BLOCK if ending == "close" else BLOCK.startswith(got)
        assert await protocol.ended is None
        await watch.over(made)
    run(loop_name, main, timeout=30)


@pytest.mark.parametrize("method", ("connection_made", "data_received", "connection_lost"))
@on(*OURS)
async def test_server_closed_in_a_callback_of_its_connection(loop_name, method):
    """Those that were accepted are served; nobody else is accepted."""
    watch = Watch()
    made = []

    class Closing(KINDS["pooled"]):
        def __init__(self):
            super().__init__()
            made.append(self)

        def close_server_in(self, name):
            if name == method and self is made[0]:
                server.close()

        def connection_made(self, transport):
            super().connection_made(transport)
            self.close_server_in("connection_made")

        def data_received(self, buf):
            self.write(buf)
            self.close_server_in("data_received")

        def connection_lost(self, exc):
            super().connection_lost(exc)
            self.close_server_in("connection_lost")

    listener = socket.create_server(("127.0.0.1", 0))
    peers = [socket.create_connection(listener.getsockname()) for _ in range(3)]
    server = await net().create_server(Closing, sock=listener, start_serving=False)
    await server.start_serving()
    served = 0
    for peer in peers:
        peer.settimeout(20)
        with contextlib.suppress(ConnectionError):
            peer.sendall(b"?")
            served += await peer_says(peer) == b"?"
        peer.close()
    await server.wait_closed()
    assert served == len(made) == 3
    await watch.over(made)


@own_transports
def test_loop_closed_with_connections_in_every_state_nothing_is_left(loop_name, make_pool):
    """Reading, paused, with a queue, closing with a queue, short of memory: each peer sees an end."""
    pool = make_pool(slab_size=4096, max_bytes=4096)
    peers = []
    before = descriptors()

    async def main():
        factory = factory_of("pooled", pool)
        for state in ("reading", "paused", "queue", "closing", "short"):
            protocol, peer = await linked(factory)
            peers.append(peer)
            if state == "paused":
                protocol.transport.pause_reading()
            if state in ("queue", "closing"):
                protocol.pool = None
                protocol.transport.write(BLOCK)
            if state == "closing":
                protocol.transport.close()
            if state == "short":
                held.append([pool.alloc_unsafe(1000) for _ in range(4)])
                peer.sendall(b"x")
                await eventually(lambda: "read=idle" in repr(protocol.transport))        # noqa: B023
        await net().create_server(factory, "127.0.0.1", 0)

    held = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        run(loop_name, main, timeout=30)
        gc.collect()
    held.clear()
    for number, peer in enumerate(peers):
        with peer:
            assert BLOCK.startswith(read_to_the_end(peer)), number
    assert descriptors() <= before


@pytest.mark.parametrize("handler", ("raises", "raises OddOne", "closes", "aborts", "stops the server"))
@on(*OURS)
async def test_stream_handler_ends_its_connection_only(loop_name, handler):
    watch = Watch()
    count = 0

    async def serve(reader, writer):
        nonlocal count
        count += 1
        number = count
        line = await reader.readline()
        writer.write(line)
        if number == 2:
            if handler == "raises":
                raise ZeroDivisionError
            if handler == "raises OddOne":
                raise OddOne
            if handler == "stops the server":
                server.close()
            elif handler == "aborts":
                writer.transport.abort()
        writer.close()

    server = await poolio.start_server(serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    clients = []
    for _ in range(3):
        clients.append(await poolio.open_connection(*address))
        await eventually(lambda: count == len(clients))
    for number, (_, writer) in enumerate(clients):
        writer.write(b"%d\n" % number)
    for number, (reader, writer) in enumerate(clients):
        line = await reader.readline()
        assert line == b"%d\n" % number
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        del line
    server.close()
    await server.wait_closed()
    await turns()
    assert watch.errors() == {"raises": [ZeroDivisionError], "raises OddOne": [OddOne]}.get(handler, [])


@on(*OURS)
async def test_stream_writer_closed_while_a_task_reads_and_one_drains(loop_name):
    async with pair() as ((reader, writer), (_, _)):
        writer.write(BLOCK)
        reading = asyncio.ensure_future(reader.readexactly(10))
        draining = asyncio.ensure_future(writer.drain())
        await turns()
        writer.transport.abort()
        with pytest.raises(asyncio.IncompleteReadError):
            await reading
        await draining
