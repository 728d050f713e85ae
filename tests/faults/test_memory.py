"""Memory that runs out: pools at max_bytes, and every single allocation of a scenario failing once.

Where allocations fail on request (HAS_FAULTS of poolio.memory.slab: debug, sanitize, coverage) a scenario runs with
the first allocation failing, the second, and so on until none fails; once alone, and once with all that follow it until
the scenario stands still. CPython's own allocations fail one by one during a single pass of the reactor.

What holds: a MemoryError (PoolExhausted is one) is heard by somebody, or the reading pauses. Either all bytes arrive,
or the connection ends with that error, and what has arrived is the beginning of what was sent.
"""

import asyncio
import contextlib
import gc
import socket
import ssl

import pytest
from kit.echoes import CopyingEcho, FramedEcho, PiecesEcho, PlainEcho, RecordingEcho
from kit.endpoints import Batches, endpoint
from kit.endpoints import Recorder as DatagramRecorder
from kit.faults import CODEC, FRAME, WHOLE, Watch, descriptors, factory_of, half_close
from kit.pairs import PooledRecorder, linked, listed_in, on, on_pool, turns
from kit.wires import BLOCK, CLIENT_TLS, OURS, SERVER_TLS, eventually, net, run

import poolio
from poolio.memory import slab
from poolio.wire.reactor import reactor_of

try:
    from _testcapi import remove_mem_hooks, set_nomemory
except ImportError:
    set_nomemory = None

with_faults = pytest.mark.skipif(
    not slab.HAS_FAULTS,
    reason=f"no allocation fails on request in the {slab.BUILD_VARIANT} build; make check VARIANT=sanitize has it")
with_testcapi = pytest.mark.skipif(
    set_nomemory is None, reason="this interpreter has no _testcapi.set_nomemory()")
FOR_EVER = 1 << 40
MOST_ALLOCATIONS = 3000
MESSAGE = BLOCK[:40_000]


# --- a pool at its limit --------------------------------------------------------------------------------------

@on(*OURS)
async def test_pool_at_its_limit_frame_has_no_room_the_connection_is_closed(loop_name, make_pool):
    """The frames before it are handed over."""
    pool = make_pool(slab_size=4096, max_bytes=4 * 4096)
    watch = Watch()
    factory = factory_of("framed", pool)
    protocol, peer = await linked(factory)
    held = [pool.alloc_unsafe(1024) for _ in range(4)]
    with peer:
        peer.sendall(b"".join(map(bytes, (CODEC.encode(b"before"), CODEC.encode(BLOCK[:9000])))))
        assert isinstance(await protocol.ended, poolio.PoolExhausted)
        assert protocol.received == b"before"
    await watch.over(factory.made, [poolio.PoolExhausted])
    held.clear()


@on(*OURS)
async def test_pool_at_its_limit_read_has_no_room_nothing_is_lost(loop_name, make_pool):
    pool = make_pool(slab_size=4096, max_bytes=6 * 4096)
    protocol, peer = await linked(lambda: poolio.StreamProtocol(pool=pool))
    writer = protocol.take_writer()
    held = [pool.alloc_unsafe(1024) for _ in range(4)]
    with peer:
        peer.sendall(BLOCK[:9000])
        with pytest.raises(poolio.PoolExhausted, match="limit of 24576 bytes"):
            await protocol.reader.readexactly(9000)
        assert await protocol.reader.readexactly(100) == BLOCK[:100]
        held.clear()
        assert await protocol.reader.readexactly(8900) == BLOCK[100:9000]
        writer.close()
        await writer.wait_closed()


@on(*OURS)
async def test_pool_at_its_limit_written_copies_are_not_the_pools(loop_name, make_pool):
    """What must be copied to be sent later takes memory of its own."""
    pool = make_pool(slab_size=4096, max_bytes=4096)
    watch = Watch()
    factory = factory_of("pooled", pool)
    protocol, peer = await linked(factory)
    buf = pool.alloc_unsafe(1024)
    buf[:] = BLOCK[:1024]
    loop = asyncio.get_running_loop()
    with peer, memoryview(buf) as view:
        held = [pool.alloc_unsafe(1024) for _ in range(3)]
        protocol.transport.write(BLOCK)
        protocol.write(buf)                             # a writable view is alive: its bytes are copied
        view[:] = bytes(1024)
        protocol.transport.close()
        got = bytearray()
        peer.setblocking(False)
        while data := await loop.sock_recv(peer, 1 << 20):
            got += data
        assert got == BLOCK + BLOCK[:1024]
    await watch.over(factory.made)
    held.clear()


# --- each of poolio's allocations fails -----------------------------------------------------------------------

class Sent:
    """What a plain peer has got so far; it reads on until `size` bytes, the end or an error."""

    def __init__(self, peer, size):
        self.peer, self.size = peer, size
        self.got = bytearray()
        self.at_end = False
        peer.setblocking(False)
        self.task = asyncio.ensure_future(self.read())

    async def read(self):
        loop = asyncio.get_running_loop()
        try:
            while len(self.got) < self.size:
                data = await loop.sock_recv(self.peer, 1 << 16)
                if not data:
                    break
                self.got += data
        except ConnectionError:
            pass
        self.at_end = len(self.got) < self.size


async def send(peer, data):
    """All of it, unless the connection breaks."""
    peer.setblocking(False)
    with contextlib.suppress(ConnectionError):
        await asyncio.get_running_loop().sock_sendall(peer, data)


async def echoed(factory, fail):
    """A peer sends everything, then reads what comes back."""
    protocol, peer = await linked(factory)
    message = (WHOLE * (len(MESSAGE) // len(WHOLE)) if isinstance(protocol, FramedEcho) else MESSAGE)
    with peer, fail:
        sending = asyncio.ensure_future(send(peer, message))
        await turns(20)
        sent = Sent(peer, len(message))
        await turns(40)
        fail.stop()
        await sending
        await sent.task
        assert message.startswith(sent.got)
        if sent.got != message:
            assert fail.failed
            assert isinstance(await protocol.ended, MemoryError)
        elif not protocol.ended.done():
            peer.close()
            await protocol.ended
    assert protocol.calls.count("lost") == 1


class EncryptedPeer:
    """A TLS client on a plain socket, without anything of poolio's. `got`: what it has decrypted so far."""

    def __init__(self, address):
        self.sock = socket.create_connection(address)
        self.sock.setblocking(False)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = CLIENT_TLS.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.got = bytearray()

    async def handshake(self):
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                break
            await loop.sock_sendall(self.sock, self.outgoing.read())
            self.incoming.write(await loop.sock_recv(self.sock, 1 << 16))

    def sealed(self, data):
        self.tls.write(data)
        return self.outgoing.read()

    async def read(self, size):
        with contextlib.suppress(ConnectionError, ssl.SSLWantReadError):
            while len(self.got) < size:
                data = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 16)
                self.incoming.write(data)
                if not data:
                    break
                with contextlib.suppress(ssl.SSLWantReadError):
                    while plain := self.tls.read(1 << 16):
                        self.got += plain


async def echoed_over_tls(factory, fail):
    """A peer sends everything, then reads what comes back."""
    made = []
    server = await net().create_server(listed_in(made, factory), "127.0.0.1", 0, ssl=SERVER_TLS)
    peer = EncryptedPeer(server.sockets[0].getsockname())
    await peer.handshake()
    sealed = peer.sealed(MESSAGE)
    with peer.sock, fail:
        sending = asyncio.ensure_future(send(peer.sock, sealed))
        await turns(20)
        reading = asyncio.ensure_future(peer.read(len(MESSAGE)))
        await turns(40)
        fail.stop()
        await sending
        await reading
        assert MESSAGE.startswith(peer.got)
        if peer.got != MESSAGE:
            assert fail.failed
            is_made = made and made[0].calls
            assert isinstance(await made[0].ended, MemoryError) if is_made else fail.was_reported()
    if made and made[0].calls:
        await made[0].ended
        assert made[0].calls.count("lost") == 1
    server.close()
    await server.wait_closed()


async def written(pieces, fail, lines=False):
    """Into a socket that is soon full. What was refused with an error has not been sent, or the connection ends.

    That small pieces could not be moved together nobody hears: they are sent from where they are.
    """
    protocol, peer = await linked(PooledRecorder)
    transport = protocol.transport
    accepted = []
    with peer, fail:
        for piece in [pieces] if lines else pieces:
            try:
                transport.writelines(piece) if lines else transport.write(piece)
            except MemoryError:
                fail.heard = True
            else:
                accepted += piece if lines else [piece]
        fail.stop()
        transport.write(b"after")
        transport.close()
        everything = b"".join(map(bytes, pieces))
        sent = Sent(peer, len(everything) + 100)
        await sent.task
        exc = await protocol.ended
        if isinstance(exc, MemoryError):
            assert everything.startswith(sent.got)
        else:
            assert sent.got == b"".join(map(bytes, [*accepted, b"after"]))


async def streamed(pool, fail):
    """Frames, lines and exact reads through a stream on both sides."""
    results = []

    async def serve(reader, writer):
        try:
            async for frame in reader.frames(CODEC):
                writer.write_frame(CODEC, frame)
                await writer.drain()
        except MemoryError:
            results.append("MemoryError")
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await net().create_server(lambda: poolio.StreamProtocol(serve, pool=pool), "127.0.0.1", 0)
    reader, writer = await poolio.open_connection(*server.sockets[0].getsockname())
    with fail:
        try:
            for number in range(3):
                with writer.frame(CODEC) as frame:
                    frame.write(BLOCK[number:number + 3000])
                head = await reader.readexactly(4)
                body = await reader.readexactly(int.from_bytes(head, "big"))
                assert (head, body) == ((3000).to_bytes(4, "big"), BLOCK[number:number + 3000])
                del head, body
        except MemoryError:
            fail.heard = True
        except (ConnectionError, asyncio.IncompleteReadError):
            fail.heard = bool(results) or fail.was_reported()
        else:
            fail.heard = True
        fail.stop()
        assert fail.heard or not fail.failed
        writer.close()
        with contextlib.suppress(ConnectionError, MemoryError):
            await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def datagrams_received(factory, fail):
    """Short ones, one that does not fit what was expected, and answers: each is whole, or an error is heard."""
    messages = [BLOCK[61 * number:61 * number + 50 + 9 * number] for number in range(20)] + [BLOCK[:9000]]
    async with endpoint(factory) as (_, protocol, address):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer, fail:
            peer.connect(address)
            for message in messages:
                peer.send(message)
            await eventually(lambda: len(protocol.received) == len(messages) or protocol.errors
                             or protocol.ended.done() or fail.was_reported())
            fail.stop()
            got = [bytes(data) for data, _ in protocol.received]
            assert [data for data in got if data not in messages] == []
            heard = [*protocol.errors, protocol.ended.result() if protocol.ended.done() else None]
            if len(got) < len(messages):
                assert fail.was_reported() or any(isinstance(error, MemoryError) for error in heard)
            protocol.received.clear()
            del got


async def datagrams_sent(fail):
    """Into a queue: a unix socket whose peer does not read refuses soon."""
    with contextlib.ExitStack() as stack:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        stack.enter_context(theirs)
        theirs.setblocking(False)
        async with endpoint(DatagramRecorder, sock=ours) as (transport, _, _):
            stack.enter_context(fail)
            accepted = []
            for number in range(400):
                message = bytearray(BLOCK[number:number + 700])
                try:
                    transport.sendto(message)
                except MemoryError:
                    fail.heard = True
                else:
                    accepted.append(bytes(message))
            fail.stop()
            assert fail.heard or not fail.failed
            got = []
            loop = asyncio.get_running_loop()
            while len(got) < len(accepted):
                got.append(await loop.sock_recv(theirs, 1000))
            assert got == accepted


class Fail:
    """Lets the n-th allocation fail, and `count` in all, in its `with` until stop(); n = 0: none."""

    def __init__(self, first, count):
        self.first, self.count = first, count
        self.failed = 0
        self.heard = self.armed = False
        self.handled = None

    def __enter__(self):
        self.handled = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: self.handled.append(
            type(context.get("exception"))))             # it would keep frames, and what lies in them
        self.armed = self.first > 0
        slab.fail_allocations(self.first, self.count)
        if self.count == FOR_EVER:
            self.stop_after(200)

    def stop_after(self, turns_left):
        """Memory comes back."""
        if turns_left == 0:
            self.stop()
        elif self.armed:
            asyncio.get_running_loop().call_soon(self.stop_after, turns_left - 1)

    def __exit__(self, *exc_info):
        self.stop()

    def stop(self):
        if self.armed:
            self.armed = False
            self.failed = slab.fail_allocations(0)

    def was_reported(self):
        return any(issubclass(kind, MemoryError) for kind in self.handled)


SCENARIOS = {
    "pooled echo": lambda pool, fail: echoed(on_pool(pool, RecordingEcho), fail),
    "copying echo": lambda pool, fail: echoed(on_pool(pool, CopyingEcho), fail),
    "echo in pieces": lambda pool, fail: echoed(on_pool(pool, PiecesEcho), fail),
    "framed echo": lambda pool, fail: echoed(on_pool(pool, FramedEcho), fail),
    "plain echo": lambda pool, fail: echoed(PlainEcho, fail),
    "pooled echo over TLS": lambda pool, fail: echoed_over_tls(on_pool(pool, RecordingEcho), fail),
    "copying echo over TLS": lambda pool, fail: echoed_over_tls(on_pool(pool, CopyingEcho), fail),
    "plain echo over TLS": lambda pool, fail: echoed_over_tls(PlainEcho, fail),
    "bytes written": lambda pool, fail: written([BLOCK[:3_000_000], BLOCK[:100_000], BLOCK[:50]], fail),
    "what may change written": lambda pool, fail: written([bytearray(BLOCK), bytearray(b"end")], fail),
    "lines written": lambda pool, fail: written([BLOCK[:100], bytearray(BLOCK[:99]), BLOCK[:90]], fail, lines=True),
    "streams": lambda pool, fail: streamed(pool, fail),
    "datagrams in batches": lambda pool, fail: datagrams_received(on_pool(pool, Batches), fail),
    "datagrams one by one": lambda pool, fail: datagrams_received(DatagramRecorder, fail),
    "datagrams queued": lambda pool, fail: datagrams_sent(fail),
}


@with_faults
@pytest.mark.parametrize("count", (1, FOR_EVER), ids=("one", "all-that-follow"))
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("loop_name", OURS[:1])
def test_each_allocation_fails_nothing_is_wrong_or_left(loop_name, scenario, count, make_pool):
    failures = 0
    before = poolio.default_pool().statistics().live_bytes
    for first in range(1, MOST_ALLOCATIONS):
        pool = make_pool(slab_size=16_384)
        fail = Fail(first, count)
        open_before = descriptors()
        try:
            run(loop_name, lambda: SCENARIOS[scenario](pool, fail), timeout=60)     # noqa: B023
        finally:
            slab.fail_allocations(0)
        gc.collect()
        pool.check()
        assert pool.statistics().live_bytes == 0
        assert descriptors() <= open_before
        if not fail.failed:
            break
        failures += 1
    else:
        raise AssertionError(f"still failing after {MOST_ALLOCATIONS} allocations")
    assert failures > 0
    assert poolio.default_pool().statistics().live_bytes <= before


@pytest.mark.skipif(slab.HAS_FAULTS, reason="allocations fail on request in this build")
def test_fail_allocations_in_another_build_is_refused():
    with pytest.raises(RuntimeError, match=f"in the {slab.BUILD_VARIANT} build; POOLIO_BUILD=debug"):
        slab.fail_allocations(1)


@with_faults
@pytest.mark.parametrize("arguments", ((-1,), (1, 0), (1, -5)))
def test_fail_allocations_out_of_range_is_refused(arguments):
    with pytest.raises(ValueError, match=str(arguments[-1])):
        slab.fail_allocations(*arguments)


# --- each of CPython's allocations fails, in one pass of the reactor -------------------------------------------

SILENT_PASSES = 15


async def dispatch(reactor, n):
    """A turn of the reactor in which CPython's n-th allocation fails. Nothing may escape: it would end the loop."""
    done = asyncio.get_running_loop().create_future()

    def turn():
        set_nomemory(n, n + 1)
        try:
            reactor.on_readable()
        except BaseException as exc:
            remove_mem_hooks()
            done.set_exception(exc)
        else:
            remove_mem_hooks()
            done.set_result(None)

    asyncio.get_running_loop().call_soon(turn)
    await done


async def one_by_one(attempt):
    n = silent = amiss = 0
    while silent < SILENT_PASSES:
        failed = await attempt(n)
        silent = 0 if failed else silent + 1
        amiss += failed
        n += 1
        assert n < MOST_ALLOCATIONS
    assert amiss > 0


@with_testcapi
@on("poolio-on-asyncio")
async def test_object_fails_while_accepting_that_connection_only_is_lost(loop_name):
    """The client is served or sees the end; the next one is served."""
    watch = Watch()
    loop = asyncio.get_running_loop()
    reactor = reactor_of(loop)
    server = await net().create_server(RecordingEcho, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()

    async def is_served(client):
        client.setblocking(False)
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(client, b"?")
            return await asyncio.wait_for(loop.sock_recv(client, 10), 5) == b"?"
        return False

    async def attempt(n):
        with socket.create_connection(address) as client, socket.create_connection(address) as next_client:
            await dispatch(reactor, n)
            served = [await is_served(client), await is_served(next_client)]
            assert True in served
        return False in served

    await one_by_one(attempt)
    server.close()
    await server.wait_closed()
    assert set(watch.errors()) <= {MemoryError}
    await eventually(lambda: gc.collect() is not None and descriptors() <= watch.before)


@with_testcapi
@pytest.mark.parametrize("kind", ("bytes", "pooled", "framed"))
@on("poolio-on-asyncio")
async def test_object_fails_while_reading_the_connection_ends_or_goes_on(loop_name, kind, make_pool):
    pool = make_pool(slab_size=65_536)
    watch = Watch()
    reactor = reactor_of(asyncio.get_running_loop())

    async def attempt(n):
        factory = factory_of(kind, pool)
        protocol, peer = await linked(factory)
        with peer:
            peer.sendall(WHOLE * 3)
            half_close(peer)
            await dispatch(reactor, n)
            exc = await asyncio.wait_for(protocol.ended, 5)
        assert exc is None or isinstance(exc, MemoryError)
        expected = protocol.expected(WHOLE * 3)
        assert expected.startswith(protocol.received)
        assert protocol.received == expected or isinstance(exc, MemoryError)
        assert protocol.calls.count("lost") == 1
        return exc is not None

    await one_by_one(attempt)
    assert set(watch.errors()) <= {MemoryError}
    await eventually(lambda: gc.collect() is not None and descriptors() <= watch.before)


@with_testcapi
@on("poolio-on-asyncio")
async def test_object_fails_while_a_stream_reads_the_task_hears_of_it(loop_name, make_pool):
    pool = make_pool(slab_size=65_536)
    watch = Watch()
    reactor = reactor_of(asyncio.get_running_loop())

    async def attempt(n):
        protocol, peer = await linked(lambda: poolio.StreamProtocol(pool=pool))
        writer = protocol.take_writer()
        reading = asyncio.ensure_future(read_two(protocol.reader))
        await turns()
        with peer:
            peer.sendall(WHOLE * 2)
            await dispatch(reactor, n)
            found = await asyncio.wait_for(reading, 5)
            assert found in (None, FRAME * 2)
            writer.close()
            with contextlib.suppress(MemoryError):
                await writer.wait_closed()
        return found is None

    await one_by_one(attempt)
    assert set(watch.errors()) <= {MemoryError}
    await eventually(lambda: gc.collect() is not None and descriptors() <= watch.before)


@pytest.mark.parametrize("goes_on", (False, True), ids=("before", "behind"))
@on(*OURS)
async def test_waking_a_task_fails_before_or_behind_its_step(goes_on, loop_name):
    """Before it: the task is woken again, nothing is lost. Behind it, it can't be done twice: the error is heard."""
    handled = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: handled.append(type(context["exception"])))
    protocol, peer = await linked(poolio.StreamProtocol)
    writer = protocol.take_writer()
    reading = protocol.reader.read(10)
    calls = []

    def step(future):                           # in the place of a task's own callback
        calls.append(future.result())
        if goes_on or len(calls) == 2:
            with pytest.raises(StopIteration) as stopped:
                reading.send(None)
            got.append(bytes(stopped.value.value))
        if len(calls) == 1:
            raise MemoryError

    got = []
    reading.send(None).add_done_callback(step)
    with peer:
        peer.sendall(b"arrives")
        await eventually(lambda: got)
        await turns()
        assert got == [b"arrives"]
        assert len(calls) == (1 if goes_on else 2)
        assert handled == ([MemoryError] if goes_on else [])
        writer.close()
        with contextlib.suppress(MemoryError):
            await writer.wait_closed()


async def read_two(reader):
    """Two frames; None if there was no memory. The interpreter's reserve MemoryError keeps the frames it went by."""
    frames = reader.frames(CODEC)
    try:
        return bytes(await anext(frames)) + bytes(await anext(frames))
    except MemoryError:
        return None
    finally:
        del reader, frames
