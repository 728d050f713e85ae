"""What all transports are, hit in the middle: by a collection, by memory that runs out, by a loop that fails."""

import asyncio
import errno
import gc

import pytest
from kit.pairs import PooledRecorder, Recorder, collect_errors, linked, needs_own_transports, turns
from kit.wires import OURS, eventually, run

import poolio
import poolio.wire.readslab

pytestmark = needs_own_transports
own_transports = pytest.mark.parametrize("loop_name", OURS[:1])


class Intercepted(poolio.EventLoop):
    """Calls intercept(name of what is scheduled) before it is."""

    def call_soon(self, callback, *arguments, context=None):
        self.intercept(getattr(callback, "__name__", ""))
        return super().call_soon(callback, *arguments, context=context)

    def intercept(self, name):
        pass


def on_intercepted(test):
    def wrapped():
        with asyncio.Runner(loop_factory=Intercepted) as runner:
            runner.run(asyncio.wait_for(test(), 20))
    wrapped.__name__ = test.__name__
    return wrapped


@on_intercepted
async def test_collection_while_the_end_is_scheduled_aborts_it_ends_once():
    loop = asyncio.get_running_loop()
    errors = collect_errors()
    protocol, peer = await linked()

    class Owner:
        def __init__(self, transport):
            self.transport, self.me = transport, self

        def __del__(self):
            aborted.append(None)
            self.transport.abort()

    aborted = []
    with peer:
        gc.disable()
        try:
            Owner(protocol.transport)
            loop.intercept = lambda name: name == "_call_connection_lost" and gc.collect()
            protocol.transport.close()
        finally:
            del loop.intercept
            gc.enable()
        await protocol.ended
        await turns()
    assert aborted == [None]
    assert protocol.calls == ["made", "lost"]
    assert errors == []


@on_intercepted
async def test_close_without_memory_for_it_can_be_tried_again():
    loop = asyncio.get_running_loop()
    protocol, peer = await linked()

    def fail(name):
        if name == "_call_connection_lost":
            raise MemoryError

    with peer:
        loop.intercept = fail
        with pytest.raises(MemoryError):
            protocol.transport.close()
        del loop.intercept
        protocol.transport.close()
        assert await protocol.ended is None


@own_transports
@pytest.mark.parametrize("factory", (Recorder, PooledRecorder))
def test_reading_gives_idle_memory_back(loop_name, factory, monkeypatch):
    """Whatever the protocol gets: bytes, or Buffers. Loops that other tests left behind may read into the pool, too."""
    monkeypatch.setattr(poolio.wire.readslab, "IDLE_SECONDS", 0.05)
    pool = poolio.default_pool()

    async def main():
        protocol, peer = await linked(factory)
        with peer:
            bufs = [pool.alloc_unsafe(60_000) for _ in range(40)]
            gc.collect()
            pool.trim()
            before = pool.statistics().slabs_free
            bufs.clear()
            assert pool.statistics().slabs_free > before + 5

            def trimmed():
                peer.sendall(b"x")
                return pool.statistics().slabs_free <= before + 2
            await eventually(trimmed)
            protocol.transport.abort()
            await protocol.ended
    run(loop_name, main, timeout=20)


def test_reader_whose_transport_does_not_resume_can_be_asked_again():
    class Transport:
        fails = True

        def pause_reading(self):
            pass

        def resume_reading(self):
            if self.fails:
                self.fails = False
                raise OSError(errno.ENOMEM, "epoll_ctl")

    async def main():
        reader = poolio.StreamReader(10)
        reader.set_transport(Transport())
        reader.feed_data(b"x" * 100)
        with pytest.raises(OSError, match="epoll_ctl"):
            await reader.readexactly(200)
        reading = asyncio.create_task(reader.readexactly(200))
        await turns()
        reader.feed_data(b"y" * 100)
        assert await reading == b"x" * 100 + b"y" * 100
    asyncio.run(main())


def test_reader_waits_with_one_object_again_and_again():
    seen = []

    def noted(call):
        seen.append(id(call))
        return call

    async def main():
        async def serve(reader, writer):
            while data := await noted(reader.read(10)):
                writer.write(data)
            writer.close()

        server = await poolio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await poolio.open_connection(*server.sockets[0].getsockname())
        for _ in range(20):
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        writer.close()
        server.close()
        await server.wait_closed()
    poolio.run(main())
    assert len(seen) == 21
    assert len(set(seen)) == 1
